"""Trains with real workers, and records the trace."""

import contextlib
from collections.abc import Iterable

import numpy as np
import optax
from jaxtyping import DTypeLike

from asyncopt.checks import InputError, check_flag, check_integer
from asyncopt.engine import Checkpoint, Probe, Run, Settings
from asyncopt.engine import probes as probing
from asyncopt.engine import progress as progress_bar
from asyncopt.engine.prepare import prepare
from asyncopt.engine.stepwise import Stepwise
from asyncopt.problems import Problem
from asyncopt.runtime.policy_server import PolicyServer
from asyncopt.runtime.recording import Recording
from asyncopt.runtime.server import Server
from asyncopt.runtime.worker_pool import WorkerPool
from asyncopt.traces import Trace
from asyncopt.traces.policies import Policy


def record(
    problem: Problem,
    optimizer: optax.GradientTransformation,
    pool: WorkerPool,
    *,
    num_updates: int,
    seed: int = 0,
    eval_every: int | str | None = None,
    average: bool = True,
    record_bounds: bool | str = False,
    probes: Iterable[Probe] = (),
    param_dtype: DTypeLike | None = None,
    synchronous: bool = False,
    policy: Policy | None = None,
    progress: bool = False,
    checkpoint: Checkpoint | None = None,
) -> Recording:
    """Trains with real workers, asynchronously or in rounds, and records the trace.

    Every worker holds one request at a time: the newest iterate, and the number of a mini-batch. Without a policy, it
    is sent the next one once its gradient has been applied, so the mean delay tends to p - 1. No gradient is applied
    twice. The replay
    ``asyncopt.replay(..., exact=True)`` of the trace is bit-identical.

    A worker that fails is replaced. A gradient is refused if it is not finite, has another shape or dtype, or does not
    answer the worker's request. Both are recorded.

    Args:
      problem: what is minimised.
      optimizer: any Optax transform.
      pool: the workers.
      num_updates: K, at least 1.
      seed: seed of the start and the mini-batches.
      eval_every: evaluate F after so many updates, as in `asyncopt.replay`. Meanwhile the server applies nothing, and
        the clock keeps running.
      average: keep the average of the iterates, as in `asyncopt.replay`.
      record_bounds: record what the convergence bounds of APAM need, if `asyncopt.apam` returned ``optimizer``. With
        "full", record every line of the theorem's proof, too; this takes full gradients in every update.
      probes: what else to record, as in `asyncopt.replay`.
      param_dtype: dtype of the parameters, as in `asyncopt.replay`.
      synchronous: train in rounds: all workers compute at one iterate; when the last gradient has come, all are applied
        in the order of the workers. The optimizer must step once a round, as does
        ``buffer_updates(optimizer, size=p, exponent=0)``. K must be a multiple of p.
      policy: what the server does with each gradient that comes, one of `asyncopt.traces.policies` for example. The
        trace then has ``step``. The run ends with the first step after which at least K gradients have been used; its
        replay evaluates F after the same updates if ``eval_every`` is a number. In a run that is resumed, the policy
        starts anew.
      progress: show a progress bar on the standard error.
      checkpoint: keep the run in this file while it runs, also when it ends with an error, and resume it from there.

    Raises:
      InputError: if an argument is out of range, the run diverges, its workers fail again and again, or the policy
        gives an answer that cannot be followed, or makes no step for too long.
    """
    check_flag("synchronous", synchronous)
    length = check_integer("num_updates", num_updates, at_least=1)
    # Only the length of the trace is known before the run, and whether several gradients may make a step.
    updates = np.arange(length)
    trace = Trace(updates, step=None if policy is None else updates, num_workers=pool.num_workers)
    run = Run(problem, optimizer, trace, [seed], probing.chosen(optimizer, problem, record_bounds, probes))
    stepwise = Stepwise(prepare(run, Settings(eval_every, average, param_dtype)))
    server = _server(stepwise, pool, synchronous, policy)
    if checkpoint is not None:
        server.resume_from(checkpoint)
    with progress_bar.reporter(num_updates, 1, progress) as report, contextlib.closing(pool):
        report(server.run.made, 0.0)
        pool.start(problem, seed, server.run.params)
        pool.publish(server.run.made, server.run.params)
        try:
            server.serve(num_updates, report, checkpoint)
        except BaseException:
            if checkpoint is not None and server.can_be_resumed():
                checkpoint.save(server.snapshot())
            raise
    return server.recording()


def _server(run: Stepwise, pool: WorkerPool, synchronous: bool, policy: Policy | None) -> Server:
    if policy is None:
        num_updates = run.prepared.trace.num_updates
        if synchronous and num_updates % pool.num_workers:
            raise InputError(
                f"num_updates is {num_updates}, expected a multiple of the {pool.num_workers} workers: whole rounds"
            )
        return Server(run, pool, synchronous)
    if synchronous:
        raise InputError("synchronous is true and a policy is given, expected one of them: policies.rounds() is both")
    return PolicyServer(run, pool, policy)
