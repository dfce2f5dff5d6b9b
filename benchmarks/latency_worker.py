"""One way to answer puzzles, in a process of its own: the other end of benchmarks/latency.py.

    python -m benchmarks.latency_worker             # asked by lines: an `Order`, then any number of `Turn`
    python -m benchmarks.latency_worker FILE TEXT   # the .onnx file's answer to one puzzle, as a program of one's own

Nothing is imported before the order is known: with it the process becomes what it is asked to be, and no more. An order
is answered by {}, a turn by `Told`; a turn of the way "product" by {"product": its name, "rate": operations a second}.
The first thing to go wrong is told as {"error": line}, and it ends.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypedDict

if TYPE_CHECKING:
    from benchmarks.matmul import Products

# Answers as text, and supervision steps or calls of the network, on average; None: nobody tells.
Said = tuple[list[str], float | None]
Answerer = Callable[[Sequence[str]], Said]


class Order(TypedDict):
    """What to become.

    way: one of WAYS, or "product".
    source: a model, or the file that it was exported to.
    questions, answers: as text, one of each for each puzzle.
    cache: a folder for compiled programs, of ways that keep them.
    """

    way: str
    source: str
    questions: list[str]
    answers: list[str]
    cache: str


class Turn(TypedDict):
    """So many puzzles, the first ones of the order; together, or one by one; before, a call that does not count."""

    puzzles: int
    together: bool
    before: bool


class Told(TypedDict):
    """What a turn came to.

    seconds: of each puzzle.
    cpu_seconds: of each puzzle, of all cores together.
    first_seconds: of the call before, which wakes the threads, and the first time compiles.
    steps: on average; null where nobody tells.
    exact: the share of answers that are right.
    peak_bytes: of a process that was started, at most.
    """

    seconds: float
    cpu_seconds: float
    first_seconds: float | None
    steps: float | None
    exact: float
    peak_bytes: int | None


def library(order: Order) -> Answerer:
    """`trm.load(MODEL).solve`, as a program in Python would call it."""
    import trm_jax as trm

    model = trm.load(order["source"])

    def answer(questions: Sequence[str]) -> Said:
        out = model.solve(list(questions))
        return [out.text(number) for number in range(len(questions))], float(out.steps.mean())

    return answer


def stablehlo(order: Order) -> Answerer:
    """An exported program, called by JAX."""
    from trm_jax.exporting.stablehlo import read

    about, program = read(Path(order["source"]))
    return _exported(about, lambda inputs: program.call(**inputs))


def onnx(order: Order) -> Answerer:
    """An exported program in ONNX Runtime, with as many threads as this process has cores; reads by itself."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(order["source"], options, providers=["CPUExecutionProvider"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["trm_jax"])
    names = [port["name"] for port in about["outputs"]]
    return _exported(about, lambda inputs: dict(zip(names, session.run(names, inputs), strict=True)))


def _exported(about: dict[str, Any], call: Callable[[dict[str, Any]], dict[str, Any]]) -> Answerer:
    """An exported `solve`: all supervision steps of an attempt, as the library makes them, or a search."""
    import numpy as np

    alphabet: list[str] = about["alphabet"]
    token = {sign: number for number, sign in enumerate(alphabet)}
    steps = about["model"]["supervision_steps"]
    values: dict[str, Any] = {"most_steps": steps, "halt_above": np.inf, "seed": 0, "most_calls": 1_024}
    settings = {
        port["name"]: np.array(values[port["name"]], port["dtype"]) for port in about["inputs"] if not port["shape"]
    }
    tables = [port["name"] for port in about["inputs"] if port["name"] == "puzzle_id"]

    def answer(questions: Sequence[str]) -> Said:
        asked = np.array([[token[sign] for sign in text] for text in questions], np.int32)
        said = call({"question": asked, **dict.fromkeys(tables, np.zeros(len(asked), np.int32)), **settings})
        texts = ["".join(alphabet[number] for number in row) for row in np.asarray(said["answer"]).tolist()]
        return texts, float(np.mean(said["calls" if "calls" in said else "steps"]))

    return answer


