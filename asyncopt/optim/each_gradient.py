"""Transforms that take each gradient by itself, also where several make a step."""

import optax


class EachGradient(optax.GradientTransformationExtraArgs):
    """A transform whose ``update`` is called with each gradient, and told which of them make a step.

    `asyncopt.replay` otherwise gives an optimizer the sum of a step's gradients. ``update`` has the keywords ``worker``
    (int32) and ``makes_step`` (bool); where that is false, it returns steps of zero. It must be the outermost
    transform: `optax.chain` hides what it is.
    """
