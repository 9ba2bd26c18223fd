"""What is written about a run: the measurements, the facts about it, and the labels that reports show.

Reports read the labels. They never look at the names of classes and functions in a configuration.
"""

import dataclasses
import platform
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from hydra.utils import get_object

from asyncopt import traces
from asyncopt.engine import Result, Run
from asyncopt.engine.probes import BROKEN_AT
from asyncopt.files import fingerprints
from asyncopt.run import staleness
from asyncopt.run.task import Task
from asyncopt.traces import Trace, durations
from asyncopt.traces.trace import COSTS


def summary(task: Task, run: Run, trace: Trace, result: Result) -> dict[str, Any]:
    """Returns the facts of a run that are not measurements over time, ready for JSON.

    Args:
      task: the configuration.
      run: the objects built from the configuration.
      trace: the trace that was replayed or recorded.
      result: the results.
    """
    return {
        "fingerprint": task.fingerprint,
        **named(task, run, trace),
        **replayed(run, trace, result),
        "timing": {
            "seconds": result.seconds,
            "evaluation_seconds": result.evaluation_seconds,
            "updates_per_second": result.updates_per_second,
        },
        "versions": versions(),
    }


def named(task: Task, run: Run, trace: Trace) -> dict[str, dict[str, Any]]:
    """Returns those facts of a run's summary that its configuration and its trace decide: names, and the rule."""
    return {"labels": _labels(task.settings, run.problem), "staleness": _staleness(task.settings, trace)}


def replayed(run: Run, trace: Trace, result: Result) -> dict[str, Any]:
    """Returns those facts of a run's summary that a replay gives again."""
    return {
        "trace": {
            "digest": trace.digest,
            "num_updates": trace.num_updates,
            "num_workers": trace.num_workers,
            "max_delay": trace.max_delay,
            "mean_delay": trace.mean_delay,
            "mean_square_delay": trace.mean_square_delay,
            "live_versions": trace.live_versions,
            **_costs(trace),
            "distinct_samples": len(np.unique(trace.sample)) == trace.num_updates,
        },
        "problem": _problem_facts(run.problem),
        "diverged_at": _by_seed(result, result.diverged_at),
        "certificates": _certificates(result),
    }


def _costs(trace: Trace) -> dict[str, Any]:
    """Returns the number of steps, and what a server's decisions cost, of a trace that says so."""
    costs = {name: value for name in COSTS if (value := getattr(trace, name)) is not None}
    return costs if trace.step is None and not costs else {"num_steps": trace.num_steps, **costs}


def versions() -> dict[str, Any]:
    """Returns the versions of Python and of the packages that compute, and the devices."""
    devices = [str(device) for device in jax.local_devices()]
    return {"python": platform.python_version(), "devices": devices, **fingerprints.package_versions()}


def _certificates(result: Result) -> dict[str, dict[str, int | None]]:
    """Returns, for each certificate and seed, the first update that broke it, or -1; None if the run diverged."""
    columns = {name: values[..., -1] for name, values in (result.bound_terms or {}).items()}
    return {
        name.removesuffix(BROKEN_AT): {
            seed: int(update) if np.isfinite(update) else None for seed, update in _by_seed(result, values).items()
        }
        for name, values in columns.items()
        if name.endswith(BROKEN_AT)
    }


def _by_seed(result: Result, values: Any) -> dict[str, Any]:
    return dict(zip(map(str, result.seeds), np.ravel(values).tolist(), strict=True))


def _problem_facts(problem: Any) -> dict[str, Any]:
    constants = getattr(problem, "constants", None)
    values = {} if constants is None else {f.name: getattr(constants, f.name) for f in dataclasses.fields(constants)}
    return {
        "optimum": None if problem.optimum is None else float(problem.optimum),
        **{name: value if value is None or isinstance(value, bool) else float(value) for name, value in values.items()},
        "rows": getattr(problem, "num_rows", None),
        "classes": getattr(problem, "num_classes", None),
        "attains_rate": getattr(problem, "attains_rate", False),
    }


