"""The command ``asyncopt``, also ``python -m asyncopt``: one run, a sweep with ``-m``, or what reads their folders.

See ``conf/`` for what can be set.
"""

import atexit
import gc
import importlib
import os
import pathlib
import sys

from asyncopt import stopping

# Where each of the other commands is.
_COMMANDS = {
    "report": "asyncopt.report.theorems",
    "curves": "asyncopt.report.curves",
    "compare": "asyncopt.report.comparing",
    "paired": "asyncopt.report.paired",
    "fit": "asyncopt.report.fitting",
    "verify": "asyncopt.run.verification",
}


def main() -> None:
    """Runs the command line; an error is one line on the standard error, and exit status 1."""
    stopping.install()
    # JAX has threads of its own. On a busy machine those of BLAS wait for each other: a factorisation of 256 columns
    # took a hundred times as long. With one thread its digits do not depend on the number of cores either.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Composing a configuration and tracing a program make many objects. Python, as it is set, spends a tenth of a short
    # run looking for cycles among them.
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)  # else Python searches all objects for cycles as it ends, for half a second
    with stopping.until_unread():
        _command(sys.argv[1:])


def _command(words: list[str]) -> None:
    """Runs the command that the words name."""
    match words:
        case ["--version" | "version", *_] | ["run", "--version" | "version", *_]:
            import asyncopt

            print(f"asyncopt {asyncopt.__version__}")
        case ["help", command, *_] | ["run", "help", command, *_] if command in _COMMANDS:
            _read(command, ["--help"])
        case [command, *options] if command in _COMMANDS:
            _read(command, options)
        case ["help", *overrides] | ["run", "help", *overrides]:
            _run(["--help", *overrides])
        case ["run", *overrides] | overrides:
            _run(overrides)


def _read(command: str, options: list[str]) -> None:
    """Runs one of the commands that read the folders of runs."""
    sys.argv = [f"asyncopt {command}", *options]
    from asyncopt.run import start_up

    with start_up.importing():
        module = importlib.import_module(_COMMANDS[command])
    sys.exit(module.main())


def _run(overrides: list[str]) -> None:
    """Makes one run, or a sweep."""
    first = overrides[0] if overrides else ""
    if first and "=" not in first and first[0] not in "-+~":
        sys.exit(f"asyncopt: {_unknown(first)}")
    sys.argv[1:] = overrides
    # Imported here, so that a signal during the import also prints its line.
    from asyncopt.run import start_up

    with start_up.importing():
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
