"""What theory predicts: theorems with every constant, what they claim about runs, and the speed-up of p workers.

NumPy only. The derivations are in ``docs/theory.md``. The bound functions take numbers or arrays that broadcast, and
return a `Bound` of arrays of that shape. Their arguments, in the notation of ``docs/theory.md``:

- ``num_updates``: K.
- ``step_size``: a, the same in all updates. The theorems take a = α/√K.
- ``b1``, ``b2``, ``eps``: β1, β2 and ε of the method; c = β1/(1 - β1).
- ``dimension``: n, the number of coordinates.
- ``smoothness``: L of ∇F in ℓ2.
- ``gradient_bound``: G, at least ‖∇f(x; ξ)‖_∞ for every x in X.
- ``diameter``: D, the ℓ∞ diameter of X, which is the longest side of the box.
- ``initial_gap``: F(x_0) - F*, or with a lower bound in place of F*.
- ``mean_delay``, ``mean_square_delay``: the means of τ_k and τ_k² over the trace, where τ_k is the delay of update k.

An *a-priori* bound needs these constants only. An *a-posteriori* bound is smaller, since it uses what a run measured:

- ``scale_l1``, ``momentum_l1``: ‖V_K‖_1 and ‖m_K‖_1.
- ``scaled_momentum_sum``: Σ_k a_k Σ_i m_{k,i}²/V_{k,i}.
- ``mean_drift``: the mean of ‖x_k - y_k‖² over the updates.
- ``mean_scaled_gradient``: W², the mean of ‖g_k / V_{k-1}‖² over the updates.
- ``scaled_momentum_max``: B, the largest ‖m_k / V_k‖_2.
"""

from asyncopt.checks import InputError
from asyncopt.theory.convex import CONVEX
from asyncopt.theory.convex_bounds import convex_a_posteriori, convex_a_posteriori_at_minimiser, convex_a_priori
from asyncopt.theory.nonconvex import NONCONVEX
from asyncopt.theory.nonconvex_bounds import (
    nonconvex_a_posteriori,
    nonconvex_a_posteriori_weighted,
    nonconvex_a_priori,
)
from asyncopt.theory.speedup import asynchronous_throughput, synchronous_throughput
from asyncopt.theory.stability import stability_limit
from asyncopt.theory.theorem import Bound, Certificate, Evidence, Step, Theorem

# By name. Where several theorems bound one quantity, the first whose hypotheses hold is used.
THEOREMS: dict[str, Theorem] = {theorem.name: theorem for theorem in (CONVEX, NONCONVEX)}


def register(theorem: Theorem) -> None:
    """Adds a theorem to `THEOREMS`, and so to studies, verdicts and reports.

    Raises:
      InputError: if there is a theorem of that name already.
      TypeError: if it is no `Theorem`.
    """
    if not isinstance(theorem, Theorem):
        raise TypeError(f"theorem is {theorem!r}, expected an asyncopt.theory.Theorem")
    if theorem.name in THEOREMS:
        raise InputError(f"there is a theorem named {theorem.name!r}, expected another name than {list(THEOREMS)}")
    THEOREMS[theorem.name] = theorem


def unregister(theorem: Theorem) -> None:
    """Removes a theorem that `register` added.

    Raises:
      InputError: if it is not registered, even if another theorem of its name is.
    """
    if THEOREMS.get(theorem.name) is not theorem:
        raise InputError(f"the theorem {theorem.name!r} is not registered, expected one of those in THEOREMS")
    del THEOREMS[theorem.name]


__all__ = [
    "THEOREMS", "Bound", "Certificate", "Evidence", "Step", "Theorem", "asynchronous_throughput", "convex_a_posteriori",
    "convex_a_posteriori_at_minimiser", "convex_a_priori", "nonconvex_a_posteriori", "nonconvex_a_posteriori_weighted",
    "nonconvex_a_priori", "register", "stability_limit", "synchronous_throughput", "unregister",
]  # fmt: skip
