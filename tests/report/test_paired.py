"""``asyncopt paired``, from run folders whose numbers are known."""

import numpy as np
import pandas as pd
import pytest

from asyncopt import InputError
from asyncopt.files import records
from asyncopt.report import paired


@pytest.fixture
def sweep(tmp_path):
    """A delay of 1 costs Adam 0.2 in each seed and SGD nothing; of three step sizes the middle one is best."""
    rng = np.random.default_rng(0)
    number, noise = 0, {size: 0.01 * rng.normal(size=(2, 6)) for size in (0.1, 1.0, 10.0)}
    for optimizer in ("adam", "sgd"):
        for delay in (0, 1):
            for size in (0.1, 1.0, 10.0):
                cost = 0.2 * delay * (optimizer == "adam") + abs(np.log10(size))
                end = 2 + cost + noise[size][0] + (0.005 * noise[size][1] if delay else 0)
                _write(tmp_path / str(number), optimizer, delay, size, end)
                number += 1
    return tmp_path


def _write(folder, optimizer, delay, size, ends):
    config = {
        "problem": {"_target_": "asyncopt.problems.char_lm"},
        "optimizer": {"_target_": f"optax.{optimizer}", "learning_rate": size},
        "trace": {"_target_": "asyncopt.traces.constant", "delay": delay},
        "step_factor": size,
        "handling": None,
        "seeds": list(range(len(ends))),
    }
    name = optimizer.upper()
    labels = {"problem": "character model", "optimizer": name, "handling": None, "trace": "constant", "method": name}
    columns = {"seed": np.repeat(range(len(ends)), 2), "step": np.tile([0, 10], len(ends))}
    losses = {name: np.stack([np.full(len(ends), 4.0), ends], axis=1).ravel() for name in ("objective", "test_loss")}
    summary = {"trace": {}, "problem": {}, "labels": labels, "staleness": {}}
    records.save(folder, records.Record(config, pd.DataFrame(columns | losses), summary))


def test_tables_and_files(sweep, tmp_path):
    text, left_out = paired.report(sweep, tmp_path / "out", by=["optimizer"], quantity="test_loss")
    assert left_out == []
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith(("| ADAM", "| SGD"))}
    assert rows["ADAM"].rstrip("| ").endswith("worse")
    assert "+0.2 [" in rows["ADAM"]
    assert rows["SGD"].rstrip("| ").endswith("not seen")
    table = pd.read_csv(tmp_path / "out" / "paired.csv")
    assert table["step_size"].tolist() == [1.0, 1.0]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["paired.csv", "paired.md", "paired.png"]


@pytest.mark.draws
def test_the_figure_says_what_it_shows(sweep, tmp_path):
    curves = paired.collect(records.load_records(sweep), ["optimizer", "trace.delay", "optimizer.learning_rate"])
    drawn = paired.figure(curves, paired.paired.differences(curves))
    (axes,) = drawn.axes
    assert axes.get_xlabel() == "delay"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["ADAM", "SGD"]
    drawn.savefig(tmp_path / "paired.png")


def test_the_baseline_is_one_of_the_values(sweep, tmp_path):
    text, _ = paired.report(sweep, tmp_path / "out", baseline="1", by=["optimizer"], quantity="test_loss")
    assert "better" in text
    with pytest.raises(InputError, match="baseline is 3, expected one of 0, 1"):
        paired.report(sweep, tmp_path / "out", baseline="3", by=["optimizer"])


def test_more_that_differs_is_refused(sweep, tmp_path):
    with pytest.raises(InputError, match="differs from"):
        paired.report(sweep, tmp_path / "out", quantity="test_loss")
