"""What ``${staleness_or:...}`` and ``${workers_or:...}`` in conf/ mean. Hydra may ask at any time: no JAX here."""

from omegaconf import DictConfig, OmegaConf

from asyncopt.run import staleness

# How a setting that follows `staleness` begins in a configuration that is not yet resolved.
PREFIXES = ("${staleness_or:", "${workers_or:")


def register() -> None:
    """Registers both resolvers with OmegaConf."""
    OmegaConf.register_new_resolver("staleness_or", _staleness_or, replace=True)
    OmegaConf.register_new_resolver("workers_or", _workers_or, replace=True)


def _staleness_or(default: int | float, *, _parent_: DictConfig, _root_: DictConfig) -> int | float:
    """Returns the delay that ``staleness`` gives for the trace that asks, or the trace's own ``default``."""
    rule = OmegaConf.select(_root_, "staleness")
    num_updates = _parent_.get("num_updates")
    if rule is None or not isinstance(num_updates, int) or num_updates < 1:  # which the trace itself refuses
        return default
    return staleness.parse(rule)(num_updates)


def _workers_or(default: int, *, _parent_: DictConfig, _root_: DictConfig) -> int | float:
    """Returns the number of workers with that staleness: p workers have a mean delay of p - 1."""
    return _staleness_or(default - 1, _parent_=_parent_, _root_=_root_) + 1
