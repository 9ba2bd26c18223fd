"""What ``${staleness_or:...}`` and ``${workers_or:...}`` in conf/ mean. Hydra may ask at any time, so no JAX here."""

from omegaconf import DictConfig, OmegaConf

from asyncopt.run import staleness

# Prefixes of the settings that follow `staleness`, in an unresolved configuration.
PREFIXES = ("${staleness_or:", "${workers_or:")


def register() -> None:
    """Registers both resolvers with OmegaConf."""
    OmegaConf.register_new_resolver("staleness_or", _staleness_or, replace=True)
    OmegaConf.register_new_resolver("workers_or", _workers_or, replace=True)


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
