"""Problems: what is minimised, how mini-batches are drawn, and what is known about the minimum."""

from asyncopt.problems import data
from asyncopt.problems.logistic import Logistic, logistic
from asyncopt.problems.problem import Constants, Problem
from asyncopt.problems.quadratic import Quadratic, quadratic

__all__ = ["Constants", "Logistic", "Problem", "Quadratic", "data", "logistic", "quadratic"]
