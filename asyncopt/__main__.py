"""The command ``asyncopt``, also ``python -m asyncopt``: one run, a sweep with ``-m``, or what reads their folders.

See ``conf/`` for what can be set.
"""

import importlib
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
    first = sys.argv[1] if len(sys.argv) > 1 else ""
    if first == "--version":
        import asyncopt

        print(f"asyncopt {asyncopt.__version__}")
        return
    if first == "run":
        del sys.argv[1]
        first = ""
    if first in _COMMANDS:
        sys.argv[:2] = [f"asyncopt {first}"]
        sys.exit(importlib.import_module(_COMMANDS[first]).main())
    if first.isidentifier():  # an override has a sign in it
        import difflib

        close = difflib.get_close_matches(first, _COMMANDS, 1)
        known = ", ".join(["run", *_COMMANDS])
        hint = f"; did you mean {close[0]}?" if close else ""
        sys.exit(f"asyncopt: {first}: no such command, expected one of {known}, or key=value{hint}")
    # Imported here, so that a signal during the import also prints its line.
    from asyncopt.run import command_line

    command_line.run()


if __name__ == "__main__":
    main()
