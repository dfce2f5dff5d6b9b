"""What it would pay to keep carried states in fewer bits, or none: against binomial checkpoints, which are exact.

    python -m benchmarks.compressed_states [MODEL ...] [--puzzles 16] [--parts spectrum,gradient,memory,reversible]

MODEL is a run or a model of `trm models`, with y and z, or "random": sudoku-4x4 with random weights, at width 128. Each
(sudoku-4x4 and random) thinks about held-out puzzles, from the start, with n latent steps in place of its own, T = 1,
in float32.

spectrum: of the n states before each latent step, and of the n changes from state to state: how many directions of the
  D hold a share of their sum of squares, in one puzzle (median) and in all together.
gradient: the training loss's, where each latent step, or each stretch of about sqrt(n) steps, keeps its first state
  compressed (benchmarks/compressions.py): the forward pass is exact, the backward pass begins at what was restored.
  Low rank gets the best basis of all these states, which nobody has who has to choose it on the way. Beside them: the
  gradient with everything computed in bfloat16, and that through the last four latent steps alone.
memory: of the training step of experiments/sudoku_mlp.py, batch 768: what one application needs, by XLA's plan, and
  what a policy's states are beside it; so what the peak would be if each state took a half or a quarter, and how many
  operations, against those of policy "none", the same bytes would ask for with twice or four times as many states.
reversible: float32 errors of an update that can be undone (benchmarks/reversible.py), and by how much the model's own
  update shrinks a small change of z, which whoever undoes it has to make good.

A row for each figure goes to results/compressed_states.jsonl.
"""

import argparse
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import optax

from benchmarks.batches import in_order
from benchmarks.compressions import Compression, int8_vectors, keeping, low_rank, repeated, rounded
from benchmarks.machine import describe, faults_told
from benchmarks.recursion_points import Point
from benchmarks.reversible import round_trip_error
from trm_jax.config import Experiment, MemoryConfig, ModelConfig
from trm_jax.data import dataset
from trm_jax.errors import ConfigError
from trm_jax.model.estimate import applications
from trm_jax.model.model import Model, Weights
from trm_jax.recursion.policies import Policy, Program, plan
from trm_jax.recursion.recursion import Networks
from trm_jax.runs.sources import load
from trm_jax.training.memory import needs_of
from trm_jax.training.step import supervise
from trm_jax.training.supervision import Batch, Carry

RESULTS = Path(__file__).parent / "results" / "compressed_states.jsonl"
PARTS = ("spectrum", "gradient", "memory", "reversible")
SHIPPED, RANDOM = "sudoku-4x4", "random"
N, SHARES = (6, 24, 96), (0.9, 0.99, 0.999)
# Of the plans of memory: their depths, and the policies that keep states.
DEPTHS = (6, 24, 96, 384, 1024, 10_000)
POLICIES = (Policy("step"), Policy("nested"), *(Policy("binomial", repetitions=r) for r in (2, 3, 4)))
SLICES = (1, 16, 96)
# Other gradients, which compressed ones are compared with: values of the model.
BFLOAT16: dict[str, Any] = {"dtype": "bfloat16"}
LAST: dict[str, Any] = {"gradient": "last_k", "gradient_steps": 4}

Row = dict[str, Any]


@dataclass(frozen=True)
class Thinking:
    """A model with weights that thinks about puzzles, from the start. Its batch is of the arrays' own size.

    name: of the model, for people.
    experiment: with T = 1, and gradients through all of it.
    """

    name: str
    experiment: Experiment
    weights: Weights
    batch: Batch

    @property
    def puzzles(self) -> int:
        """B."""
        return len(self.batch.inputs)

    @cached_property
    def model(self) -> Model:
        """Of the experiment."""
        return Model(self.experiment.model)

    @cached_property
    def rows(self) -> jax.Array | None:
        """Of the puzzle table [B, R]."""
        return self.model.puzzle_rows(self.weights.puzzle_table, self.batch.puzzle_ids)

    @cached_property
    def injection(self) -> jax.Array:
        """y + x [B, L, D] of the first cycle."""
        y = self.model.start(self.weights.starts, self.puzzles).y
        assert y is not None
        return y + self.model.embed(self.weights.params, self.rows, self.batch.inputs)

    @cached_property
    def start(self) -> jax.Array:
        """The first z [B, L, D]."""
        z = self.model.start(self.weights.starts, self.puzzles).z
        assert z is not None
        return z[:, 0]

    def states(self, n: int) -> jax.Array:
        """z_0 ... z_n [n + 1, B, L, D]."""
        latent = self.model.networks.latent

        @jax.jit
        def run(params: Any, z: jax.Array, injection: jax.Array) -> Any:
            return jax.lax.scan(lambda z, _: (latent(params, z, injection), z), z, length=n)

        last, earlier = run(self.weights.params, self.start, self.injection)
        return jnp.concatenate([earlier, last[None]])


