"""Problems: what is minimised, how mini-batches are drawn, and what is known about the minimum."""

from asyncopt.problems import data
from asyncopt.problems.char_lm import CharLM, char_lm
from asyncopt.problems.from_loss import FromLoss, from_loss
from asyncopt.problems.hard_instance import HardInstance, hard_instance
from asyncopt.problems.image_classification import (
    ImageClassification,
    all_cnn,
    lenet5,
    perceptron,
    resnet18,
    wrn_28_5,
)
from asyncopt.problems.least_squares import LeastSquares, least_squares
from asyncopt.problems.logistic import Logistic, logistic
from asyncopt.problems.nonconvex_logistic import NonconvexLogistic, nonconvex_logistic
from asyncopt.problems.partitioned import Partitioned
from asyncopt.problems.problem import Constants, Problem
from asyncopt.problems.quadratic import Quadratic, quadratic
from asyncopt.problems.robust_regression import RobustRegression, robust_regression
from asyncopt.problems.tridiagonal import Tridiagonal, tridiagonal

__all__ = [
    "CharLM", "Constants", "FromLoss", "HardInstance", "ImageClassification", "LeastSquares", "Logistic",
    "NonconvexLogistic", "Partitioned", "Problem", "Quadratic", "RobustRegression", "Tridiagonal", "all_cnn", "char_lm",
    "data", "from_loss", "hard_instance", "least_squares", "lenet5", "logistic", "nonconvex_logistic", "perceptron",
    "quadratic", "resnet18", "robust_regression", "tridiagonal", "wrn_28_5",
]  # fmt: skip
