"""Exported weights in fewer bits: how large the file is, and what of the model is left.

    python -m benchmarks.quantised MODEL [PUZZLES] [--weights bf16,int8,int4] [--limit 1000] [--calls 1024] [--rounds 0]

MODEL is a run or a model of `trm models`, PUZZLES tables or dataset folders (its own held-out ones). The first 32 are
for calibration, whose answers nobody looks at; the --limit after them are solved. A row for each way to hold weights:
float32, bf16, and int8 and int4 with a scale for each channel, each number going to the nearest, and calibrated
(trm_jax/exporting/adaptive_rounding.py); of int4 also with one scale for a whole matrix.

bytes: of the .onnx file, program `solve`, or where that cannot be, `step`.
exact_D: percent of puzzles with every cell right after D supervision steps; of candidates instead, found_by_N: percent
  with an answer that keeps to the rules after N calls.
same: percent with the float32 model's answer, after 16 steps; of candidates, of its likeliest tokens after one call.
step_distance: how far a step strays from the float32 model's own, over 8 steps of 32 puzzles
  (`carried_path.CarriedPath.distance`).
state_distance: of y and z after 16 steps on their own way: root mean square of the difference over that of float32.
step_times: of a step of 64 puzzles in ONNX Runtime, against float32, in turns; with --rounds, on an idle machine.

Of models with y and z, one more: activations in int8, too, as ONNX Runtime's dynamic quantiser makes them of the
float32 file, for the products whose right-hand side is a weight.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe, faults_told
from benchmarks.turns import publish, take_turns
from trm_jax.config import Experiment
from trm_jax.data.fit import Matched, matched
from trm_jax.data.puzzle_set import from_pairs
from trm_jax.errors import ConfigError, DataError
from trm_jax.exporting import export as exporting
from trm_jax.exporting import onnx_file
from trm_jax.exporting.adaptive_rounding import PUZZLES, calibrated
from trm_jax.exporting.carried_path import carried_path
from trm_jax.exporting.held import HeldWeights, known, to_nearest
from trm_jax.exporting.program import Name
from trm_jax.exporting.rounding import BITS, Held, Rounded, check_held, nearest, widest
from trm_jax.inference.search import Budget
from trm_jax.inference.searches import Searches
from trm_jax.model.model import Model, Weights
from trm_jax.runs.sources import load

RESULTS = Path(__file__).parent / "results" / "quantised.jsonl"
DEPTHS, BATCH, AT = (4, 16, 64), 100, 16


def ways(
    names: Sequence[Held], found: Matched, weights: Weights, questions: Any, ids: Any
) -> Iterator[tuple[str, HeldWeights]]:
    """Each way to hold weights of these types, by its name."""
    for name in names:
        held = to_nearest(weights, name)
        if name not in BITS:
            yield name, held
            continue
        if name == "int4":
            yield f"{name}, one scale a matrix", replace(held, parts=jax.tree.map(_of_one_scale, held.parts, weights))
        yield f"{name}, nearest", held
        yield f"{name}, calibrated", calibrated(found.experiment, weights, name, questions, ids)


def _of_one_scale(part: Any, array: Any) -> Any:
    if not isinstance(part, Rounded):
        return part
    array = np.asarray(array)
    scale = widest(array, part.bits, tuple(range(array.ndim)))
    return nearest(array, scale, part.bits)


@partial(jax.jit, static_argnames="model")
def _states(model: Model, weights: Weights, questions: jax.Array, ids: jax.Array) -> Any:
    """Answers [D, B, S] after each of the depths, and the state after AT steps."""
    rows, state = model.puzzle_rows(weights.puzzle_table, ids), model.start(weights.starts, len(questions))
    answers, at = [], state
    for before, depth in pairwise((0, *DEPTHS)):
        state = model.think_for(weights.params, rows, state, questions, depth - before)
        answers.append(model.read(weights.params, state).logits.argmax(axis=-1))
        at = state if depth == AT else at
    return jnp.stack(answers), at


class Attempts:
    """Figures of models with y and z."""

    program: Name = "solve"

    def __init__(self, experiment: Experiment, puzzles: Any, chosen: slice) -> None:
        self._model = Model(replace(experiment.model, dtype="float32"))
        self._questions, self._answers, self._ids = (
            np.asarray(array[chosen], np.int32) for array in (puzzles.inputs, puzzles.labels, puzzles.puzzle_ids)
        )
        self._first: tuple[Any, NDArray[np.floating[Any]]] | None = None

    def measure(self, weights: Weights) -> dict[str, Any]:
        """The first weights are those that others are compared with."""
        parts, states = [], []
        for first in range(0, len(self._questions), BATCH):
            rows = slice(first, first + BATCH)
            answers, state = _states(self._model, weights, self._questions[rows], self._ids[rows])
            parts.append(np.asarray(answers))
            states.append(
                np.concatenate([np.asarray(part).reshape(len(part), -1) for part in jax.tree.leaves(state)], 1)
            )
        answers, state = np.concatenate(parts, axis=1), np.concatenate(states)
        if self._first is None:
            self._first = answers, state
        away = np.sqrt(np.square(state - self._first[1]).mean() / np.square(self._first[1]).mean())
        return self.told(answers) | {"state_distance": _short(away)}

    def told(self, answers: NDArray[Any]) -> dict[str, Any]:
        """Of answers [depths, N, S]."""
        assert self._first is not None
        cells = self._answers > 0
        right = ((answers == self._answers) | ~cells).all(axis=-1).mean(axis=-1)
        same = (answers == self._first[0]).all(axis=-1)[DEPTHS.index(AT)].mean()
        return {f"exact_{depth}": _percent(share) for depth, share in zip(DEPTHS, right, strict=True)} | {
            "same": _percent(same)
        }

    def with_int8_activations(self, experiment: Experiment, weights: Weights, kind: Any) -> dict[str, Any]:
        """The float32 file as ONNX Runtime's dynamic quantiser makes it over."""
        from onnxruntime import InferenceSession
        from onnxruntime.quantization import QuantType, quantize_dynamic

        with tempfile.TemporaryDirectory() as folder:
            whole, small = Path(folder, "whole.onnx"), Path(folder, "small.onnx")
            about = exporting.export(whole, experiment, weights, kind)
            quantize_dynamic(
                whole,
                small,
                per_channel=True,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=["MatMul"],
                extra_options={"EnableSubgraph": True},
            )
            session, size = InferenceSession(small, providers=["CPUExecutionProvider"]), small.stat().st_size
        asked = {"question": self._questions, "puzzle_id": self._ids, "halt_above": np.asarray(np.inf, np.float32)}
        names = {port["name"] for port in about["inputs"]}
        answers = [
            session.run(
                ["answer"],
                {n: v for n, v in (asked | {"most_steps": np.asarray(depth, np.int32)}).items() if n in names},
            )[0]
            for depth in DEPTHS
        ]
        return {"bytes": size} | self.told(np.stack(answers))


