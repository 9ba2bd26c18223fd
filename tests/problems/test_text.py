"""Text as data: codes, the part held out, paragraphs that repeat, and what is refused."""

import platform
import re

import numpy as np
import pytest

import asyncopt
from asyncopt.problems import data
from asyncopt.problems.data.text import distinct_paragraphs


def decoded(text):
    """The characters of both parts."""
    return tuple("".join(text.vocabulary[code] for code in codes) for codes in (text.codes, text.test_codes))


def test_a_file_is_read_as_it_is_and_its_last_tenth_held_out(tmp_path):
    path = tmp_path / "own.txt"
    characters = "one fish\r\n\n\ntwo fish, red 鱼 blue 🐟 one fish.\n" * 3 + "the end: ß"
    path.write_bytes(characters.encode())
    text = data.text(path)
    assert text.name == str(path)
    training, held_out = decoded(text)
    assert training + held_out == characters
    assert len(held_out) == round(len(characters) / 10)
    assert "ß" not in training  # the vocabulary is that of the whole text
    assert "ß" in held_out
    assert list(text.vocabulary) == sorted(set(characters))
    assert text.codes.dtype == text.test_codes.dtype == np.int32
    assert len(data.text(path, test_fraction=0.5).test_codes) == round(len(characters) / 2)
    assert decoded(data.text(path, test_fraction=0)) == (characters, "")
    with pytest.raises(AttributeError):
        text.name = "another"
    with pytest.raises(ValueError, match="read-only"):
        text.codes[0] = 1


def test_a_paragraph_that_came_before_is_left_out():
    topics = {
        "b": "  First.\n\nSecond,\n  indented.\n\n \nThird.\n",
        "a": "Second,\n  indented.\n\nFourth.",
        "c": "\nThird.",
    }
    assert list(distinct_paragraphs(topics)) == ["Second,\n  indented.", "Fourth.", "First.", "Third."]


def test_the_default_text_is_pythons_documentation_without_repetitions():
    text = data.text()
    assert text.name == f"topics of Python {platform.python_version()}"
    training, held_out = decoded(text)
    assert len(training) > 200_000
    assert len(held_out) == round((len(training) + len(held_out)) / 10)
    paragraphs = [paragraph.strip() for paragraph in re.split(r"\n\s*\n", training + held_out)]
    assert len(paragraphs) == len(set(paragraphs))
    pieces = [held_out[start : start + 100] for start in range(0, len(held_out) - 100, 10)]
    assert np.mean([piece in training for piece in pieces]) < 0.01
    assert repr(text).startswith(f"Text('topics of Python {platform.python_version()}', {len(training):,} characters, ")


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        (None, {}, r"own\.txt: path is no file that can be read: No such file"),
        (b"", {}, r"own\.txt: empty, expected a text in UTF-8"),
        (b"caf\xe9 au lait", {}, r"own\.txt: byte 3 is 0xe9, expected a text in UTF-8: invalid continuation byte"),
        (b"abc", {}, r"own\.txt: 3 characters, test_fraction is 0\.1, expected a character in both parts"),
        (
            b"abc",
            {"test_fraction": 0.9},
            r"own\.txt: 3 characters, test_fraction is 0\.9, expected a character in both",
        ),
        (b"abc", {"test_fraction": 1}, r"test_fraction is 1, expected a finite number >= 0 and < 1"),
        (b"abc", {"test_fraction": -0.1}, r"test_fraction is -0\.1, expected"),
        (b"abc", {"test_fraction": "a tenth"}, r"test_fraction is 'a tenth', expected"),
        (b"abc", {"path": 3.5}, r"path is 3\.5, expected a file"),
        (b"abc", {"path": "a\0b"}, r"path is 'a\\x00b', expected a file: embedded null byte"),
        (b"abc", {"path": "/"}, r"/: path is no file that can be read: Is a directory"),
    ],
)
def test_what_is_no_text_is_refused(content, settings, message, tmp_path):
    path = tmp_path / "own.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(asyncopt.InputError, match=message):
        data.text(**{"path": path, **settings})


CODES = np.arange(2, dtype=np.int32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, "ab", CODES, CODES), "name is 1, expected a text"),
        (("t", "ba", CODES, CODES), "t: vocabulary is 'ba', expected distinct characters, sorted"),
        (("t", "aa", CODES, CODES), "t: vocabulary is 'aa', expected distinct characters, sorted"),
        (("t", "ab", CODES + 1, CODES), "t: codes has code 2 at 1, expected 0 to 1"),
        (("t", "ab", CODES, CODES - 1), "t: test_codes has code -1 at 0, expected 0 to 1"),
        (("t", "ab", CODES, CODES.astype(float)), r"t: test_codes is array\(.*expected an array int32"),
        (("t", "ab", CODES, CODES[None]), r"t: test_codes is array\(.*expected an array int32"),
        (("t", "ab", CODES, [0, 1]), r"t: test_codes is \[0, 1\], expected an array int32"),
        (("t", "ab", CODES[:0], CODES), "t: no characters in codes, expected at least one to train on"),
    ],
)
def test_codes_outside_of_the_vocabulary_are_refused(arguments, message):
    with pytest.raises(asyncopt.InputError, match=message):
        data.Text(*arguments)
