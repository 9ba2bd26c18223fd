"""What happens when the program is stopped: by Ctrl-C (SIGINT), by the system (SIGTERM), or by a closed pipe.

An exception that a handler raises can get lost: Python ignores it in a callback of a library. So a signal either ends
the process at once, while there is nothing to keep, or it is noted, and raised where `check` is called. Only the
command line asks for this. In a program of the user's own, `check` does nothing, and Ctrl-C is what it always is.
"""

import contextlib
import functools
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_WATCHING = 0.5  # seconds between two looks at the parent
_Handler = Callable[[int, FrameType | None], None]


class Stopped(KeyboardInterrupt):
    """A signal has come. It is a `KeyboardInterrupt`, so code that handles Ctrl-C handles SIGTERM."""


class _State:
    """What a signal does now."""

    hint = "nothing was computed yet"
    deferring = False
    something_to_keep = False
    pending: int | None = None  # a signal that waits to be raised
    last_signal: int = signal.SIGINT


def install() -> None:
    """Lets a signal end the process at once, with one line on the standard error."""
    _set(_end_at_once)


@contextlib.contextmanager
def resumable(hint: str) -> Iterator[None]:
    """Inside and after, the line on the standard error has this hint; `Stopped` becomes the exit status.

    Args:
      hint: what resumes the run.

    Raises:
      SystemExit: with 128 + the signal's number, as shells have it: 130 after Ctrl-C, 143 after SIGTERM.
    """
    _State.hint = hint
    try:
        yield
    except KeyboardInterrupt:  # perhaps not `Stopped`: Ray raises its own
        print(f"asyncopt: stopped; {hint}", file=sys.stderr, flush=True)
        raise SystemExit(128 + _State.last_signal) from None


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Inside, a signal waits for the next call of `check`, or for the end of the block; a second one does not wait.

    Until `check` is called for the first time, there is nothing to keep, and a signal ends the process at once.

    Raises:
      Stopped: at the end of the block, if a signal has come.
    """
    if _State.deferring or signal.getsignal(signal.SIGINT) is not _end_at_once:  # in another block, or a library
        yield
        return
    _State.deferring, _State.something_to_keep = True, False
    try:
        yield
    except BaseException:
        _State.pending = None  # the error ends what the signal would have ended
        raise
    finally:
        _State.deferring = False
    _raise_pending()


def check() -> None:
    """Raises a signal that has come; call it where the state of a run is whole.

    Raises:
      Stopped: if a signal has come.
    """
    _State.something_to_keep = True
    _raise_pending()


@contextlib.contextmanager
def raising() -> Iterator[None]:
    """Inside, the first signal raises `Stopped` wherever it comes: for waiting on other processes, which end then."""
    if signal.getsignal(signal.SIGINT) is not _end_at_once:
        yield
        return
    _set(_raise)
    try:
        yield
    finally:
        _set(_end_at_once)


@contextlib.contextmanager
def until_unread() -> Iterator[None]:
    """Inside, the process ends without a word once nobody reads its standard output any more, as after ``| head``.

    Raises:
      SystemExit: with 141, 128 + SIGPIPE, the status that shells have for a program that ends so.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # Python would do so later, and print an error
    except BrokenPipeError:
        if not is_unread():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None


def is_unread() -> bool:
    """Whether nobody reads the standard output any more; a process has other pipes, whose end is another error."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # which tells of errors alone
    return bool(poll.poll(0))


@contextlib.contextmanager
def handlers_kept() -> Iterator[None]:
    """Undoes at its end what a library has done to our handlers: Ray's would end the process without a word."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        if before[signal.SIGINT] in (_end_at_once, _raise):
            for number, handler in before.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def kept_from_children() -> Iterator[None]:
    """Inside, processes that are started never get Ctrl-C, which a terminal sends to all: their parent ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@functools.cache
def end_with(parent: int) -> None:
    """Lets this process end within a second of its parent's end, also if that one is killed: nobody waits for it then.

    Args:
      parent: the process that started this one.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCHING)
        os._exit(1)

    threading.Thread(target=watch, name="ends with its parent", daemon=True).start()


def _raise_pending() -> None:
    if _State.pending is not None:
        number, _State.pending = _State.pending, None
        raise Stopped(signal.Signals(number).name)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    del frame
    _State.last_signal = number
    if _State.deferring and _State.something_to_keep and _State.pending is None:
        _State.pending = number
        return
    os.write(2, f"\nasyncopt: stopped; {_State.hint}\n".encode())
    os._exit(128 + number)


def _raise(number: int, frame: FrameType | None) -> None:
    del frame
    _State.last_signal = number
    _set(_end_at_once)
    raise Stopped(signal.Signals(number).name)


def _set(handler: _Handler) -> None:
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as a shell has it for a job in the background
            signal.signal(number, handler)
