"""Progress on the standard error: updates made, updates a second, time left."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any

import tqdm


class _Lines(tqdm.tqdm):
    """A bar where there is no terminal: now and then a line, and nothing that moves a cursor."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Writes one line."""
        del pos
        self.fp.write((msg or str(self)) + "\n")
        self.fp.flush()

    def clear(self, nolock: bool = False) -> None:
        """Has nothing to take back."""


def _bar(total: int, show: bool, **settings: Any) -> tqdm.tqdm:
    terminal = sys.stderr.isatty()
    return (tqdm.tqdm if terminal else _Lines)(
        total=total,
        unit=" updates",
        unit_scale=True,
        disable=not show,
        mininterval=0.2 if terminal else 10.0,
        file=sys.stderr,
        **settings,
    )


@contextmanager
def reporter(num_updates: int, num_runs: int, show: bool) -> Iterator[Callable[[int], object]]:
    """Shows a bar for runs that go side by side, and gives the function to call with the updates each has made."""
    with _bar(num_updates * num_runs, show) as bar:
        yield lambda updates: bar.update(updates * num_runs)


class SweepLine:
    """One line for a whole sweep: jobs done, running and failed; updates made, a second, and the time left.

    Args:
      num_jobs: of the sweep.
      finished: before it began.
      num_updates: to be made, of all runs together.
      show: whether to show it.
    """

    def __init__(self, num_jobs: int, finished: int, num_updates: int, show: bool) -> None:
        self.num_jobs = num_jobs
        self.done, self.running, self.failed = finished, 0, 0
        self.bar = _bar(num_updates, show, desc=self._counts())

    def __enter__(self) -> "SweepLine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.bar.close()

    def update(self, updates: int) -> None:
        """Counts updates made."""
        self.bar.update(updates)

    def begin(self, jobs: int) -> None:
        """Counts jobs that begin to run."""
        self.running += jobs
        self.bar.set_description_str(self._counts(), refresh=False)

    def end(self, well: bool) -> None:
        """Counts a job that has ended."""
        self.running -= 1
        self.done += well
        self.failed += not well
        self.bar.set_description_str(self._counts(), refresh=False)

    def set_aside(self) -> AbstractContextManager[object]:
        """Makes room on the terminal for what a job prints."""
        return tqdm.tqdm.external_write_mode() if sys.stderr.isatty() else contextlib.nullcontext()

    def _counts(self) -> str:
        return f"jobs: {self.done} of {self.num_jobs} done, {self.running} running, {self.failed} failed"
