"""Run folders: a few small files that hold all of a run, written whole or not at all, read back as one table."""

import dataclasses
import functools
import io
import json
import os
import pathlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from omegaconf import OmegaConf

from asyncopt.checks import InputError
from asyncopt.files import atomic, contents, manifest

if TYPE_CHECKING:  # which takes long to import, and writing a run does not need it
    import pandas as pd

CONFIG, METRICS, SUMMARY = "config.yaml", "metrics.parquet", "summary.json"
# Parts of the summary that `load_runs` puts into its table.
_SECTIONS = ("trace", "problem", "labels", "staleness")
CHECKSUMS = "checksums"  # key of the summary: the name of the list of checksums, which must exist if the key does


@dataclasses.dataclass(frozen=True)
class Record:
    """A run as it is on disk.

    Args:
      config: the resolved configuration.
      columns: the measurements, by name: arrays with an entry for each seed and evaluation, seed, step, time,
        objective, gap, and so on.
      summary: facts about the run, its trace, its problem and the software.
    """

    config: Mapping[str, Any]
    columns: "Mapping[str, np.ndarray] | pd.DataFrame"
    summary: Mapping[str, Any]

    @functools.cached_property
    def metrics(self) -> "pd.DataFrame":
        """The measurements as a table, one row for each seed and evaluation."""
        import pandas as pd

        return self.columns if isinstance(self.columns, pd.DataFrame) else pd.DataFrame(dict(self.columns))

    @property
    def labels(self) -> Mapping[str, Any]:
        """The names of the run's components for titles and tables.

        Raises:
          InputError: if an earlier version wrote the run, without labels.
        """
        labels = self.summary.get("labels")
        if not isinstance(labels, dict):
            raise InputError("summary.json has no labels, expected a run of this version; run it again")
        return labels


