"""The programs of models that carry y and z: an attempt at each puzzle to its end, and one supervision step."""

from typing import Any

import jax
import jax.numpy as jnp

from trm_jax.exporting.program import BATCH, NEXT, Port, Program
from trm_jax.inference.loop import change_of
from trm_jax.model.model import Model, Weights
from trm_jax.recursion.recursion import State

_STATES = {"y": "the answer as the network holds it", "z": "the latents"}


def solve(model: Model, weights: Weights) -> Program:
    """Supervision steps in a loop, until every row has halted or has had all its steps."""
    c = model.config

    def function(most_steps: jax.Array, halt_above: jax.Array, **asked: jax.Array) -> dict[str, jax.Array]:
        question = asked["question"]
        batch = question.shape[0]
        zeros = jnp.zeros(batch, jnp.float32)
        at_first = {
            "answer": jnp.zeros_like(question),
            "q": zeros,
            "steps": jnp.zeros(batch, jnp.int32),
            "rest": zeros,
        }

        def goes_on(loop: Any) -> jax.Array:
            step, ended, _, _ = loop
            return (step < most_steps) & ~ended.all()

        def supervise(loop: Any) -> Any:
            step, ended, before, told = loop
            state, readout = _think(model, weights, before, asked)
            now = {
                "answer": readout.logits.argmax(axis=-1).astype(jnp.int32),
                "q": jax.nn.sigmoid(readout.q_halt),
                "steps": jnp.full(batch, step + 1, jnp.int32),
                "rest": change_of(before, state),
            }
            # A row that has ended is computed for nothing until the last one has.
            kept = jax.tree.map(lambda old, new: _where(ended, old, new), (before, told), (state, now))
            return step + 1, ended | (readout.q_halt > halt_above), *kept

        start = jnp.int32(0), jnp.zeros(batch, jnp.bool_), model.start(weights.starts, batch), at_first
        told: dict[str, jax.Array] = jax.lax.while_loop(goes_on, supervise, start)[3]
        return told

    inputs = (
        *_asked(model, weights),
        Port("most_steps", "int32", (), f"supervision steps of a row at most; {c.supervision_steps} in training"),
        Port("halt_above", "float32", (), "a row ends at its first step whose logit of q is above; 0; infinity: never"),
    )
    outputs = (
        Port("answer", "int32", (BATCH, c.seq_len), "tokens, the question's own as the model gave them too"),
        Port("q", "float32", (BATCH,), "how sure the model is that the answer is right, 0 to 1"),
        Port("steps", "int32", (BATCH,), "the step at which the row ended"),
        Port("rest", "float32", (BATCH,), "root mean square of what that step changed in y and z"),
    )
    return Program("solve", function, inputs, outputs)


def step(model: Model, weights: Weights) -> Program:
    """One supervision step: what a loop of the caller's own goes through."""
    c = model.config
    start = jax.eval_shape(lambda: model.start(weights.starts, 1))
    parts = {name: part for name, part in (("y", start.y), ("z", start.z)) if part is not None}

    def function(fresh: jax.Array, **asked: jax.Array) -> dict[str, jax.Array]:
        carried = State(*(asked[name].astype(c.dtype) if name in parts else None for name in ("y", "z")))
        first = model.start(weights.starts, fresh.shape[0])
        before = jax.tree.map(lambda new, old: _where(fresh, new, old), first, carried)
        state, readout = _think(model, weights, before, asked)
        after = {"y": state.y, "z": state.z}
        return {NEXT + name: after[name].astype(jnp.float32) for name in parts} | {
            "answer": readout.logits.argmax(axis=-1).astype(jnp.int32),
            "logits": readout.logits,
            "q": jax.nn.sigmoid(readout.q_halt),
            "rest": change_of(before, state),
        }

    states = tuple(
        Port(name, "float32", (BATCH, *part.shape[1:]), f"{_STATES[name]}, from the step before")
        for name, part in parts.items()
    )
    inputs = (
        *_asked(model, weights),
        Port("fresh", "bool", (BATCH,), "rows that begin: whatever their state holds is replaced by the start"),
        *states,
    )
    outputs = (
        *(
            Port(NEXT + name, "float32", port.shape, f"{name} for the next step")
            for name, port in zip(parts, states, strict=True)
        ),
        Port("answer", "int32", (BATCH, c.seq_len), "tokens"),
        Port("logits", "float32", (BATCH, c.seq_len, c.vocab_size), "of the tokens of each cell"),
        Port("q", "float32", (BATCH,), "how sure the model is that the answer is right, 0 to 1"),
        Port("rest", "float32", (BATCH,), "root mean square of what the step changed in y and z"),
    )
    return Program("step", function, inputs, outputs)


def _asked(model: Model, weights: Weights) -> tuple[Port, ...]:
    c = model.config
    question = Port("question", "int32", (BATCH, c.seq_len), f"tokens, 0 to {c.vocab_size - 1}")
    if weights.puzzle_table is None:
        return (question,)
    rows = weights.puzzle_table.shape[0]
    return question, Port("puzzle_id", "int32", (BATCH,), f"row of the puzzle table, 0 to {rows - 1}")


def _think(model: Model, weights: Weights, state: State, asked: dict[str, jax.Array]) -> Any:
    rows_BR = None if weights.puzzle_table is None else model.puzzle_rows(weights.puzzle_table, asked["puzzle_id"])
    return model.think(weights.params, rows_BR, state, asked["question"])


def _where(rows_B: jax.Array, these: jax.Array, others: jax.Array) -> jax.Array:
    return jnp.where(rows_B.reshape(-1, *(1,) * (these.ndim - 1)), these, others)
