"""Which wrong claims the shipped sweeps would have noticed: ``python -m tests.analysis.noticed FOLDER...``.

Each folder is a sweep whose report has been written. The table is in ``docs/verdicts.md``.
"""

import json
import pathlib
import re
import sys

MUTANTS = {
    "no delay term": "delay term deleted",
    "delay term subtracted": "subtracted",
    "delay term halved": "halved",
    "bound halved": "bound halved",
    "constant halved": "bound halved",
}
COLUMNS = (*dict.fromkeys(MUTANTS.values()), "exponent off by 0.1")
# What each kind of claim is tried with.
TRIED = {"certificate": ("bound halved",), "bound": COLUMNS[:4], "constant": ("bound halved",)}


def column(name):
    """The column of a wrong claim that a verdict names."""
    return MUTANTS.get(name, COLUMNS[-1])


def kind(claim):
    """What a claim is tried with."""
    if claim.startswith("certificate"):
        return "certificate"
    if "constant" in claim:
        return "constant"
    return "bound" if claim.endswith("bound") else "exponent"


def rows(folder):
    """A row for each claim of a sweep; those that differ in the staleness alone are one row."""
    groups = {}
    for section in json.loads((folder / "report" / "verdicts.json").read_text())["studies"]:
        for verdict in section["verdicts"]:
            words = re.sub(r" at τ = \S+", "", verdict["claim"]).split(" (")[0]
            groups.setdefault(words, []).append(verdict)
    for words, verdicts in groups.items():
        tried = TRIED.get(kind(words), COLUMNS[-1:])
        counts = {name: sum(name in map(column, v["noticed"]) for v in verdicts) for name in tried}
        cells = [f"{counts[name]} of {len(verdicts)}" if name in counts else "" for name in COLUMNS]
        yield f"| `{folder.name}` | {words} | " + " | ".join(cells) + " |"


def main():
    """Prints the table."""
    print("| sweep | claim | " + " | ".join(COLUMNS) + " |")
    print("|---" * (len(COLUMNS) + 2) + "|")
    for folder in map(pathlib.Path, sys.argv[1:]):
        print(*rows(folder), sep="\n")


if __name__ == "__main__":
    main()
