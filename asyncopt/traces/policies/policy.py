"""What a policy is: the decisions of a server, from arrivals alone."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

Workers = Sequence[int] | Int[np.ndarray, " n"]


class Arrival(NamedTuple):
    """A gradient that the server takes up."""

    number: int  #: of this gradient among all that have come, from 0
    worker: int  #: which worker computed it
    version: int  #: the steps that the server had made when the worker read its iterate
    step: int  #: the steps that the server has made by now
    time: float  #: the second at which the server takes it up

    @property
    def delay(self) -> int:
        """The steps made between the read and now."""
        return self.step - self.version


class Answer(NamedTuple):
    """What the server does now. The default: it ignores the gradient, and its worker stays idle.

    Workers that no field names go on with what they do, or stay idle. One that ``restart`` names twice begins once.
    """

    hold: bool = False  #: keep the gradient for a later step; needless if this step uses it
    step: Sequence[int] = ()  #: numbers of the gradients that make a step now; none: no step
    weight: Sequence[float] | None = None  #: of each of them in the step's sum; None: the step takes their mean
    restart: Workers = ()  #: workers that begin anew from the newest iterate, after the step
    assign: Workers = ()  #: workers that get one more job from the newest iterate, after those that they have


@runtime_checkable
class Policy(Protocol):
    """A server's decisions. They depend on arrivals and versions, never on gradients, so a policy makes a trace.

    A policy may have the attribute ``waits``, by default True: a worker is told what to do when the server has taken
    up its gradient. With False it begins anew as soon as its gradient has come, from the newest iterate at that second,
    and the answer need not restart it.

    It may have the attribute ``weighs``, by default False: whether its steps may have weights. With True, a real run
    refuses an optimizer that does not use them before the workers start, and not at the first such step.
    """

    def start(self, num_workers: int) -> Answer:
        """Forgets all that came before; the answer's ``restart`` and ``assign`` say which workers begin.

        A real run that is resumed starts the policy anew: the server may have made steps before.
        """
        ...

    def decide(self, arrival: Arrival) -> Answer:
        """Says what to do about a gradient that has come."""
        ...
