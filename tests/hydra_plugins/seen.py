"""A callback that remembers what it was told."""

from hydra.experimental.callback import Callback

EVENTS = []


class Seen(Callback):
    def on_job_start(self, config, **_):
        EVENTS.append(("start", config.hydra.job.num))

    def on_job_end(self, config, job_return, **_):
        EVENTS.append(("end", config.hydra.job.num, job_return.status.name))
