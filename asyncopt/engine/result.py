"""The results of a replay."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int, PyTree

from asyncopt.engine.prepare import Prepared
from asyncopt.engine.state import Evaluation, LoopState
from asyncopt.shown import Shown

if TYPE_CHECKING:  # neither is needed for a replay, and both take long to import
    import pandas as pd
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True, repr=False)
class Result(Shown):
    """One run, or several seeds of it; arrays then have a leading axis of seeds, written [S] below.

    Three clocks must not be mixed up: ``step`` counts updates, each of which uses one gradient; ``computed`` counts
    all gradients that a server took up, also those that it ignored; ``time`` is the trace's own clock in seconds.

    Args:
      params: iterate K, a pytree of jax arrays.
      average: the mean of iterates 0..K - 1, float32 at least; None if it was not kept.
      optimizer_state: the optimizer's state after the last update.
      step: int64[E], updates made at each evaluation, from 0 to K.
      time: float64[E], the trace's clock then, or None if the trace has none.
      computed: int64[E], gradients that the server had taken up then, used or not; None if the trace does not say.
      objective: [S] float[E], F of the iterate; inf once diverged.
      grad_norm_sq: [S] float[E], ‖∇F‖² of the iterate.
      gap: [S] float[E], objective - F*, or None if F* is unknown.
      average_objective: [S] float[E], F of the running average, or None if it was not kept.
      average_gap: [S] float[E], average_objective - F*, or None if one of the two is unknown.
      drift: [S] float[E], mean of ‖x_k - y_k‖² (iterate against the stale one) over the updates since the
        evaluation before; 0 at step 0.
      metrics: the problem's own measurements, [S] float[E] each.
      bound_terms: what the probes recorded, over all updates up to each evaluation, [S] float[E] each; for APAM, see
        `asyncopt.engine.apam_probe.ApamColumns`. None without a probe.
      diverged_at: [S] int, the update that first gave an iterate, or F there, that is not finite; -1 if none.
      seeds: the seeds, in the order of the leading axis.
      num_slots: the number of iterates that the plan keeps at once.
      seconds: wall-clock time, compilation excluded; in a batch of runs, the share of this run.
      evaluation_seconds: the part of ``seconds`` that went into evaluations: their number times the time of one.
      updates_per_second: updates of all seeds together a second, compilation excluded.
    """

    params: PyTree
    average: PyTree
    optimizer_state: PyTree
    step: Int[np.ndarray, " E"]
    time: Float[np.ndarray, " E"] | None
    computed: Int[np.ndarray, " E"] | None
    objective: Float[np.ndarray, "*S E"]
    grad_norm_sq: Float[np.ndarray, "*S E"]
    gap: Float[np.ndarray, "*S E"] | None
    average_objective: Float[np.ndarray, "*S E"] | None
    average_gap: Float[np.ndarray, "*S E"] | None
    drift: Float[np.ndarray, "*S E"]
    metrics: Mapping[str, Float[np.ndarray, "*S E"]]
    bound_terms: Mapping[str, Float[np.ndarray, "*S E"]] | None
    diverged_at: Int[np.ndarray, "*S"]
    seeds: tuple[int, ...]
    num_slots: int
    seconds: float
    evaluation_seconds: float
    updates_per_second: float

    def _facts(self) -> list[str]:
        name = "objective" if self.gap is None else "gap"
        values = np.atleast_2d(getattr(self, name))
        number, mean = ([f"{len(self.seeds)} seeds"], "mean ") if len(self.seeds) > 1 else ([], "")
        diverged = int(np.sum(self.diverged_at >= 0))
        # The mean of infinities is infinity; of a run that overflowed it may be NaN, which says less.
        first, last = (np.mean(values[:, at]) for at in (0, -1))
        facts = [f"{self.step[-1]:,} updates", *number, f"{mean}{name} {first:.4g} → {last:.4g}"]
        return [*facts, *([f"{diverged} diverged"] if diverged else []), f"{self.seconds:.3g} s"]

    def to_frame(self) -> "pd.DataFrame":
        """Returns the measurements as a table: a row for each seed and evaluation, as `asyncopt.load_runs` has them."""
        import pandas as pd

        return pd.DataFrame(self.to_arrays())

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Returns the columns of `to_frame`, in their order, without pandas."""
        columns = {
            "objective": self.objective,
            "gap": self.gap,
            "grad_norm_sq": self.grad_norm_sq,
            "average_objective": self.average_objective,
            "average_gap": self.average_gap,
            "drift": self.drift,
            **self.metrics,
            **(self.bound_terms or {}),
        }
        num_seeds, num_steps = len(self.seeds), len(self.step)
        frame = {"seed": np.repeat(self.seeds, num_steps), "step": np.tile(self.step, num_seeds)}
        if self.time is not None:
            frame["time"] = np.tile(self.time, num_seeds)
        if self.computed is not None:
            frame["computed"] = np.tile(self.computed, num_seeds)
        return frame | {name: np.ravel(values) for name, values in columns.items() if values is not None}

    def plot(self, title: str = "") -> "Figure":
        """Draws the gap (or F, where F* is unknown) against updates, for the iterate and for the average.

        Args:
          title: what was run, for the first line of the title.

        Returns:
          A matplotlib figure, which a notebook shows. ``.savefig(path)`` writes it.
        """
        from asyncopt.drawing import training

        diverged = int(np.sum(self.diverged_at >= 0))
        return training.curve(self.to_arrays(), title or f"{self.step[-1]:,} updates", num_diverged=diverged)


