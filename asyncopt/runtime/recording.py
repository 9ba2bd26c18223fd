"""The recording of a real run: its trace, the digest of every iterate, and the last state; its files."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt64

from asyncopt import traces
from asyncopt.checks import InputError
from asyncopt.engine import Result
from asyncopt.engine.checkpoint import plain
from asyncopt.files import npz
from asyncopt.traces import Trace

TRACE, RECORDING = "trace.npz", "recording.npz"
_KIND = "recording of asyncopt/1"


@dataclasses.dataclass(frozen=True)
class Recording:
    """A real run.

    Args:
      trace: the recorded trace, with worker, sample, arrival and time.
      result: the measurements, as a replay returns them.
      digests: uint64[K], digest of the parameters after each update.
      compute_seconds: float64[K], time from request to gradient, measured by the worker.
      incidents: workers lost and gradients refused. Each has "update", "worker", "what" ("lost" or "refused") and
        "reason".
    """

    trace: Trace
    result: Result
    digests: UInt64[np.ndarray, " K"]
    compute_seconds: Float[np.ndarray, " K"]
    incidents: Sequence[dict[str, Any]]

    def summary(self) -> dict[str, Any]:
        """Returns the facts of the run, ready for JSON."""
        kinds = [incident["what"] for incident in self.incidents]
        return {
            "updates_per_second": self.trace.updates_per_second,
            "mean_compute_seconds": float(self.compute_seconds.mean()),
            "workers_replaced": kinds.count("lost"),
            "gradients_refused": kinds.count("refused"),
            "incidents": list(self.incidents),
        }

    def save(self, folder: str | os.PathLike[str]) -> list[pathlib.Path]:
        """Writes ``trace.npz``, and ``recording.npz`` with digests and the last state, for `asyncopt.verify`.

        Returns:
          The paths of the two files.

        Raises:
          OSError: if a file cannot be written.
        """
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.trace.save(folder / TRACE)
        leaves = {f"leaf_{i}": leaf for i, leaf in enumerate(final_leaves(self.result).values())}
        fields = {"digests": self.digests, "compute_seconds": self.compute_seconds, **leaves}
        npz.write(folder / RECORDING, _KIND, fields)
        return [folder / TRACE, folder / RECORDING]


@dataclasses.dataclass(frozen=True)
class SavedRecording:
    """The files of a recording, as `load` reads them.

    Args:
      trace: the recorded trace.
      digests: uint64[K], digest of the parameters after each update.
      leaves: bytes of parameters and optimizer state after the last update, an array for each leaf.
    """

    trace: Trace
    digests: UInt64[np.ndarray, " K"]
    leaves: list[np.ndarray]


def load(folder: str | os.PathLike[str]) -> SavedRecording:
    """Reads the recording in a run folder.

    Raises:
      InputError: if a file is missing or damaged; the message names the file.
    """
    folder = pathlib.Path(folder)
    for name in (TRACE, RECORDING):
        if not (folder / name).is_file():
            raise InputError(
                f"{folder}: no recorded run, it has no {name}; expected the folder of runtime=threads or ray"
            )
    trace = traces.load(folder / TRACE)
    fields = npz.read(folder / RECORDING, _KIND)
    digests = fields.get("digests")
    if digests is None or digests.dtype != np.uint64 or digests.shape != (trace.num_updates,):
        raise InputError(f"{folder / RECORDING}: digests, expected uint64 for each of the {trace.num_updates} updates")
    count = sum(name.startswith("leaf_") for name in fields)
    if not all(f"leaf_{i}" in fields for i in range(count)):
        raise InputError(f"{folder / RECORDING}: fields {sorted(fields)}, expected leaf_0 to leaf_{count - 1}")
    return SavedRecording(trace, digests, [fields[f"leaf_{i}"] for i in range(count)])


def final_leaves(result: Result) -> dict[str, np.ndarray]:
    """Returns the bytes of parameters and optimizer state after the last update, by the names of their leaves."""
    leaves = {}
    for part, tree in (("params", result.params), ("optimizer_state", result.optimizer_state)):
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            leaves[part + jax.tree_util.keystr(path)] = np.frombuffer(plain(leaf).tobytes(), np.uint8)
    return leaves
