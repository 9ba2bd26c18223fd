"""What can be typed after a sweep: Hydra calls `NextStep` when all jobs are done."""

import shlex
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf


class NextStep(Callback):
    """Prints which command reads the results of a sweep."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Prints one line, unless ``progress=false`` asks for quiet."""
        del kwargs
        if not config.progress:
            return
        swept = _swept(config)
        folder = shlex.quote(str(config.hydra.sweep.dir))
        by = [key for key in swept if key not in ("seeds", "trace.seed")]
        if config.policy is not None:  # servers differ in their numbers of updates
            commands = _curves(config, folder, ["trace" if key == "policy" else key for key in by], "--axis time")
        elif "step_factor" in swept:
            commands = _paired(folder, by)
        elif "method" in swept:
            commands = [f"asyncopt compare {folder}"]
        else:
            commands = [f"asyncopt report {folder}", *_curves(config, folder, by)]
        print(f"\nnext: {' or '.join(commands)}", flush=True)


def _paired(folder: str, by: list[str]) -> list[str]:
    """Returns the command that compares the values of a setting, or draws step sizes if nothing else was swept."""
    varied = [key for key in by if key not in ("method", "step_factor")]
    command = f"paired {folder} --vary {varied[0]}" if varied else f"curves {folder} --by optimizer.learning_rate"
    return [f"asyncopt {command}{' --by method' if 'method' in by else ''}"]


def _curves(config: DictConfig, folder: str, by: list[str], *options: str) -> list[str]:
    """Returns the command that draws a curve for each combination, if each key is a setting or has a name."""
    from asyncopt.analysis.curve_runs import NAMED  # which imports SciPy's statistics

    can_be_drawn = all(key in NAMED or not isinstance(config.get(key), DictConfig) for key in by)
    command = [f"asyncopt curves {folder}", *(f"--by {key}" for key in by), *options]
    return [" ".join(command)] if by and can_be_drawn else []


def _swept(config: DictConfig) -> list[str]:
    """Returns the settings that have several values, of a shipped sweep or of the command line."""
    shipped = OmegaConf.to_container(config.hydra.sweeper).get("params") or {}  # pyright: ignore
    parsed = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
    typed = [one.key_or_group for one in parsed if one.is_sweep_override()]
    return [str(key).lstrip("+") for key in {**shipped, **dict.fromkeys(typed)}]
