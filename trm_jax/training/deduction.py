"""Training on sets of candidates: what a call of the network costs, and what becomes of the sets (arXiv 2605.08605).

The carry has the sets that the model's own eliminations and guesses have led to. A row keeps its puzzle until it is
solved, or given up with reason, or N_sup calls old; so one batch holds puzzles at all stages, those included in which
something right has been lost, which is what a conflict is learnt from.
"""

import jax
import jax.numpy as jnp

from trm_jax.config import CandidatesConfig, Experiment
from trm_jax.devices.sharding import ALONE, Layout
from trm_jax.model.losses import Metrics, binary_cross_entropy, smoothed
from trm_jax.model.model import Model, Params
from trm_jax.recursion.candidates import Deduction, eliminated, pinned
from trm_jax.recursion.recursion import State
from trm_jax.training.supervision import Carry


def supervise(
    model: Model, config: CandidatesConfig, smoothing: float, params: Params, carry: Carry
) -> tuple[jax.Array, Deduction, Metrics]:
    """One call on the carry's sets, and what it costs; nothing here is random.

    Returns:
      The total loss, summed over rows; what the network said last; the losses by name, summed over rows.
    """
    possible, given_BS, right = sets(model, carry)
    cells_BS = right.any(axis=-1) & ~given_BS  # labelled cells that are to be found
    sound_B = _sound(right, possible)
    # Of the candidates of a cell that is given there is nothing to say.
    open_BSV = possible & ~given_BS[..., None]
    count_B = jnp.maximum(open_BSV.sum(axis=(1, 2)), 1)
    cells_B = jnp.maximum(cells_BS.sum(axis=-1), 1)
    targets = smoothed(right.astype(jnp.float32), smoothing)

    def cost(said: Deduction) -> Metrics:
        weights = jnp.where(right, config.keep_weight, config.drop_weight)
        keeping = weights * binary_cross_entropy(said.keep, right.astype(jnp.float32))
        # A symbol that has been eliminated already is out of the question, and so is a row that has lost a right one.
        log_shares = jax.nn.log_softmax(jnp.where(possible, said.symbols, -1e9))
        naming = -jnp.where(cells_BS, jnp.where(possible, targets * log_shares, 0.0).sum(axis=-1), 0.0)
        conflict = binary_cross_entropy(said.conflict, (~sound_B).astype(jnp.float32))
        return {
            "elimination_loss": (jnp.where(open_BSV, keeping, 0.0).sum(axis=(1, 2)) / count_B).sum(),
            "lm_loss": jnp.where(sound_B, naming.sum(axis=-1) / cells_B, 0.0).sum(),
            "conflict_loss": conflict.sum(),
        }

    said, parts = model.deduce_supervised(params, possible, carry.data.inputs, cost)
    total = (
        parts["elimination_loss"]
        + config.symbol_weight * parts["lm_loss"]
        + config.conflict_weight * parts["conflict_loss"]
    )
    return total, said, parts


def next_carry(
    experiment: Experiment, model: Model, carry: Carry, said: Deduction, key: jax.Array, layout: Layout = ALONE
) -> tuple[Carry, Metrics]:
    """The sets after a call, and sums over the rows that are done (as step.train_step's, and these besides).

    `lost`: rows that had lost something right before this call. `conflicts`: rows that were given up by it.

    Args:
      key: of the step; what is drawn for a row depends on it and on the row's number alone.
      layout: who has the other rows of the batch.
    """
    config = experiment.candidates
    possible, given_BS, right = sets(model, carry)
    sound_B = _sound(right, possible)
    found = eliminated(possible, given_BS, said, config.eliminate_below, config.conflict_above)
    batch_size = carry.halted.shape[0]
    keys_B = jax.vmap(lambda row: jax.random.fold_in(key, row))(layout.own(jnp.arange(layout.count * batch_size)))
    guessed = pinned(found.possible, said.symbols, keys_B, config.temperature)
    steps_B = carry.steps + 1
    # A set that is given up without reason goes on: it is one to learn from.
    done_B = found.solved | (found.conflict & ~sound_B) | (steps_B >= model.config.supervision_steps)
    state = State(jnp.where(found.conflict[:, None, None], found.possible, guessed), None)
    labelled_BS = right.any(axis=-1)
    correct_BS = (found.possible == right).all(axis=-1) | ~labelled_BS
    exact_B = found.solved & correct_BS.all(axis=-1)
    shares_B = correct_BS.mean(axis=-1)
    whole = layout.count * batch_size
    metrics = {
        "count": done_B.sum(),
        "accuracy": jnp.where(done_B, shares_B, 0.0).sum(),
        "exact_accuracy": (done_B & exact_B).sum(),
        "q_halt_accuracy": (done_B & ((said.conflict > 0) != sound_B)).sum(),
        "steps": jnp.where(done_B, steps_B, 0).sum(),
        "lost": (~sound_B).sum() / whole,
        "conflicts": found.conflict.sum() / whole,
    }
    return Carry(state, steps_B, done_B, carry.data), metrics


def sets(model: Model, carry: Carry) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Of a carry: candidates [B, S, V], cells that the puzzle gives [B, S], and the candidates that are right."""
    assert carry.state.y is not None
    possible, given_BS = model.possible(carry.state.y, carry.data.inputs)
    right = carry.data.labels[..., None] == jnp.array(model.config.units.symbols)[None, None]
    return possible, given_BS, right


def _sound(right: jax.Array, possible: jax.Array) -> jax.Array:
    """Which sets still have everything that is right, bool [B]; cells without a label do not count."""
    return ((right & possible).any(axis=-1) | ~right.any(axis=-1)).all(axis=-1)
