"""Progress of a sweep on the standard error."""

import contextlib
import sys
from contextlib import AbstractContextManager
from types import TracebackType

from asyncopt.engine.progress import Bar, advance, bar


class SweepLine:
    """One line for a whole sweep: jobs done, running and failed; updates made, updates a second, and the time left.

    Args:
      num_jobs: jobs of the sweep.
      finished: jobs that were finished before it began.
      num_updates: updates that are left to make, of all runs together.
      show: whether to show the line.
    """

    def __init__(self, num_jobs: int, finished: int, num_updates: int, show: bool) -> None:
        self.num_jobs = num_jobs
        self.done, self.running, self.failed = finished, 0, 0
        self.bar = bar(num_updates, show, desc=self._counts())

    def __enter__(self) -> "SweepLine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.bar.close()

    def update(self, updates: int, evaluation_share: float = 0.0) -> None:
        """Counts updates made, and tells which share of the time of the jobs that run went into evaluations."""
        advance(self.bar, updates, evaluation_share)

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
        return Bar.external_write_mode() if sys.stderr.isatty() else contextlib.nullcontext()

    def _counts(self) -> str:
        return f"jobs: {self.done} of {self.num_jobs} done, {self.running} running, {self.failed} failed"
