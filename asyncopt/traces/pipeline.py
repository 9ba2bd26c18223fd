"""The trace of a pipeline: each stage holds some layers of a network, and has delays of its own."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from asyncopt.checks import InputError, check_flag, check_integer, check_number
from asyncopt.traces import fields
from asyncopt.traces.trace import Trace, staleness_setting

SCHEDULES = ("1f1b", "2bw", "gpipe")


@staleness_setting("num_stages")
def pipeline(
    num_updates: int,
    num_stages: int,
    schedule: str = "1f1b",
    stashing: bool = True,
    microbatches: int | None = None,
    forward: float | Sequence[float] = 1.0,
    backward: float | Sequence[float] = 2.0,
    network: float = 0.0,
) -> Trace:
    """Returns the trace of a pipeline of P stages, with the clock of its forward and backward passes.

    Stage s = 0, ..., P - 1 has the layers l of L with ⌊l P / L⌋ = s. One mini-batch makes one update, and

    - "1f1b" (PipeDream): stage s runs P - s forward passes, then one backward and one forward pass in turn, and steps
      after each backward pass. So its forward pass of update k has the weights of iterate max(0, k - (P - 1 - s)): the
      first stage has the longest delay, the last stage none. Where stages are equal and ``network`` is 0, no stage
      waits once the pipeline is full.
    - "2bw" (PipeDream-2BW): a mini-batch is divided into m >= P micro-batches, whose gradients are added up. All stages
      take update k's gradient at iterate max(0, k - 1), also with P = 1, so that each keeps two versions of its
      weights.
    - "gpipe" (GPipe): m micro-batches, all forward and then all backward. Every delay is 0, and stages wait while
      the pipeline fills and empties: a share (P - 1) / (m + P - 1) of the time, where stages are equal and ``network``
      is 0.

    Args:
      num_updates: K, at least 1.
      num_stages: P, at least 1.
      schedule: "1f1b", "2bw" or "gpipe".
      stashing: with "1f1b", whether a stage keeps the weights of a forward pass for its backward pass. Without, the
        backward pass takes the newest weights, iterate k, as in PipeMare: each layer keeps its input from the forward
        pass, and recomputes the rest of the layer. The other schedules have one version in both passes.
      microbatches: m, at least 1, with "2bw" at least P. Default: P. "1f1b" has none.
      forward: seconds of the forward pass of a mini-batch through the whole network, which the stages share equally;
        or a number for each stage.
      backward: seconds of the backward pass, as ``forward``.
      network: seconds from the end of a pass on a stage to its arrival at the next stage.

    Returns:
      A trace with ``time``, the second at which all stages have made update k. With "1f1b" and P > 1 it has a block for
      each stage: ``blocks`` is "layers", and ``block_version`` is int[K, P], the iterate of the forward pass. Without
      stashing, ``backward_version`` is that of the backward pass. In any other trace all stages read one iterate,
      ``read_version``, and there are no blocks.

    Raises:
      InputError: if a number is out of range, or an argument has no effect with the schedule.

    References:
      Narayanan et al., `PipeDream <https://arxiv.org/abs/1806.03377>`_, 2018, and `Memory-efficient pipeline-parallel
      DNN training <https://arxiv.org/abs/2006.09503>`_, 2021; Huang et al., `GPipe <https://arxiv.org/abs/1811.06965>`_,
      2018; Yang et al., `PipeMare <https://arxiv.org/abs/1910.05124>`_, 2021.
    """
    num_updates = check_integer("num_updates", num_updates, at_least=1)
    num_stages = check_integer("num_stages", num_stages, at_least=1)
    if not isinstance(schedule, str) or schedule not in SCHEDULES:
        raise InputError(f"schedule is {schedule!r}, expected one of {list(SCHEDULES)}")
    check_flag("stashing", stashing)
    if not stashing and schedule != "1f1b":
        raise InputError(f"stashing is False, expected True: with schedule {schedule!r} both passes take one version")
    parts = _checked_microbatches(schedule, microbatches, num_stages)
    if num_updates * parts > fields.MAX_UPDATES:
        raise InputError(
            f"num_updates is {num_updates} of {parts} micro-batches each, expected at most {fields.MAX_UPDATES} in all"
        )
    ahead, back = _stage_seconds("forward", forward, num_stages), _stage_seconds("backward", backward, num_stages)
    network = check_number("network", network, at_least=0)
    updates = np.arange(num_updates)
    if schedule == "gpipe":
        return Trace(updates, time=_flushed(ahead, back, network, parts) * (updates + 1))
    time = _interleaved(num_updates * parts, ahead / parts, back / parts, network)[parts - 1 :: parts]
    if schedule == "2bw":
        return Trace(np.maximum(updates - 1, 0), time=time)
    forwards = np.maximum(updates[:, None] - np.arange(num_stages)[::-1], 0)
    backwards = None if stashing else np.repeat(updates[:, None], num_stages, axis=1)
    return Trace(
        forwards.min(axis=1), block_version=forwards, backward_version=backwards, blocks=fields.LAYERS, time=time
    )


def _checked_microbatches(schedule: str, microbatches: int | None, num_stages: int) -> int:
    """Returns m; 1 with "1f1b"."""
    if schedule == "1f1b":
        if microbatches is not None:
            raise InputError(f"microbatches is {microbatches}, expected none with schedule '1f1b'")
        return 1
    if microbatches is None:
        return num_stages
    return check_integer("microbatches", microbatches, at_least=num_stages if schedule == "2bw" else 1)


def _stage_seconds(name: str, seconds: float | Sequence[float], num_stages: int) -> Float[np.ndarray, " P"]:
    """Returns the seconds of each stage: an equal share of one number, or the numbers as they are listed."""
    if isinstance(seconds, np.ndarray) and seconds.ndim == 0:
        seconds = seconds.item()
    if isinstance(seconds, str | bytes) or not isinstance(seconds, Sequence | np.ndarray):
        return np.full(num_stages, check_number(name, seconds, at_least=0) / num_stages)
    listed = list(seconds)
    if len(listed) != num_stages:
        raise InputError(f"{name} has {len(listed)} numbers, expected one, or one for each of {num_stages} stages")
    return np.array([check_number(f"{name} of stage {stage}", x, at_least=0) for stage, x in enumerate(listed)])


def _flushed(forward: Float[np.ndarray, " P"], backward: Float[np.ndarray, " P"], network: float, parts: int) -> float:
    """Returns the seconds of an update with GPipe's schedule, from an empty pipeline to an empty pipeline."""
    ends = np.zeros((parts, len(forward)))
    for stage in range(len(forward)):
        arrived = np.zeros(parts) if stage == 0 else ends[:, stage - 1] + network
        ends[:, stage] = _one_after_another(arrived, forward[stage] / parts)
    for stage in reversed(range(len(backward))):
        # A stage starts its first backward pass after its last forward pass.
        arrived = ends[:, stage] if stage == len(backward) - 1 else ends[:, stage + 1] + network
        ends[:, stage] = _one_after_another(np.maximum(arrived, ends[-1, stage]), backward[stage] / parts)
    return float(ends[-1, 0])


