"""``python -m asyncopt.compare FOLDER``: which method reaches a target first. See `asyncopt.report.comparing`."""

import sys

from asyncopt.report.comparing import main

if __name__ == "__main__":
    sys.exit(main())
