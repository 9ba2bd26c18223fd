"""Text for language models: a file of one's own, or the topics of Python's documentation."""

import dataclasses
import os
import pathlib
import platform
import re
from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Int32

from asyncopt.checks import InputError, check_number, check_text
from asyncopt.shown import Shown


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Text(Shown):
    """The characters of a text as codes; the last part is held out.

    Args:
      name: the text's name in titles and messages.
      vocabulary: the distinct characters, sorted; a character's code is its place among them.
      codes: int32[N], the characters to train on, in their order.
      test_codes: int32[M], the characters held out, which come after them; M may be 0.

    Raises:
      InputError: if there is nothing to train on, or an array is no list of codes.
    """

    name: str
    vocabulary: str
    codes: Int32[np.ndarray, " N"]
    test_codes: Int32[np.ndarray, " M"]

    def _facts(self) -> list[str]:
        facts = [repr(self.name), f"{len(self.codes):,} characters", f"{len(self.vocabulary):,} distinct ones"]
        return facts + ([f"{len(self.test_codes):,} held out"] if len(self.test_codes) else [])

    def __post_init__(self):
        check_text("name", self.name)
        check_text(f"{self.name}: vocabulary", self.vocabulary)
        if list(self.vocabulary) != sorted(set(self.vocabulary)):
            raise InputError(f"{self.name}: vocabulary is {self.vocabulary!r}, expected distinct characters, sorted")
        for part in ("codes", "test_codes"):
            codes = getattr(self, part)
            if not isinstance(codes, np.ndarray) or codes.ndim != 1 or codes.dtype != np.int32:
                raise InputError(f"{self.name}: {part} is {codes!r}, expected an array int32[N]")
            wrong = np.flatnonzero((codes < 0) | (codes >= len(self.vocabulary)))
            if len(wrong):
                first = f"code {codes[wrong[0]]} at {wrong[0]}"
                raise InputError(f"{self.name}: {part} has {first}, expected 0 to {len(self.vocabulary) - 1}")
        if not len(self.codes):
            raise InputError(f"{self.name}: no characters in codes, expected at least one to train on")


def text(path: str | os.PathLike[str] | None = None, test_fraction: float = 0.1) -> Text:
    """Returns the characters of a file, or of the topics of Python's documentation; the last tenth is held out.

    The vocabulary is that of the whole text, so that it has the characters of the held-out part, too.

    The topics are part of Python, sorted by their names here. Some repeat paragraphs of others: "for" is in "compound",
    too. A paragraph that came before is left out, so that none of the held-out ones was trained on. The documentation
    differs between versions of Python, so that the text's name has the version.

    Args:
      path: a file in UTF-8, taken as it is. Default: the topics.
      test_fraction: fraction of the characters held out, in [0, 1).

    Raises:
      InputError: if the file is missing, empty, not in UTF-8, or too short for the fraction; the message names it.

    Examples:
      >>> import asyncopt
      >>> asyncopt.problems.data.text().name.startswith("topics of Python 3.")
      True
    """
    test_fraction = check_number("test_fraction", test_fraction, at_least=0, below=1)
    name, characters = _topics() if path is None else (str(path), _read(path))
    points = np.frombuffer(characters.encode("utf-32-le"), np.uint32)
    distinct, codes = np.unique(points, return_inverse=True)
    codes = codes.astype(np.int32)
    codes.setflags(write=False)
    num_test = round(test_fraction * len(codes))
    num_train = len(codes) - num_test
    if num_train < 1 or (test_fraction > 0 and num_test < 1):
        raise InputError(
            f"{name}: {len(codes)} characters, test_fraction is {test_fraction:g}, expected a character in both parts"
        )
    return Text(name, "".join(map(chr, distinct)), codes[:num_train], codes[num_train:])


def _read(path: str | os.PathLike[str]) -> str:
    """Returns the characters of a file."""
    try:
        file = pathlib.Path(path)
        if file.exists() and not (file.is_file() or file.is_dir()):  # a pipe or a device may never end
            raise InputError(f"{path}: path is no regular file, expected a text in UTF-8")
        content = file.read_bytes()
    except TypeError as error:
        raise InputError(f"path is {path!r}, expected a file") from error
    except OSError as error:
        raise InputError(f"{path}: path is no file that can be read: {error.strerror}") from error
    except ValueError as error:  # a null character, which no name of a file has
        raise InputError(f"path is {path!r}, expected a file: {error}") from error
    if not content:
        raise InputError(f"{path}: empty, expected a text in UTF-8")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        wrong = f"byte {error.start} is 0x{content[error.start]:02x}"
        raise InputError(f"{path}: {wrong}, expected a text in UTF-8: {error.reason}") from error


def _topics() -> tuple[str, str]:
    """Returns the name and the characters of the topics of Python's documentation."""
    try:
        from pydoc_data.topics import topics  # only this text needs it
    except ImportError as error:
        raise InputError(f"this Python has no pydoc_data.topics, expected a file as path: {error}") from error
    return f"topics of Python {platform.python_version()}", "\n\n".join(distinct_paragraphs(topics))


def distinct_paragraphs(topics: Mapping[str, str]) -> Iterator[str]:
    """Yields the paragraphs of all topics, sorted by the topics' names, but none that came before."""
    seen = set()
    for name in sorted(topics):
        for paragraph in re.split(r"\n\s*\n", topics[name].strip()):
            words = paragraph.strip()
            if words and words not in seen:
                seen.add(words)
                yield paragraph.rstrip()
