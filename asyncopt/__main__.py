"""``python -m asyncopt``: one run, or with ``-m`` a sweep. See ``conf/`` for what can be set."""

import pathlib

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from asyncopt.run import resolvers

resolvers.register()
_PACKAGE = pathlib.Path(__file__).resolve().parent
# An installed copy carries the configuration inside the package; in a clone it lies at the root.
CONFIG_FOLDER = next(folder for folder in (_PACKAGE / "conf", _PACKAGE.parent / "conf") if folder.is_dir())


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="config")
def main(config: DictConfig) -> None:
    """Runs one configuration into Hydra's output folder."""
    hydra_config = HydraConfig.get()
    swept = hydra_config.sweeper.get("params")
    if hydra_config.mode != RunMode.MULTIRUN and swept:
        raise SystemExit(f"asyncopt: a sweep over {', '.join(map(str, swept))} needs the option -m, which is not there")
    # JAX takes a second to import, and neither --help nor a misspelt key needs it.
    from asyncopt.run import execute

    folder = hydra_config.runtime.output_dir
    try:
        with execute.hydra_errors():
            execute.run(config, folder)
    except KeyboardInterrupt:
        raise SystemExit(f"asyncopt: stopped; the same command with hydra.run.dir={folder} resumes the run") from None


if __name__ == "__main__":
    main()
