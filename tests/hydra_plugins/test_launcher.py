"""A sweep through the launcher is the sweep that Hydra's own launcher makes, job by job."""

import copy
import functools
import os
import pathlib
import re

import hydra
import jax
import numpy as np
import optax
import pandas as pd
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobStatus
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf

import asyncopt
from asyncopt import InputError
from asyncopt.engine import loop
from asyncopt.run import command_line, execute
from asyncopt.run.command_line import CONFIG_FOLDER
from asyncopt.sweeps import batches, plan
from hydra_plugins.asyncopt_launcher import _core
from hydra_plugins.asyncopt_launcher._composed import ComposedOnce
from tests.hydra_plugins import seen

VECTORIZED = "hydra/launcher=asyncopt_vectorized"
SMALL = ["progress=false", "plot=false", "problem=quadratic", "seeds=2"]
# Two problems: two programs; of each, delays and β1 are inputs.
MIXED = [
    "-m", "progress=false", "plot=false", "seeds=2", "eval_every=50",
    "problem=quadratic,logistic", "trace.num_updates=100", "trace.max_delay=0,7", "optimizer.b1=0.9,0.5",
]  # fmt: skip
NUM_MIXED = 8
NAMES = ("basic", "vectorized")


@pytest.fixture(autouse=True)
def same_environment(monkeypatch):
    """A run chooses threads for its process; the tests' own stays as it is."""
    monkeypatch.setenv("PJRT_NPROC", "1")


def test_results_folders_and_output_are_those_of_the_basic_launcher(tmp_path, command_lines):
    """Slow: eight jobs one by one, of two programs."""
    output = {}
    for name, launcher in zip(NAMES, ("hydra/launcher=basic", VECTORIZED), strict=True):
        status, errors = command_lines(*MIXED, launcher, f"hydra.sweep.dir={name}", folder=tmp_path)
        assert status == 0, errors
        output[name] = (tmp_path / "stdout").read_text()
    for number in range(NUM_MIXED):
        folders = [tmp_path / name / str(number) for name in NAMES]
        assert_same_results(*(pd.read_parquet(folder / "metrics.parquet") for folder in folders))
        assert_same_files(*folders)
        job = OmegaConf.load(folders[1] / ".hydra" / "hydra.yaml").hydra.job
        assert job.num == number
    assert_same_words(*output.values())
    assert "Plan: 0 finished before, 8 to run together, 0 alone" in output["vectorized"]
    assert output["vectorized"].count("4 jobs, 8 runs of 100 updates: one program, 1 batch of up to 8 runs") == 2


def assert_same_results(basic, vectorized):
    assert list(basic) == list(vectorized)
    for column in basic:
        np.testing.assert_allclose(vectorized[column], basic[column], rtol=1e-10, atol=1e-14, err_msg=column)


def assert_same_files(basic, vectorized):
    names = [sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) for folder in (basic, vectorized)]
    assert names[0] == names[1]
    for name in ("config.yaml", ".hydra/config.yaml", ".hydra/overrides.yaml", "asyncopt.log"):
        assert (basic / name).read_bytes() == (vectorized / name).read_bytes()


def assert_same_words(basic, vectorized):
    """But for the launcher's own, numbers, rates and folders."""
    said = [
        [
            line.split()[:11]
            for line in text.splitlines()
            if not re.match(r".*HYDRA|updates a second|evaluations, %|/", line)
        ]
        for text in (basic, vectorized)
    ]
    assert len(said[0]) >= NUM_MIXED
    assert said[0] == said[1]


