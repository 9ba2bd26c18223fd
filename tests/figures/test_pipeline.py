"""The picture of pipelines shows each method of the shipped sweep, with its best step size."""

import collections

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from asyncopt.files import records
from figures import pipeline
from tests.sweeps.test_shipped import composed, grid_of


def test_each_method_of_the_sweep_has_a_name():
    names = []
    for method in grid_of("pipeline")["+method"]:
        row = records.flat(OmegaConf.to_container(composed(f"+method={method}", "+sweep=pipeline")))
        names.append(pipeline.method(collections.defaultdict(lambda: None, row)))
    assert sorted(names) == sorted(pipeline.METHODS)


def test_the_best_step_size_is_that_of_the_mean_at_the_end_and_none_that_diverged():
    losses = {0.1: [3.0, 3.0], 1.0: [2.0, 2.2], 10.0: [0.5, np.inf]}
    rows = [
        {
            "trace.schedule": "1f1b", "trace.stashing": True, "optimizer._target_": "optax.adamw",
            "handling._target_": None, "trace.num_stages": stages, "optimizer.learning_rate": size, "seed": seed,
            "step": step, "time": 0.5 * step, "test_loss": 4.0 if step == 0 else losses[size][seed] + stages,
        }
        for stages in (1, 2) for size in losses for seed in (0, 1) for step in (0, 5, 10)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    assert set(pipeline.best(table)["optimizer.learning_rate"]) == {1.0}
    left, middle, right = pipeline.figure(table, 2000).axes
    ends, tokens, seconds = (axes.containers[0].lines[0].get_xydata() for axes in (left, middle, right))
    np.testing.assert_allclose(ends[:, 1], [3.1, 4.1])
    np.testing.assert_allclose(tokens[:, 0], [10, 20], rtol=0.05)
    np.testing.assert_allclose(seconds[:, 0], [2.5, 5.0])
