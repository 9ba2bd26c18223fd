"""``python -m asyncopt``: one run, or with ``-m`` a sweep. See ``conf/`` for what can be set."""

import pathlib

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from omegaconf import DictConfig

from asyncopt.checks import InputError
from asyncopt.run import resolvers

resolvers.register()
_PACKAGE = pathlib.Path(__file__).resolve().parent
# An installed copy carries the configuration inside the package; in a clone it lies at the root.
CONFIG_FOLDER = next(folder for folder in (_PACKAGE / "conf", _PACKAGE.parent / "conf") if folder.is_dir())


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="config")
def main(config: DictConfig) -> None:
    """Runs one configuration into Hydra's output folder."""
    # JAX takes a second to import, and neither --help nor a misspelt key needs it.
    from asyncopt.run import experiment

    try:
        experiment.run(config, HydraConfig.get().runtime.output_dir)
    except (InputError, OSError) as error:
        # Hydra prints this kind without a traceback, and lets a sweep's other jobs run first.
        raise CompactHydraException(f"asyncopt: {error}") from error
    except KeyboardInterrupt:
        folder = HydraConfig.get().runtime.output_dir
        raise SystemExit(f"asyncopt: stopped; the same command with hydra.run.dir={folder} goes on") from None


if __name__ == "__main__":
    main()
