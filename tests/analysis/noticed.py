"""Which wrong claims the shipped sweeps would have noticed: ``python -m tests.analysis.noticed FOLDER...``.

Each folder is a sweep whose report has been written. The table is in ``docs/verdicts.md``.
"""

import collections
import json
import pathlib
import re
import sys

from asyncopt.analysis import CONFIRMED, CONSISTENT, NOT_TESTED

_BOUND = ("no delay term", "delay term subtracted", "delay term halved", "bound halved")
# What the claims are tried with; those that are not here are tried with an exponent or a limit off by 0.1.
TRIED = {
    "certificate of every run": ("bound halved",),
    "measured mean ≤ a-posteriori bound": _BOUND,
    "a-posteriori bound ≤ a-priori bound": _BOUND,
    "K^1/2 times the mean is at most the a-priori bound's constant": ("constant halved",),
}
_OFF = "off by 0.1"


def counts(folder):
    """Of the verdicts that are confirmed, consistent or not tested: how many would have noticed a wrong claim."""
    found = collections.defaultdict(lambda: [0, 0])
    for study in json.loads((folder / "report" / "verdicts.json").read_text())["studies"]:
        for verdict in study["verdicts"]:
            if verdict["outcome"] not in (CONFIRMED, CONSISTENT, NOT_TESTED):
                continue
            claim = re.sub(r" at τ = \S+", "", verdict["claim"]).split(" (")[0]
            for wrong in TRIED.get(claim, (_OFF,)):
                noticed = verdict["noticed"] if wrong == _OFF else wrong in verdict["noticed"]
                found[claim, wrong][0] += bool(noticed)
                found[claim, wrong][1] += 1
    return found


def main():
    """Prints a row for each wrong claim, with a column for each sweep."""
    sweeps = {folder.name: counts(folder) for folder in map(pathlib.Path, sys.argv[1:])}
    rows = dict.fromkeys(row for found in sweeps.values() for row in found)
    print("| claim | wrong claim | " + " | ".join(f"`{name}`" for name in sweeps) + " |")
    print("|---" * (len(sweeps) + 2) + "|")
    for row in rows:
        cells = ("{} of {}".format(*found[row]) if row in found else "" for found in sweeps.values())
        print(f"| {row[0]} | {row[1]} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
