"""Runs the benchmarks that take minutes, and writes one file: what ``make bench`` calls.

    python benchmarks/bench.py [--output benchmarks/results/NAME.json]

Each benchmark is a process of its own. Those of the replay run twice: with one thread for XLA, as `python -m asyncopt`
has it (PJRT_NPROC=1), and with nothing set. `benchmarks/compare.py` compares two files.
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile

from asyncopt.run import facts

FOLDER = pathlib.Path(__file__).parent
ONE_THREAD = {"PJRT_NPROC": "1"}
BENCHMARKS = [
    ("replay_overhead.py", ONE_THREAD),
    ("replay_overhead.py", {}),
    ("sparse_logistic.py", ONE_THREAD),
    ("long_traces.py", ONE_THREAD),
]


def rows_of(script: str, environment: dict[str, str]) -> list[dict[str, object]]:
    """Returns the rows of a benchmark, with the environment it ran in."""
    inherited = {name: value for name, value in os.environ.items() if name not in ONE_THREAD}
    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder, "rows.json")
        command = [sys.executable, str(FOLDER / script), "--output", str(output)]
        subprocess.run(command, env=inherited | environment, check=True)
        threads = "one thread" if environment else "all cores"
        return [{**row, "threads": threads} for row in json.loads(output.read_text())]


def machine() -> dict[str, object]:
    """Returns what the times depend on."""
    cpu = pathlib.Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        **facts.versions(),
    }


def main() -> None:
    """Parses the command line, runs all benchmarks, and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, default=FOLDER / "results" / "latest.json")
    options = parser.parse_args()
    rows = [row for script, environment in BENCHMARKS for row in rows_of(script, environment)]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    print(f"\n{options.output}")


if __name__ == "__main__":
    main()
