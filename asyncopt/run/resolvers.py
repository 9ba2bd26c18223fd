"""What the resolvers in conf/ mean, such as ``${staleness_or:...}``. Hydra may ask at any time, so no JAX here."""

import math
import pathlib
from collections.abc import Mapping

from omegaconf import DictConfig, OmegaConf

from asyncopt.checks import InputError
from asyncopt.run import staleness
from asyncopt.traces.rounds import gradients_a_round

_PACKAGE = pathlib.Path(__file__).resolve().parents[1]
# An installed copy carries the configuration inside the package; in a clone it lies at the root.
CONFIG_FOLDER = next(folder for folder in (_PACKAGE / "conf", _PACKAGE.parent / "conf") if folder.is_dir())
# Prefixes of the settings that follow `staleness`, in an unresolved configuration.
PREFIXES = ("${staleness_or:", "${workers_or:")


def register() -> None:
    """Registers the resolvers with OmegaConf."""
    OmegaConf.register_new_resolver("staleness_or", _staleness_or, replace=True)
    OmegaConf.register_new_resolver("workers_or", _workers_or, replace=True)
    OmegaConf.register_new_resolver("num_workers", _num_workers, replace=True)
    OmegaConf.register_new_resolver("gradients_a_round", _gradients_a_round, replace=True)
    OmegaConf.register_new_resolver("seeds_of_clock", _seeds_of_clock, replace=True)
    OmegaConf.register_new_resolver("times", _times, replace=True)
    OmegaConf.register_new_resolver("files_of", _files_of, replace=True)


def _staleness_or(default: int | float, *, _parent_: DictConfig, _root_: DictConfig) -> int | float:
    """Returns the delay that ``staleness`` gives for this trace, or ``default`` without a rule."""
    rule = OmegaConf.select(_root_, "staleness")
    num_updates = _parent_.get("num_updates")
    if rule is None or not isinstance(num_updates, int) or num_updates < 1:  # the trace refuses such a number
        return default
    return staleness.parse(rule)(num_updates)


def _workers_or(default: int, *, _parent_: DictConfig, _root_: DictConfig) -> int | float:
    """Returns the number of workers with that staleness: p workers have a mean delay of p - 1."""
    return _staleness_or(default - 1, _parent_=_parent_, _root_=_root_) + 1


def _num_workers(*, _root_: DictConfig) -> int:
    """Returns the number of workers of a real run, or else of the trace."""
    number = OmegaConf.select(_root_, "runtime.workers")
    if number is None:
        number = OmegaConf.select(_root_, "trace.num_workers")
    if number is None:
        raise InputError(
            f"the trace {OmegaConf.select(_root_, 'trace._target_')} sets no workers, expected trace=policy or "
            "trace=cluster, a real run, or a number"
        )
    return number


def _gradients_a_round(*, _root_: DictConfig) -> int:
    """Returns the number of gradients that a round of the trace applies; all, if the trace has no such setting."""
    num_workers = OmegaConf.select(_root_, "trace.num_workers")
    try:
        return gradients_a_round(num_workers, OmegaConf.select(_root_, "trace.take"))
    except (InputError, TypeError):  # the trace refuses it, too, and says so
        return num_workers


def _seeds_of_clock(clock: int, number: int) -> list[int]:
    """Returns seeds of mini-batches that no other clock has: those of clock 1 follow those of clock 0."""
    return [clock * number + seed for seed in range(number)]


def _times(*factors: int | float) -> int | float:
    """Returns a product; of what is no number, the first such factor, which a later check refuses by name."""
    wrong = [factor for factor in factors if isinstance(factor, bool) or not isinstance(factor, int | float)]
    return wrong[0] if wrong else math.prod(factors)


def _files_of(choices: Mapping[str, str | None]) -> str:
    """Returns the files of the chosen options for ``--help``: their comments say what each key means."""
    parts = []
    for name in ["config", *(f"{group}/{option}" for group, option in sorted(choices.items()) if option)]:
        path = CONFIG_FOLDER / f"{name}.yaml"
        if path.is_file():  # a shipped option: neither one of Hydra's nor one of the user's own
            text = path.read_text(encoding="utf-8").partition("\nhydra:\n")[0]
            parts.append(f"-- {name}.yaml --\n{text.strip()}\n")
    # Hydra reads a dollar in what is shown as the start of a name.
    return "\n".join(parts).replace("$", "$$")
