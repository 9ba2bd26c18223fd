"""Which share of a run's time went into evaluations, by a clock that only the compiled loop moves."""

import types

import numpy as np
import pytest

from asyncopt.engine import drive

A_CALL, AN_UPDATE, AN_EVALUATION = 3.0, 1.0, 5.0  # seconds


@pytest.fixture
def loop(monkeypatch):
    """A loop that does nothing, and takes its time."""
    now = [0.0]
    monkeypatch.setattr(drive, "time", types.SimpleNamespace(perf_counter=lambda: now[0]))

    def advance(state, stops):
        now[0] += A_CALL + AN_UPDATE * (stops.stops[-1] - stops.made) + AN_EVALUATION * np.sum(stops.wanted)
        return state, np.zeros(len(stops.stops))

    return advance


@pytest.mark.parametrize("steps", [[0, 1, 2, 300], [0, 300], list(range(0, 301, 3))])
def test_of_the_seconds_of_a_run(loop, steps):
    shares = []
    run, share = drive.drive(lambda: (), loop, np.array(steps), lambda updates, share: shares.append(share))
    assert share * run.seconds == pytest.approx(AN_EVALUATION * len(steps))
    assert run.seconds >= 300 * AN_UPDATE + AN_EVALUATION * len(steps)
    assert shares[-1] == share
    assert all(0 < part < 1 for part in shares)


def test_whoever_looks_at_evaluations_may_end_the_run(loop):
    """It sees each once, with the updates made, and the loop makes no update after it has raised."""
    seen, reported = [], []

    def look(step, evaluation):
        assert np.ndim(evaluation) == 0
        seen.append(step)
        if len(seen) >= 4:
            raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        drive.drive(
            lambda: (), loop, np.arange(0, 301, 30), lambda made, share: reported.append(made), on_evaluation=look
        )
    assert sum(reported) < 300
    assert seen == list(range(0, 30 * len(seen), 30))
    seen.clear()
    drive.drive(lambda: (), loop, np.arange(0, 3), lambda made, share: None, on_evaluation=look)
    assert seen == [0, 1, 2]
