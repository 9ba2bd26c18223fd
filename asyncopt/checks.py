"""Checks of input from outside: one exception and the checks that every room needs."""

import collections
import math
import numbers
import warnings
from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np

_Number = TypeVar("_Number", int, float)
# What is kept of a message that is longer than both together, in characters: it may quote a cell of a million of them.
_START, _END = 700, 300
_LARGEST = 2**63 - 1  # of NumPy's integers
# The most runs that a number of seeds may ask for: a seed in its place, such as a date, has more digits.
_MOST_SEEDS = 1_000_000
# What a file holds may take so many bytes of memory, or so many times as many as the file.
_PLAUSIBLE_BYTES, _MOST_COMPRESSED = 2**30, 1000


class InputError(ValueError):
    """Input from outside that cannot be used; the message says where, what was found and what was expected.

    Of a message longer than a thousand characters, the middle is left out.
    """

    def __init__(self, message: str) -> None:
        if len(message) > _START + _END:
            message = f"{message[:_START]} ... {message[-_END:]}"
        super().__init__(message)


def check_integer(name: str, value: Any, *, at_least: int, at_most: int | None = _LARGEST) -> int:
    """Returns ``value`` as an int.

    Args:
      name: what the user calls it; the message starts with it.
      value: an int or a NumPy integer. Floats and bools are refused: they are slips more often than counts.
      at_least: the smallest value allowed.
      at_most: the largest value allowed; None for those that NumPy's integers need not hold, such as seeds.

    Raises:
      InputError: if it is not an integer, too small, or too large.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral) or value < at_least:
        raise InputError(f"{name} is {value!r}, expected an integer of at least {at_least}")
    if at_most is not None and int(value) > at_most:
        raise InputError(f"{name} is {value!r}, expected an integer of at most {at_most}")
    return int(value)


def check_number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
) -> float:
    """Returns ``value`` as a finite float.

    Args:
      name: what the user calls it; the message starts with it.
      value: a real number.
      above: value must be greater than this.
      at_least: value must be this or greater.
      below: value must be less than this.

    Raises:
      InputError: if it is not a finite real number, or out of range.
    """
    limits = [(">", above), (">=", at_least), ("<", below)]
    wanted = " and ".join(f"{sign} {limit:g}" for sign, limit in limits if limit is not None)
    is_real = isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)
    number = float(value) if is_real else math.nan
    if (
        not math.isfinite(number)
        or (above is not None and number <= above)
        or (at_least is not None and number < at_least)
        or (below is not None and number >= below)
    ):
        raise InputError(f"{name} is {value!r}, expected a finite number" + (f" {wanted}" if wanted else ""))
    return number


def check_seed(name: str, seed: Any) -> int:
    """Returns a seed as an int.

    Raises:
      InputError: if it is not an integer of at least 0.
    """
    return check_integer(name, seed, at_least=0, at_most=None)


def is_plausible_size(promised: int, in_file: int) -> bool:
    """Whether a file of so many bytes may hold what takes ``promised`` bytes; equal numbers are stored once."""
    return promised <= max(_PLAUSIBLE_BYTES, _MOST_COMPRESSED * in_file)


def check_seeds(name: str, seeds: Any) -> list[int]:
    """Returns the seeds that are meant: those listed, or as many as a number says, from 0.

    Raises:
      InputError: if it is neither a number of at least 1 nor distinct integers of at least 0.
    """
    if isinstance(seeds, str | bytes) or not isinstance(seeds, Iterable):
        number = check_integer(name, seeds, at_least=1)
        if number > _MOST_SEEDS:
            raise InputError(
                f"{name} is {number}, so many seeds, expected at most {_MOST_SEEDS:,}; one seed is [{number}]"
            )
        return list(range(number))
    listed = [check_seed(name, seed) for seed in seeds]
    if not listed:
        raise InputError(f"{name} is empty, expected at least one seed")
    check_distinct(name, listed)
    return listed


def check_flag(name: str, value: Any) -> None:
    """Raises an InputError unless ``value`` is True or False: a number in its place is a mistake.

    Args:
      name: how the value is called in the message.
      value: the value.
    """
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{name} is {value!r}, expected true or false")


def check_text(name: str, value: Any) -> None:
    """Raises an InputError unless ``value`` is a text.

    Args:
      name: how the value is called in the message.
      value: the value.
    """
    if not isinstance(value, str):
        raise InputError(f"{name} is {value!r}, expected a text")


def warn_of_idle_workers(num_workers: int, num_updates: int, level: int) -> None:
    """Warns if there are more workers than updates: the two numbers are side by side, and may have been swapped.

    Args:
      num_workers: p.
      num_updates: K.
      level: calls from here to the user's, for the warning.
    """
    if num_workers > num_updates:
        warnings.warn(
            f"num_workers is {num_workers}, more than num_updates, {num_updates}: some workers make no update; "
            "are the two numbers swapped?",
            stacklevel=level,
        )


def check_distinct(name: str, values: Iterable[Any]) -> None:
    """Refuses a value that occurs twice: a run that counts twice makes intervals too short.

    Raises:
      InputError: if one does; the message starts with ``name``.
    """
    ((value, times),) = collections.Counter(values).most_common(1) or [(None, 1)]
    if times > 1:
        raise InputError(f"{name} has {value!r} {times} times, expected each once")


def parsed(cell: str, kind: type[_Number]) -> _Number:
    """Returns the number in a cell of a text file, as other readers of such files have it.

    Python alone also takes ``1_000`` and digits of other scripts.

    Raises:
      ValueError: if it is no number.
    """
    if "_" in cell or not cell.isascii():
        raise ValueError(f"{cell!r} is not a number")
    return kind(cell)