def _labels(settings: Mapping[str, Any], problem: Any) -> dict[str, str | None]:
    """Returns the names of a run's components for titles and tables."""
    trace, optimizer = settings["trace"], settings["optimizer"]
    constraint = getattr(problem, "constraint", None)
    title = getattr(problem, "title", None) or _words(type(problem).__name__)
    data = _name_of(settings["problem"].get("data"))
    transform = get_object(optimizer["_target_"]).__name__.upper()
    handling = _name_of(settings["handling"])
    method = transform + (" with momentum" if optimizer.get("momentum") else "")
    in_rounds = get_object(trace["_target_"]) is traces.rounds or (settings["runtime"] or {}).get("synchronous", False)
    if in_rounds:
        method = f"synchronous {'AMSGrad' if method == 'APAM' else method}"
    elif handling:
        method = f"{method}, {handling}"
    policy = _policy(trace.get("policy") or settings.get("policy"))
    work = _work(settings.get("work"))
    method = ", ".join(filter(None, [method, policy, work]))
    return {
        "problem": f"{title} on {data}" if data else title,
        "data": data,
        "constraint": None if constraint is None else getattr(constraint, "title", _words(type(constraint).__name__)),
        "optimizer": transform,
        "handling": handling,
        "method": method,
        "trace": policy or _name_of(trace),
        "work": work,
        "clock": _clock(trace),
    }


def _clock(trace: Mapping[str, Any]) -> str | None:
    """Returns the workers' times in words, if the trace has such settings."""
    if not {"compute", "num_workers"} <= trace.keys():
        return None
    compute = trace["compute"]
    if isinstance(compute, Mapping) and "sum" in compute:
        terms = durations.as_total("compute", compute).terms
        return f"{' + '.join(term.distribution.replace('_', '-') for term in terms)} times"
    times = {key: trace[key] for key in ("num_workers", "compute", "stragglers", "slowdown") if key in trace}
    clock = traces.WorkerTimes(**times).label
    if not isinstance(compute, str | Mapping):  # a number of seconds, or one for each worker
        clock = clock.replace("constant", str(compute), 1)
    return clock


def _work(settings: Mapping[str, Any] | None) -> str | None:
    """Returns ``20 local steps of adamw, state kept`` for the settings of what a worker does."""
    if settings is None:
        return None
    name, steps = _name_of(settings), settings.get("num_steps")
    if isinstance(steps, list):
        name = f"{name}, {', '.join(map(str, steps))}"
    elif steps is not None:
        name = f"{steps} {name}"
    inner = _name_of(settings.get("inner_optimizer"))
    return ", ".join(
        filter(None, [f"{name} of {inner}" if inner else name, settings.get("keep_state") and "state kept"])
    )


def _policy(settings: Mapping[str, Any] | None) -> str | None:
    """Returns ``ringmaster, max delay 6, stops`` for the settings of a server's decisions."""
    if settings is None:
        return None
    words = [_name_of(settings) or ""]
    for key, value in settings.items():
        if key != "_target_" and value is not False and value is not None:
            name = key.replace("_", " ")
            words.append(name if value is True else f"{name} {value}")
    return ", ".join(words)


def _name_of(settings: Mapping[str, Any] | None) -> str | None:
    """Returns ``breast cancer`` for the settings of `asyncopt.problems.data.breast_cancer`."""
    if settings is None:
        return None
    if isinstance(settings.get("dataset"), Mapping):
        return f"{_name_of(settings['dataset'])} divided among workers"
    return get_object(settings["_target_"]).__name__.replace("_", " ").lower()


def _words(class_name: str) -> str:
    """Returns ``hard instance`` for ``HardInstance``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", class_name).lower()


def _staleness(settings: Mapping[str, Any], trace: Trace) -> dict[str, Any]:
    """Returns the rule τ(K) that the delays follow, and the settings of the trace that it decides.

    Without a configured rule, the label lists these settings. The factor, which sorts labels, is then the mean delay.
    """
    trace_settings = settings["trace"]
    marked = getattr(get_object(trace_settings["_target_"]), "staleness_setting", None)
    # Without the mark: all numbers of the trace except K and the seed.
    numbers = [k for k, v in trace_settings.items() if isinstance(v, int | float) and not isinstance(v, bool)]
    names = [marked] if marked else [name for name in numbers if name not in ("num_updates", "seed")]
    if settings["staleness"] is not None:
        rule = staleness.parse(settings["staleness"])
        label, factor, exponent = rule.label, rule.factor, rule.exponent
    elif trace.max_delay == 0:
        label, factor, exponent = "0", 0.0, 0.0
    else:
        label = ", ".join(f"{name} = {trace_settings[name]:g}" for name in names) or "the trace"
        factor, exponent = trace.mean_delay, 0.0
    return {"label": label, "factor": float(factor), "exponent": float(exponent), "settings": names}
