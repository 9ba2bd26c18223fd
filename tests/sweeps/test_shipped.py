"""The shipped sweeps: the last job of each can be built, and those that record every line of a proof draw it."""

import hydra
import pytest
from omegaconf import OmegaConf

from asyncopt.files import records
from asyncopt.report import theorems
from asyncopt.run import build, execute, task
from asyncopt.run.command_line import CONFIG_FOLDER

# The artificial delays are of images that have to be fetched.
SWEEPS = sorted(p.stem for p in (CONFIG_FOLDER.parent / "sweeps").glob("*.yaml") if "artificial" not in p.stem)
SMALL = ["trace.num_updates=96", "seeds=2", "plot=false", "progress=false", "checkpoint_seconds=null"]


def composed(*overrides, **more):
    with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return hydra.compose("config", list(overrides), **more)


def grid_of(sweep):
    """The values of everything that is swept, as texts."""
    grid = composed(f"+sweep={sweep}", return_hydra_config=True).hydra.sweeper.params
    return {name: [value.strip() for value in str(values).split(",")] for name, values in grid.items()}


def job(sweep, position):
    """The configuration of a small job, with the first (0) or the last (-1) value of everything that is swept."""
    chosen = [f"{name}={values[position]}" for name, values in grid_of(sweep).items()]
    return composed(*chosen, f"+sweep={sweep}", *SMALL)  # in Hydra's order


@pytest.mark.parametrize("sweep", SWEEPS)
def test_the_last_job_can_be_built(sweep):
    config = job(sweep, -1)
    trace = build.build(task.prepare(config)).trace
    if config.trace.get("until") is None:
        assert trace.num_updates == 96
    else:  # it may end sooner
        assert 0 < trace.num_updates <= 96
        assert trace.time[-1] <= config.trace.until


@pytest.mark.parametrize("sweep", SWEEPS)
def test_each_method_of_a_sweep_is_another_one(sweep):
    """What a method sets, the sweep does not set again: its file comes later."""
    methods = grid_of(sweep).get("+method", [])
    configurations = [
        OmegaConf.to_container(composed(f"+method={method}", f"+sweep={sweep}", *SMALL)) for method in methods
    ]
    for number, configuration in enumerate(configurations):
        assert configuration not in configurations[:number], methods[number]


@pytest.mark.parametrize("sweep", ["proof_convex", "proof_nonconvex"])
def test_a_proof_is_drawn_line_by_line(sweep, tmp_path):
    for position in (0, -1):
        record = records.load_run(execute.run(job(sweep, position), tmp_path / str(position)))
        # Every line of the proof that holds for each run is a certificate.
        broken = [update for first in record.summary["certificates"].values() for update in first.values()]
        assert len(broken) >= 2
        assert set(broken) == {-1}
    theorems.report(tmp_path, tmp_path / "report")
    assert list((tmp_path / "report").rglob("*proof.png"))
