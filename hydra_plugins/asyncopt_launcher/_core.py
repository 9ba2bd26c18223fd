"""How the launcher works: compose, plan, run each batch and then its jobs."""

import contextlib
import dataclasses
import functools
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

from asyncopt import stopping
from asyncopt.checks import InputError
from asyncopt.run import start_up
from hydra_plugins.asyncopt_launcher._composed import ComposedOnce

if TYPE_CHECKING:
    from asyncopt.engine import Result, Run
    from asyncopt.sweeps.engines import Engine
    from asyncopt.sweeps.plan import Batch, Job, SweepPlan
    from asyncopt.sweeps.progress import SweepLine

log = logging.getLogger("asyncopt.launcher")


@dataclasses.dataclass
class Launch:
    """One call of the launcher.

    Args:
      hydra_context: Hydra's context.
      loader: composes the jobs' configurations.
      task_function: the function that Hydra calls for each job.
      config: the configuration of the sweep.
      runs_per_device: see `launcher.VectorizedLauncherConf`.
      engine: see `launcher.VectorizedLauncherConf`.
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
        overrides = dict(enumerate(job_overrides, start=initial_job_idx))
        log.info(f"Launching {len(overrides)} jobs")
        for number, own in overrides.items():
            log.info(f"\t#{number} : {' '.join(filter_overrides(own))}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            configs = {number: self.compose(number, own) for number, own in overrides.items()}
            if not any(_is_ours(config) for config in configs.values()):
                return [self._run_job(config) for config in configs.values()]
            with stopping.resumable(f"the same command with hydra.sweep.dir={folder} resumes the sweep"):
                returned = self._launch_ours(configs, overrides)
        except InputError as error:
            raise CompactHydraException(f"asyncopt: {error}") from error
        except OSError as error:
            raise CompactHydraException(f"asyncopt: {error}; jobs that are done are kept in {folder}") from error
        return [returned[number] for number in overrides]

    def compose(self, number: int, overrides: Sequence[str]) -> DictConfig:
        """Returns the configuration of a job, Hydra's own part included."""
        config = self.loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = number
            config.hydra.job.num = number
        return config

    def _launch_ours(self, configs: dict[int, DictConfig], overrides: dict[int, Sequence[str]]) -> dict[int, JobReturn]:
        with start_up.importing():
            from asyncopt.sweeps.plan import plan
            from asyncopt.sweeps.progress import SweepLine

        together = [job(number, config) for number, config in configs.items() if not _needs_its_own(config)]
        sweep = plan(together, self.runs_per_device)
        alone = [number for number in configs if number not in sweep.tasks]
        for note in (_summary(sweep, len(alone)), *sweep.notes):
            log.info(note)
        shown = any(_is_ours(config) and config.progress for config in configs.values())
        returned = {}
        with SweepLine(len(configs), len(sweep.finished), sweep.num_updates, shown) as line:
            if self.engine is not None:
                with stopping.raising():
                    returned = self._send(self.engine, sweep, overrides, line)
            else:
                for batch in sweep.batches:
                    with stopping.deferred():  # what is computed is written first
                        returned |= self.run_batch(batch, configs, sweep, line)
            for number in alone:
                line.begin(1)
                with line.set_aside():
                    returned[number] = self._run_job(configs[number])
                line.end(returned[number].status is JobStatus.COMPLETED)
        return returned

    def run_batch(
        self, batch: "Batch", configs: dict[int, DictConfig], sweep: "SweepPlan", line: "SweepLine"
    ) -> dict[int, JobReturn]:
        """Runs a batch; then runs each of its jobs with a task function that has the results."""
        from asyncopt.sweeps import batches

        waiting = [number for number in batch.numbers if number not in sweep.finished]
        line.begin(len(waiting))
        results: dict[int, tuple[Run, Result]] = {}
        failed = None
        try:
            results = batches.run_batch(batch, sweep, line.update)
        except Exception as error:  # any error: each of several jobs then runs alone, and fails or succeeds
            if len(batch.numbers) == 1:
                failed = error
            else:
                log.warning(f"jobs {', '.join(map(str, batch.numbers))} could not be run together: {error}")
        returned = {}
        for number in batch.numbers:
            task_function = self.task_function
            if failed is not None:
                task_function = functools.partial(_fail, failed)
            elif number in results or number in sweep.finished:
                task_function = functools.partial(_conclude, sweep, number, results.get(number))
            with line.set_aside():
                returned[number] = self._run_job(configs[number], task_function)
            if number in waiting:
                line.end(returned[number].status is JobStatus.COMPLETED)
            sweep.runs.pop(number, None)
        checkpoint = batches.checkpoint(batch, sweep)
        if checkpoint is not None and all(job.status is JobStatus.COMPLETED for job in returned.values()):
            checkpoint.remove()
        return returned

    def _send(
        self, engine: "Engine", sweep: "SweepPlan", overrides: dict[int, Sequence[str]], line: "SweepLine"
    ) -> dict[int, JobReturn]:
        """Sends the batches to the engine, and returns what their jobs return."""
        from asyncopt.sweeps.plan import num_updates

        sweep.runs.clear()
        remote = dataclasses.replace(self, engine=None, loader=self.hydra_context.config_loader)
        state = Singleton.get_state()
        sent = [
            _RemoteBatch(remote, state, batch, {number: list(overrides[number]) for number in batch.numbers})
            for batch in sweep.batches
        ]
        line.begin(len(sweep.unfinished))
        returned = {}
        for index, answer in engine.run(sent, str(self.config.hydra.sweep.dir)):
            numbers = sweep.batches[index].numbers
            if isinstance(answer, BaseException):
                log.error(f"jobs {', '.join(map(str, numbers))} failed where they were sent: {answer}")
                answer = {number: _failed(answer) for number in numbers}
            returned |= answer
            for number in numbers:
                if number not in sweep.finished:
                    done = answer[number].status is JobStatus.COMPLETED
                    line.update(num_updates(sweep.tasks[number]) if done else 0)
                    line.end(done)
        return returned

    def _run_job(self, config: DictConfig, task_function: TaskFunction | None = None) -> JobReturn:
        result = run_job(
            hydra_context=self.hydra_context,
            task_function=task_function or self.task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        return result


@dataclasses.dataclass
class _RemoteBatch:
    """A batch, with all that another process needs to run it."""

    launch: Launch
    state: Any  # Hydra's singletons
    batch: "Batch"
    overrides: dict[int, list[str]]  # of each job, by number

    def __call__(self) -> dict[int, JobReturn]:
        """Runs the batch, and returns what its jobs return."""
        from asyncopt.sweeps.plan import plan_of
        from asyncopt.sweeps.progress import SweepLine

        Singleton.set_state(self.state)
        setup_globals()
        launch = dataclasses.replace(self.launch, loader=cast(ConfigLoader, ComposedOnce(self.launch.loader)))
        configs = {number: launch.compose(number, own) for number, own in self.overrides.items()}
        sweep = plan_of(self.batch, {number: job(number, config) for number, config in configs.items()})
        with SweepLine(len(configs), len(sweep.finished), sweep.num_updates, show=False) as line:
            return launch.run_batch(self.batch, configs, sweep, line)

    def checkpoint(self) -> Any:
        """Returns the same batch: submitit calls this when the cluster takes the machine away, and resubmits it."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _conclude(sweep: "SweepPlan", number: int, result: "tuple[Run, Result] | None", config: DictConfig) -> None:
    """Writes the results of a job if they are new, and shows them; Hydra calls this as the job's task function."""
    from asyncopt.run import execute

    del config  # the job's task already has its values
    task, folder = sweep.tasks[number], sweep.jobs[number].folder
    with execute.hydra_errors(), stopping.until_unread():
        record = sweep.finished[number] if result is None else execute.save(task, folder, *result)
        if result is None:
            print(f"{execute.FINISHED}: {folder}")
        execute.conclude(task, folder, record, in_a_sweep=True)


def _fail(error: Exception, config: DictConfig) -> None:
    """Raises the error of a batch of one job, which would fail again; Hydra calls this as the job's task function."""
    from asyncopt.run import execute

    del config
    with execute.hydra_errors():
        raise error


def job(number: int, config: DictConfig) -> "Job":
    """Returns a job as the plan takes it."""
    from asyncopt.sweeps.plan import Job

    task_config = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    with _hydra_config(config):
        folder = pathlib.Path(str(config.hydra.sweep.dir), str(config.hydra.sweep.subdir)).absolute()
    return Job(number, task_config, folder, lambda: _hydra_config(config))


@contextlib.contextmanager
def _hydra_config(config: DictConfig) -> Iterator[None]:
    """Makes ``${hydra:...}`` refer to this job."""
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
    """Whether a job cannot be in a batch: another application's, a real run, or one with a directory or environment."""
    if not _is_ours(config):
        return True
    return config.runtime is not None or bool(config.hydra.job.chdir) or bool(config.hydra.job.env_set)


def _summary(sweep: "SweepPlan", num_alone: int) -> str:
    counts = [f"{len(sweep.finished)} finished before", f"{len(sweep.unfinished)} to run together"]
    reasons = "".join(f"\n\t#{number} alone: {reason}" for number, reason in sweep.alone.items())
    return f"Plan: {', '.join(counts)}, {num_alone} alone{reasons}"


def _failed(error: BaseException) -> JobReturn:
    returned = JobReturn()
    returned.status = JobStatus.FAILED
    returned.return_value = error
    return returned
