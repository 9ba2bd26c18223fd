"""What a run's setting is, and what its method is. Runs of different settings are never pooled.

The setting is everything that is not the method: the problem with its data, the precision, the constraint, the number
of gradients, and the simulated cluster in all its parts. The method is the optimizer with all its settings, how stale
gradients are handled, and the runtime. Step size and gradients a round are tuned, so they belong to neither.
"""

import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from asyncopt.checks import InputError
from asyncopt.files.records import Record, flat
from asyncopt.traces.cluster import cluster
from asyncopt.traces.durations import Duration, as_total, constant
from asyncopt.traces.rounds import gradients_a_round

Flat = Mapping[str, Any]  # dotted names with plain values

# What a cluster is where a trace does not say it.
_DEFAULTS = {name: parameter.default for name, parameter in inspect.signature(cluster).parameters.items()}
_DURATIONS = ("compute", "server", "network")
_ROUNDS = "rounds"  # the label of a trace of synchronous rounds
_POLICY = "policy"  # the kind of the clock that all policies meet
_KINDS = ("cluster", _ROUNDS)  # labels of traces of one and the same cluster
# Settings of a trace that are no part of the clock.
_NOT_THE_CLOCK = (
    "_target_", "num_updates", "until", "num_workers", "seed", "take", "policy", *_DURATIONS, "stragglers", "slowdown"
)  # fmt: skip
_SURROUNDINGS = ("problem", "data", "precision", "param_dtype", "history_dtype", "constraint", "eval_every")


def surroundings(record: Record) -> Flat:
    """Returns the setting without the cluster: problem, data, precision, constraint, gradients, and evaluations."""
    steps = record.metrics["step"]
    parts = {name: record.config.get(name) for name in _SURROUNDINGS}
    of_optimizer = record.config["optimizer"].get("constraint")
    if of_optimizer not in (None, parts["constraint"]):
        parts["optimizer"] = {"constraint": of_optimizer}
    return {**flat(parts), "trace.num_updates": int(steps.max()), "evaluations": int(steps.nunique())}


def clock(trace: Mapping[str, Any]) -> Flat:
    """Returns the clock of a trace's cluster: all durations, the stragglers, and whatever else the trace sets.

    Different spellings of one clock give the same values. The number of workers is not part of it.

    Raises:
      InputError: if a duration is not one.
    """
    parts: dict[str, Any] = {}
    for name in _DURATIONS:
        value = trace.get(name)
        total = as_total(name, _DEFAULTS[name] if value is None else value)
        terms = [term for term in total.terms if not _is_nothing(term)] or [constant(0.0)]
        for number, term in enumerate(terms):
            part = name if len(terms) == 1 else f"{name}.{number}"
            parts[f"{part}.distribution"] = "constant" if _is_nothing(term) else term.distribution
            parts[f"{part}.mean"] = _plain(term.mean)
            parts[f"{part}.shape"] = None if _is_nothing(term) else term.shape
    stragglers = trace.get("stragglers") or 0
    parts["stragglers"] = stragglers
    parts["slowdown"] = float(trace.get("slowdown", _DEFAULTS["slowdown"])) if stragglers else None
    return parts | flat({key: value for key, value in trace.items() if key not in _NOT_THE_CLOCK})


def _is_nothing(duration: Duration) -> bool:
    return _plain(duration.mean) == 0.0


def _plain(mean: Any) -> Any:
    """Returns the mean of a duration as plain floats: one, one for each worker, or the numbers of a power."""
    if isinstance(mean, Mapping):
        return {name: float(number) for name, number in mean.items()}
    return float(mean) if isinstance(mean, int | float) else [float(each) for each in mean]


def clock_of(record: Record) -> Flat:
    """Returns `clock` of a run's trace, and what kind of cluster it is."""
    kind = record.labels["trace"]
    if record.config["trace"].get("policy") is not None:
        kind = _POLICY
    return {**clock(record.config["trace"]), "kind": "cluster" if kind in _KINDS else kind}


def is_random(parts: Flat) -> bool:
    """Whether a clock depends on the seed of the trace."""
    return any(value != "constant" for key, value in parts.items() if key.endswith(".distribution"))


def method(record: Record) -> Flat:
    """Returns all that the method is but the step size and the gradients a round, which are tuned."""
    optimizer, handling = dict(record.config["optimizer"]), dict(record.config.get("handling") or {})
    for tuned_or_common in ("learning_rate", "constraint"):
        optimizer.pop(tuned_or_common, None)
    if in_rounds(record):
        handling.pop("size", None)  # the gradients a round
    others = {name: record.config.get(name) for name in ("runtime", "work", "policy")}
    parts = {"optimizer": optimizer, "handling": handling, **others}
    return {**flat(parts), "rounds": in_rounds(record), "label": record.labels["method"]}


def in_rounds(record: Record) -> bool:
    """Whether a run's trace is of synchronous rounds that were simulated."""
    return record.labels["trace"] == _ROUNDS and "num_workers" in record.config["trace"]


def taken(record: Record) -> int | None:
    """Returns m, the gradients that a round applies; None for a trace without rounds."""
    trace = record.config["trace"]
    return gradients_a_round(int(trace["num_workers"]), trace.get("take")) if in_rounds(record) else None


def differences(one: Flat, other: Flat) -> dict[str, tuple[Any, Any]]:
    """Returns the names in which two differ, with both values."""
    names = sorted(one.keys() | other.keys())
    return {name: (one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)}


def in_words(differing: Mapping[str, tuple[Any, Any]]) -> str:
    """Returns ``compute.mean: 2.0, not 1.0`` for each name that differs."""
    return "; ".join(f"{name}: {_text(mine)}, not {_text(other)}" for name, (mine, other) in differing.items())


def names(labelled: Iterable[tuple[str, Flat]]) -> dict[str, str]:
    """Returns a name for each set of parts, keyed by `key`.

    A label that is enough is the name. If different parts have one label, the names add what differs: ``APAM (b1 =
    0.5)``.
    """
    by_label: dict[str, dict[str, Flat]] = {}
    for label, parts in labelled:
        by_label.setdefault(label, {})[key(parts)] = parts
    found = {}
    for label, variants in by_label.items():
        differing = _differing(list(variants.values()))
        for variant, parts in variants.items():
            values = ", ".join(f"{_short(name, differing)} = {_text(parts.get(name))}" for name in differing)
            found[variant] = f"{label} ({values})" if values else label
    return found


def key(parts: Flat) -> str:
    """Returns the parts as text: equal for equal parts."""
    return json.dumps(dict(parts), sort_keys=True)


def _differing(variants: Sequence[Flat]) -> list[str]:
    every = sorted(set().union(*variants))
    return [name for name in every if len({key({"": parts.get(name)}) for parts in variants}) > 1]


def _short(name: str, others: Sequence[str]) -> str:
    """Returns ``b1`` for ``optimizer.b1``, unless another name ends the same; durations keep their names."""
    group, _, last = name.rpartition(".")
    if group in _DURATIONS:
        return f"{group} {last}"
    return last if sum(other.rpartition(".")[2] == last for other in others) == 1 else name


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def check_is_on_a_cluster(record: Record) -> None:
    """Refuses a run without the clock of the simulated cluster.

    Raises:
      InputError: saying what it lacks.
    """
    if "time" not in record.metrics:
        raise InputError("its trace has no clock, expected trace=cluster or trace=rounds")
    if record.labels["clock"] is None:
        raise InputError("its trace is not of the simulated cluster, expected trace=cluster or trace=rounds")