class Fresh:
    """A program that is started for each puzzle, and ends.

    It is started from this small process: Linux counts memory of whoever starts a program as that program's own.
    """

    def __init__(self, words: Sequence[str], cache: str) -> None:
        self._words = [sys.executable, "-m", *words]
        self._environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": cache}
        self.cpu_seconds, self.peak_bytes = 0.0, 0

    def __call__(self, questions: Sequence[str]) -> Said:
        """Of one puzzle. An exit code of 1 is a wrong answer."""
        (question,) = questions
        words = [question if word == "{}" else word for word in self._words]
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(words, env=self._environment, stdout=subprocess.PIPE, stderr=errors, text=True)
            assert process.stdout is not None
            with process.stdout:
                text = process.stdout.read()
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode not in (0, 1):
                errors.seek(0)
                raise RuntimeError(errors.read().strip().rpartition("\n")[2] or f"exit code {process.returncode}")
        self.cpu_seconds, self.peak_bytes = used.ru_utime + used.ru_stime, 1_024 * used.ru_maxrss
        return [text.strip("\n")], None


WAYS: dict[str, Callable[[Order], Answerer]] = {
    "library": library,
    "stablehlo": stablehlo,
    "onnx": onnx,
    "trm_solve": lambda order: Fresh(["trm_jax", "solve", order["source"], "{}", "--quiet"], order["cache"]),
    "onnx_fresh": lambda order: Fresh(["benchmarks.latency_worker", order["source"], "{}"], order["cache"]),
}


class Answering:
    """Turns of one way."""

    def __init__(self, order: Order) -> None:
        self._order, self._answer = order, WAYS[order["way"]](order)

    def __call__(self, turn: Turn) -> Told:
        questions = self._order["questions"][: turn["puzzles"]]
        parts = [questions] if turn["together"] else [[question] for question in questions]
        fresh = self._answer if isinstance(self._answer, Fresh) else None
        began = time.perf_counter()
        if turn["before"]:
            self._answer(parts[0])
        ready, cpu = time.perf_counter(), time.process_time()
        said = [self._answer(part) for part in parts]
        seconds, cpu_seconds = time.perf_counter() - ready, time.process_time() - cpu
        texts = [text for answers, _ in said for text in answers]
        steps = [count for _, count in said if count is not None]
        return {
            "seconds": seconds / len(questions),
            "cpu_seconds": fresh.cpu_seconds if fresh else cpu_seconds / len(questions),
            "first_seconds": ready - began if turn["before"] else None,
            "steps": sum(steps) / len(steps) if steps else None,
            "exact": sum(map(str.__eq__, texts, self._order["answers"])) / len(texts),
            "peak_bytes": fresh.peak_bytes if fresh else None,
        }


class Multiplying:
    """Turns of the products of a model's block, for each size of batch."""

    def __init__(self, order: Order) -> None:
        from trm_jax.runs.sources import load

        self._experiment, _ = load(order["source"])
        self._products: dict[int, Products] = {}

    def __call__(self, turn: Turn) -> dict[str, Any]:
        from dataclasses import replace

        from benchmarks.matmul import Products

        batch = turn["puzzles"] if turn["together"] else 1
        if batch not in self._products:
            train = replace(self._experiment.train, batch_size=batch)
            self._products[batch] = Products(replace(self._experiment, train=train))
        self._products[batch].measure()
        product, rate = self._products[batch].best
        return {"product": product, "rate": rate}


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answers requests until there are no more."""

    def answer(values: Mapping[str, Any]) -> None:
        print(json.dumps(values), file=answers, flush=True)

    try:
        order: Order = json.loads(requests.readline())
        work = Multiplying(order) if order["way"] == "product" else Answering(order)
        answer({})
        for line in requests:
            answer(work(json.loads(line)))
    except Exception as error:  # whatever it is, the benchmark can only tell it
        answer({"error": f"{type(error).__name__}: {' '.join(str(error).split())}"})


if __name__ == "__main__":
    if sys.argv[1:]:
        source, text = sys.argv[1:]
        (answered,), _ = onnx(Order(way="onnx", source=source, questions=[], answers=[], cache=""))([text])
        print(answered)
    else:
        # Libraries talk: what is not an answer goes to where errors go.
        private = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        serve(sys.stdin, private)
