"""The loop on the devices that works on attempts: rows of a batch take jobs from a pool until it is empty."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from trm_jax.devices.sharding import BY_ROWS, EVERYWHERE, Layout
from trm_jax.inference.effort import Effort
from trm_jax.model.model import Model, Weights
from trm_jax.recursion.recursion import State
from trm_jax.training.supervision import noised


class Slots(NamedTuple):
    """The rows of the batch: which job each works on (a row of the lane's pool; past its end: none), and y and z."""

    job: Any
    state: State


class Pool(NamedTuple):
    """Jobs as the device sees them, padded to a fixed number of rows; `filled` [1] of them are real.

    puzzle and attempt number a job's noise; attempts at one puzzle share a `puzzle_row`.
    """

    inputs: Any
    puzzle_ids: Any
    puzzle: Any
    attempt: Any
    puzzle_row: Any
    filled: Any


class Records(NamedTuple):
    """What is known of each job of a pool; the fields are those of `Attempts`, by job."""

    answers: Any
    q_halt: Any
    change: Any
    margin: Any
    halted_at: Any
    steps: Any


class Work(NamedTuple):
    """How far the lanes are with their pools.

    next_job: of each lane, the first job that no slot has taken, int32 [1].
    won: of each puzzle_row, whether an attempt at it has halted, bool [rows].
    """

    slots: Slots
    records: Records
    next_job: Any
    won: Any


class Progress(NamedTuple):
    """Of each lane whether it has work left, bool [1], and how many of its jobs are done, a share of each that is
    worked on included, float32 [1]."""

    busy: Any
    done: Any


@partial(jax.jit, static_argnames=("model", "layout", "batch_size"))
def idle(model: Model, layout: Layout, starts: State, batch_size: int) -> State:
    """The state of slots that have no job yet, so many in each lane."""
    state: State = layout.by_each(lambda starts: model.start(starts, batch_size), (EVERYWHERE,), BY_ROWS)(starts)
    return state


@partial(jax.jit, static_argnames=("model", "effort", "layout"))
def empty_pool(
    model: Model,
    effort: Effort,
    layout: Layout,
    weights: Weights,
    seed: int,
    pool: Pool,
    work: Work,
    last: bool,
    turns: int,
) -> tuple[Work, Progress]:
    """Every lane works until no job of its pool waits any more, and after the last pool until none is left.

    The first jobs of a lane are those that its slots are at already. After so many supervision steps of its slots a
    lane stops in any case, and the same call with what it has left goes on.
    """
    found: tuple[Work, Progress] = layout.by_each(
        partial(_empty_lane, model, effort, layout),
        (
            Weights(layout.weight_specs(weights.params), EVERYWHERE, layout.table_spec),  # type: ignore[arg-type]
            EVERYWHERE,
            BY_ROWS,
            BY_ROWS,
            EVERYWHERE,
            EVERYWHERE,
        ),
        BY_ROWS,
    )(weights, seed, pool, work, last, turns)
    return found


def _empty_lane(
    model: Model,
    effort: Effort,
    layout: Layout,
    weights: Weights,
    seed: Any,
    pool: Pool,
    work: Work,
    last: Any,
    turns: Any,
) -> tuple[Work, Progress]:
    """What one device does of `empty_pool`."""
    # Devices exchange what they have parts of before the loop: in it, one does not know how far another is.
    params, table = layout.whole(weights.params), weights.puzzle_table
    table_rows = None if table is None else layout.table_rows(table, pool.puzzle_ids)
    filled = pool.filled[0]
    rows = pool.puzzle_ids.shape[0]
    depths = jnp.array(effort.depths)[None]
    noisy = pool.attempt > 0
    keys = jax.vmap(
        lambda puzzle, attempt: jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), puzzle), attempt)
    )(pool.puzzle, pool.attempt)

    def unfinished(work: Work) -> jax.Array:
        left: jax.Array = (work.next_job[0] < filled) | (last & (work.slots.job < rows).any())
        return left

    def supervise(loop: tuple[jax.Array, Work]) -> tuple[jax.Array, Work]:
        turn, (slots, records, next_job, won) = loop
        idle = slots.job >= rows
        waiting = next_job[0] + jnp.cumsum(idle) - 1
        takes = idle & (waiting < filled)
        job = jnp.where(takes, waiting, slots.job)
        # A slot without a job computes what the last row says; its records are dropped.
        row = jnp.minimum(job, rows - 1)

        state = model.start(weights.starts, job.shape[0])
        if effort.start_noise:
            state = noised(state, keys[row], 0, effort.start_noise * noisy[row], of_y=True)
        state = jax.tree.map(partial(_where, takes), state, slots.state)
        before, steps = state, records.steps[row] + 1
        if effort.latent_noise:
            state = noised(state, keys[row], steps, effort.latent_noise * noisy[row], of_y=False)
        rows_BR = None if table_rows is None else table_rows[row]
        state, readout = model.think(params, rows_BR, state, pool.inputs[row])

        halts = readout.q_halt > effort.halt_above
        ends = steps >= effort.steps
        if effort.halting:
            ends |= halts
        if effort.race:
            won = won.at[jnp.where(job < rows, pool.puzzle_row[row], rows)].max(halts, mode="drop")
            ends |= won[pool.puzzle_row[row]]
        tokens = jnp.argmax(readout.logits, axis=-1).astype(records.answers.dtype)
        keeps = (depths == steps[:, None]) | (ends[:, None] & (depths >= steps[:, None]))
        records = Records(
            answers=records.answers.at[job].set(
                jnp.where(keeps[:, :, None], tokens[:, None], records.answers[row]), mode="drop"
            ),
            q_halt=records.q_halt.at[job, steps - 1].set(readout.q_halt, mode="drop"),
            change=records.change.at[job, steps - 1].set(change_of(before, state), mode="drop"),
            margin=records.margin.at[job, steps - 1].set(margin_of(readout.logits), mode="drop"),
            halted_at=records.halted_at.at[job].set(
                jnp.where(halts & (records.halted_at[row] == 0), steps, records.halted_at[row]), mode="drop"
            ),
            steps=records.steps.at[job].set(steps, mode="drop"),
        )
        taken = next_job + takes.sum(dtype=next_job.dtype)
        return turn + 1, Work(Slots(jnp.where(ends, rows, job), state), records, taken, won)

    zero = jnp.zeros((), jnp.int32)
    _, work = jax.lax.while_loop(lambda loop: (loop[0] < turns) & unfinished(loop[1]), supervise, (zero, work))
    working = work.slots.job < rows
    # Of a job that is worked on the share that it has behind it, as if it should not halt.
    ahead = 1 - work.records.steps[jnp.minimum(work.slots.job, rows - 1)] / effort.steps
    return work, Progress(unfinished(work)[None], work.next_job - jnp.where(working, ahead, 0).sum())


def change_of(before: State, after: State) -> jax.Array:
    """Root mean square of what a supervision step changed in y and z, [B]."""

    def square(old: jax.Array, new: jax.Array) -> jax.Array:
        difference = new.astype(jnp.float32) - old.astype(jnp.float32)
        return jnp.square(difference).reshape(old.shape[0], -1).mean(axis=-1)

    parts = jax.tree.leaves(jax.tree.map(square, before, after))
    return jnp.sqrt(sum(parts) / len(parts))


def margin_of(logits_BSV: jax.Array) -> jax.Array:
    """By how much the likeliest token of a cell leads the next, at the cell where that is least, [B]."""
    first, second = jnp.moveaxis(jax.lax.top_k(logits_BSV.astype(jnp.float32), 2)[0], -1, 0)
    return jnp.min(first - second, axis=-1)


def _where(takes: jax.Array, fresh: jax.Array, kept: jax.Array) -> jax.Array:
    return jnp.where(takes.reshape(-1, *(1,) * (kept.ndim - 1)), fresh, kept)