def save(
    folder: pathlib.Path,
    record: Record,
    also: Callable[[pathlib.Path], Iterable[pathlib.Path]] = lambda folder: (),
) -> None:
    """Writes a run folder. ``summary.json`` comes last: a folder that has it holds a whole run.

    Args:
      folder: the run's folder, created if needed.
      record: what to write.
      also: writes other files of the run into the folder, and returns their paths.

    Raises:
      OSError: if a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with atomic.alone_in(folder):
        (folder / SUMMARY).unlink(missing_ok=True)  # an earlier run's
        others = [path.name for path in also(folder)]
        config = OmegaConf.create(dict(record.config))
        atomic.write(folder / CONFIG, lambda path: OmegaConf.save(config, path))
        atomic.write(folder / METRICS, lambda path: _write_columns(path, record.columns))
        summary = json.dumps({**record.summary, CHECKSUMS: manifest.NAME}, indent=2) + "\n"
        manifest.write(folder, [CONFIG, METRICS, *others], {SUMMARY: summary.encode()})
        atomic.write(folder / SUMMARY, lambda path: path.write_text(summary))


def _write_columns(path: pathlib.Path, columns: "Mapping[str, np.ndarray] | pd.DataFrame") -> None:
    """Writes columns of numbers as Parquet, NaN as null."""
    import pyarrow as pa
    from pyarrow import parquet

    arrays = {}
    for name in columns:
        values = np.ascontiguousarray(columns[name])
        data, is_number = (_bits(values) if values.dtype == bool else values), values == values
        # From their memory: what converts arrays, `pyarrow.array`, imports pandas.
        buffers = [None if is_number.all() else pa.py_buffer(_bits(is_number)), pa.py_buffer(data)]
        arrays[name] = pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), buffers)
    parquet.write_table(pa.table(arrays), path)


def _bits(flags: np.ndarray) -> np.ndarray:
    return np.packbits(flags, bitorder="little")


def load_run(folder: str | os.PathLike[str], checked: bool = True) -> Record:
    """Reads one run folder.

    Args:
      folder: the run's folder.
      checked: whether to refuse a file that has been changed since the run wrote it, or holds what no run writes.

    Raises:
      InputError: if it is not a whole run, or a file has changed since; the message names the file.
      OSError: if a file cannot be read.
    """
    folder = pathlib.Path(folder)
    for name in (CONFIG, METRICS, SUMMARY):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: not a finished run, it has no {name}")
    import pandas as pd

    sums = manifest.read(folder) if checked else None
    # Each file is read once: what is checked is what is loaded.
    files = {name: manifest.contents(folder, name, sums) for name in (SUMMARY, METRICS, CONFIG)}
    name = SUMMARY
    try:
        summary = json.loads(files[name])
        name = METRICS
        contents.check_size(files[name])
        metrics = pd.read_parquet(io.BytesIO(files[name]))
        name = CONFIG
        text = files[name].decode()
        _check_plain(text)
        config = OmegaConf.to_container(OmegaConf.load(io.StringIO(text)))
    except Exception as error:  # three libraries' own errors, all of which say that the file is damaged
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{folder / name}: cannot be read: {said}") from error
    sections = {str(key): value for key, value in config.items()} if isinstance(config, dict) else {}
    if (
        not {"trace", "optimizer"} <= sections.keys()
        or not isinstance(summary, dict)
        or not all(isinstance(summary.get(section), dict) for section in ("trace", "problem"))
        or not {"seed", "step"} <= set(metrics)
    ):
        raise InputError(f"{folder}: not a run of asyncopt")
    if checked and sums is None and CHECKSUMS in summary:
        raise InputError(f"{folder}: it has no {manifest.NAME}, with which it was written")
    record = Record(sections, metrics, summary)
    if checked:
        contents.check_metrics(str(folder / METRICS), metrics)
        contents.check_summary(str(folder / SUMMARY), summary)
        # A setting of the user's own may be called like a measurement. No measurement is called like another setting.
        if odd := sorted(name for name in {"run", *_constants(record)} & set(metrics) if name == "run" or "." in name):
            raise InputError(f"{folder / METRICS}: column {odd[0]!r}, expected measurements, no settings")
    return record


def _constants(record: Record) -> dict[str, Any]:
    """Returns the settings of a run and the facts about it, by their names in the table of `load_runs`."""
    facts = {section: record.summary[section] for section in _SECTIONS if section in record.summary}
    return {**flat(record.config), **flat(facts, "summary.")}


def _check_plain(text: str) -> None:
    """Refuses what no run writes: tags, which name types, and aliases, with which a short text becomes a large tree."""
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        unusual = [value for value in (getattr(event, name, None) for name in ("anchor", "tag")) if value]
        if unusual:
            raise InputError(f"line {event.start_mark.line + 1} has {unusual[0]!r}, expected no tag, anchor or alias")


def load_runs(folder: str | os.PathLike[str]) -> "pd.DataFrame":
    """Reads every run below a folder into one tidy table.

    Args:
      folder: the folder of one run, of a sweep, or of many.

    Returns:
      One row for each run, seed and evaluation. Besides the measurements there are ``run`` (the run's folder,
      relative), the configuration (``trace.max_delay``, ``optimizer.learning_rate``, ...) and the facts of the run
      (``summary.trace.mean_square_delay``, ``summary.labels.method``, ...). A value of the configuration that is called
      like a measurement, such as ``seed``, is ``config.seed``. A run that is unfinished or damaged is left out with a
      warning that names it.

    Raises:
      InputError: if there is no such folder, or no whole run in it.
    """
    import pandas as pd

    frames = []
    for run, record in load_records(folder):
        taken = {"run", *record.metrics}
        constants = {f"config.{name}" if name in taken else name: value for name, value in _constants(record).items()}
        facts = pd.DataFrame({"run": run, **constants}, record.metrics.index)
        frames.append(pd.concat([record.metrics, facts], axis=1))
    return pd.concat(frames, ignore_index=True)


def load_records(folder: str | os.PathLike[str]) -> Iterator[tuple[str, Record]]:
    """Reads every run below a folder, one after another; yields the name of its folder, relative, and the run.

    A run that is unfinished or damaged is left out with a warning that names it.

    Raises:
      InputError: if there is no such folder, or no whole run in it.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder, expected one with runs below it")
    any_run = False
    for run_folder in _run_folders(folder):
        try:
            record = load_run(run_folder)
        except (InputError, OSError) as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
            continue
        any_run = True
        yield str(run_folder.relative_to(folder)), record
    if not any_run:
        raise InputError(f"{folder}: no finished run below it")


def _run_folders(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns every folder that holds a run, or that Hydra created for one."""
    holders = (path.parent for path in folder.rglob(CONFIG))
    return sorted({holder.parent if holder.name == ".hydra" else holder for holder in holders})


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested mappings as one, with dotted keys; lists, which a cell cannot hold, as JSON."""
    values: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            values |= flat(value, f"{prefix}{key}.")
        else:
            values[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list) else value
    return values
