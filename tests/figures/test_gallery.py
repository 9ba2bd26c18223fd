"""Figures from run folders: what they measure, what their captions say, and what happens when something is missing."""

import pathlib
import shutil

import hydra
import numpy as np
import pandas as pd
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

import asyncopt
import figures.__main__ as gallery
from asyncopt import traces
from asyncopt.analysis import studies
from asyncopt.analysis.speedup_fit import fit_speedup
from asyncopt.files import records
from asyncopt.run import settings
from figures import artificial_delay, convex, delays, networks, phase, rates, reported, speedup
from figures.drawn import by_workers
from tests import sweep as sweeps

ROOT = pathlib.Path(__file__).parents[2]


def _save(folder, config, *, seeds=(0, 1), step, metrics, time=None, labels=None, problem=None):
    """Writes a run as its folder would be, with measurements that are made up: float[S, E] each."""
    columns = {"seed": np.repeat(seeds, len(step)), "step": np.tile(step, len(seeds))}
    columns |= {} if time is None else {"time": np.tile(time, len(seeds))}
    columns |= {name: np.ravel(values) for name, values in metrics.items()}
    summary = {"trace": {}, "problem": problem or {}, "labels": labels or {}, "staleness": {}}
    records.save(folder, records.Record(config, pd.DataFrame(columns), summary))


def _convex_runs(folder, slowness):
    """Loss 2^-epoch whatever the workers, and seconds an epoch as ``slowness`` has them for each p."""
    step = np.arange(0, 9) * 10
    for p, seconds in slowness.items():
        config = {
            "problem": {"batch_size": 10},
            "trace": {"num_workers": p, "num_blocks": 16},
            "optimizer": {"learning_rate": 0.01},
            "handling": {"every": 10},
        }
        labels = {"problem": "logistic regression on rcv1 like", "data": "rcv1 like", "method": "APAM"}
        loss = np.tile(0.5 ** (step / 10), (2, 1))
        metrics = {"objective": loss, "train_accuracy": 1 - loss}
        facts = {"labels": labels, "problem": {"rows": 100}}
        _save(folder / str(p), config, step=step, metrics=metrics, time=seconds * step / 10, **facts)


def test_convex(tmp_path):
    for name in ("plain", "restarted"):
        _convex_runs(tmp_path / name, {1: 8.0, 4: 2.0})
    drawn = convex.draw(tmp_path / "plain", tmp_path / "restarted")
    at_end = drawn.data[drawn.data["epoch"] == 8].set_index("method")["value"]
    assert at_end["APAM"].to_list() == [0.5**8, 0.5**8]
    assert at_end["restarted"].to_list() == [0.5**8, 0.5**8]
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
    labels = {"problem": "perceptron on fashion mnist", "data": "fashion mnist"}
    for method, alpha in (("APAM", 5e-4), ("SGD", 0.05), ("synchronous AMSGrad", 5e-4)):
        for p in (1, 32):
            for seed in (0, 1, 2):
                config = {
                    "problem": {"width": 1.0, "batch_size": 40},
                    "trace": {"num_workers": p, "compute": {"distribution": "exponential"}},
                    "optimizer": {"learning_rate": alpha},
                    "handling": {"size": p} if "synchronous" in method else None,
                }
                # Seeds differ by far more than the methods do: only the paired difference sees what p costs.
                end = 0.8 + 0.05 * seed - (loses[method] if p > 1 else 0.0)
                metrics = {"test_accuracy": [[0.1, 0.5, end]]}
                facts = {"labels": {**labels, "method": method}, "problem": {"rows": 60_000, "classes": 10}}
                _save(folder / f"{method}{p}{seed}", config, seeds=(seed,), step=step, metrics=metrics, **facts)


def test_networks_compare_seed_by_seed(tmp_path):
    losses = {"APAM": 0.01, "SGD": 0.0, "synchronous AMSGrad": 0.2}
    _network_runs(tmp_path, losses)
    runs = networks.read(tmp_path)
    for method, loses in losses.items():
        change = networks.changes(by_workers(runs[method], "test_accuracy"))[32]
        assert change == pytest.approx([-100 * loses] * 3), method
    drawn = networks.draw(tmp_path, "perceptron")
    assert "98.3 % at 1" in drawn.facts["paper"]
    assert drawn.facts["alpha"] == "0.0005"
    assert drawn.facts["sgd_alpha"] == "0.05"
    assert drawn.facts["stuck"].startswith("APAM 0 of 6;")
    assert "{" not in drawn.caption


def test_networks_without_a_method_are_refused(tmp_path):
    _network_runs(tmp_path, dict.fromkeys(networks.METHODS, 0.0))
    for folder in tmp_path.glob("SGD*"):
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
    assert drawn.caption.startswith("**The convex theorem.** quadratic")
    diagram = phase.draw(tmp_path)
    assert "{" not in diagram.caption
    assert len(diagram.data) == 6  # cells with delay
    assert (diagram.data["delay"] > 0).all()


def test_artificial_delay(tmp_path):
    step = np.array([0, 10, 20])
    for delay, costs in ((0, 0.0), (5, 0.0), (400, 0.3)):
        config = {"problem": {}, "trace": {"max_delay": delay}, "optimizer": {}}
        labels = {"problem": "LeNet-5 on fashion mnist", "method": "APAM"}
        accuracy = [[0.1, 0.5, 0.9 - costs + noise * (delay > 0)] for noise in (0.0, 0.01, -0.01)]
        metrics = {"test_accuracy": accuracy}
        _save(tmp_path / str(delay), config, seeds=(0, 1, 2), step=step, metrics=metrics, labels=labels)
    drawn = artificial_delay.draw(tmp_path)
    assert drawn.caption.startswith("**Artificial delay.** LeNet-5 on fashion mnist; APAM;")
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


def test_the_gallery_is_complete():
    files = {path.name for path in gallery.OUTPUT.iterdir()}
    for name in gallery.GALLERY:
        assert {f"{name}.png", f"{name}.csv", f"{name}.md"} <= files


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
            settings.checked(job)
            if job.runtime is None:
                job.trace.num_updates = min(job.trace.num_updates, 9600)
                instantiate(job.trace)
