"""Times a run of 100 updates of digits as a process of its own, beside ``import jax, optax``.

    python benchmarks/startup.py [ROUNDS]

The processes take turns. A run before them compiles the programs, which are kept. Ratios are medians over rounds of a
time over the import's in the same round. On a busy machine the processor's time says more than the clock.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

ROUNDS = 9
RUN = [sys.executable, "-m", "asyncopt", "trace.num_updates=100", "progress=false", "force=true"]
IMPORT = "import jax, optax"
COMMANDS = {IMPORT: [sys.executable, "-c", IMPORT], "a run": RUN, "a run, plot=false": [*RUN, "plot=false"]}


class Seconds(NamedTuple):
    """How long a process took."""

    clock: float
    processor: float  # of all its threads, in its own code and in the system's


def once(command: list[str], folder: str) -> Seconds:
    """Runs a command in a folder, and returns how long it took."""
    options = [f"hydra.run.dir={folder}/run", f"compilation_cache={folder}/cache"] if "-m" in command else []
    began = time.perf_counter()
    process = subprocess.Popen([*command, *options], cwd=folder, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    took = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)  # else its end would be waited for again
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with exit status {process.returncode}")
    return Seconds(took, used.ru_utime + used.ru_stime)


def main() -> None:
    """Prints the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    seconds: dict[str, list[Seconds]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds + 1):
            for name, command in COMMANDS.items():
                took = once(command, folder)
                if number > 0:  # the first round compiles, and reads files that the others find in memory
                    seconds[name].append(took)
    print(f"{'':24}{'processor':>10}{'ratio':>8}{'clock':>10}{'ratio':>8}")
    for name in seconds:
        line = f"{name:24}"
        for kind in ("processor", "clock"):
            own, reference = ([getattr(value, kind) for value in seconds[which]] for which in (name, IMPORT))
            ratios = [a / b for a, b in zip(own, reference, strict=True)]
            line += f"{statistics.median(own):8.2f} s{statistics.median(ratios):8.2f}"
        print(line)


if __name__ == "__main__":
    main()
