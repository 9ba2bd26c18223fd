"""From a task to a run: the objects that a configuration names."""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

import optax

from asyncopt.checks import InputError, check_number
from asyncopt.engine import Run
from asyncopt.engine.probes import chosen
from asyncopt.engine.work import Work
from asyncopt.optim import parametric, step_size
from asyncopt.problems import Problem
from asyncopt.run.task import Task, constructor, errors_of


def build(task: Task) -> Run:
    """Makes the problem, the optimizer and the probes of a task.

    Raises:
      InputError: if one of them refuses its settings; the message starts with the config group.
    """
    settings = task.settings
    if settings["constraint"] is not None and "constraint" not in settings["problem"]:
        raise InputError(f"problem: {settings['problem']['_target_']} takes no constraint, expected constraint=null")
    problem = _problem(json.dumps(settings["problem"]), settings["precision"])
    optimizer_settings = dict(settings["optimizer"])
    objects: dict[str, Any] = {}
    if "constraint" in optimizer_settings:
        # The problem's own object: F* and the steps must be about the same set.
        objects["constraint"] = getattr(problem, "constraint", None)
        del optimizer_settings["constraint"]
    elif settings["constraint"] is not None:
        raise InputError(f"optimizer: {optimizer_settings['_target_']} keeps no constraint, expected optimizer=apam")
    rotates = (settings["handling"] or {}).get("_target_") == "asyncopt.optim.rotate_basis"
    if settings["constraint"] is not None and rotates:
        raise InputError("handling: rotate_basis would project in turned coordinates, expected constraint=null")
    with errors_of("optimizer"):
        alpha, schedule = optimizer_settings.pop("learning_rate"), optimizer_settings.pop("schedule", "constant")
        objects["learning_rate"] = step_size(schedule, alpha, task.trace.num_updates)
        make = constructor("optimizer", optimizer_settings)
        optimizer = parametric(make.func, **make.keywords, **objects)
    if settings["handling"] is not None:
        wrap = constructor("handling", settings["handling"])
        with errors_of("handling"):
            wrap(optimizer)  # runs the wrapper's checks here, so that its errors do not name the optimizer
        handled = _Handled(make.func, wrap.func, tuple(sorted(wrap.keywords.items())))
        optimizer = parametric(handled, **make.keywords, **objects)
    probes = chosen(optimizer, problem, settings["record_bounds"], ())
    return Run(problem, optimizer, task.trace, task.seeds, probes, _work(settings["work"]))


def _work(settings: Mapping[str, Any] | None) -> Work | None:
    if settings is None:
        return None
    own, objects = dict(settings), {}
    with errors_of("work"):
        if "inner_optimizer" in own:
            inner = own.pop("inner_optimizer")
            if "learning_rate" in inner:
                check_number("inner_optimizer.learning_rate", inner["learning_rate"], at_least=0)
            make = constructor("work.inner_optimizer", inner)
            objects["inner_optimizer"] = parametric(make.func, **make.keywords)
        return constructor("work", own)(**objects)


@dataclasses.dataclass(frozen=True)
class _Handled:
    """The constructor of a wrapped optimizer; equal ones share a compilation."""

    base: Callable[..., optax.GradientTransformation]
    wrapper: Callable[..., optax.GradientTransformation]
    settings: tuple[tuple[str, Any], ...]  # arguments of the wrapper

    def __call__(self, **base_settings: Any) -> optax.GradientTransformation:
        return self.wrapper(self.base(**base_settings), **dict(self.settings))


@functools.lru_cache(maxsize=1)
def _problem(settings: str, precision: str) -> Problem:
    """Makes a problem from its configuration in JSON. The next job with the same one reads no data.

    Args:
      settings: the settings of the problem, data included.
      precision: precision of the arrays. JAX is set to it already; here it is only part of the cache's key.
    """
    del precision
    make = constructor("problem", json.loads(settings))
    with errors_of("problem"):
        return make()
