"""``python -m asyncopt``: one run, or with ``-m`` a sweep. See ``conf/`` for what can be set."""

from asyncopt import stopping


def main() -> None:
    """Runs the command line; an error is one line on the standard error, and exit status 1."""
    stopping.install()
    # Imported here, so that a signal during the import also prints its line.
    from asyncopt.run import command_line

    command_line.run()


if __name__ == "__main__":
    main()
