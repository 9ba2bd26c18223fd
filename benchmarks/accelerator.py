"""Times the workloads on an accelerator and on the CPU, each beside a plain Optax loop on the same device.

    python benchmarks/accelerator.py [--output FILE] [--largest 256] [--rounds 5]

Two tables for each device. The first has the time of an update: of the plain loop, of the loop of the replay under
uniform delay up to 20, and of `asyncopt.replay` as it is called. The second has the time of an update of one run among
1 to 256 runs side by side, and the number of runs that saturates the device: the least with which an update takes at
most a tenth longer than with the best. Each device has a process of its own. Without an accelerator there are the
CPU's tables alone.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

LANES = (1, 4, 16, 64, 256)
AS_GOOD = 1.1


def of_one_run(name, workload, rounds):
    """Times an update in each of the loops; returns the rows."""
    # JAX takes its device from the environment when it is imported: only in the process of a device.
    import timing
    from loops import MAX_DELAY, plain_loop, replay_loop

    import asyncopt

    trace = asyncopt.traces.uniform(workload.num_updates, MAX_DELAY)
    optimizer = asyncopt.apam(1e-3)
    calls = {
        "plain Optax loop": plain_loop(workload.problem, optimizer, workload.num_updates),
        "loop": replay_loop(workload.problem, optimizer, trace),
        "replay": lambda: asyncopt.replay(workload.problem, optimizer, trace).params,
    }
    return timing.compare(f"{name}, {workload.num_updates} updates", calls, workload.num_updates, rounds)


def of_many_runs(name, workload, largest, rounds):
    """Times an update of one run among many; prints and returns microseconds by the number of runs."""
    from loops import microseconds_of_one

    by_lanes = {}
    for lanes in (lanes for lanes in LANES if lanes <= largest):
        num_updates = max(workload.num_updates // lanes, 20)
        by_lanes[lanes], _ = microseconds_of_one(workload.problem, num_updates, lanes, rounds)
    saturating = min(lanes for lanes, each in by_lanes.items() if each <= AS_GOOD * min(by_lanes.values()))
    listed = "".join(f"{lanes:>5}: {each:10.1f} µs" for lanes, each in by_lanes.items())
    print(f"  runs side by side {listed}   saturated by {saturating}", flush=True)
    return {"name": name, "microseconds": by_lanes, "saturated_by": saturating}


def on_this_device(largest, rounds, output):
    """Times all workloads on the device that JAX finds, and writes the rows after each of them."""
    import jax
    from workloads import workloads

    device = jax.devices()[0]
    print(f"\n{device.platform}: {device.device_kind}", flush=True)
    one, many = [], []
    content = {"platform": device.platform, "kind": device.device_kind, "one_run": one, "many_runs": many}
    for name, make in workloads().items():
        workload = make()
        one += [row._asdict() for row in of_one_run(name, workload, rounds)]
        many.append(of_many_runs(name, workload, largest, rounds))
        output.write_text(json.dumps(content, indent=1))


def main():
    """Starts a process for each device, and writes one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, help="file for all tables, JSON")
    parser.add_argument("--largest", type=int, default=max(LANES), help="largest number of runs side by side")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is timed")
    parser.add_argument("--here", action="store_true", help="time the device that JAX finds, in this process")
    options = parser.parse_args()
    if options.here:
        on_this_device(options.largest, options.rounds, options.output)
        return
    arguments = ["--here", "--largest", str(options.largest), "--rounds", str(options.rounds)]
    tables = []
    with tempfile.TemporaryDirectory() as folder:
        # JAX prefers an accelerator, unless it is told to take the CPU: here with one thread, as the command has it.
        for environment in ({"PJRT_NPROC": "1"}, {"PJRT_NPROC": "1", "JAX_PLATFORMS": "cpu"}):
            if tables and tables[0]["platform"] == "cpu":
                print("\nno accelerator was found")
                break
            output = pathlib.Path(folder, "tables.json")
            command = [sys.executable, __file__, *arguments, "--output", str(output)]
            subprocess.run(command, env=os.environ | environment, check=True)
            tables.append(json.loads(output.read_text()))
    if options.output is not None:
        options.output.write_text(json.dumps(tables, indent=1) + "\n")


if __name__ == "__main__":
    main()
