"""The update: AdamATan2, AdamW or Muon, the schedule, and sign-SGD for the rows of the puzzle table in a batch."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
import optax.contrib

Schedule = Callable[[jax.Array], jax.Array]

# Of the arcus tangent, highest power first but one; see `arctan2`.
_ARCTAN = (-0.0161657367, 0.0429096138, -0.0752896400, 0.1065626393, -0.1420889944, 0.1999355085, -0.3333314528)


def warmup_cosine(base: float, warmup_steps: int, total_steps: int, min_ratio: float) -> Schedule:
    """The learning rate at step t = 1, 2, ...: linear up to `warmup_steps`, then a cosine down to base * min_ratio.

    With min_ratio 1, as in all published runs, the rate is constant after the warm-up.
    """

    def rate(t: jax.Array) -> jax.Array:
        t = jnp.asarray(t, jnp.float32)
        progress = (t - warmup_steps) / max(1, total_steps - warmup_steps)
        after = min_ratio + jnp.maximum(0.0, (1 - min_ratio) * 0.5 * (1 + jnp.cos(jnp.pi * progress)))
        return base * jnp.where(t < warmup_steps, t / max(1, warmup_steps), after)

    return rate


class AdamATan2State(NamedTuple):
    """steps: taken, int32 []; mu and nu: the moments, like the parameters."""

    steps: jax.Array
    mu: optax.Params
    nu: optax.Params


def adam_atan2(
    learning_rate: Schedule,
    beta1: float = 0.9,
    beta2: float = 0.95,
    weight_decay: float = 0.0,
    form: Literal["original", "debiased"] = "original",
) -> optax.GradientTransformation:
    """Adam without an epsilon: atan2 bounds the step where the second moment is small (arXiv 2407.05872).

    Weights decay by learning_rate * weight_decay before the step, every tensor alike, biases and embeddings too.

    Args:
      learning_rate: of the step number t = 1, 2, ...
      beta1, beta2: decay of the first and second moment.
      weight_decay: decoupled.
      form: "original" takes lr / (1 - beta1^t) * atan2(m, sqrt(v) / sqrt(1 - beta2^t)), as the TRM code does: the
        first bias correction stands outside the atan2. "debiased" takes lr * 1.27 * atan2(m / (1 - beta1^t), ...) of
        both corrected moments, as most reimplementations do; once settled its steps are 27 % larger.
    """

    def init(params: optax.Params) -> AdamATan2State:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return AdamATan2State(jnp.zeros((), jnp.int32), zeros, jax.tree.map(jnp.zeros_like, params))

    def update(
        grads: optax.Updates, state: AdamATan2State, params: optax.Params | None = None
    ) -> tuple[optax.Updates, AdamATan2State]:
        if params is None:
            raise ValueError("adam_atan2 decays weights: pass params to update()")
        count = optax.safe_increment(state.steps)
        mu = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, state.mu, grads)
        nu = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * jnp.square(g), state.nu, grads)
        rate = learning_rate(count)
        correction1 = 1 - jnp.float32(beta1) ** count
        correction2 = 1 - jnp.float32(beta2) ** count

        def step(w: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
            root = jnp.sqrt(v) / jnp.sqrt(correction2)
            original = form == "original"
            direction = arctan2(m, root) / correction1 if original else 1.27 * arctan2(m / correction1, root)
            return -rate * (weight_decay * w + direction)

        return jax.tree.map(step, params, mu, nu), AdamATan2State(count, mu, nu)

    return optax.GradientTransformation(init, update)


def adamw(rate: Schedule, beta1: float, beta2: float, weight_decay: float) -> optax.GradientTransformation:
    """AdamW; like AdamATan2's, its decay is decoupled and of every tensor alike. Arguments as for `adam_atan2`."""
    return optax.adamw(_from_one(rate), beta1, beta2, weight_decay=weight_decay)


