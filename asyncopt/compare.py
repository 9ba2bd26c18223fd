"""``python -m asyncopt.compare FOLDER``: which method reaches a target first. See `asyncopt.report.comparing`."""

import sys

from asyncopt import stopping
from asyncopt.report.comparing import main

if __name__ == "__main__":
    with stopping.until_unread():
        sys.exit(main())
