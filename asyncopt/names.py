"""What problems and methods are called in titles and tables."""

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


def problem(target: str, data: str | None) -> str:
    """Returns the name of a problem's ``_target_``, with the ``_target_`` of its data if it has any."""
    name = last_word(target)
    return _PROBLEMS.get(name, name) + (f" on {last_word(data)}" if data else "")


def last_word(target: str) -> str:
    """Returns ``breast cancer`` of ``asyncopt.problems.data.breast_cancer``."""
    return target.rpartition(".")[2].replace("_", " ")
