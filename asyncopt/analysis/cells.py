"""One run as a cell of a study: what its record must contain, what was measured, and its bounds."""

from typing import Any

import numpy as np
import pandas as pd

from asyncopt.theory import Evidence, Theorem

# What can be measured: the last value of a recorded column or, after "mean_", the mean of a column over the run.
QUANTITIES = {
    "average_gap": "gap of the average, $F(\\bar x_K) - F^*$",
    "mean_grad_norm_sq": "mean of $\\|\\nabla F(x_k)\\|^2$ over the run",
    "gap": "gap of the last iterate, $F(x_K) - F^*$",
    "grad_norm_sq": "$\\|\\nabla F(x_K)\\|^2$ of the last iterate",
}
_COLUMNS = ("seed", "step", "objective", "grad_norm_sq", "average_objective", "drift")
_FACTS = (
    *(f"trace.{name}" for name in ("num_updates", "max_delay", "mean_delay", "mean_square_delay")),
    *(f"labels.{name}" for name in ("problem", "optimizer", "trace")),
    *(f"staleness.{name}" for name in ("label", "factor", "exponent", "settings")),
)


def column(quantity: str) -> str:
    """Returns the recorded column that a quantity is computed from."""
    return quantity.removeprefix("mean_")


def refusal(frame: pd.DataFrame) -> str:
    """Returns why a run's table cannot be used, or ""."""
    for file, prefix, names in (("metrics.parquet", "", _COLUMNS), ("summary.json", "summary.", _FACTS)):
        missing = [name for name in names if prefix + name not in frame]
        if missing:
            return f"{file} has no {missing[0]}"
    num_updates = frame["summary.trace.num_updates"].iloc[0]
    num_seeds = frame["seed"].nunique()
    steps = frame["step"].to_numpy()
    if len(steps) % num_seeds or not (steps.reshape(num_seeds, -1) == steps[: len(steps) // num_seeds]).all():
        return "metrics.parquet does not have the same steps for every seed"
    if steps[0] != 0 or steps[-1] != num_updates:
        return f"metrics.parquet covers updates {steps[0]} to {steps[-1]}, expected 0 to {num_updates}"
    return ""


def evidence(frame: pd.DataFrame) -> Evidence:
    """Returns a run's table as theorems read it; `refusal` must have returned ""."""
    num_seeds = frame["seed"].nunique()
    recorded = [str(name) for name in frame if "." not in str(name) and frame[name].dtype.kind in "if"]
    return Evidence(
        facts={str(name): value for name, value in frame.iloc[0].items()},
        columns={name: frame[name].to_numpy().reshape(num_seeds, -1) for name in recorded},
    )


def cell(run: Evidence, quantity: str, theorem: Theorem | None) -> dict[str, Any]:
    """Returns a row of `Study.cells`, with ``measured`` (a number for each seed) and ``start`` (the largest at step 0).

    ``quantity`` is a key of `QUANTITIES`; with a ``theorem``, the row has its bounds. ``bounds`` has the parts of the
    a-posteriori bound, a row for each seed; ``proof`` and ``certificates`` what the theorem's functions return.
    """
    facts, columns, num_updates = run.facts, run.columns, run.num_updates
    values = columns[column(quantity)]
    measured = values[:, -1] if quantity in columns else run.mean_over_run(column(quantity))
    row: dict[str, Any] = {
        "rule": facts["summary.staleness.label"],
        "exponent": float(facts["summary.staleness.exponent"]),
        "factor": float(facts["summary.staleness.factor"]),
        "num_updates": num_updates,
        "delay": float(np.sqrt(facts["summary.trace.mean_square_delay"])),
        **{name: facts.get(f"summary.trace.{name}") for name in ("max_delay", "mean_delay", "num_workers")},
        "throughput": num_updates / columns["time"][0, -1] if "time" in columns else np.nan,
        "run": facts["run"],
        "measured": pd.Series(measured, index=columns["seed"][:, 0]),
        "start": float(np.max(values[:, 0])),
    }
    bounds = {"a_priori": theorem.bound_a_priori(run), "a_posteriori": theorem.a_posteriori(run)} if theorem else {}
    for name, bound in bounds.items():  # each the mean over the seeds
        row[name] = np.mean(bound.total)
        row |= {f"{name}_{part}": np.mean(value) for part, value in bound._asdict().items()}
    parts = bounds["a_posteriori"]._asdict() if bounds else {}
    by_seed = {part: np.broadcast_to(value, measured.shape) for part, value in parts.items()}
    row["bounds"] = pd.DataFrame(by_seed, index=columns["seed"][:, 0])
    row["proof"] = theorem.steps(run) if theorem else ()
    row["certificates"] = theorem.certificates(run) if theorem else ()
    return row
