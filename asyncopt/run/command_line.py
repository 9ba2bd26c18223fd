"""The command line: Hydra's application, with errors in one line each, and what happens when it is stopped."""

import os
import sys
from collections.abc import Iterable

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from asyncopt import stopping
from asyncopt.checks import InputError
from asyncopt.run import messages, resolvers, start_up
from asyncopt.run.resolvers import CONFIG_FOLDER

resolvers.register()
_CONFIG = "config"


def run() -> None:
    """Runs what the command line asks for.

    Raises:
      SystemExit: with status 1 after an error, with 130 or 143 after a signal.
      BrokenPipeError: if nobody reads the output any more.
    """
    application = hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name=_CONFIG)(_job)
    if messages.wants_tracebacks():
        application()
        return
    os.environ[messages.FULL] = "1"  # Hydra hands errors on, and does not look for a debugger
    try:
        application()
    except Exception as error:  # for an error of a job, Hydra has already printed the job's overrides
        if isinstance(error, BrokenPipeError) and stopping.is_unread():
            raise
        print(f"asyncopt: {messages.explain(error, _keys)}", file=sys.stderr)
        raise SystemExit(1) from None
    finally:
        del os.environ[messages.FULL]


def _job(config: DictConfig) -> None:
    """Runs one configuration into Hydra's output folder."""
    settings = HydraConfig.get()
    in_a_sweep = settings.mode == RunMode.MULTIRUN
    swept = None if in_a_sweep else settings.sweeper.get("params")
    if swept:
        raise InputError(f"the configuration is a sweep over {', '.join(map(str, swept))}, expected the option -m")
    # JAX takes a second to import, and neither --help nor a misspelt key needs it.
    with start_up.importing():
        from asyncopt.run import execute

    folder = settings.runtime.output_dir
    whole = f"hydra.sweep.dir={settings.sweep.dir}" if in_a_sweep else f"hydra.run.dir={folder}"
    hint = f"the same command with {whole} resumes the {'sweep' if in_a_sweep else 'run'}"
    with stopping.until_unread(), stopping.resumable(hint):
        execute.run(config, folder, in_a_sweep)


def _keys() -> Iterable[str]:
    """Returns the keys of the default configuration, dotted."""
    from asyncopt.files import records  # which imports pandas

    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        config = OmegaConf.to_container(hydra.compose(_CONFIG), resolve=False)
    assert isinstance(config, dict)
    return records.flat({str(key): value for key, value in config.items()})
