"""The pictures of docs/experiments.md show the servers and step sizes of the shipped sweeps."""

import collections

import pytest
from omegaconf import OmegaConf

from asyncopt.files import records
from figures.experiments import EXPERIMENTS, STEP_SIZE
from tests.sweeps.test_shipped import composed, grid_of


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_each_method_of_the_sweep_is_a_server_with_one_of_its_step_sizes(name):
    experiment, grid = EXPERIMENTS[name], grid_of(name)
    servers = []
    for method in grid["+method"]:
        config = composed(f"+method={method}", f"+sweep={name}")
        row = records.flat(OmegaConf.to_container(config))
        servers.append(experiment.server(collections.defaultdict(lambda: None, row)))
    assert sorted(servers) == sorted(experiment.steps)
    assert set(experiment.steps.values()) <= {float(step) for step in grid[STEP_SIZE]}
    assert set(experiment.also) <= set(grid)
