"""What tells two files of benchmarks apart."""

import json
import pathlib
import subprocess
import sys

COMPARE = pathlib.Path(__file__).parents[1] / "benchmarks" / "compare.py"


def compared(folder, old, new):
    """Returns the exit status and the output of a comparison of rows: name -> (low, ratio, high)."""
    for name, rows in (("old", old), ("new", new)):
        listed = [
            {"threads": "one thread", "table": "t", "name": key, "low": low, "ratio": ratio, "high": high}
            for key, (low, ratio, high) in rows.items()
        ]
        content = {"machine": {"cores": 2 if name == "old" else 4}, "rows": listed}
        (folder / f"{name}.json").write_text(json.dumps(content))
    command = [sys.executable, COMPARE, folder / "old.json", folder / "new.json"]
    process = subprocess.run(command, check=False, capture_output=True, text=True)
    return process.returncode, process.stdout


def test_only_what_is_slower_by_more_than_its_noise_is_named(tmp_path):
    old = {"loop": (1.0, 1.1, 1.2), "replay": (1.2, 1.3, 1.4), "fast": (2.0, 2.1, 2.2), "gone": (1.0, 1.0, 1.0)}
    new = {"loop": (1.15, 1.25, 1.3), "replay": (1.5, 1.6, 1.7), "fast": (1.0, 1.1, 1.2)}
    status, said = compared(tmp_path, old, new)
    assert status == 1
    assert [line for line in said.splitlines() if line.startswith("slower")] == [
        "slower: one thread, t, replay: 1.300 -> 1.600"
    ]
    assert "faster: one thread, t, fast" in said
    assert "only in " in said
    assert "cores: 2, now 4" in said


def test_a_file_is_no_slower_than_itself(tmp_path):
    rows = {"loop": (1.0, 1.1, 1.2), "reference": (1.0, 1.0, 1.0)}
    status, said = compared(tmp_path, rows, rows)
    assert status == 0
    assert "2 rows compared, 0 slower" in said