@pytest.mark.parametrize(
    "overrides",
    [
        ["trace.max_delay=3", "optimizer.learning_rate=0.1", "seeds=4"],
        ["problem=nonconvex_logistic", "data=breast_cancer", "trace.max_delay=3", "+method=sgd"],
        ["trace.max_delay=3", "trace.max_delay=4", "hydra.job.name=other", "+trace.seed=1"],
        ["trace={max_delay: 4}", "trace.max_delay=5", "optimizer.learning_rate=1e-3"],
        ["trace.max_delay=5", "trace={max_delay: 4}", "~optimizer.b1"],
        ["optimizer.learning_rate=${optimizer.b1}", "trace.max_delay=3"],
        ["staleness=K^1/4", "trace.num_updates=100", "problem=quadratic", "problem.dimension=3"],
        ["trace.added=2", "+trace.added=1"],
        ["+trace.added=1", "trace.added=2"],
        ["problem.no_such=3"],
        ["problem=no_such", "trace.max_delay=5"],
        ["optimizer.b1.deeper=3"],
        ["trace.max_delay="],
    ],
)
def test_configurations_of_jobs_are_those_that_hydra_composes(overrides):
    with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        sweep = loader.load_configuration("config", [VECTORIZED, "seeds=2,3"], RunMode.MULTIRUN)
        assert sweep.hydra.sweep.dir  # with the time in it, which jobs must share
        quick = ComposedOnce(loader)
        for given in (["trace.max_delay=9", *overrides], overrides):  # the second one finds what the first left
            assert _composed(quick, sweep, given) == _composed(loader, sweep, given)


def _composed(loader, sweep, overrides):
    """Returns all there is to see of a job's configuration, or the error."""
    try:
        config = loader.load_sweep_config(sweep, overrides)
    except HydraException as error:
        return type(error), str(error)
    marks = OmegaConf.is_struct(config), OmegaConf.is_readonly(config.hydra), OmegaConf.get_type(config, "hydra")
    return OmegaConf.to_yaml(config), marks, OmegaConf.get_cache(config)


def test_twice_the_same_bytes_and_finished_jobs_stay(tmp_path, command_lines):
    small = ["-m", *SMALL, VECTORIZED, "trace.num_updates=80", "trace.max_delay=range(12)"]
    for name in ("first", "again"):
        status, errors = command_lines(*small, f"hydra.sweep.dir={name}", folder=tmp_path)
        assert status == 0, errors
    assert_same_bytes(tmp_path)
    # With some jobs gone, the others stay and these come back to the same bytes.
    lost = {0, 5, 6, 11}
    for number in lost:
        (tmp_path / "again" / str(number) / "summary.json").unlink()
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("again/*/metrics.parquet")}
    status, errors = command_lines(*small, "hydra.sweep.dir=again", folder=tmp_path)
    assert status == 0, errors
    assert "Plan: 8 finished before, 4 to run together, 0 alone" in (tmp_path / "stdout").read_text()
    assert {int(path.parent.name) for path in times if path.stat().st_mtime_ns != times[path]} == lost
    assert_same_bytes(tmp_path)


def assert_same_bytes(folder):
    for number in range(12):
        for name in ("metrics.parquet", "config.yaml"):
            first, again = (folder / sweep / str(number) / name for sweep in ("first", "again"))
            assert first.read_bytes() == again.read_bytes()


def test_a_job_that_fails_fails_alone(tmp_path, command_lines):
    bad = ["-m", *SMALL, "trace.num_updates=60", "trace.max_delay=2,-1", "optimizer.learning_rate=0.5,-1.0"]
    found = {}
    for name, launcher in (("basic", "hydra/launcher=basic"), ("vectorized", VECTORIZED)):
        status, errors = command_lines(*bad, launcher, f"hydra.sweep.dir={name}", folder=tmp_path)
        assert status == 1
        assert "Traceback" not in errors
        found[name] = errors
        assert {path.parent.name for path in (tmp_path / name).glob("*/summary.json")} == {"0"}
    assert found["basic"] == found["vectorized"]
    assert "learning_rate is -1.0, expected a finite number > 0" in found["basic"]


@functools.cache
def configured(*overrides):
    with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return hydra.compose("config", [*SMALL, *overrides])


def jobs_of(folder, settings):
    """Jobs with a few values changed, which need not be composed anew, or with other groups."""
    jobs = {}
    for number, overrides in enumerate(settings):
        values = [override for override in overrides if "." in override]
        config = copy.deepcopy(configured(*(override for override in overrides if override not in values)))
        config.merge_with_dotlist(values)
        jobs[number] = plan.Job(number, config, folder / str(number))
    return jobs


