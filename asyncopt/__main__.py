"""``python -m asyncopt``: one run, or with ``-m`` a sweep. See ``conf/`` for what can be set."""

import pathlib

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from asyncopt.run import resolvers

resolvers.register()
_PACKAGE = pathlib.Path(__file__).resolve().parent
# An installed copy carries the configuration inside the package; in a clone it lies at the root.
CONFIG_FOLDER = next(folder for folder in (_PACKAGE / "conf", _PACKAGE.parent / "conf") if folder.is_dir())


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="config")
def main(config: DictConfig) -> None:
    """Runs one configuration into Hydra's output folder."""
    # JAX takes a second to import, and neither --help nor a misspelt key needs it.
    from asyncopt.run import execute

    folder = HydraConfig.get().runtime.output_dir
    try:
        with execute.hydra_errors():
            execute.run(config, folder)
    except KeyboardInterrupt:
        raise SystemExit(f"asyncopt: stopped; the same command with hydra.run.dir={folder} resumes the run") from None


if __name__ == "__main__":
    main()
