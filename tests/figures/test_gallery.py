"""Figures from run folders: what they measure, what their captions say, and what happens when something is missing."""

import pathlib
import shutil

import hydra
import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

import asyncopt
import figures.__main__ as gallery
from asyncopt import traces
from asyncopt.analysis import studies
from asyncopt.analysis.speedup_fit import fit_speedup
from asyncopt.engine import Result
from asyncopt.files import records
from asyncopt.run import experiment
from figures import artificial_delay, convex, delays, networks, phase, rates, reported, speedup
from tests import sweep as sweeps

ROOT = pathlib.Path(__file__).parents[2]


def _save(folder, config, *, seeds=(0, 1), step, metrics, time=None):
    """Writes a run as its folder would be, with measurements that are made up: float[S, E] each."""
    num_seeds, rows = len(seeds), {name: np.asarray(values, float) for name, values in metrics.items()}
    shape = (num_seeds, len(step))
    blank = np.zeros(shape)
    result = Result(
        params=None, average=None, optimizer_state=None, step=np.asarray(step), time=time,
        objective=rows.pop("objective", blank), grad_norm_sq=blank, gap=None, average_objective=blank,
        average_gap=None, drift=blank, metrics=rows, bound_terms=None, diverged_at=np.full(num_seeds, -1),
        seeds=tuple(seeds), num_slots=2, seconds=1.0, updates_per_second=1.0,
    )  # fmt: skip
    problem = asyncopt.problems.quadratic(2, 2.0)
    records.save_run(folder, OmegaConf.create(config), problem, traces.synchronous(int(step[-1])), result)


def _convex_runs(folder, slowness):
    """Loss 2^-epoch whatever the workers, and seconds an epoch as ``slowness`` has them for each p."""
    step = np.arange(0, 9) * 10
    for p, seconds in slowness.items():
        config = {
            "problem": {
                "_target_": "asyncopt.problems.logistic",
                "batch_size": 10,
                "data": {"_target_": "asyncopt.problems.data.rcv1_like", "num_rows": 100},
            },
            "trace": {"num_workers": p, "num_blocks": 16},
            "optimizer": {"_target_": "asyncopt.apam", "learning_rate": 0.01},
        }
        loss = np.tile(0.5 ** (step / 10), (2, 1))
        metrics = {"objective": loss, "train_accuracy": 1 - loss}
        _save(folder / str(p), config, step=step, metrics=metrics, time=seconds * step / 10)


def test_convex(tmp_path):
    _convex_runs(tmp_path, {1: 8.0, 4: 2.0})
    drawn = convex.draw(tmp_path)
    at_end = drawn.data[drawn.data["epoch"] == 8]
    assert at_end["value"].to_list() == [0.5**8, 0.5**8]
    assert "generated documents" in drawn.facts["data"]
    assert drawn.facts["epochs"] == "8"


def test_speedup_in_simulated_seconds_and_of_real_runs(tmp_path):
    _convex_runs(tmp_path / "simulated", {1: 8.0, 4: 2.0, 32: 0.5})
    for p, rate in ((1, 10.0), (4, 39.0)):
        worker = np.arange(400) % p
        read = np.maximum(np.arange(400) - (p - 1), 0)
        (tmp_path / "real" / str(p)).mkdir(parents=True)
        time = np.arange(1, 401) / rate
        traces.Trace(read, worker=worker, time=time).save(tmp_path / "real" / str(p) / "trace.npz")
    drawn = speedup.draw(tmp_path / "simulated", tmp_path / "real")
    simulated = drawn.data[drawn.data["what"] == "simulated, to a loss"].set_index("workers")["value"]
    assert simulated.to_dict() == pytest.approx({1: 1.0, 4: 4.0, 32: 16.0})
    assert drawn.clock["speedup"].to_list() == pytest.approx([1.0, 3.9], rel=1e-2)
    assert drawn.clock["model"].to_list() == pytest.approx([1.0, 4.0], rel=1e-2)


def _network_runs(folder, loses):
    step = np.array([0, 30, 60])
    for method, (target, alpha, handling, trace) in {
        "apam": ("asyncopt.apam", 5e-4, None, "cluster"),
        "sgd": ("optax.sgd", 0.05, None, "cluster"),
        "rounds": ("asyncopt.apam", 5e-4, {"_target_": "asyncopt.optim.buffer_updates"}, "rounds"),
    }.items():
        for p in (1, 32):
            for seed in (0, 1, 2):
                config = {
                    "problem": {
                        "_target_": "asyncopt.problems.perceptron",
                        "width": 1.0,
                        "batch_size": 40,
                        "data": {"_target_": "asyncopt.problems.data.fashion_mnist"},
                    },
                    "trace": {
                        "_target_": f"asyncopt.traces.{trace}",
                        "num_workers": p,
                        "compute": {"distribution": "exponential"},
                    },
                    "optimizer": {"_target_": target, "learning_rate": alpha},
                    "handling": handling,
                }
                # Seeds differ by far more than the methods do: only the paired difference sees what p costs.
                end = 0.8 + 0.05 * seed - (loses[method] if p > 1 else 0.0)
                accuracy = [[0.1, 0.5, end]]
                metrics = {"test_accuracy": accuracy}
                _save(folder / f"{method}{p}{seed}", config, seeds=(seed,), step=step, metrics=metrics)


