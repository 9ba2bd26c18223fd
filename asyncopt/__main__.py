"""The command ``asyncopt``, also ``python -m asyncopt``: one run, a sweep with ``-m``, or what reads their folders.

See ``conf/`` for what can be set.
"""

import importlib
import pathlib
import sys

from asyncopt import stopping

# Where each of the other commands is.
_COMMANDS = {
    "report": "asyncopt.report.theorems",
    "curves": "asyncopt.report.curves",
    "compare": "asyncopt.report.comparing",
    "fit": "asyncopt.report.fitting",
    "verify": "asyncopt.run.verification",
}


def main() -> None:
    """Runs the command line; an error is one line on the standard error, and exit status 1."""
    stopping.install()
    words = sys.argv[1:]
    if words[:1] == ["run"]:
        words = words[1:]
    first = words[0] if words else ""
    if first == "help" and words[1:2] and words[1] in _COMMANDS:  # help report: report --help
        words = sys.argv[1:] = [words[1], "--help"]
        first = words[0]
    if first in ("--version", "version"):
        import asyncopt

        print(f"asyncopt {asyncopt.__version__}")
    elif first in _COMMANDS and words == sys.argv[1:]:
        sys.argv[:2] = [f"asyncopt {first}"]
        sys.exit(importlib.import_module(_COMMANDS[first]).main())
    elif first and first != "help" and "=" not in first and first[0] not in "-+~":
        sys.exit(f"asyncopt: {_unknown(first)}")
    else:
        sys.argv[1:] = ["--help", *words[1:]] if first == "help" else words
        # Imported here, so that a signal during the import also prints its line.
        from asyncopt.run import command_line

        command_line.run()


def _unknown(word: str) -> str:
    """Returns what to say of a first word that is neither a command nor key=value."""
    import difflib

    if word in _COMMANDS:
        hint = f"; did you mean asyncopt {word}?"
    elif pathlib.Path(word).is_dir():
        hint = f"; did you mean asyncopt report {word}?"
    else:
        close = difflib.get_close_matches(word, _COMMANDS, 1)
        hint = f"; did you mean {close[0]}?" if close else ""
    known = ", ".join(["run", *_COMMANDS])
    return f"{word}: no such command, expected one of {known}, or key=value{hint}"


if __name__ == "__main__":
    main()
