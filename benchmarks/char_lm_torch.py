"""Times the character model under delay: the replay loop and the same loop in PyTorch, two threads each, side by side.

Prints the time of an update of the default model, 0.8 million parameters, 8 windows of 128 characters, AdamW, float32,
in each of
  fresh        the replay loop without delay
  stale        the replay loop under a constant delay of 20
  torch        a PyTorch loop that takes the gradient at a stored iterate, with its fused attention and fused AdamW
and the ratios. Runs of the three are interleaved; the median of each is reported. The two losses, at the same weights,
are compared before. Needs the extra ``benchmark``.
"""

import os

os.environ.setdefault("PJRT_NPROC", "2")

import jax
import numpy as np
import optax
import timing
import torch  # pyright: ignore[reportMissingImports]
from loops import MAX_DELAY, replay_loop

import asyncopt

STEP_SIZE, WEIGHT_DECAY = 1e-3, 1e-4


def torch_loss(problem):
    """Returns the loss in PyTorch: a function of the weights, in the order of JAX's leaves, and of windows."""
    functional = torch.nn.functional
    vocabulary_size, width, depth, num_heads = problem.sizes
    per_head = width // num_heads
    angles = torch.arange(problem.context)[:, None] * 10_000.0 ** (-torch.arange(0, per_head, 2) / per_head)
    cosine, sine = torch.cos(angles), torch.sin(angles)

    def rotated(x):
        first, second = x.chunk(2, dim=-1)
        return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)

    def norm(x, scale):
        return functional.rms_norm(x, (width,), scale, 1e-6)

    def loss(weights, windows):
        embedding, *of_blocks, last_scale, head = weights
        x = functional.embedding(windows[:, :-1], embedding)
        for block in range(depth):
            scale, inputs, output, mlp_scale, up, down = of_blocks[6 * block : 6 * block + 6]
            heads = (norm(x, scale) @ inputs).view(*x.shape[:2], 3, num_heads, per_head).permute(2, 0, 3, 1, 4)
            queries, keys = rotated(heads[0]), rotated(heads[1])
            mixed = functional.scaled_dot_product_attention(queries, keys, heads[2], is_causal=True)
            x = x + mixed.transpose(1, 2).reshape(x.shape) @ output
            x = x + functional.gelu(norm(x, mlp_scale) @ up, approximate="tanh") @ down
        logits = norm(x, last_scale) @ head
        return functional.cross_entropy(logits.view(-1, vocabulary_size), windows[:, 1:].reshape(-1))

    return loss


def torch_loop(problem, trace: asyncopt.traces.Trace):
    """Returns the loop in PyTorch."""
    torch.set_num_threads(2)
    codes = torch.from_numpy(np.array(problem.codes)).long()
    start = jax.tree.leaves(problem.init(jax.random.key(0)))
    shapes, sizes = [leaf.shape for leaf in start], [leaf.size for leaf in start]
    loss, places = torch_loss(problem), torch.arange(problem.context + 1)

    def loop():
        generator = torch.Generator().manual_seed(0)
        params = torch.from_numpy(np.concatenate([np.ravel(leaf) for leaf in start])).requires_grad_()
        optimizer = torch.optim.AdamW([params], STEP_SIZE, weight_decay=WEIGHT_DECAY, fused=True)
        history = params.detach().repeat(MAX_DELAY + 1, 1)
        stale = torch.zeros_like(params).requires_grad_()
        for k, version in enumerate(trace.read_version.tolist()):
            starts = torch.randint(len(codes) - problem.context, (problem.batch_size,), generator=generator)
            with torch.no_grad():
                stale.copy_(history[version % len(history)])
            weights = [part.view(shape) for part, shape in zip(torch.split(stale, sizes), shapes, strict=True)]
            (params.grad,) = torch.autograd.grad(loss(weights, codes[starts[:, None] + places]), stale)
            optimizer.step()
            history[(k + 1) % len(history)].copy_(params.detach())
        return params.detach().numpy()

    return loop


def check_losses(problem) -> None:
    """Raises a RuntimeError unless both losses and gradients agree at the same weights, all of them random."""
    leaves, structure = jax.tree.flatten(problem.init(jax.random.key(1)))
    generator = np.random.default_rng(0)
    leaves = [leaf + 0.1 * generator.standard_normal(leaf.shape, np.float32) for leaf in leaves]
    windows = problem.sample(jax.random.key(2))
    value, gradient = jax.value_and_grad(problem.loss)(jax.tree.unflatten(structure, leaves), windows)
    weights = [torch.from_numpy(np.array(leaf)).requires_grad_() for leaf in leaves]
    other = torch_loss(problem)(weights, torch.from_numpy(np.array(windows)).long())
    others = torch.autograd.grad(other, weights)
    error = abs(float(value) - other.item()) / other.item()
    of_gradients = max(
        float(np.abs(one - two.numpy()).max() / np.abs(one).max())
        for one, two in zip(jax.tree.leaves(gradient), others, strict=True)
    )
    print(f"relative difference from PyTorch: loss {error:.1e}, gradients {of_gradients:.1e}")
    if not (error < 1e-5 and of_gradients < 1e-3):
        raise RuntimeError("the two losses differ")


def main(num_updates: int = 40):
    """Compares the losses, times the three loops, and prints a table."""
    problem = asyncopt.problems.char_lm()
    check_losses(problem)
    optimizer = optax.adamw(STEP_SIZE, weight_decay=WEIGHT_DECAY)
    stale = asyncopt.traces.constant(num_updates, MAX_DELAY)
    loops = {
        "fresh": replay_loop(problem, optimizer, asyncopt.traces.synchronous(num_updates)),
        "stale": replay_loop(problem, optimizer, stale),
        "torch": torch_loop(problem, stale),
    }
    return timing.compare("character model, an update", loops, num_updates)


if __name__ == "__main__":
    timing.script(main, __doc__)
