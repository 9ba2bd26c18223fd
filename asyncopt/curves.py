"""``python -m asyncopt.curves FOLDER``: training curves under delay, from run folders. See `asyncopt.report.curves`."""

import sys

from asyncopt import stopping
from asyncopt.report.curves import main

if __name__ == "__main__":
    with stopping.until_unread():
        sys.exit(main())