@pytest.fixture
def sweep_in_process(hydra_restore_singletons, hydra_sweep_runner, tmp_path):
    """Runs a sweep of asyncopt here, where the tests can change what it calls."""

    def run(*overrides):
        return hydra_sweep_runner(
            calling_file=command_line.__file__,
            calling_module=None,
            task_function=command_line._job,
            config_path=os.path.relpath(CONFIG_FOLDER, pathlib.Path(command_line.__file__).parent),
            config_name="config",
            overrides=["hydra.job.chdir=false", VECTORIZED, *SMALL, *overrides],
            temp_dir=tmp_path,
        )

    return run


def test_a_batch_that_fails_leaves_its_jobs_to_themselves(sweep_in_process, monkeypatch):
    def no_memory(*_, **__):
        raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")

    warned = []
    monkeypatch.setattr(_core.log, "warning", warned.append)
    monkeypatch.setattr(batches, "replay_batch", no_memory)
    with sweep_in_process("trace.num_updates=60", "trace.max_delay=2,3") as sweep:
        assert [job.status for job in sweep.returns[0]] == [JobStatus.COMPLETED] * 2
        assert len(asyncopt.load_runs(sweep.temp_dir)["run"].unique()) == 2
    assert warned == ["jobs 0, 1 could not be run together: RESOURCE_EXHAUSTED: out of memory"]


def test_a_job_that_fails_in_a_batch_of_its_own_is_not_tried_again(sweep_in_process, monkeypatch):
    def tried(name):
        def fails(*_, **__):
            tries.append(name)
            raise RuntimeError(f"{name} has no memory")

        return fails

    tries, warned = [], []
    monkeypatch.setattr(_core.log, "warning", warned.append)
    monkeypatch.setattr(batches, "replay_batch", tried("a batch"))
    monkeypatch.setattr(execute, "replay", tried("a job alone"))
    with pytest.raises(RuntimeError, match="a batch has no memory"), sweep_in_process("trace.max_delay=2"):
        pass  # Hydra raises it before
    assert tries == ["a batch"]
    assert warned == []


def test_data_of_a_problem_without_data_are_no_axis_of_a_sweep(sweep_in_process):
    message = "data=digits: the problem asyncopt.problems.quadratic has no data"
    with pytest.raises(InputError, match=message), sweep_in_process("data=digits,diabetes"):
        pass  # Hydra raises it before


def test_callbacks_and_returns_are_those_of_any_job(sweep_in_process):
    with sweep_in_process(
        "trace.num_updates=60", "trace.max_delay=2,3", "+hydra.callbacks.seen._target_=tests.hydra_plugins.seen.Seen"
    ) as sweep:
        (jobs,) = sweep.returns
    assert [job.overrides[-2:] for job in jobs] == [["trace.num_updates=60", f"trace.max_delay={d}"] for d in (2, 3)]
    assert [job.cfg.trace.max_delay for job in jobs] == [2, 3]
    assert [job.hydra_cfg.hydra.job.num for job in jobs] == [0, 1]
    assert seen.EVENTS == [("start", 0), ("end", 0, "COMPLETED"), ("start", 1), ("end", 1, "COMPLETED")]


def test_refuses_no_runs_at_all_on_a_device(tmp_path, command_lines):
    status, errors = command_lines("-m", *SMALL, VECTORIZED, "hydra.launcher.runs_per_device=0", folder=tmp_path)
    assert status == 1
    assert "asyncopt: runs_per_device is 0, expected an integer of at least 1" in errors
    assert "Traceback" not in errors


def test_one_compilation_for_delays_steps_and_seeds(tmp_path, monkeypatch):
    traced = []
    advance = loop.advance
    monkeypatch.setattr(loop, "advance", lambda *arguments: traced.append(True) or advance(*arguments))
    jax.clear_caches()
    settings = [
        ("trace.num_updates=40", "seeds=8", f"trace.max_delay={delay}", f"optimizer.learning_rate={step}")
        for delay in range(16)
        for step in (0.1, 0.2, 0.4, 0.8)
    ]
    jobs = jobs_of(tmp_path, settings)
    sweep = plan.plan(list(jobs.values()))
    assert len(sweep.batches) > 4
    for batch in sweep.batches:
        assert set(batches.run_batch(batch, sweep, lambda updates, evaluation_share: None)) == set(batch.numbers)
    assert 1 <= len(traced) <= 2


