"""How the launcher works: compose, plan, run each batch and then its jobs."""

import contextlib
import dataclasses
import logging
import pathlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, run_job, setup_globals
from hydra.errors import CompactHydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from asyncopt.checks import InputError
from hydra_plugins.asyncopt_launcher._composed import ComposedOnce

if TYPE_CHECKING:
    from asyncopt.engine.progress import SweepLine
    from asyncopt.sweeps.batching import Job, Part, Sweep
    from asyncopt.sweeps.engines import Engine

log = logging.getLogger("asyncopt.launcher")


@dataclasses.dataclass
class Sweeping:
    """One call of the launcher.

    Args:
      hydra_context: as Hydra gives it.
      loader: of the jobs' configurations.
      task_function: as Hydra gives it.
      config: of the sweep.
      runs_per_device: see `launcher.VectorizedLauncherConf`.
      engine: likewise.
    """

    hydra_context: HydraContext
    loader: ConfigLoader
    task_function: TaskFunction
    config: DictConfig
    runs_per_device: int | None
    engine: "Engine | None"

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs one job for each list of overrides, and returns what each returned."""
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        folder = pathlib.Path(str(self.config.hydra.sweep.dir))
        numbered = dict(enumerate(job_overrides, start=initial_job_idx))
        log.info(f"Launching {len(numbered)} jobs")
        for number, overrides in numbered.items():
            log.info(f"\t#{number} : {' '.join(filter_overrides(overrides))}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            configs = {number: self._compose(number, overrides) for number, overrides in numbered.items()}
            if not any(_is_ours(config) for config in configs.values()):
                return [self._run_job(config) for config in configs.values()]
            found = self._launch_ours(configs, numbered)
        except InputError as error:
            raise CompactHydraException(f"asyncopt: {error}") from error
        except OSError as error:
            raise CompactHydraException(f"asyncopt: {error}; jobs that are done are kept in {folder}") from error
        except KeyboardInterrupt:
            raise SystemExit(f"asyncopt: stopped; hydra.sweep.dir={folder} goes on with the rest") from None
        return [found[number] for number in numbered]

    def _compose(self, number: int, overrides: Sequence[str]) -> DictConfig:
        config = self.loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = number
            config.hydra.job.num = number
        return config

    def _launch_ours(self, configs: dict[int, DictConfig], overrides: dict[int, Sequence[str]]) -> dict[int, JobReturn]:
        from asyncopt.engine.progress import SweepLine
        from asyncopt.sweeps import batching

        jobs = {number: _job(number, config) for number, config in configs.items()}
        with_others = [job for job in jobs.values() if not _needs_its_own(configs[job.number])]
        sweep = batching.look(with_others, self.runs_per_device)
        alone = [number for number in jobs if number not in sweep.ahead]
        for note in (_summary(sweep, len(alone)), *sweep.notes):
            log.info(note)
        shown = any(_is_ours(config) and config.progress for config in configs.values())
        with SweepLine(len(jobs), len(sweep.ahead) - len(sweep.unfinished), sweep.num_updates, shown) as line:
            if self.engine is None:
                found = {}
                for part in sweep.parts:
                    found |= self._run_part(part, jobs, configs, sweep, line)
            else:
                found = self._send(self.engine, sweep, overrides, line)
            for number in alone:
                line.begin(1)
                with line.set_aside():
                    found[number] = self._run_job(configs[number])
                line.end(found[number].status is JobStatus.COMPLETED)
        return found

    def _run_part(
        self, part: "Part", jobs: dict[int, "Job"], configs: dict[int, DictConfig], sweep: "Sweep", line: "SweepLine"
    ) -> dict[int, JobReturn]:
        """Makes a batch, and then lets each of its jobs run, which finds its results there."""
        from asyncopt.run import experiment
        from asyncopt.sweeps import batching

        waiting = [number for number in part.numbers if sweep.ahead[number].record is None]
        line.begin(len(waiting))
        try:
            ahead = batching.run_part(part, jobs, sweep.ahead, sweep.built, line.update)
        except Exception as error:  # whatever it is, each job gets the chance to fail or succeed by itself
            log.warning(f"jobs {', '.join(map(str, part.numbers))} could not be run together: {error}")
            ahead = {number: sweep.ahead[number] if number not in waiting else None for number in part.numbers}
        found = {}
        for number in part.numbers:
            with line.set_aside(), experiment.made_ahead(ahead[number]):
                found[number] = self._run_job(configs[number])
            if number in waiting:
                line.end(found[number].status is JobStatus.COMPLETED)
            sweep.built.pop(number, None)
        kept = batching.checkpoint(part, jobs, sweep.ahead)
        if kept is not None and all(job.status is JobStatus.COMPLETED for job in found.values()):
            kept.remove()
        return found

    def _send(
        self, engine: "Engine", sweep: "Sweep", overrides: dict[int, Sequence[str]], line: "SweepLine"
    ) -> dict[int, JobReturn]:
        """Sends batches to where the engine has them run, and collects what comes back."""
        sweep.built.clear()
        there = dataclasses.replace(self, engine=None, loader=self.hydra_context.config_loader)
        state = Singleton.get_state()
        sent = [
            _Shipment(
                there,
                state,
                part,
                {number: list(overrides[number]) for number in part.numbers},
            )
            for part in sweep.parts
        ]
        line.begin(len(sweep.unfinished))
        found = {}
        for index, came in engine.run(sent, str(self.config.hydra.sweep.dir)):
            part = sweep.parts[index]
            if isinstance(came, BaseException):
                log.error(f"jobs {', '.join(map(str, part.numbers))} failed where they were sent: {came}")
                came = {number: _failed(came) for number in part.numbers}
            found |= came
            for number in part.numbers:
                if sweep.ahead[number].record is None:
                    done = came[number].status is JobStatus.COMPLETED
                    task = sweep.ahead[number].task
                    line.update(task.trace.num_updates * len(task.seeds) if done else 0)
                    line.end(done)
        return found

    def _run_job(self, config: DictConfig) -> JobReturn:
        result = run_job(
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        return result


@dataclasses.dataclass
class _Shipment:
    """A batch on its way to another process: all that is needed to make it there."""

    sweeping: Sweeping
    state: Any  # Hydra's own
    part: "Part"
    overrides: dict[int, list[str]]  # of each job

    def __call__(self) -> dict[int, JobReturn]:
        """Runs the batch, and returns what its jobs return."""
        from asyncopt.engine.progress import SweepLine
        from asyncopt.sweeps import batching

        Singleton.set_state(self.state)
        setup_globals()
        sweeping = dataclasses.replace(self.sweeping, loader=cast(ConfigLoader, ComposedOnce(self.sweeping.loader)))
        configs = {number: sweeping._compose(number, given) for number, given in self.overrides.items()}
        jobs = {number: _job(number, config) for number, config in configs.items()}
        sweep = batching.take(self.part, jobs)
        with SweepLine(len(jobs), len(jobs) - len(sweep.unfinished), sweep.num_updates, show=False) as line:
            return sweeping._run_part(self.part, jobs, configs, sweep, line)

    def checkpoint(self) -> Any:
        """Is what submitit asks for when the cluster takes the machine away: the batch begins again elsewhere."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _job(number: int, config: DictConfig) -> "Job":
    """Returns a job as the planning takes it."""
    from asyncopt.sweeps.batching import Job

    task_config = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    with _hydra_config(config):
        folder = pathlib.Path(str(config.hydra.sweep.dir), str(config.hydra.sweep.subdir)).absolute()
    return Job(number, task_config, folder, lambda: _hydra_config(config))


