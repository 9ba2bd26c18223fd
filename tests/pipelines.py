"""Pipelines as programs run them: stages that are functions of their own, with weights of their own, and messages."""

import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax


# Stages of the same layers and shapes share a compilation.
@functools.partial(jax.jit, static_argnums=0)
def pass_forward(layers, weights, carried, batch):
    inputs = []
    for layer, own in zip(layers, weights, strict=True):
        inputs.append(carried)
        carried = layer(own, carried, batch)
    return inputs, carried


@functools.partial(jax.jit, static_argnums=(0, 1))
def pass_backward(layers, step, used, inputs, cotangent, batch, newest, state):
    gradients = []
    for layer, own, given in reversed(list(zip(layers, used, inputs, strict=True))):
        _, pull_back = jax.vjp(lambda own, given, layer=layer: layer(own, given, batch), own, given)
        gradient, cotangent = pull_back(cotangent)
        gradients.insert(0, gradient)
    updates, state = step(gradients, state, newest)
    return optax.apply_updates(newest, updates), state, cotangent


class Stage:
    """A worker with the weights of some layers, which it steps after each backward pass."""

    def __init__(self, layers, weights, optimizer, stashing):
        self.layers, self.weights, self.optimizer = tuple(layers), weights, optimizer
        self.state = optimizer.init(weights)
        self.stashing, self.kept = stashing, {}
        self.received = {"forward": collections.deque(), "backward": collections.deque()}
        self.reads = []  # how many steps it had made before each forward and each backward pass
        self.steps = 0

    def forward(self, batch):
        number, carried = self.received["forward"].popleft()
        self.reads.append(("forward", number, self.steps))
        inputs, carried = pass_forward(self.layers, self.weights, carried, batch)
        self.kept[number] = inputs, self.weights, batch
        return number, carried

    def backward(self):
        number, cotangent = self.received["backward"].popleft()
        self.reads.append(("backward", number, self.steps))
        inputs, weights, batch = self.kept.pop(number)
        used = weights if self.stashing else self.weights
        self.weights, self.state, cotangent = pass_backward(
            self.layers, self.optimizer.update, used, inputs, cotangent, batch, self.weights, self.state
        )
        self.steps += 1
        return number, cotangent


def one_forward_one_backward(stage, num_stages, num_updates):
    """Yields the passes of a stage in PipeDream's order."""
    ahead = min(num_stages - stage, num_updates)
    yield from ["forward"] * ahead
    for number in range(num_updates):
        yield "backward"
        if ahead + number < num_updates:
            yield "forward"


def emulate(layers, weights, optimizer, batches, num_stages, stashing):
    """Trains a chain of layers in a pipeline; returns the stages after their last step.

    Args:
      layers: functions of (weights, carried, batch); the last returns the loss.
      weights: a pytree for each layer.
      optimizer: an optimizer whose steps of one leaf do not depend on other leaves.
      batches: a mini-batch for each update.
      num_stages: P.
      stashing: whether a backward pass has the weights of its forward pass.
    """
    cuts = [layer * num_stages // len(layers) for layer in range(len(layers))]
    stages = []
    for stage in range(num_stages):
        own = [layer for layer, cut in enumerate(cuts) if cut == stage]
        stages.append(Stage([layers[layer] for layer in own], [weights[layer] for layer in own], optimizer, stashing))
    stages[0].received["forward"].extend((number, None) for number in range(len(batches)))
    waiting = [collections.deque(one_forward_one_backward(s, num_stages, len(batches))) for s in range(num_stages)]
    while any(waiting):
        for number, stage in enumerate(stages):  # in any order: a stage waits for its messages
            while waiting[number] and stage.received[waiting[number][0]]:
                if waiting[number].popleft() == "forward":
                    message = stage.forward(batches[stage.received["forward"][0][0]])
                    if number + 1 < num_stages:
                        stages[number + 1].received["forward"].append(message)
                    else:
                        stage.received["backward"].append((message[0], jnp.ones_like(message[1])))
                else:
                    message = stage.backward()
                    if number > 0:
                        stages[number - 1].received["backward"].append(message)
    return stages


def seconds(forward, backward, network, count):
    """Returns when the first stage ends each backward pass, pass by pass, in PipeDream's order."""
    num_stages = len(forward)
    orders = [list(one_forward_one_backward(stage, num_stages, count)) for stage in range(num_stages)]
    ends, free = {}, np.zeros(num_stages)
    made = [collections.Counter() for _ in range(num_stages)]
    while any(orders):
        for stage, order in enumerate(orders):
            while order:
                kind, number = order[0], made[stage][order[0]]
                if kind == "forward":
                    came = 0.0 if stage == 0 else ends.get((kind, stage - 1, number))
                    far, each = stage > 0, forward[stage]
                else:
                    last = stage == num_stages - 1
                    came = ends.get(("forward", stage, number) if last else (kind, stage + 1, number))
                    far, each = not last, backward[stage]
                if came is None:
                    break
                order.pop(0)
                made[stage][kind] += 1
                free[stage] = max(free[stage], came + (network if far else 0.0)) + each
                ends[kind, stage, number] = free[stage]
    return np.array([ends["backward", 0, number] for number in range(count)])
