"""``python -m asyncopt.report FOLDER``: verdicts on the theorems and figures. See `asyncopt.report.theorems`."""

import sys

from asyncopt import stopping
from asyncopt.report.theorems import main

if __name__ == "__main__":
    with stopping.until_unread():
        sys.exit(main())