def measured(evaluation: Evaluation, optimum: float | None) -> dict[str, np.ndarray]:
    """Returns what was measured by the names of `Result.to_frame`.

    Args:
      evaluation: evaluations, as NumPy arrays.
      optimum: F*, or None.
    """
    objective, average = evaluation.objective, evaluation.average_objective
    columns = {
        "objective": objective,
        "gap": None if optimum is None else objective - optimum,
        "grad_norm_sq": evaluation.grad_norm_sq,
        "average_objective": average,
        "average_gap": None if optimum is None or average is None else average - optimum,
        "drift": evaluation.drift,
        **evaluation.metrics,
    }
    for probed in evaluation.probed:
        columns |= probed._asdict()
    return {name: np.asarray(values) for name, values in columns.items() if values is not None}


def result_of(
    run: Prepared, state: LoopState, evaluations: Evaluation, seconds: float, evaluation_seconds: float
) -> Result:
    """Returns the result of a run whose loop has ended.

    Args:
      run: the run.
      state: its state after the last update.
      evaluations: all evaluations, as NumPy arrays whose last axis is E.
      seconds: wall-clock time, compilation excluded.
      evaluation_seconds: the part of it that went into evaluations.
    """
    optimum = None if run.problem.optimum is None else float(run.problem.optimum)
    time, computed, values = run.trace.time, run.trace.computed, measured(evaluations, optimum)
    bound_terms = {name: values[name] for columns in evaluations.probed for name in columns._fields}
    return Result(
        params=state.params,
        average=state.average,
        optimizer_state=state.optimizer_state,
        step=run.steps,
        time=None if time is None else np.concatenate([[0.0], time])[run.steps],
        computed=None if computed is None else np.concatenate([[0], computed])[run.steps],
        objective=values["objective"],
        grad_norm_sq=values["grad_norm_sq"],
        gap=values.get("gap"),
        average_objective=values.get("average_objective"),
        average_gap=values.get("average_gap"),
        drift=values["drift"],
        metrics={name: values[name] for name in evaluations.metrics},
        bound_terms=bound_terms or None,
        diverged_at=np.asarray(state.diverged_at),
        seeds=run.seeds,
        num_slots=run.slots.num_slots,
        seconds=seconds,
        evaluation_seconds=evaluation_seconds,
        updates_per_second=run.trace.num_updates * len(run.seeds) / seconds,
    )
