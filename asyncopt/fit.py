"""``python -m asyncopt.fit TRACE``: fits the cluster model to a recorded trace. See `asyncopt.report.fitting`."""

import sys

from asyncopt.report.fitting import main

if __name__ == "__main__":
    sys.exit(main())
