"""``python -m asyncopt.verify RUN_FOLDER``: is the replay of a recorded run bit-identical to the run?"""

import sys

from asyncopt import stopping
from asyncopt.run.verification import Verification, main, verify

__all__ = ["Verification", "main", "verify"]

if __name__ == "__main__":
    with stopping.until_unread():
        sys.exit(main())
