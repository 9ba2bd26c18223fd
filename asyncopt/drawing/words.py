"""How numbers are put in words, in figures, pages and tables alike."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

_LABELS = {
    "gap": "gap $F(x_k) - F^*$", "objective": "objective $F(x_k)$",
    "average_gap": "gap of the average, $F(\\bar x_k) - F^*$",
    "grad_norm_sq": "$\\|\\nabla F(x_k)\\|^2$", "drift": "drift $\\|x_k - y_k\\|^2$",
    "train_accuracy": "accuracy on the training rows", "test_accuracy": "held-out accuracy",
    "test_loss": "held-out loss", "test_perplexity": "held-out perplexity",
    "trace.num_stages": "stages of the pipeline",
    "optimizer.learning_rate": "step size α", "trace.delay": "delay", "trace.max_delay": "largest delay",
}  # fmt: skip


def label(column: str) -> str:
    """Returns what an axis or a legend calls a column of a table of runs; its own name if it has no other."""
    return _LABELS.get(column, column)


def values(given: Iterable[Any]) -> list[str]:
    """Returns the text of each value of a setting: six digits of a number, or as many as tell all of them apart.

    A missing value is "none".
    """
    import pandas as pd  # here, since a run that only prints its table does without

    every = [None if pd.isna(value) else value for value in given]
    for digits in range(6, 18):
        texts = [_text(value, digits) for value in every]
        if len(set(texts)) >= len(set(every)):
            return texts
    # A text that looks like another value: in quotes.
    return [repr(value) if isinstance(value, str) else _text(value, 17) for value in every]


def combinations(given: Iterable[Sequence[Any]]) -> list[str]:
    """Returns the texts of the values of each combination, with commas between them."""
    columns = map(values, zip(*given, strict=True))
    return [", ".join(texts) for texts in zip(*columns, strict=True)]


def _text(value: Any, digits: int) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return "none" if value is None else f"{value:.{digits}g}" if is_number else str(value)


def seeds(number: int, intervals: str = "") -> str:
    """Returns "1 seed", or "16 seeds" followed by what the intervals show."""
    return "1 seed" if number == 1 else ", ".join(filter(None, [f"{number} seeds", intervals]))


def with_interval(estimate: tuple[float, float, float], form: str = ".2f") -> str:
    """Returns "value [low, high]", or the value alone where there is no interval."""
    value, low, high = (format(x, form) for x in estimate)
    return value if np.isnan(estimate[1]) else f"{value} [{low}, {high}]"
