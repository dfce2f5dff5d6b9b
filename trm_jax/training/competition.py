"""Winner-take-all (arXiv 2601.19085): K latents work on one answer, and only the one that does best is trained.

In each supervision step every z_k, with the one y, leads to an answer of its own. The loss, its gradient and the
halting are those of the answer with the smallest token loss; its y is the next step's for all, while each latent keeps
the z that it came to. So different latents may learn different ways, of which none has to serve every puzzle.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from trm_jax.model.model import Model, Params, Readout
from trm_jax.recursion.recursion import State


def think_best(
    model: Model,
    params: Params,
    rows_BR: jax.Array | None,
    state: State,
    inputs_BS: jax.Array,
    loss: Callable[[jax.Array], jax.Array],
) -> tuple[State, Readout]:
    """A supervision step of every latent, and the outcome of the one whose answer is best; arguments as `Model.think`.

    The K latents go first, one after the other, without gradients; then the winner's step is made again, with
    gradients, so that no more is kept for them than of one latent.

    Args:
      loss: token loss [B] of logits [B, S, V].

    Returns:
      The winner's y with all new z [B, K, L, D], and the winner's `Readout`.
    """
    y_BLD, z_BKLD = state.y, state.z
    assert z_BKLD is not None
    free_params, free_rows_BR, free_y_BLD, free_z_BKLD = jax.lax.stop_gradient((params, rows_BR, y_BLD, z_BKLD))

    def attempt(z_BLD: jax.Array) -> tuple[jax.Array, jax.Array]:
        reached, readout = model.think(free_params, free_rows_BR, State(free_y_BLD, z_BLD[:, None]), inputs_BS)
        assert reached.z is not None
        return reached.z[:, 0], loss(readout.logits)

    new_KBLD, losses_KB = jax.lax.map(attempt, free_z_BKLD.swapaxes(0, 1))
    wins_BK = jnp.argmin(losses_KB, axis=0)[:, None] == jnp.arange(len(losses_KB))[None]

    best_B1LD = jnp.where(wins_BK[..., None, None], z_BKLD, 0).sum(axis=1, keepdims=True)
    reached, readout = model.think(params, rows_BR, State(y_BLD, best_B1LD), inputs_BS)
    assert reached.z is not None
    return State(reached.y, jnp.where(wins_BK[..., None, None], reached.z, new_KBLD.swapaxes(0, 1))), readout
