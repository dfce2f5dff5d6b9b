"""Which points the study of memory against depth measures (benchmarks/recursion_memory.py), by their kind.

"compiled": the experiment at full size, compiled for the platform and not run; its bytes are XLA's buffer assignment.
"run": training steps in a fresh process, with the memory that they take in fact.
"time": several policies in one process that take turns, for the quotients of their times.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from benchmarks.recursion_plots import CELLS
from trm_jax.config import Experiment, MemoryConfig, files, validate
from trm_jax.recursion.policies import Policy, Program, plan

KINDS = ("compiled", "run", "time")

Row = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """What is measured once; all else is as in experiments/sudoku_mlp.py or sudoku_attention.py.

    kind: see above.
    variant: which of the two experiments.
    n, T, grad_cycles: latent steps, cycles, and how many of these carry gradients.
    policy, levels, repetitions, outer_policy, slices, micro_batches: as in MemoryConfig.
    batch: puzzles.
    dtype: of the computation.
    width: D.
    """

    kind: Literal["compiled", "run", "time"] = "compiled"
    variant: Literal["mlp", "attention"] = "mlp"
    n: int = 6
    T: int = 3
    grad_cycles: int = 1
    policy: str = "none"
    levels: int = 2
    repetitions: int = 2
    outer_policy: str = "none"
    slices: int = 1
    micro_batches: int = 1
    batch: int = 768
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    width: int = 512

    @property
    def key(self) -> str:
        """Names the point in the table, the same in every version of this file."""
        parts = [self.kind, self.variant, f"n={self.n}", f"T={self.T}", f"grad_cycles={self.grad_cycles}"]
        parts += [self.policy_name, f"outer={self.outer_policy}", f"slices={self.slices}"]
        parts += [f"micro_batches={self.micro_batches}", f"batch={self.batch}", self.dtype, f"width={self.width}"]
        return " ".join(parts)

    @property
    def policy_name(self) -> str:
        """With the number that it takes, if any: "nested 3"."""
        number = {"nested": f" {self.levels}", "binomial": f" {self.repetitions}"}
        return self.policy + number.get(self.policy, "")

    @property
    def experiment(self) -> Experiment:
        """With all sizes filled in. Raises ConfigError if the values are at odds."""
        base = files.experiment("sudoku_mlp" if self.variant == "mlp" else "sudoku_attention")
        experiment = replace(
            base,
            model=replace(
                base.model, latent_steps=self.n, cycles=self.T, grad_cycles=self.grad_cycles, dtype=self.dtype,
                width=self.width,
            ),
            memory=MemoryConfig(
                policy=self.policy, levels=self.levels, repetitions=self.repetitions, outer_policy=self.outer_policy,
                micro_batches=self.micro_batches, slices=self.slices,
            ),
            train=replace(base.train, batch_size=self.batch),
        )  # fmt: skip
        validate(experiment)
        return experiment

    @property
    def row(self) -> Row:
        """The columns that are known before anything is measured."""
        how = plan(Policy(self.policy, self.levels, self.repetitions), self.n)
        return asdict(self) | {
            "key": self.key,
            "levels": self.levels if self.policy == "nested" else "",
            "repetitions": self.repetitions if self.policy == "binomial" else "",
            "states_kept": how.states if isinstance(how, Program) else self.n if how.keep == "host" else "",
        }


# So many points share a process: one, or the policies of a "time" group.
Group = tuple[Point, ...]


def sweep(size: str, platform: str) -> list[Group]:
    """The points of a "quick" or a "full" sweep on a platform ("cpu", "gpu", "tpu"), cheap kinds first."""
    points = _quick(platform) if size == "quick" else [*_compiled(platform), *_run(platform)]
    groups = [(point,) for point in dict.fromkeys(points)]
    return groups + (_quick_time(platform) if size == "quick" else _time(platform))


def _policies(*names: str) -> list[dict[str, Any]]:
    """From names such as "nested 3"."""
    found = []
    for name in names:
        policy, _, number = name.partition(" ")
        numbers = {"nested": "levels", "binomial": "repetitions"}
        found.append({"policy": policy} | ({numbers[policy]: int(number)} if number else {}))
    return found


def _compiled(platform: str) -> list[Point]:
    every = (1, 2, 4, 6, 8, 12, 16, 24, 32, 64, 128, 384, 1024, 4096, 10_000)
    sparse = (6, 12, 24, 64, 128, 384, 1024, 4096, 10_000)
    deep, deepest = sparse[2:], sparse[4:]
    # The curves: depth by policy, with and without slices.
    curves: list[tuple[str, tuple[int, ...]]] = [
        ("none", every), ("step", every), ("nested 2", sparse), ("nested 3", deep), ("nested 4", deepest),
        ("binomial 2", sparse), ("binomial 3", deep), ("binomial 4", deepest),
    ]  # fmt: skip
    if platform != "cpu":  # whose own memory is the host's
        curves.append(("offload", sparse))
    points = [
        Point(**policy, n=n, slices=slices)
        for slices in (1, 16)
        for name, depths in curves
        for policy in _policies(name)
        for n in depths
    ]
    points += [Point(policy="dots", n=n) for n in (1, 2, 4, 6, 8, 12, 24, 64, 128, 384)]
    # The cells of the paper's Table 3.
    points += [
        Point(policy=policy, n=n, T=cycles)
        for n, cycles in CELLS
        for policy in ("none", "step")
    ]  # fmt: skip
    # Cycles: without gradients, and with them in all.
    points += [Point(n=6, T=1), *(Point(policy="step", n=n, T=cycles) for n in (6, 384) for cycles in (1, 6))]
    points += [Point(policy="binomial", n=384, T=cycles) for cycles in (1, 6)]
    points += [Point(policy=policy, n=n, grad_cycles=3) for policy in ("none", "step") for n in (6, 12)]
    points += [Point(policy=policy, outer_policy="step", n=6, grad_cycles=3) for policy in ("none", "step")]
    points += [
        Point(policy="binomial", repetitions=3, outer_policy=outer, n=384, grad_cycles=3) for outer in ("none", "step")
    ]
    # Attention.
    attention: list[tuple[int, str, tuple[int, ...]]] = [
        (1, "none", (1, 6, 12, 24)), (1, "dots", (6, 12)), (1, "step", (1, 6, 12, 24, 128, 384, 1024, 10_000)),
        (1, "nested 3", (384, 1024, 10_000)), (1, "binomial 2", (6, 24, 128, 384, 1024, 10_000)),
        (16, "step", (6, 384)), (16, "binomial 2", (6, 384, 1024, 10_000)), (16, "binomial 3", (384, 10_000)),
    ]  # fmt: skip
    points += [
        Point(variant="attention", **policy, n=n, slices=slices)
        for slices, name, depths in attention
        for policy in _policies(name)
        for n in depths
    ]
    # Micro-batches, number formats, batches.
    micro: list[tuple[str, tuple[int, ...]]] = [
        ("none", (6, 12)), ("step", (6, 24, 384)), ("binomial 2", (384, 1024, 10_000)), ("nested 3", (10_000,)),
    ]  # fmt: skip
    for name, depths in micro:
        points += [Point(**policy, n=n, micro_batches=8) for policy in _policies(name) for n in depths]
    float32 = (("none", 6), ("step", 6), ("step", 384), ("binomial", 384), ("binomial", 1024))
    points += [Point(policy=policy, n=n, dtype="float32") for policy, n in float32]
    for batch in (96, 384):
        points += [Point(policy=policy, n=6, batch=batch) for policy in ("none", "step")]
        points += [Point(policy=policy, n=384, batch=batch) for policy in ("step", "binomial")]
    return points


# A width that a CPU gets through.
_NARROW: dict[str, Any] = {"width": 128, "dtype": "float32"}
_USUAL = ("none", "dots", "step", "nested 2", "binomial 2")


def _run(platform: str) -> list[Point]:
    if platform == "cpu":
        # Beside some 35 MB that every process takes, the points are to be large; and at n = 384 not too slow.
        wide: dict[str, Any] = {**_NARROW, "batch": 32, "T": 1}
        deep: dict[str, Any] = {**_NARROW, "batch": 8, "T": 1, "n": 384}
        points = [Point("run", **wide, **policy, n=n) for n in (6, 24, 96) for policy in _policies(*_USUAL)]
        points += [Point("run", **deep, **policy) for policy in _policies("none", "step", "nested 2", "nested 3")]
        points += [Point("run", **deep, **policy) for policy in _policies("binomial 2", "binomial 3")]
        points += [Point("run", **deep, policy=policy, slices=4) for policy in ("step", "binomial")]
        return points
    points = [Point("run", **policy, n=n) for n in (6, 12) for policy in _policies(*_USUAL, "offload")]
    points += [Point("run", policy=policy, n=n, T=6) for n in (6, 12) for policy in ("none", "step")]
    points += [Point("run", **policy, n=n) for n in (48, 384) for policy in _policies("step", "nested 2", "binomial 2")]
    points += [Point("run", policy=policy, n=384, slices=16) for policy in ("step", "binomial")]
    points += [Point("run", policy="binomial", n=1024, slices=slices) for slices in (1, 16)]
    points += [Point("run", policy="none", n=24), Point("run", policy="offload", n=384)]
    points += [Point("run", "attention", policy=policy, n=6) for policy in ("none", "step", "binomial")]
    return points


def _time(platform: str) -> list[Group]:
    names = (*_USUAL, "nested 3", "binomial 3")
    if platform != "cpu":
        return [
            *(_turns(_policies(*names, "offload"), n=n) for n in (6, 12, 48)),
            _turns(_policies(*_USUAL), n=6, variant="attention"),
        ]
    full = _turns(_policies(*_USUAL), n=6, batch=8, dtype="float32")
    shallow = [_turns(_policies(*names), n=n, batch=4, **_NARROW) for n in (6, 12, 24, 48, 96)]
    deep = [_turns(_policies("none", "step", "nested 2", "binomial 2"), n=n, batch=4, **_NARROW) for n in (192, 384)]
    return [full, *shallow, *deep]


def _turns(policies: Iterable[dict[str, Any]], **values: Any) -> Group:
    return tuple(Point("time", **values, **policy) for policy in policies)


def _quick(platform: str) -> list[Point]:
    size: dict[str, Any] = {"width": 64, "batch": 32, "dtype": "float32"} if platform == "cpu" else {}
    return [
        Point(kind, **size, **policy, n=n)
        for kind in ("compiled", "run")
        for n in (6, 24)
        for policy in _policies("none", "step", "binomial 2")
    ]


def _quick_time(platform: str) -> list[Group]:
    size: dict[str, Any] = {"width": 64, "batch": 8, "dtype": "float32"} if platform == "cpu" else {}
    return [_turns(_policies(*_USUAL), **size, n=n) for n in (6, 12)]
