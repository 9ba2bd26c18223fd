"""How numbers are put in words, in figures, pages and tables alike."""

import numpy as np

_LABELS = {
    "gap": "gap $F(x_k) - F^*$", "objective": "objective $F(x_k)$",
    "average_gap": "gap of the average, $F(\\bar x_k) - F^*$",
    "grad_norm_sq": "$\\|\\nabla F(x_k)\\|^2$", "drift": "drift $\\|x_k - y_k\\|^2$",
    "train_accuracy": "accuracy on the training rows", "test_accuracy": "held-out accuracy",
    "optimizer.learning_rate": "step size α", "trace.delay": "delay", "trace.max_delay": "largest delay",
}  # fmt: skip


def label(column: str) -> str:
    """Returns what an axis or a legend calls a column of a table of runs; its own name if it has no other."""
    return _LABELS.get(column, column)


def seeds(number: int, intervals: str = "") -> str:
    """Returns "1 seed", or "16 seeds" followed by what the intervals show."""
    return "1 seed" if number == 1 else ", ".join(filter(None, [f"{number} seeds", intervals]))


def with_interval(estimate: tuple[float, float, float], form: str = ".2f") -> str:
    """Returns "value [low, high]", or the value alone where there is no interval."""
    value, low, high = (format(x, form) for x in estimate)
    return value if np.isnan(estimate[1]) else f"{value} [{low}, {high}]"
