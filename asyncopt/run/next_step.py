"""What can be typed after a sweep: Hydra calls `NextStep` when all jobs are done."""

from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf


class NextStep(Callback):
    """Prints which command reads the results of a sweep."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Prints one line, unless ``progress=false`` asks for quiet."""
        del kwargs
        if not config.progress:
            return
        folder = config.hydra.sweep.dir
        print(f"\nnext: {' or '.join(_commands(_swept(config), folder))}", flush=True)


def _swept(config: DictConfig) -> list[str]:
    """Returns the settings that have several values, of a shipped sweep or of the command line."""
    shipped = OmegaConf.to_container(config.hydra.sweeper).get("params") or {}  # pyright: ignore
    typed = [key for key, sign, value in (one.partition("=") for one in config.hydra.overrides.task) if "," in value]
    return [str(key).lstrip("+") for key in {**shipped, **dict.fromkeys(typed)}]


def _commands(swept: list[str], folder: str) -> list[str]:
    """Returns commands that can read a sweep over these settings."""
    if "method" in swept:
        return [f"asyncopt compare {folder}"]
    by = [key for key in swept if key != "seeds"]
    curves = [f"asyncopt curves {folder} --by {by[0]}"] if len(by) == 1 else []
    return [f"asyncopt report {folder}", *curves]
