"""The workloads that benchmarks time, with what an update of each must compute."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import asyncopt
from asyncopt.problems import Problem, data

ITEM = 4  # bytes, in single precision
VALUES_A_ROW = 74  # of rcv1_like, on average
# Multiplications of a forward pass, for one image.
LENET = 6 * 5 * 5 * 28 * 28 + 16 * 6 * 5 * 5 * 10 * 10 + 400 * 120 + 120 * 84 + 84 * 10
PERCEPTRON = 784 * 100 + 100 * 10


class Workload(NamedTuple):
    """A problem, and what an update of it must do."""

    problem: Problem
    batch_bytes: float  # of a mini-batch
    operations: float  # multiplications and additions of its gradient
    num_updates: int  # so many take about half a second on a CPU


def dense(problem: Any, batch_size: int, num_updates: int) -> Workload:
    """Returns the workload of a linear model on dense rows: two products with the mini-batch."""
    size, rows = problem.constants.dimension, problem.rows.values
    return Workload(problem, batch_size * rows.shape[1] * ITEM, 4 * batch_size * size, num_updates)


def sparse(problem: Problem, batch_size: int, values_a_row: int, num_updates: int) -> Workload:
    """Returns the workload of a linear model on sparse rows: each value is read with its column, and used twice."""
    values = batch_size * values_a_row
    return Workload(problem, values * 2 * ITEM, 4 * values, num_updates)


def network(problem: Any, batch_size: int, num_updates: int, multiplications: int) -> Workload:
    """Returns the workload of a network: a gradient takes three times the multiplications of its scores."""
    pixels = problem.images[0].size
    return Workload(problem, batch_size * pixels, 2 * 3 * batch_size * multiplications, num_updates)


def wide_data(num_features: int) -> data.Dataset:
    """Returns random dense rows; only their shape matters here."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(512, num_features)) / np.sqrt(num_features)
    labels = generator.integers(0, 10, 512)
    return data.split("random", features, labels, 10, test_fraction=0.0, seed=0)


def workloads() -> dict[str, Callable[[], Workload]]:
    """Returns functions that make the workloads, by name."""
    logistic = asyncopt.problems.logistic

    def images(make, multiplications, num_updates):
        problem = make(data.fashion_mnist(), objective_images=500)
        return network(problem, 40, num_updates, multiplications)

    return {
        "digits": lambda: dense(logistic("digits"), 32, 20_000),
        "dense rows, 100,000 parameters": lambda: dense(logistic(wide_data(10_000), l2=1.0, intercept=False), 32, 500),
        "rcv1_like": lambda: sparse(logistic(data.rcv1_like(), 0.0, 64, intercept=False), 64, VALUES_A_ROW, 949),
        "LeNet-5": lambda: images(asyncopt.problems.lenet5, LENET, 200),
        "perceptron": lambda: images(asyncopt.problems.perceptron, PERCEPTRON, 500),
    }
