"""Composes once what the configurations of a sweep's jobs have in common."""

import copy
import functools
from collections.abc import Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

# A sweep over values needs one.
_MOST_TEMPLATES = 64


class ComposedOnce:
    """A loader that reads configuration files once for all jobs that choose the same ones.

    Hydra composes every job's configuration from files twice, 0.06 s each: in its sweeper, as a check, and in the
    launcher. Here a job whose overrides only set values gets a copy of a composed configuration, with its own values,
    in 0.005 s. The launcher gets the configuration that the sweeper's check has composed.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        self.loader = loader
        self._unclaimed: dict[tuple[str, ...], DictConfig] = {}
        self._template = functools.lru_cache(maxsize=_MOST_TEMPLATES)(self._compose)
        self._master: DictConfig | None = None

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Returns the configuration of a job. Hydra's sweeper asks first, and the launcher gets the same one."""
        if master_config is not self._master:
            self._master = master_config
            self._template.cache_clear()
            self._unclaimed.clear()
        key = tuple(sweep_overrides)
        if key in self._unclaimed:
            return self._unclaimed.pop(key)
        config = self._from_template(sweep_overrides) or self._compose(*sweep_overrides)
        OmegaConf.copy_cache(from_config=master_config, to_config=config)
        self._unclaimed[key] = config
        return config

    def _compose(self, *overrides: str) -> DictConfig:
        assert self._master is not None
        return self.loader.load_sweep_config(self._master, list(overrides))

    def _from_template(self, overrides: list[str]) -> DictConfig | None:
        """Sets values in a copy; None where Hydra might do something else."""
        parsed = OverridesParser.create().parse_overrides(overrides)
        values = [override for override in parsed if _sets_a_value(override)]
        others = [override for override in parsed if not _sets_a_value(override)]
        if not values or any(_depends_on_its_place(override) for override in others):
            return None
        config = copy.deepcopy(self._template(*[override.input_line for override in others]))
        try:
            for override in values:
                OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
        except OmegaConfBaseException:
            return None  # Hydra words such an error better
        _note(parsed, config)
        return config

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


def _sets_a_value(override: Override) -> bool:
    """Whether an override changes an existing value, and nothing else.

    A name without a dot may be a group of files, and an override of Hydra's own settings may change how it composes.
    """
    changes = not (override.is_add() or override.is_force_add() or override.is_delete())
    plain = override.package is None and not isinstance(override.value(), dict)
    return changes and plain and "." in override.key_or_group and not override.is_hydra_override()


def _depends_on_its_place(override: Override) -> bool:
    """Whether an override may touch values that others set: a mapping, or something added or removed."""
    inside = "." in override.key_or_group and not override.is_hydra_override()
    return inside or isinstance(override.value(), dict)


def _note(overrides: Sequence[Override], config: DictConfig) -> None:
    """Writes into a configuration which overrides it has, as Hydra does."""
    ours = [override for override in overrides if not override.is_hydra_override()]
    job = config.hydra.job
    config.hydra.overrides.task = [override.input_line for override in ours]
    naming = job.config.override_dirname
    named = sorted(str(override.input_line) for override in ours if override.key_or_group not in naming.exclude_keys)
    job.override_dirname = naming.item_sep.join(named).replace("=", naming.kv_sep)