class Searched:
    """Figures of models of candidates."""

    def __init__(self, experiment: Experiment, puzzles: Any, chosen: slice, kind: Any, calls: int) -> None:
        self.program: Name = "solve" if kind.to_dict()["kind"] == "sudoku" else "step"
        model = Model(experiment.model)
        self._questions = np.asarray(puzzles.inputs[chosen], np.int32)
        labels = np.asarray(puzzles.labels[chosen], np.int32)
        some = from_pairs(self._questions, labels, puzzles.vocab_size, puzzles.puzzle)
        self._search = Searches(model, experiment.candidates, some, kind, 64, Budget(calls=calls))
        self._model, self._first = model, np.zeros(0)

    def measure(self, weights: Weights) -> dict[str, Any]:
        """The first weights are those that others are compared with."""
        report = self._search(weights)
        everything = self._model.start(weights.starts, BATCH).y
        assert everything is not None
        deduce = jax.jit(self._model.deduce)
        likeliest = np.concatenate(
            [
                np.asarray(deduce(weights.params, everything[: len(part)], part).symbols.argmax(axis=-1))
                for part in np.array_split(self._questions, -(-len(self._questions) // BATCH))
            ]
        )
        self._first = self._first if self._first.size else likeliest
        return {f"found_by_{calls}": _percent(report.found_by(calls).mean()) for calls in report.marks if calls > 1} | {
            "same": _percent((likeliest == self._first).all(axis=-1).mean())
        }


class Step:
    """One step of a file's program on 64 puzzles, or one call, in ONNX Runtime."""

    def __init__(self, data: bytes, about: dict[str, Any], questions: NDArray[np.int32]) -> None:
        from onnxruntime import InferenceSession

        self._session = InferenceSession(data, providers=["CPUExecutionProvider"])
        self._given = {
            port["name"]: np.zeros([64 if size == "B" else size for size in port["shape"]], port["dtype"])
            for port in about["inputs"]
        }
        self._given["question"] = np.resize(questions, self._given["question"].shape)
        for name in self._given.keys() & {"possible", "fresh"}:
            self._given[name][:] = True
        self.run()

    def run(self) -> float:
        """Its seconds."""
        began = time.perf_counter()
        self._session.run(None, self._given)
        return time.perf_counter() - began

    def figures(self) -> dict[str, Any]:
        """Nothing else."""
        return {}


def measure(
    model: Path, source: str, names: Sequence[Held], limit: int, calls: int, rounds: int
) -> list[dict[str, Any]]:
    """A row for each way.

    Raises:
      ConfigError, DataError: the model or the puzzles cannot be read, or there are no more than calibration takes.
    """
    experiment, weights = load(model)
    weights = jax.tree.map(jnp.asarray, weights)
    found = matched(experiment, source, "test", PUZZLES + limit, None)
    puzzles, there = found.puzzles, len(found.puzzles.inputs)
    if there <= PUZZLES:
        raise DataError(f"{found.source}: {there} puzzles, of which {PUZZLES} are for calibration: give more")
    first, rest = slice(0, PUZZLES), slice(PUZZLES, PUZZLES + limit)
    questions, ids = (np.asarray(array[first], np.int32) for array in (puzzles.inputs, puzzles.puzzle_ids))
    figures: Attempts | Searched = (
        Searched(found.experiment, puzzles, rest, found.kind, calls)
        if experiment.model.states == "candidates"
        else Attempts(found.experiment, puzzles, rest)
    )
    others = (
        np.asarray(puzzles.inputs[PUZZLES : 2 * PUZZLES], np.int32),
        np.asarray(puzzles.puzzle_ids[PUZZLES : 2 * PUZZLES], np.int32),
    )
    path = carried_path(found.experiment, weights, *others, steps=8, seed=1)
    distance = jax.jit(path.distance)
    about = describe() | {
        "model": str(model),
        "puzzles": Path(found.source).name,
        "count": min(limit, there - PUZZLES),
    }
    rows: list[dict[str, Any]] = []
    steps: dict[str, Step] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, held in ways(names, found, weights, questions, ids):
            made = jax.tree.map(jnp.asarray, known(held.parts))
            files = {program: Path(folder, f"{len(rows)}.{program}.onnx") for program in {figures.program, "step"}}
            for program, file in files.items():
                exporting.export(file, experiment, weights, found.kind, program, held=held)
            if rounds:
                steps[name] = Step(*onnx_file.read(files["step"])[::-1], others[0])
            rows.append(
                about
                | {"weights": name, "bytes": files[figures.program].stat().st_size}
                | figures.measure(made)
                | {"step_distance": _short(float(distance(made.params, path.steps)))}
            )
            print({key: value for key, value in rows[-1].items() if key not in about}, flush=True)
    if isinstance(figures, Attempts):
        small = figures.with_int8_activations(experiment, weights, found.kind)
        rows.append(about | {"weights": "int8, activations too (ONNX Runtime)"} | small)
    if rounds:
        times = take_turns(steps, rounds)
        for row in rows[: len(steps)]:
            row["step_times"] = round(times[row["weights"]].over(times["float32"])["median_of_rounds"], 3)
    return rows


def _percent(share: Any) -> float:
    return round(100 * float(share), 2)


def _short(number: Any) -> float:
    return float(f"{number:.3g}")


def main() -> None:
    """Measures, prints a column for each way and appends them to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a run, or a model of `trm models`")
    parser.add_argument("puzzles", nargs="?", default="", help="tables or dataset folders (its own held-out ones)")
    about = "types, float32 before them (bf16,int8,int4)"
    parser.add_argument("--weights", default="bf16,int8,int4", metavar="TYPE,TYPE", help=about)
    parser.add_argument("--limit", type=int, default=1_000, help="puzzles to solve (1000)")
    parser.add_argument("--calls", type=int, default=1_024, help="of a search for each puzzle, at most (1024)")
    parser.add_argument("--rounds", type=int, default=0, help="of timed steps (0: none)")
    args = parser.parse_args()
    with faults_told():
        if min(args.limit, args.calls) < 1:
            raise ConfigError("--limit and --calls: give at least 1")
        names = ["float32", *args.weights.split(",")]
        for name in names:
            check_held(name)
        rows = measure(args.model, args.puzzles, names, args.limit, args.calls, args.rounds)
    publish(rows, RESULTS)


if __name__ == "__main__":
    main()
