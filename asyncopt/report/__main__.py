"""``python -m asyncopt.report FOLDER``: verdicts on the theorems and figures. See `asyncopt.report.theorems`."""

import sys

from asyncopt.report.theorems import main

if __name__ == "__main__":
    sys.exit(main())
