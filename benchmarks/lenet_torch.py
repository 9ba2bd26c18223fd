"""Times LeNet-5 under delay: the replay loop and the same loop in PyTorch, two threads each, side by side.

Prints the time of an update, mini-batches of 40 random images of 28 × 28 pixels, float32, in each of
  fresh        the replay loop without delay
  stale        the replay loop under uniform delay up to 20
  torch        a PyTorch loop that takes the gradient at a stored iterate, with flat vectors and AMSGrad in place
and the ratios. Runs of the three are interleaved; the median of each is reported. Needs the extra ``benchmark``.
"""

import os

os.environ.setdefault("PJRT_NPROC", "2")

import numpy as np
import timing
import torch  # pyright: ignore[reportMissingImports]
from loops import MAX_DELAY, replay_loop

import asyncopt
from asyncopt.problems.data import ImageData

BATCH_SIZE = 40
STEP_SIZE, B1, B2, EPS = 1e-4, 0.9, 0.999, 1e-8
SHAPES = [(6, 1, 5, 5), (6,), (16, 6, 5, 5), (16,), (120, 256), (120,), (84, 120), (84,), (10, 84), (10,)]


def random_images(number: int = 60_000) -> ImageData:
    """Returns random images of the size of MNIST; only their shape matters here."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (number, 28, 28, 1), dtype=np.uint8)
    labels = generator.integers(0, 10, number)
    return ImageData("random", pixels, labels, 10, pixels[:0], labels[:0], np.array([0.1307]), np.array([0.3081]))


def torch_loop(data: ImageData, trace: asyncopt.traces.Trace):
    """Returns the loop in PyTorch."""
    torch.set_num_threads(2)
    functional = torch.nn.functional
    images = torch.from_numpy(data.images.reshape(-1, 1, 28, 28))
    labels = torch.from_numpy(data.labels)
    sizes = [int(np.prod(shape)) for shape in SHAPES]

    def loss(flat, pixels, targets):
        parts = zip(torch.split(flat, sizes), SHAPES, strict=True)
        w = [part.view(shape) for part, shape in parts]
        x = functional.relu(functional.max_pool2d(functional.conv2d(pixels, w[0], w[1]), 2))
        x = functional.relu(functional.max_pool2d(functional.conv2d(x, w[2], w[3]), 2)).flatten(1)
        x = functional.relu(functional.linear(x, w[4], w[5]))
        x = functional.relu(functional.linear(x, w[6], w[7]))
        return functional.cross_entropy(functional.linear(x, w[8], w[9]), targets)

    def loop():
        generator = torch.Generator().manual_seed(0)
        params = 0.1 * torch.randn(sum(sizes), generator=generator)
        history = params.repeat(MAX_DELAY + 1, 1)
        stale = torch.zeros_like(params).requires_grad_()
        m, v, v_max, scale = (torch.zeros_like(params) for _ in range(4))
        for k, version in enumerate(trace.read_version.tolist()):
            rows = torch.randint(len(labels), (BATCH_SIZE,), generator=generator)
            pixels = images[rows].float().div_(255).sub_(0.1307).div_(0.3081)
            with torch.no_grad():
                stale.copy_(history[version % len(history)])
            (gradient,) = torch.autograd.grad(loss(stale, pixels, labels[rows]), stale)
            m.mul_(B1).add_(gradient, alpha=1 - B1)
            v.mul_(B2).addcmul_(gradient, gradient, value=1 - B2)
            torch.maximum(v_max, v, out=v_max)
            torch.sqrt(v_max, out=scale).add_(EPS)
            params.addcdiv_(m, scale, value=-STEP_SIZE)
            history[(k + 1) % len(history)].copy_(params)
        return params.numpy()

    return loop


def main(num_updates: int = 400):
    """Times the three loops and prints a table."""
    data = random_images()
    problem = asyncopt.problems.lenet5(data, batch_size=BATCH_SIZE)
    optimizer = asyncopt.apam(STEP_SIZE, B1, B2, EPS)
    fresh = asyncopt.traces.synchronous(num_updates)
    stale = asyncopt.traces.uniform(num_updates, MAX_DELAY)
    loops = {
        "fresh": replay_loop(problem, optimizer, fresh),
        "stale": replay_loop(problem, optimizer, stale),
        "torch": torch_loop(data, stale),
    }
    return timing.compare("LeNet-5, an update", loops, num_updates)


if __name__ == "__main__":
    timing.script(main, __doc__)