@dataclass(frozen=True)
class Compressing(Model):
    """A model whose latent network is a stretch of steps that keeps its first state compressed for the gradient.

    steps: of a stretch; config.latent_steps counts stretches.
    """

    compression: Compression | None = None
    steps: int = 1

    @cached_property
    def networks(self) -> Networks:
        """With the answer's network as it was."""
        latent, answer = Model(self.config).networks
        stretch = repeated(latent, self.steps)
        return Networks(keeping(stretch, self.compression) if self.compression else stretch, answer)


def ranks(values: npt.NDArray[Any], shares: Sequence[float] = SHARES) -> list[int]:
    """How many of the singular values [..., D], largest first, hold each share of their sum of squares; the median."""
    energy = np.cumsum(np.square(np.asarray(values, np.float64)), axis=-1)
    enough = energy[..., None, :] >= np.array(shares)[:, None] * (1 - 1e-12) * energy[..., None, -1:]
    return [int(rank) for rank in np.ceil(np.median(np.argmax(enough, axis=-1).reshape(-1, len(shares)), axis=0)) + 1]


def stretch_of(n: int) -> int:
    """The largest divisor of n that is at most its root."""
    return max(k for k in range(1, math.isqrt(n) + 1) if n % k == 0)


def directions(states_NBLD: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """An orthonormal basis [D, D] of all vectors, those that hold most of their sum of squares first."""
    states = np.asarray(states_NBLD, np.float64)
    vectors = states.reshape(-1, states.shape[-1])
    return np.linalg.eigh(vectors.T @ vectors)[1][:, ::-1]


def spectrum(thinking: Thinking) -> Iterator[Row]:
    """Rows: how many directions states and changes need, and how large changes are."""
    for n in N:
        states = np.asarray(thinking.states(n), np.float64)
        changes = np.diff(states, axis=0)
        sizes = np.sqrt(np.mean(np.square(changes), axis=(1, 2, 3)) / np.mean(np.square(states[1:]), axis=(1, 2, 3)))
        for what, arrays in (("states", states[:-1]), ("changes", changes)):
            width = arrays.shape[-1]
            by_puzzle = np.moveaxis(arrays, 1, 0).reshape(thinking.puzzles, -1, width)
            alone = ranks(np.linalg.svd(by_puzzle, compute_uv=False))
            together = ranks(np.linalg.svd(by_puzzle.reshape(-1, width), compute_uv=False))
            told: Row = {"part": "spectrum", "model": thinking.name, "n": n, "of": what, "width": width}
            for share, one, all_of_them in zip(SHARES, alone, together, strict=True):
                told |= {f"rank_{share:g}_puzzle": one, f"rank_{share:g}_all": all_of_them}
            if what == "changes":
                told |= {"size_first": _short(sizes[0]), "size_last": _short(sizes[-1])}
            yield told


def gradient(thinking: Thinking) -> Iterator[Row]:
    """Rows: how far gradients are from the exact one."""
    width = thinking.model.config.width
    for n in N:
        exact = _gradient_of(thinking, n, None, 1)
        basis = jnp.asarray(directions(thinking.states(n)[:-1]), jnp.float32)
        compressions = [rounded(dtype) for dtype in (jnp.bfloat16, jnp.float8_e4m3fn, jnp.float8_e5m2)]
        compressions += [int8_vectors(width), *(low_rank(basis[:, : width // part]) for part in (2, 4, 8))]
        for steps in (1, stretch_of(n)):
            for compression in compressions:
                found = _gradient_of(thinking, n, compression, steps)
                told = {"kept": compression.name, "bits": compression.bits, "stretch": steps}
                yield {"part": "gradient", "model": thinking.name, "n": n} | told | compared(found, exact)
        # To compare with: the gradient as the paper's number format has it, and one that leaves off earlier steps.
        for name, values in (("all computed in bfloat16", BFLOAT16), ("the last 4 steps alone", LAST)):
            told = {"kept": name, "bits": None, "stretch": 1}
            found = _gradient_of(thinking, n, None, 1, values)
            yield {"part": "gradient", "model": thinking.name, "n": n} | told | compared(found, exact)


def _gradient_of(
    thinking: Thinking, n: int, compression: Compression | None, steps: int, values: Row | None = None
) -> Any:
    """Of the training loss of the first supervision step, in the trained tensors; values: of the model, if others."""
    config = replace(thinking.experiment.model, latent_steps=n // steps, **values or {})
    model, count = Compressing(config, compression=compression, steps=steps), thinking.puzzles
    state = model.start(thinking.weights.starts, count)
    carry = Carry(state, jnp.zeros((count,), jnp.int32), jnp.zeros((count,), jnp.bool_), thinking.batch)

    def loss(params: Any) -> jax.Array:
        return supervise(model, thinking.experiment.loss, params, thinking.rows, carry, training=True)[0] / count

    return jax.jit(jax.grad(loss))(thinking.weights.params)


def compared(found: Any, exact: Any) -> Row:
    """A gradient's cosine with the exact one and the size of the difference, relative to that of the exact one."""
    product = float(optax.tree.vdot(found, exact))
    size, exact_size = (float(optax.tree.norm(g)) for g in (found, exact))
    error = float(optax.tree.norm(optax.tree.sub(found, exact))) / exact_size
    cosine = product / (size * exact_size)
    return {"cosine": round(cosine, 6) if math.isfinite(size) else None, "error": _short(error)}


@dataclass(frozen=True)
class Peak:
    """Bytes of a training step at its peak: what is there whatever n, and the states of a policy.

    floor: one application with its gradient, weights, optimiser, batch.
    state: that a latent step hands on.
    states: how many are kept.
    """

    floor: float
    state: float
    states: int

    def bytes(self, share: float = 1.0) -> float:
        """If each state took such a share of its bytes."""
        return self.floor + share * self.states * self.state

    def gain(self, share: float) -> float:
        """How many times as large the peak is as it would be then."""
        return self.bytes() / self.bytes(share)


def peaks(floor: float, state: float, slices: int, model: ModelConfig) -> Iterator[Row]:
    """Rows: for each depth and policy, what states are of the peak, and what fewer bits would save.

    floor, state: bytes, as in Peak. model: whose applications are counted; slices repeat none.
    """
    for n in DEPTHS:
        all_kept = _applications(model, n, Policy("none"))
        for policy in POLICIES:
            how = plan(policy, n)
            assert isinstance(how, Program)
            peak = Peak(floor, state, how.states)
            row = {
                "part": "peak",
                "slices": slices,
                "n": n,
                "policy": policy.name,
                "number": {"nested": policy.levels, "binomial": policy.repetitions}.get(policy.name),
                "states": how.states,
                "peak_gb": round(peak.bytes() / 1e9, 2),
                "share_of_states": round(1 - peak.bytes(0) / peak.bytes(), 3),
                "gain_half": round(peak.gain(1 / 2), 3),
                "gain_quarter": round(peak.gain(1 / 4), 3),
                "operations": round(_applications(model, n, policy) / all_kept, 3),
            }
            # In the bytes of so many states, twice and four times as many, and so fewer repetitions.
            for name, times in (("half", 2), ("quarter", 4)):
                more = Policy("binomial", states=min(times * how.states, n))
                row[f"operations_{name}"] = round(_applications(model, n, more) / all_kept, 3)
            yield row


def _applications(model: ModelConfig, n: int, policy: Policy) -> int:
    memory = MemoryConfig(
        policy=policy.name, levels=policy.levels, repetitions=policy.repetitions, states=policy.states
    )
    return sum(applications(replace(model, latent_steps=n), memory))


def memory() -> Iterator[Row]:
    """Rows: what one application needs, what a state does, and `peaks`."""
    for slices in SLICES:
        few, many = (Point(policy="binomial", n=n, slices=slices) for n in (24, 384))
        model, batch = few.experiment.model, few.batch
        state = math.prod(model.state_shape) * batch * jnp.dtype(model.dtype).itemsize
        needs = [needs_of(point.experiment) for point in (few, many)]
        counts = [point.row["states_kept"] for point in (few, many)]
        floor = needs[0].peak - counts[0] * state
        yield {
            "part": "memory",
            "slices": slices,
            "state_mb": round(state / 1e6, 1),
            "state_by_plan": round((needs[1].peak - needs[0].peak) / (counts[1] - counts[0]) / state, 3),
            "arguments_mb": round(needs[0].arguments / 1e6, 1),
            "application_mb": round((floor - needs[0].arguments) / 1e6, 1),
            "application_states": round((floor - needs[0].arguments) / state, 1),
        }
        yield from peaks(floor, state, slices, model)


def reversible(thinking: Thinking) -> Iterator[Row]:
    """Rows: errors of a way there and back, and how the model's own update shrinks a change."""
    latent, params, injection = thinking.model.networks.latent, thinking.weights.params, thinking.injection
    streams = thinking.start, jnp.roll(thinking.start, 1, axis=-1)
    tangent = jax.random.normal(jax.random.key(0), thinking.start.shape)

    @partial(jax.jit, static_argnums=(3, 4))
    def error(params: Any, injection: jax.Array, streams: Any, n: int, keep: float) -> jax.Array:
        return round_trip_error(lambda h: latent(params, h, injection), streams, n, keep)

    @partial(jax.jit, static_argnums=(4,))
    def moved(params: Any, injection: jax.Array, z: jax.Array, change: jax.Array, n: int) -> jax.Array:
        steps = repeated(latent, n)
        return jax.jvp(lambda z: steps(params, z, injection), (z,), (change,))[1]

    for n in (*N, 384):
        told: Row = {"part": "reversible", "model": thinking.name, "n": n}
        for keep in (1.0, 0.9):
            told[f"error_keep_{keep:g}"] = _short(error(params, injection, streams, n, keep))
        left = jnp.linalg.norm(moved(params, injection, thinking.start, tangent, n)) / jnp.linalg.norm(tangent)
        yield told | {"change_left": _short(left)}


def _short(figure: Any) -> float | None:
    """Three digits; None for what has grown beyond all numbers."""
    return float(f"{float(figure):.3g}") if math.isfinite(float(figure)) else None


def thinking_of(source: str, puzzles: int) -> Thinking:
    """A model that is there, or RANDOM.

    Raises:
      CheckpointError: none is there. ConfigError: its states are not y and one z.
    """
    experiment, weights = load(SHIPPED if source == RANDOM else source)
    model = experiment.model
    if model.states != "y_z" or model.latents != 1:
        raise ConfigError(
            f"{source}: its states are {model.states!r}, {model.latents} of z: give a model of y and one z"
        )
    held_out = dataset.load(experiment.data, "test", experiment.train.seed)
    arrays, _ = next(in_order(held_out, min(puzzles, len(held_out))))
    model = replace(model, cycles=1, grad_cycles=1, backprop_steps=1, gradient="cycles", dtype="float32")
    if source == RANDOM:
        model = replace(model, width=128)
        weights = jax.jit(Model(model).init)(jax.random.key(0))
    return Thinking(source, replace(experiment, model=model), weights, jax.tree.map(jnp.asarray, arrays))


def publish(rows: Iterable[Row], about: Row) -> None:
    """Prints a line for each row as it comes, and appends it to the results, with what is to be said of all of them."""
    with RESULTS.open("a") as file:
        for row in rows:
            print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
            file.write(json.dumps(row | about, allow_nan=False) + "\n")
            file.flush()


def main() -> None:
    """Measures, prints and appends the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", default=[SHIPPED, RANDOM])
    parser.add_argument("--puzzles", type=int, default=16)
    parser.add_argument("--parts", default=",".join(PARTS), help="of these, separated by commas (all)")
    args = parser.parse_args()
    machine = describe()
    with faults_told():
        asked = tuple(args.parts.split(","))
        if unknown := set(asked) - set(PARTS):
            raise ConfigError(f"--parts {args.parts}: there is no {', '.join(sorted(unknown))}: give {','.join(PARTS)}")
        measures = {"spectrum": spectrum, "gradient": gradient, "reversible": reversible}
        for part in (part for part in asked if part in measures):
            for source in args.models:
                thinking = thinking_of(source, args.puzzles)
                publish(measures[part](thinking), {"puzzles": thinking.puzzles} | machine)
        if "memory" in asked:
            publish(memory(), machine)


if __name__ == "__main__":
    main()
