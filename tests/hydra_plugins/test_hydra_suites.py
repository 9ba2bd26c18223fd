"""What Hydra asks of every launcher: its own tests, with its own applications."""

import pytest
from hydra import version
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)

NAME = "asyncopt_vectorized"

# Hydra's applications do not say which version of Hydra they are for, and Hydra warns them.
pytestmark = pytest.mark.filterwarnings("ignore:Future Hydra versions", "ignore:\nThe version_base")


@pytest.fixture(autouse=True)
def hydra_without_a_version(hydra_restore_singletons):
    """Hydra's applications are written for any version; tests before this one may have set one for the process."""
    version.VersionBase.instance().setbase(version.__compat_version__)


def test_hydra_finds_it():
    assert "VectorizedLauncher" in [plugin.__name__ for plugin in Plugins.instance().discover(Launcher)]


@pytest.mark.parametrize(("launcher_name", "overrides"), [(NAME, [])])
class TestLauncher(LauncherTestSuite):
    pass


@pytest.mark.parametrize(("launcher_name", "overrides"), [(NAME, ["hydra.sweeper.max_batch_size=2"])])
class TestBatchedSweeper(BatchedSweeperTestSuite):
    pass


@pytest.mark.parametrize(("task_launcher_cfg", "extra_flags"), [({}, ["-m", f"hydra/launcher={NAME}"])])
class TestIntegration(IntegrationTestSuite):
    pass
