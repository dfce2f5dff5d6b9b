"""The gradient of a fixed point by the implicit function theorem, as in deep equilibrium models.

At z = f(a, z) the gradient g of z becomes u = g + u df/dz, a linear system, and a gets u df/da. Nothing of the way to
the fixed point is kept. Where z is not one, the result is an estimate (HRM's one-step gradient is u = g).

Bai, Kolter, Koltun, "Deep equilibrium models", arXiv 1909.01377, theorem 1.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.sparse.linalg import gmres

# GMRES keeps so many directions, each of the size of z in float32, before it starts afresh.
DIRECTIONS = 10


def attach_gradient(
    improve: Callable[[Any, jax.Array], jax.Array], shared: Any, z: jax.Array, tolerance: float, solver_steps: int
) -> jax.Array:
    """z as it is, with the gradient with respect to `shared` that it has as the fixed point of improve(shared, .).

    Args:
      improve: a pure function of (shared, z), of z's shape and dtype.
      shared: a pytree of floating-point arrays.
      z: gets no gradient itself.
      tolerance: the solver (GMRES) ends when the residual's norm is this much of the gradient's, over the whole batch.
      solver_steps: or after about so many products with the Jacobian, rounded up to a multiple of DIRECTIONS beyond
        that number.
    """

    @jax.custom_vjp
    def run(shared: Any, z: jax.Array) -> jax.Array:
        return z

    def forward(shared: Any, z: jax.Array) -> tuple[jax.Array, Any]:
        return z, (shared, z)

    def backward(kept: Any, gradient: jax.Array) -> tuple[Any, jax.Array]:
        shared, z = kept
        _, pull = jax.vjp(improve, shared, z)

        def minus_jacobian(u: jax.Array) -> jax.Array:
            return u - pull(u.astype(z.dtype))[1].astype(u.dtype)

        directions = min(DIRECTIONS, solver_steps)
        u, _ = gmres(
            minus_jacobian,
            gradient.astype(jnp.float32),
            tol=tolerance,
            restart=directions,
            maxiter=-(-solver_steps // directions),
            solve_method="incremental",
        )
        return pull(u.astype(z.dtype))[0], jnp.zeros_like(z)

    run.defvjp(forward, backward)
    return run(shared, z)
