"""What a trained model does at other depths than its own, and how its gradient fades along the recursion.

    python -m benchmarks.depth_probe RUN --eval SET [--limit 100] [--memory] --json FILE

RUN is a trained run with y and z. Every n of N and every T of CYCLES is tried in place of its own, after each of DEPTHS
supervision steps. Of the gradient, the norm that arrives k latent steps before the answer is told, relative to that at
the answer's own step, on puzzles that are half solved. Planned memory is XLA's, for the training step; `--memory` tells
it alone.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.batches import in_order
from trm_jax.config import Experiment, ModelConfig
from trm_jax.data import dataset
from trm_jax.data.fit import check_fits
from trm_jax.data.puzzle_set import PuzzleSet
from trm_jax.inference.effort import Effort
from trm_jax.inference.evaluate import Evaluator
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.kind import Kind
from trm_jax.recursion.recursion import State
from trm_jax.runs.checkpoint import load
from trm_jax.training.memory import needs_of
from trm_jax.training.step import supervise
from trm_jax.training.supervision import Batch, Carry

N, CYCLES, DEPTHS = (1, 3, 6, 12, 24), (1, 2, 4, 6), (4, 16)
# Supervision steps after which a gradient is looked at, and on how many puzzles.
_HALF_SOLVED, _PUZZLES = 4, 64


def others(model: ModelConfig) -> Iterator[tuple[str, int, ModelConfig]]:
    """Name, value and configuration of each other depth of the recursion, its own among them."""
    # Only what is kept for gradients differs, of which there are none.
    plain = replace(model, grad_cycles=1, backprop_steps=1, gradient="cycles")
    for n in sorted({*N, model.latent_steps}):
        yield "latent_steps", n, replace(plain, latent_steps=n)
    for cycles in sorted({*CYCLES, model.cycles}):
        yield "cycles", cycles, replace(plain, cycles=cycles)


def transfer(experiment: Experiment, weights: Weights, puzzles: PuzzleSet, kind: Kind) -> list[dict[str, Any]]:
    """A row for each other depth and each number of supervision steps: its exact accuracy, and how many have halted."""
    rows = []
    for name, value, config in others(experiment.model):
        batch = experiment.train.eval_batch_size
        report = Evaluator(Model(config), puzzles, batch, Effort(DEPTHS), kind)(weights)
        for row in report.rows:
            told = {"value": value, "supervision_steps": row.supervision_steps, "halted": row.halted}
            rows.append({"key": name, **told, "exact": asdict(row.exact)})
    return rows


def gradient_along(experiment: Experiment, weights: Weights, batch: Batch, count: int) -> list[tuple[int, float]]:
    """(k, norm) of the loss's gradient in the z that came k latent steps before the answer, 1 at k = 1.

    batch, count: puzzles, all of them real.
    """
    model = Model(experiment.model)
    table_rows = model.puzzle_rows(weights.puzzle_table, batch.puzzle_ids)
    think = jax.jit(model.think)
    state = model.start(weights.starts, count)
    for _ in range(_HALF_SOLVED):
        state, _ = think(weights.params, table_rows, state, batch.inputs)
    n, found = experiment.model.latent_steps, []
    for k in sorted({*(2**i for i in range(n.bit_length())), n}):
        config = replace(experiment.model, latent_steps=k, cycles=1, grad_cycles=1, backprop_steps=1, gradient="cycles")

        def loss(z: jax.Array, config: ModelConfig = config) -> jax.Array:
            steps, halted = jnp.full((count,), _HALF_SOLVED, jnp.int32), jnp.zeros((count,), jnp.bool_)
            carry = Carry(State(state.y, z), steps, halted, batch)
            return supervise(Model(config), experiment.loss, weights.params, table_rows, carry, training=True)[0]

        found.append((k, float(jnp.linalg.norm(jax.jit(jax.grad(loss))(state.z).ravel()))))
    return [(k, norm / found[0][1]) for k, norm in found]


def main() -> None:
    """Looks at one run, and writes all figures to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--eval", required=True, metavar="SET", help="table or dataset folder of held-out puzzles")
    parser.add_argument("--limit", type=int, default=100, help="puzzles that are read (100)")
    parser.add_argument("--memory", action="store_true", help="tell the planned memory, and nothing else")
    parser.add_argument("--json", type=Path, required=True, help="file for the figures")
    args = parser.parse_args()
    experiment, weights = load(args.run)
    told: dict[str, Any] = {"planned_bytes": needs_of(experiment).peak}
    if not args.memory:
        puzzles = dataset.load_named(experiment, args.eval, "test", args.limit)
        kind = check_fits(experiment, puzzles, args.eval)
        arrays, count = next(in_order(puzzles, min(_PUZZLES, len(puzzles))))
        batch: Batch = jax.tree.map(jnp.asarray, arrays)
        told["transfer"] = transfer(experiment, weights, puzzles, kind)
        told["gradient_along"] = gradient_along(experiment, weights, batch, count)
    args.json.write_text(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
