"""``python -m asyncopt.fit TRACE``: fits the cluster model to a recorded trace. See `asyncopt.report.fitting`."""

import sys

from asyncopt import stopping
from asyncopt.report.fitting import main

if __name__ == "__main__":
    with stopping.until_unread():
        sys.exit(main())