def test_networks_compare_seed_by_seed(tmp_path):
    _network_runs(tmp_path, {"apam": 0.01, "sgd": 0.0, "rounds": 0.2})
    accuracy, _ = networks.read(tmp_path)
    change = networks.changes(accuracy, [1, 32])
    assert change["APAM", 32] == pytest.approx((-1.0, -1.0, -1.0))
    assert change["SGD", 32] == pytest.approx((0.0, 0.0, 0.0))
    assert change["synchronous AMSGrad", 32] == pytest.approx((-20.0, -20.0, -20.0))
    drawn = networks.draw(tmp_path, "perceptron")
    assert "98.3 % at 1" in drawn.facts["paper"]
    assert drawn.facts["alpha"] == "0.0005"
    assert drawn.facts["sgd_alpha"] == "0.05"


def test_networks_without_a_method_are_refused(tmp_path):
    _network_runs(tmp_path, {"apam": 0.0, "sgd": 0.0, "rounds": 0.0})
    for folder in tmp_path.glob("sgd*"):
        (folder / "summary.json").unlink()
    with pytest.warns(UserWarning, match="left out"), pytest.raises(asyncopt.InputError, match="no runs of SGD"):
        networks.read(tmp_path)


def test_rates_and_phase_diagram(tmp_path):
    sweeps.run(tmp_path, [0, "K**0.25", "K**0.5"], lengths=(30, 100, 600), seeds=4)
    drawn = rates.draw(tmp_path)
    study = studies(asyncopt.load_runs(tmp_path))[0]
    for rule, mine in drawn.data.groupby("rule"):
        np.testing.assert_allclose(mine["value"], study.values[:, study.where(rule)].mean(axis=0))
    assert (drawn.data["value"] < drawn.data["a_posteriori"]).all()
    assert "at τ = K^1/4" in drawn.facts["slopes"]
    diagram = phase.draw(tmp_path)
    assert len(diagram.data) == 6  # cells with delay
    assert (diagram.data["delay"] > 0).all()


def test_artificial_delay(tmp_path):
    step = np.array([0, 10, 20])
    for delay, costs in ((0, 0.0), (5, 0.0), (400, 0.3)):
        config = {
            "problem": {"_target_": "asyncopt.problems.lenet5"},
            "trace": {"_target_": "asyncopt.traces.uniform", "max_delay": delay},
            "optimizer": {"_target_": "asyncopt.apam"},
        }
        accuracy = [[0.1, 0.5, 0.9 - costs + noise * (delay > 0)] for noise in (0.0, 0.01, -0.01)]
        _save(tmp_path / str(delay), config, seeds=(0, 1, 2), step=step, metrics={"test_accuracy": accuracy})
    drawn = artificial_delay.draw(tmp_path)
    assert drawn.facts["same"] == "5"
    assert drawn.facts["different"].startswith("400 (-30.0 points")


def test_delays_recorded_and_modelled(tmp_path):
    for distribution in ("constant", "exponential"):
        for stragglers in (0, 1):
            folder = tmp_path / f"{distribution}{stragglers}"
            runtime = {"compute": {"distribution": distribution}, "stragglers": stragglers}
            config = {"problem": {}, "trace": {}, "optimizer": {}, "runtime": runtime}
            _save(folder, config, step=np.array([0, 400]), metrics={})
            traces.cluster(400, 4, compute=distribution, server=0.01, stragglers=stragglers).save(folder / "trace.npz")
    drawn = delays.draw(tmp_path)
    assert set(drawn.clock["workers"]) == set(drawn.data["panel"])
    assert len(drawn.data) == 4
    shares = drawn.clock.groupby("workers")[["recorded", "modelled"]].sum()
    assert (shares > 0.98).all().all()
    assert (shares <= 1 + 1e-9).all().all()


