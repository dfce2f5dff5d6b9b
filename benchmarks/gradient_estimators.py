"""How far cheaper gradients are from the full one: direction, length, operations and memory of each.

    python -m benchmarks.gradient_estimators RUN [--puzzles 256] [--steps 1,4]

RUN is a trained model with T > 1 cycles (docs/deep_recursion.md trains one). The full gradient runs through all T
cycles of a supervision step. Each estimate of it is taken at the same weights, on the same puzzles, after so many
supervision steps; the training loss, summed over the weights that AdamATan2 trains.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

from benchmarks.batches import in_order
from benchmarks.machine import describe, temporary_bytes
from trm_jax.config import ModelConfig
from trm_jax.data import dataset
from trm_jax.model.estimate import applications
from trm_jax.model.model import Model
from trm_jax.runs.checkpoint import load
from trm_jax.training.step import supervise
from trm_jax.training.supervision import Batch, Carry

RESULTS = Path(__file__).parent / "results" / "gradient_estimators.jsonl"


def estimators(model: ModelConfig) -> Iterator[tuple[str, ModelConfig]]:
    """Name and configuration of every gradient to compare, the full one first."""
    for count in range(model.cycles, 0, -1):
        yield f"the last {count} of {model.cycles} cycles", replace(model, grad_cycles=count, gradient="cycles")
    last = replace(model, grad_cycles=1)
    for k in range(model.latent_steps - 1, 1, -1):
        yield f"last_k, k = {k}", replace(last, gradient="last_k", gradient_steps=k)
    yield "one_step", replace(last, gradient="one_step")
    for tolerance, steps in ((1e-1, 30), (1e-3, 100)):
        yield (
            f"implicit, to {tolerance:g}",
            replace(last, gradient="implicit", solver_tolerance=tolerance, solver_steps=steps),
        )


def main() -> None:
    """Prints a table and appends a row per estimator to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--puzzles", type=int, default=256)
    parser.add_argument("--steps", default="1,4", help="after so many supervision steps, the present one counted")
    args = parser.parse_args()
    experiment, weights = load(args.run)
    puzzles = dataset.load(experiment.data, "test", experiment.train.seed)
    arrays, count = next(in_order(puzzles, min(args.puzzles, len(puzzles))))
    batch: Batch = jax.tree.map(jnp.asarray, arrays)
    model = Model(experiment.model)
    table_rows = model.puzzle_rows(weights.puzzle_table, batch.puzzle_ids)
    think = jax.jit(model.think)

    found: list[dict[str, Any]] = []
    for steps in map(int, args.steps.split(",")):
        state = model.start(weights.starts, count)
        for _ in range(steps - 1):
            state, _ = think(weights.params, table_rows, state, batch.inputs)
        carry = Carry(state, jnp.full((count,), steps - 1, jnp.int32), jnp.zeros((count,), jnp.bool_), batch)
        full = None
        for name, config in estimators(experiment.model):

            def loss(params: Any, config: ModelConfig = config, carry: Carry = carry) -> jax.Array:
                return supervise(Model(config), experiment.loss, params, table_rows, carry, training=True)[0] / count

            compiled = jax.jit(jax.grad(loss)).lower(weights.params).compile()
            gradient = compiled(weights.params)
            full = gradient if full is None else full
            norms = [float(optax.tree.norm(g)) for g in (gradient, full)]
            found.append(
                {
                    "run": experiment.name,
                    "supervision_step": steps,
                    "gradient": name,
                    "cosine": round(float(optax.tree.vdot(gradient, full)) / (norms[0] * norms[1]), 4),
                    "length": round(norms[0] / norms[1], 4),
                    "applications": sum(applications(config)),
                    "temporary_mb": round((temporary_bytes(compiled) or 0) / 1e6, 1),
                    "puzzles": count,
                }
            )
    print(f"{'supervision step':>16}  {'gradient':26}{'cosine':>8}{'length':>8}{'applications':>14}{'MB':>8}")
    for row in found:
        print(
            f"{row['supervision_step']:>16}  {row['gradient']:26}{row['cosine']:>8.3f}{row['length']:>8.3f}"
            f"{row['applications']:>14}{row['temporary_mb']:>8.0f}"
        )
    with RESULTS.open("a") as file:
        file.writelines(json.dumps(row | describe()) + "\n" for row in found)


if __name__ == "__main__":
    main()
