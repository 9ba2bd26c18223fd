"""The launcher as Hydra knows it. Hydra executes this module to see what it offers: nothing heavy is imported here."""

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclasses.dataclass
class VectorizedLauncherConf:
    """The settings of ``hydra.launcher``.

    Args:
      runs_per_device: seeds of jobs side by side on one device; null for a number that suits the size of the model.
      engine: sends batches to other processes or machines, see `asyncopt.sweeps.engines`; null: they run here.
    """

    _target_: str = "hydra_plugins.asyncopt_launcher.launcher.VectorizedLauncher"
    runs_per_device: int | None = None
    engine: Any = None


ConfigStore.instance().store(
    group="hydra/launcher", name="asyncopt_vectorized", node=VectorizedLauncherConf, provider="asyncopt"
)


class VectorizedLauncher(Launcher):
    """Runs jobs that differ only in numbers as one program, and jobs of another application one by one.

    A batch runs first. Then each of its jobs begins and ends as under Hydra's basic launcher, with its own folder,
    configuration, log and callbacks. Its task function has the results already.
    """

    def __init__(self, runs_per_device: int | None = None, engine: Any = None) -> None:
        self.runs_per_device = runs_per_device
        self.engine = engine

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keeps what Hydra hands over, before its sweeper reads the jobs."""
        self.hydra_context = dataclasses.replace(hydra_context)  # a copy: the sweeper's own gets another loader
        self.task_function = task_function
        self.config = config
        self.sweepers_context = hydra_context
        self._compose_once()

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs one job for each list of overrides, and returns what each returned."""
        from hydra_plugins.asyncopt_launcher import _core

        launch = _core.Launch(
            self.hydra_context, self.loader, self.task_function, self.config, self.runs_per_device, self.engine
        )
        try:
            return launch.launch(job_overrides, initial_job_idx)
        finally:
            self._compose_once()  # anew for the next batch

    def _compose_once(self) -> None:
        from hydra_plugins.asyncopt_launcher._composed import ComposedOnce

        self.loader = cast(ConfigLoader, ComposedOnce(self.hydra_context.config_loader))
        self.sweepers_context.config_loader = self.loader