@contextlib.contextmanager
def _hydra_config(config: DictConfig) -> Iterator[None]:
    """Lets ``${hydra:...}`` mean this job's."""
    hydra = HydraConfig.instance()
    before = hydra.cfg
    hydra.cfg = cast(Any, config)  # a copy, as by `set_config`, is not needed
    try:
        yield
    finally:
        hydra.cfg = before


def _is_ours(config: DictConfig) -> bool:
    """Whether a configuration is one of asyncopt, and not of some other application that uses the launcher."""
    return {"problem", "optimizer", "trace", "seeds", "record_bounds", "runtime"} <= set(config)


def _needs_its_own(config: DictConfig) -> bool:
    """Whether a job is none of ours, a real run, or to run in a folder or an environment that a batch does not have."""
    if not _is_ours(config):
        return True
    return config.runtime is not None or bool(config.hydra.job.chdir) or bool(config.hydra.job.env_set)


def _summary(sweep: "Sweep", num_alone: int) -> str:
    finished = len(sweep.ahead) - len(sweep.unfinished)
    parts = [f"{finished} finished before", f"{len(sweep.unfinished)} to run together", f"{num_alone} alone"]
    reasons = "".join(f"\n\t#{number} alone: {reason}" for number, reason in sweep.alone.items())
    return f"Plan: {', '.join(parts)}{reasons}"


def _failed(error: BaseException) -> JobReturn:
    returned = JobReturn()
    returned.status = JobStatus.FAILED
    returned.return_value = error
    return returned