def test_batches_do_not_depend_on_what_is_finished(tmp_path):
    settings = [(f"trace.max_delay={delay}", "trace.num_updates=50") for delay in range(20)]
    jobs = jobs_of(tmp_path, settings)
    before = plan.plan(list(jobs.values()))
    for number in (0, 7, 19):
        execute.run(jobs[number].config, jobs[number].folder)
    after = plan.plan(list(jobs.values()))
    assert after.batches == before.batches
    assert set(before.unfinished) - set(after.unfinished) == {0, 7, 19}


def test_batches_are_cut_to_memory_and_the_plan_says_so(tmp_path, monkeypatch):
    jobs = jobs_of(tmp_path, [(f"trace.max_delay={delay}", "trace.num_updates=50") for delay in range(20)])
    roomy = plan.plan(list(jobs.values()))
    assert not any("memory" in note for note in roomy.notes)
    size = plan.batch.bytes_a_lane(roomy.runs[0], roomy.tasks[0].measured, roomy.batches[0].capacity)
    monkeypatch.setattr(plan.memory, "available_bytes", lambda device: 13 * size)
    tight = plan.plan(list(jobs.values()))
    assert tight.notes == [
        "20 jobs, 40 runs of 50 updates: one program, 7 batches of up to 6 runs, as many as memory takes"
    ]
    assert [len(batch.numbers) for batch in tight.batches] == [3, 3, 3, 3, 3, 3, 2]


def test_local_work_is_in_the_command_line_and_its_numbers_are_inputs(tmp_path):
    """Jobs that differ in their local steps run together, with the results of a replay in Python."""
    settings = [
        ("+work=local_steps", f"work.num_steps={steps}", f"work.inner_optimizer.learning_rate={rate}", *more)
        for more in ([], ["work.keep_state=true", "work.inner_optimizer._target_=optax.adam"])
        for steps in (2, 3)
        for rate in (0.05, 0.1)
    ]
    jobs = jobs_of(tmp_path, [("problem=quadratic", "optimizer=sgd", "trace.num_updates=60", *one) for one in settings])
    sweep = plan.plan(list(jobs.values()))
    assert [len(batch.numbers) for batch in sweep.batches] == [4, 4]
    made = {}
    for batch in sweep.batches:
        made |= batches.run_batch(batch, sweep, lambda updates, evaluation_share: None)
    for number, job in jobs.items():
        work, inner = job.config.work, job.config.work.inner_optimizer
        make = optax.adam if "adam" in inner._target_ else optax.sgd
        own = asyncopt.engine.local_steps(make(inner.learning_rate), work.num_steps, work.keep_state)
        run, together = made[number]
        alone = asyncopt.replay(run.problem, run.optimizer, run.trace, seeds=run.seeds, work=own)
        np.testing.assert_allclose(together.objective, alone.objective, rtol=1e-10)


def test_regularisation_is_an_input_and_shapes_are_not(tmp_path):
    settings = [
        *[("problem=logistic", "data=breast_cancer", f"problem.l2={l2}") for l2 in (0.1, 0.2)],
        ("problem=logistic", "data=breast_cancer", "problem.l2=0.1", "problem.batch_size=8"),
        ("problem=logistic", "data=breast_cancer", "problem.l2=0.0"),
        ("problem=logistic", "data=breast_cancer", "problem.l2=0.1", "precision=float32"),
        ("problem=logistic", "data=breast_cancer", "problem.l2=0.1", "eval_every=10"),
        ("problem=logistic", "data=breast_cancer", "problem.l2=0.1", "optimizer.bias_correction=true"),
    ]
    jobs = jobs_of(tmp_path, [(*setting, "trace.num_updates=60") for setting in settings])
    sweep = plan.plan(list(jobs.values()))
    jax.config.update("jax_enable_x64", True)
    assert [batch.numbers for batch in sweep.batches] == [(0, 1), (2,), (3,), (4,), (5,), (6,)]
    for number in (0, 1):
        execute.run(jobs[number].config, jobs[number].folder)
    results = batches.run_batch(sweep.batches[0], sweep, lambda updates, evaluation_share: None)
    for number in (0, 1):
        alone = pd.read_parquet(jobs[number].folder / "metrics.parquet")
        _, together = results[number]
        np.testing.assert_allclose(np.ravel(together.gap), alone["gap"], rtol=1e-10, atol=1e-14)
