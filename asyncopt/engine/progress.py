"""Progress on the standard error: updates made, updates a second, time left."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tqdm

from asyncopt.checks import check_flag

# Share of the time from which on a bar tells it.
_SHOWN_SHARE = 0.01


class Bar(tqdm.tqdm):
    """A progress bar on a terminal."""


# tqdm's own lock has a semaphore of the system, which stays behind when a worker process is killed.
Bar.set_lock(threading.RLock())


class _Lines(Bar):
    """A progress bar for output that is no terminal: now and then a line, without cursor movements."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Writes one line."""
        del pos
        self.fp.write((msg or str(self)) + "\n")
        self.fp.flush()

    def clear(self, nolock: bool = False) -> None:
        """Does nothing: a line that is written stays."""


def bar(total: int, show: bool, **settings: Any) -> Bar:
    """Returns a progress bar on the standard error: updates made, updates a second, time left.

    Raises:
      InputError: if ``show``, the argument ``progress`` of users, is neither true nor false.
    """
    check_flag("progress", show)
    terminal = sys.stderr.isatty()
    return (Bar if terminal else _Lines)(
        total=total,
        unit=" updates",
        unit_scale=True,
        disable=not show,
        mininterval=0.2 if terminal else 10.0,
        file=sys.stderr,
        **settings,
    )


def advance(shown: Bar, updates: int, evaluation_share: float) -> None:
    """Counts updates made, and tells which share of the time so far went into evaluations."""
    if evaluation_share >= _SHOWN_SHARE:
        shown.set_postfix_str(f"{evaluation_share:.0%} of the time in evaluations", refresh=False)
    shown.update(updates)


@contextmanager
def reporter(num_updates: int, num_runs: int, show: bool) -> Iterator[Callable[[int, float], object]]:
    """Shows a bar for runs side by side; yields the function to call, `asyncopt.engine.drive.Report`."""
    with bar(num_updates * num_runs, show) as shown:

        def report(updates: int, evaluation_share: float) -> None:
            advance(shown, updates * num_runs, evaluation_share)

        yield report
