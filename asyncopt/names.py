"""What problems and methods are called in titles and tables."""

_METHODS = {"asyncopt.apam": "APAM", "optax.sgd": "SGD"}
_PROBLEMS = {"logistic": "logistic regression", "nonconvex logistic": "non-convex logistic regression"}


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
