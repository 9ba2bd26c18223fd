"""A progress bar on the standard error: updates made, updates a second, time left."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tqdm


def bar(total: int, show: bool, **settings: Any) -> tqdm.tqdm:
    """Returns a bar that counts updates; where there is no terminal it writes a line every ten seconds at most."""
    return tqdm.tqdm(
        total=total,
        unit=" updates",
        unit_scale=True,
        disable=not show,
        mininterval=0.2 if sys.stderr.isatty() else 10.0,
        file=sys.stderr,
        **settings,
    )


@contextmanager
def reporter(num_updates: int, num_runs: int, show: bool) -> Iterator[Callable[[int], object]]:
    """Shows a bar for runs that go side by side, and gives the function to call with the updates each has made."""
    with bar(num_updates * num_runs, show) as shown:
        yield lambda updates: shown.update(updates * num_runs)
