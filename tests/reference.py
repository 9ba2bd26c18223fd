"""Independent, naive implementations to test against: plain NumPy, every iterate kept, nothing shared."""

import numpy as np


class NaiveApam:
    """APAM as the paper's algorithm has it, one coordinate rule after another."""

    def __init__(self, size, step_size, b1=0.9, b2=0.999, eps=1e-8, project=None):
        self.m, self.v, self.v_max = np.zeros(size), np.zeros(size), np.zeros(size)
        self.step_size, self.b1, self.b2, self.eps, self.project = step_size, b1, b2, eps, project
        self.updates = 0

    def step(self, x, g):
        alpha = self.step_size(self.updates) if callable(self.step_size) else self.step_size
        self.updates += 1
        self.m = self.b1 * self.m + (1 - self.b1) * g
        self.v = self.b2 * self.v + (1 - self.b2) * g**2
        self.v_max = np.maximum(self.v_max, self.v)
        scale = np.sqrt(self.v_max) + self.eps
        direction = np.divide(self.m, scale, out=np.zeros_like(self.m), where=scale > 0)
        target = x - alpha * direction
        return target if self.project is None else self.project(target, scale)


class NaiveMomentum:
    """Heavy-ball SGD."""

    def __init__(self, size, step_size, decay):
        self.velocity, self.step_size, self.decay = np.zeros(size), step_size, decay

    def step(self, x, g):
        self.velocity = self.decay * self.velocity + g
        return x - self.step_size * self.velocity


class NaiveAdam:
    """Adam with bias correction, as Kingma and Ba have it."""

    def __init__(self, size, step_size, b1=0.9, b2=0.999, eps=1e-8):
        self.m, self.v, self.k = np.zeros(size), np.zeros(size), 0
        self.step_size, self.b1, self.b2, self.eps = step_size, b1, b2, eps

    def step(self, x, g):
        self.k += 1
        self.m = self.b1 * self.m + (1 - self.b1) * g
        self.v = self.b2 * self.v + (1 - self.b2) * g**2
        m_hat, v_hat = self.m / (1 - self.b1**self.k), self.v / (1 - self.b2**self.k)
        return x - self.step_size * m_hat / (np.sqrt(v_hat) + self.eps)


def project_box(low, high):
    return lambda point, scale: np.minimum(np.maximum(point, low), high)


def project_ball(radius):
    """Bisection on the multiplier; slow and plain."""

    def project(point, scale):
        if np.linalg.norm(point) <= radius:
            return point
        low, high = 0.0, scale.max() * np.linalg.norm(point) / radius
        for _ in range(200):
            middle = (low + high) / 2
            if np.linalg.norm(scale * point / (scale + middle)) > radius:
                low = middle
            else:
                high = middle
        return scale * point / (scale + (low + high) / 2)

    return project


def naive_replay(start, gradient, optimizer, read_version):
    """Keeps every iterate. Returns iterates 0..K, the running average of 0..K - 1, and ‖x_k - y_k‖².

    ``read_version`` has one iterate for each update, or one for each update and coordinate.
    """
    iterates, drift = [np.array(start)], []
    for k, version in enumerate(read_version):
        stale = np.array([iterates[v][i] for i, v in enumerate(np.broadcast_to(version, np.shape(start)))])
        drift.append(np.sum((iterates[k] - stale) ** 2))
        iterates.append(optimizer.step(iterates[k], gradient(stale, k)))
    return np.array(iterates), np.mean(iterates[:-1], axis=0), np.array(drift)


def version_of_coordinates(block_version, size):
    """Returns int[K, n] from int[K, B]: block b has coordinates ⌊b n / B⌋ to ⌊(b + 1) n / B⌋ - 1."""
    num_blocks = len(block_version[0])
    return [
        [versions[b] for b in range(num_blocks) for _ in range(b * size // num_blocks, (b + 1) * size // num_blocks)]
        for versions in block_version
    ]


def machine_repairman_throughput(num_workers, compute, server):
    """Throughput of the machine-repairman model with exponential times, from its Markov chain.

    The state is the number of gradients at the server. The stationary distribution solves a linear system; gradients
    leave at the rate of the server for as long as it is busy.
    """
    at_server = np.arange(num_workers)
    rates = np.diag((num_workers - at_server) / compute, 1) + np.diag(np.full(num_workers, 1 / server), -1)
    balance = (rates - np.diag(rates.sum(axis=1))).T
    balance[0] = 1.0  # one equation follows from the others; in its place the probabilities sum to 1
    stationary = np.linalg.solve(balance, np.eye(num_workers + 1)[0])
    return stationary[1:].sum() / server