def muon(
    rate: Schedule, beta1: float, beta2: float, weight_decay: float, ratio: float = 0.0
) -> optax.GradientTransformation:
    """Muon on the matrices of the blocks, AdamW (with Nesterov's momentum) on everything else.

    A matrix's step is the nearest one to its momentum (0.95, Nesterov's) that has equal singular values. Every tensor
    decays by rate * weight_decay.

    Args:
      rate, beta1, beta2, weight_decay: as for `adam_atan2`; the betas are AdamW's.
      ratio: 0: a matrix's step is scaled so that its entries are about as large as AdamW's (Moonlight, arXiv
        2502.16982), so that one rate suits both. Otherwise its singular values are ratio * rate *
        sqrt(max(1, outputs / inputs)), as in Muon's first form (kellerjordan.github.io/posts/muon) and in arXiv
        2601.19085, whose matrices have 200 times the rate of the other weights.
    """

    def matrices(params: optax.Params) -> optax.Params:
        def dimensions(path: tuple[Any, ...], leaf: jax.Array) -> Any:
            in_block = path[0].key in ("latent_net", "answer_net") and leaf.ndim == 2
            return optax.contrib.MuonDimensionNumbers() if in_block else None

        return jax.tree_util.tree_map_with_path(dimensions, params)

    return optax.contrib.muon(
        _from_one(lambda t: ratio * rate(t)) if ratio else _from_one(rate),
        beta=0.95,
        weight_decay=weight_decay / (ratio or 1.0),
        adam_b1=beta1,
        adam_b2=beta2,
        adam_weight_decay=weight_decay,
        adam_learning_rate=_from_one(rate),
        consistent_rms=None if ratio else 0.2,
        muon_weight_dimension_numbers=matrices,
    )


def rounded(params: optax.Params, dtype: Literal["float32", "bfloat16"]) -> optax.Params:
    """Float32 weights whose values are those that a type can hold, the nearest ones: as if they were stored in it.

    In bfloat16, as in arXiv 2601.19085, a step of less than 1/512 of a weight is lost.
    """
    if dtype == "float32":
        return params
    # Not by two casts, which XLA may leave out.
    return jax.tree.map(lambda w: jax.lax.reduce_precision(w, exponent_bits=8, mantissa_bits=7), params)


def averaged(average: optax.Params, params: optax.Params, step: jax.Array, decay: float, start: int) -> optax.Params:
    """The next average of the weights: decay * average + (1 - decay) * params; up to step `start`, params themselves.

    A late start (arXiv 2601.19085: 0.9 from step 5,000 of 8,000) leaves out what was before the weights were any good.
    """
    step_size = jnp.where(step > start, 1 - decay, 1.0) if start else 1 - decay
    return optax.incremental_update(params, average, step_size)


def _from_one(rate: Schedule) -> Schedule:
    """The same rates for optax, which counts steps from 0."""
    return lambda count: rate(count + 1)


def arctan2(y: jax.Array, x: jax.Array) -> jax.Array:
    """The angle of (x, y) for x >= 0, within 2e-7; zero at the origin, nan where either is nan.

    The polynomial of Abramowitz and Stegun, 4.4.49, on the smaller over the larger of both. XLA for CPUs calls the C
    library's function for every number instead, one by one: three per cent of a training step.
    """
    size = jnp.abs(y)
    larger = jnp.maximum(size, x)
    ratio = jnp.minimum(size, x) / jnp.where(larger == 0, 1.0, larger)
    square = jnp.square(ratio)
    series = jnp.full_like(square, 0.0028662257)
    for coefficient in _ARCTAN:
        series = series * square + coefficient
    angle = ratio + ratio * square * series
    return jnp.sign(y) * jnp.where(size > x, jnp.pi / 2 - angle, angle)


def sign_sgd_rows(
    table_NR: jax.Array,
    ids_B: jax.Array,
    grads_BR: jax.Array,
    rate: jax.Array,
    weight_decay: float,
    first_row: jax.Array | int = 0,
) -> jax.Array:
    """Moves the rows that the batch used by -rate * sign(gradient), after decaying them; leaves all others alone.

    The gradients of rows that occur more than once are summed first. Neither a dense gradient nor anything else of the
    table's size is made: with the table donated, time and memory depend on B and R alone. Adam on so sparse a gradient
    is close to sign-SGD (HRM, arXiv 2506.21734), at none of its memory.

    Args:
      table_NR: float32; or a part of a table, some consecutive rows of it.
      ids_B: int rows, duplicates allowed.
      grads_BR: the gradient with respect to each gathered row.
      rate: the learning rate of this step.
      weight_decay: of the touched rows, times the rate.
      first_row: which row of the whole table is the first of this part; ids outside it are left to other parts.
    """
    same_BB = ids_B[:, None] == ids_B[None, :]
    # A product with a 0/1 matrix sums duplicates in a fixed order on every backend; a scatter-add does not on GPUs.
    summed_BR = jnp.matmul(same_BB.astype(grads_BR.dtype), grads_BR, precision=jax.lax.Precision.HIGHEST)
    outside = table_NR.shape[0]
    here_B = ids_B - first_row
    here_B = jnp.where((here_B >= 0) & (here_B < outside), here_B, outside)
    rows_BR = table_NR.at[here_B].get(mode="clip") * (1 - rate * weight_decay) - rate * jnp.sign(summed_BR)
    first_B = jnp.argmax(same_BB, axis=1) == jnp.arange(ids_B.shape[0])
    return table_NR.at[jnp.where(first_B, here_B, outside)].set(rows_BR, mode="drop")
