"""Problems: what is minimised, how mini-batches are drawn, and what is known about the minimum."""

from asyncopt.problems import data
from asyncopt.problems.hard_instance import HardInstance, hard_instance
from asyncopt.problems.logistic import Logistic, logistic
from asyncopt.problems.nonconvex_logistic import NonconvexLogistic, nonconvex_logistic
from asyncopt.problems.problem import Constants, Problem
from asyncopt.problems.quadratic import Quadratic, quadratic
from asyncopt.problems.robust_regression import RobustRegression, robust_regression

__all__ = [
    "Constants",
    "HardInstance",
    "Logistic",
    "NonconvexLogistic",
    "Problem",
    "Quadratic",
    "RobustRegression",
    "data",
    "hard_instance",
    "logistic",
    "nonconvex_logistic",
    "quadratic",
    "robust_regression",
]
