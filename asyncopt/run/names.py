"""What problems and methods are called in titles and tables."""

from collections.abc import Mapping
from typing import Any

_METHODS = {"asyncopt.apam": "APAM", "optax.sgd": "SGD"}
_PROBLEMS = {
    "all cnn": "All-CNN",
    "lenet5": "LeNet-5",
    "logistic": "logistic regression",
    "nonconvex logistic": "non-convex logistic regression",
    "resnet18": "ResNet-18",
    "wrn 28 5": "WRN-28-5",
}


def method(target: str) -> str:
    """Returns the name of an optimizer's ``_target_``."""
    return _METHODS.get(target, target)


def method_in_full(config: Mapping[str, Any]) -> str:
    """Returns the name of the method that a resolved configuration describes, as comparisons of methods need it."""
    optimizer, handling = config["optimizer"], config.get("handling") or {}
    name = method(optimizer["_target_"]) + (" with momentum" if optimizer.get("momentum") else "")
    wrapper = last_word(handling.get("_target_", ""))
    in_rounds = (config.get("runtime") or {}).get("synchronous", False)
    if in_rounds or last_word(config["trace"]["_target_"]) == "rounds":
        return f"synchronous {'AMSGrad' if name == 'APAM' else name}"
    return f"{name}, {wrapper}" if wrapper else name


def problem_in_full(config: Mapping[str, Any]) -> str:
    """Returns the name of the problem that a resolved configuration describes, with its data if it has any."""
    settings = config["problem"]
    return problem(settings["_target_"], (settings.get("data") or {}).get("_target_"))


def problem(target: str, data: str | None) -> str:
    """Returns the name of a problem's ``_target_``, with the ``_target_`` of its data if it has any."""
    name = last_word(target)
    return _PROBLEMS.get(name, name) + (f" on {last_word(data)}" if data else "")


def last_word(target: str) -> str:
    """Returns ``breast cancer`` of ``asyncopt.problems.data.breast_cancer``."""
    return target.rpartition(".")[2].replace("_", " ")
