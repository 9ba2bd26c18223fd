"""The training curve of a run in a folder."""

from matplotlib.figure import Figure

from asyncopt.drawing import training
from asyncopt.files.records import Record


def curve(record: Record) -> Figure:
    """Returns `asyncopt.drawing.training.curve` of a run, titled with its problem and its delays."""
    trace = record.summary["trace"]
    delays = f"delay {trace['mean_delay']:.3g} on average, {trace['max_delay']:,} at most"
    diverged = sum(k >= 0 for k in record.summary["diverged_at"].values())
    title = f"{record.labels['problem']}: {delays}"
    return training.curve(record.columns, title, record.labels["method"], diverged)
