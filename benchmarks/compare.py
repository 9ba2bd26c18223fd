"""Names what has become slower, by more than its noise, from one file of `benchmarks/bench.py` to another.

    python benchmarks/compare.py OLD NEW

Ratios to the reference of each table are compared, not times. A ratio has become larger if all of the quartiles of its
rounds are above the old ones. The exit status is 1 if one has.
"""

import json
import pathlib
import sys


def read(path: str) -> tuple[dict[str, object], dict[tuple[str, str, str], dict[str, float]]]:
    """Returns the machine of a file, and its rows by threads, table and name."""
    content = json.loads(pathlib.Path(path).read_text())
    return content["machine"], {(row["threads"], row["table"], row["name"]): row for row in content["rows"]}


def slower(old: dict[str, float], new: dict[str, float]) -> bool:
    """Whether a ratio has become larger by more than its noise."""
    return new["low"] > old["high"]


def main(arguments: list[str]) -> int:
    """Prints a line for each row that has become slower or faster, and what was measured in one of the files only."""
    if len(arguments) != 2:
        print(__doc__)
        return 2
    (old_machine, old), (new_machine, new) = map(read, arguments)
    for name in sorted(old_machine.keys() | new_machine.keys()):
        if old_machine.get(name) != new_machine.get(name):
            print(f"{name}: {old_machine.get(name)}, now {new_machine.get(name)}")
    worse = 0
    for key in sorted(old.keys() | new.keys()):
        label = ", ".join(key)
        if key not in old or key not in new:
            print(f"only in {arguments[key in new]}: {label}")
            continue
        change = f"{old[key]['ratio']:.3f} -> {new[key]['ratio']:.3f}"
        if slower(old[key], new[key]):
            worse += 1
            print(f"slower: {label}: {change}")
        elif slower(new[key], old[key]):
            print(f"faster: {label}: {change}")
    print(f"{len(old.keys() & new.keys())} rows compared, {worse} slower by more than their noise")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