def test_pictures_data_captions_and_page(tmp_path, monkeypatch, capsys):
    """The first figure is made, twice with the same bytes; the second one's sweep fails, and is named."""

    def run(sweep, folder, overrides):
        if "convex" not in sweep:
            raise asyncopt.InputError(f"sweep {sweep} ended with status 1")
        _convex_runs(folder, {1: 8.0, 4: 2.0})

    monkeypatch.setattr(gallery, "_run", run)
    for attempt in ("one", "two"):
        output = tmp_path / attempt
        arguments = ["convex", "delays", "--runs", str(tmp_path / f"runs {attempt}"), "--output", str(output)]
        assert gallery.main(arguments) == 1
        assert "delays: sweep figures/delays ended with status 1" in capsys.readouterr().err
        assert {path.name for path in output.iterdir()} == {"convex.png", "convex.csv", "convex.md", "index.md"}
    for name in ("convex.png", "convex.csv", "convex.md", "index.md"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    caption = (output / "convex.md").read_text()
    assert "{" not in caption

    # Nothing is drawn again, unless a file is another one than it was.
    assert not gallery.make("convex", "laptop", tmp_path / "runs two", output)
    (output / "convex.csv").write_text("edited")
    assert gallery.make("convex", "laptop", tmp_path / "runs two", output)
    assert not gallery.make("convex", "laptop", tmp_path / "runs two", output)
    assert "0.0024 to 0.0029" in caption
    assert "(convex.png)" in (output / "index.md").read_text()


def test_the_papers_sizes_are_asked_for_where_there_are_any(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(gallery, "_run", lambda sweep, folder, overrides: asked.append(sweep))
    for sweep in ("figures/lenet5", "figures/real_runs", "threshold"):
        for scale in ("paper", "laptop"):
            gallery.swept(gallery.at_scale(sweep, scale), tmp_path, [])
    assert asked == [
        "figures/paper/lenet5", "figures/lenet5", "figures/real_runs", "figures/real_runs", "threshold", "threshold",
    ]  # fmt: skip


def test_the_page_says_of_which_scale_it_is(tmp_path):
    (tmp_path / "lenet5.md").write_text("A caption.")
    for scale, sweep in (("laptop", "figures/lenet5"), ("paper", "figures/paper/lenet5")):
        page = gallery.index(tmp_path, scale)
        assert f"SCALE={scale}" in page
        assert f"`+sweep={sweep}`" in page


def test_the_clock_of_the_convex_sweep_is_the_one_fitted_to_the_papers_table():
    trace = OmegaConf.load(ROOT / "sweeps" / "figures" / "convex.yaml").trace
    fit = fit_speedup(*reported.points(convex.EXPERIMENT, "speed-up"))
    assert trace.compute.mean + trace.read.mean == pytest.approx(fit.compute, abs=1e-3)
    assert trace.write.mean == pytest.approx(fit.server, abs=1e-3)


def test_another_list_of_jobs_has_another_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "_run", lambda sweep, folder, overrides: None)
    for folder in ("conf", "sweeps"):
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True)
    monkeypatch.setattr(gallery, "ROOT", tmp_path)
    before = gallery.swept("figures/convex", tmp_path, [])
    assert gallery.swept("figures/convex", tmp_path, []) == before
    path = tmp_path / "sweeps" / "figures" / "convex.yaml"
    path.write_text(path.read_text().replace("1,2,4,8,16,32", "1,2,4"))
    assert gallery.swept("figures/convex", tmp_path, []) != before


def test_unknown_figures_are_refused(capsys):
    with pytest.raises(SystemExit):
        gallery.main(["convexx"])
    assert "no figure convexx, expected one of convex, speedup" in capsys.readouterr().err


def test_a_sweep_that_fails_is_an_error_and_names_its_output(tmp_path):
    with pytest.raises(asyncopt.InputError, match=r"sweep figures/convex ended with status 1; see above, and .*output"):
        gallery.swept("figures/convex", tmp_path, ["data.num_rows=1"])


def test_captions_and_figures_belong_together():
    assert {path.stem for path in gallery.CAPTIONS.glob("*.md")} == set(gallery.GALLERY)
    kept = {path.name for path in gallery.OUTPUT.iterdir()}
    for name in gallery.GALLERY:
        assert {f"{name}.png", f"{name}.csv", f"{name}.md"} <= kept


def _split(values):
    return values.split(",") if "[" not in values else [f"{part}]" for part in values.rstrip("]").split("],")]


def _sweeps():
    sweeps = {sweep for figure in gallery.GALLERY.values() for sweep in figure.sweeps}
    return sorted(sweeps | {f"figures/paper/{path.stem}" for path in (ROOT / "sweeps/figures/paper").glob("*.yaml")})


@pytest.mark.parametrize("sweep", _sweeps())
def test_first_and_last_job_of_every_sweep_are_accepted(sweep):
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base=None):
        config = hydra.compose("config", [f"+sweep={sweep}"], return_hydra_config=True)
        choices = {key: _split(str(values)) for key, values in config.hydra.sweeper.params.items()}
        for which in (0, -1):
            job = hydra.compose("config", [f"+sweep={sweep}", *(f"{key}={c[which]}" for key, c in choices.items())])
            experiment.check(job)
            if job.runtime is None:
                job.trace.num_updates = min(job.trace.num_updates, 9600)
                instantiate(job.trace)
