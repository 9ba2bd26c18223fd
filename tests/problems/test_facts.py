"""What problems say of themselves, and the constructors of the networks, which one factory makes."""

import inspect
import pickle

import numpy as np
import pytest

from asyncopt import problems
from asyncopt.problems.data import ImageData

PIXELS = np.zeros((5, 16, 16, 1), np.uint8)
IMAGES = ImageData("black", PIXELS, np.arange(5), 7, PIXELS[:2], np.arange(2), np.zeros(1), np.ones(1))
NETWORKS = {
    "perceptron": ("perceptron", 40, False),
    "lenet5": ("LeNet-5", 40, False),
    "all_cnn": ("All-CNN", 100, True),
    "resnet18": ("ResNet-18", 80, True),
    "wrn_28_5": ("WRN-28-5", 100, True),
}


@pytest.mark.parametrize(
    ("problem", "title", "num_rows", "num_classes"),
    [
        (problems.quadratic(3), "quadratic", None, None),
        (problems.hard_instance(3), "hard instance", None, None),
        (problems.logistic("breast_cancer"), "logistic regression", 455, 2),
        (problems.nonconvex_logistic("breast_cancer"), "non-convex logistic regression", 455, 2),
        (problems.robust_regression("diabetes"), "robust regression", 442, None),
        (problems.least_squares("diabetes"), "least squares", 442, None),
        (problems.perceptron(IMAGES), "perceptron", 5, 7),
    ],
)
def test_title_and_sizes(problem, title, num_rows, num_classes):
    assert problem.title == title
    assert getattr(problem, "num_rows", None) == num_rows
    assert getattr(problem, "num_classes", None) == num_classes
    assert getattr(problem, "attains_rate", False) == isinstance(problem, problems.HardInstance)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_networks_constructor_is_a_function_like_any_other(name):
    title, batch_size, augment = NETWORKS[name]
    make = getattr(problems, name)
    assert inspect.isfunction(make)
    assert make.__name__ == name
    assert pickle.loads(pickle.dumps(make)) is make
    assert make.__doc__.startswith("Returns the classification of images by ")
    problem = make(IMAGES, width=0.02)
    assert (problem.title, problem.batch_size, problem.augment) == (title, batch_size, augment)
