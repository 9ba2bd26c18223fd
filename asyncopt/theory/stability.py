"""Up to which step size gradient descent under a constant delay is stable on a quadratic."""

import math

from asyncopt.checks import check_integer, check_number

# Each halves the interval that holds the frequency, from π down to a unit in the last place.
_HALVINGS = 60


def stability_limit(delay: int, curvature: float = 1.0, momentum: float = 0.0) -> float:
    r"""Returns the step size below which gradient descent under a constant delay converges on ½ h x².

    With step size η and averaged momentum :math:`m_k = \beta m_{k-1} + (1-\beta)\, h x_{k-\tau}`, the iterates
    :math:`x_{k+1} = x_k - \eta m_k` are sums of powers of the roots z of

    .. math:: (z - 1)(z - \beta) + (1 - \beta)\, \eta h\, z^{1-\tau} = 0.

    For small η all roots lie inside the unit circle. The first root to reach it is :math:`z = e^{i\theta}`, where θ is
    the smallest positive solution of

    .. math:: (\tau - \tfrac12)\, \theta + \arg(e^{i\theta} - \beta) = \frac\pi2,

    whose left side grows with θ. The limit is :math:`\eta h = |z - 1| |z - \beta| / (1 - \beta)`. Without momentum it
    is :math:`2 \sin\bigl(\frac{\pi}{2 (2\tau + 1)}\bigr)`, where θ is :math:`\pi/(2\tau+1)`.

    Args:
      delay: τ in updates, at least 0.
      curvature: h, the largest eigenvalue of the Hessian, above 0.
      momentum: β, at least 0 and below 1.

    Raises:
      InputError: if a number is out of range.

    References:
      Levin and May, `A note on difference-delay equations <https://doi.org/10.1016/0040-5809(76)90043-5>`_, Theoretical
      Population Biology 9, 1976: without momentum, as :math:`2 \cos(\pi\tau / (2\tau + 1))`.
    """
    delay = check_integer("delay", delay, at_least=0)
    curvature = check_number("curvature", curvature, above=0)
    momentum = check_number("momentum", momentum, at_least=0, below=1)
    if momentum == 0:
        return 2 * math.sin(math.pi / (2 * (2 * delay + 1))) / curvature
    low, high = 0.0, math.pi
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        phase = (delay - 0.5) * middle + math.atan2(math.sin(middle), math.cos(middle) - momentum)
        low, high = (middle, high) if phase < math.pi / 2 else (low, middle)
    distance = math.hypot(math.cos(high) - momentum, math.sin(high))  # |z - β|
    return 2 * math.sin(high / 2) * distance / ((1 - momentum) * curvature)