def _one_after_another(arrived: Float[np.ndarray, " m"], duration: float) -> Float[np.ndarray, " m"]:
    """Returns when jobs of ``duration`` seconds end, which start in order, each after it arrived."""
    elapsed = duration * np.arange(1, len(arrived) + 1)
    return np.maximum.accumulate(arrived - elapsed + duration) + elapsed


def _interleaved(
    count: int, forward: Float[np.ndarray, " P"], backward: Float[np.ndarray, " P"], network: float
) -> Float[np.ndarray, " count"]:
    """Returns when the first stage ends its backward pass of each micro-batch, with one forward, one backward in turn.

    Round d of a stage s is its forward pass of micro-batch d + P - 1 - s, and its backward pass of micro-batch d.
    Before round 0 there are forward passes alone. So all stages of a round depend on the round before.
    """
    num_stages = len(forward)
    stages = np.arange(num_stages)
    # Seconds of a backward pass from its start at the last stage until its arrival at stage s - 1.
    descent = np.cumsum((backward + network)[::-1])[::-1]
    free, forward_end, backward_end = np.zeros(num_stages), np.zeros(num_stages), np.empty(count)
    for round_number in range(1 - num_stages, count):
        microbatch = round_number + num_stages - 1 - stages
        exists = (microbatch >= 0) & (microbatch < count)
        arrived = np.append(0.0, forward_end[:-1] + network)
        forward_end = np.where(exists, np.maximum(free, arrived) + forward, forward_end)
        free = np.where(exists, forward_end, free)
        if round_number >= 0:
            # The end at stage s is that of the latest start at a stage t >= s, and all passes from t to s.
            latest = np.maximum.accumulate((free - np.append(descent[1:], 0.0))[::-1])[::-1]
            free = latest + descent - network
            backward_end[round_number] = free[0]
    return backward_end
