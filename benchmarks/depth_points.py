"""Which points the study of depth trains (benchmarks/depth_study.py): sweeps of one small model, series by series.

The model is the symmetric network with the paper's y and z (experiments/sudoku_extreme.py, variant single), narrower,
on minimal 6x6 Sudokus. Every series varies one thing, at three seeds. "Equal steps": each point makes as many optimiser
steps, and so sees as many rows; "equal operations": each makes as many steps as cost the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trm_jax.runs import sweep
from trm_jax.runs.sweep import SEED, Asked, Plan, Point

SOURCE = "sudoku_extreme:single"
N, CYCLES, STEPS = "model.latent_steps", "model.cycles", 1_000
# What is changed at every point: the board, the width, and how long it is trained.
CHANGES: dict[str, Any] = {
    "model.vocab_size": 8, "model.seq_len": 36, "model.width": 16, "data.side": 6, "optim.warmup_steps": 50,
    "train.steps": STEPS, "train.save_every": 250, "train.log_every": 50,
}  # fmt: skip
# Of a training run of the variant's own n = 3 and T = 2 with as many steps.
PFLOP = 0.00274
DEPTHS = (1, 2, 4, 8, 16, 32, 64)
# Held-out puzzles that a point is evaluated on: three seeds make three times as many.
PUZZLES = 400
_THREE = (0, 1, 2)


@dataclass(frozen=True)
class Series:
    """Points that differ in one thing.

    title: what is varied, and what is equal.
    key: the value that is varied, by which tables and pictures are ordered; "" if it is the turn.
    over, turns: as of `trm sweep`, without seeds.
    baseline: what is said of a point at which no switch is turned.
    pflop: of each point; None: equal steps.
    fixed: values of all its points, beside CHANGES.
    probed: whether its models are used at other depths than their own, and their gradients followed.
    """

    name: str
    title: str
    key: str
    over: tuple[str, ...] = ()
    turns: tuple[str, ...] = ()
    baseline: str = ""
    pflop: float | None = None
    fixed: tuple[tuple[str, Any], ...] = ()
    seeds: tuple[int, ...] = _THREE
    probed: bool = False

    def plan(self, data: Path) -> Plan:
        """The sweep, on a folder of puzzles. Raises ConfigError, DataError."""
        changes = CHANGES | dict(self.fixed) | {"data.train": str(data)}
        if self.pflop is not None:
            del changes["train.steps"]
        seeds = f"{SEED}={','.join(map(str, self.seeds))}"
        asked = Asked(str(data), DEPTHS, limit=PUZZLES)
        return sweep.plan(SOURCE, changes, [*self.over, seeds], self.turns, self.pflop, asked)


SERIES = (
    Series("n_steps", "n at equal steps", N, (f"{N}=1,2,3,6,12,24,48,96",), probed=True),
    Series("n_operations", "n at equal operations", N, (f"{N}=1,2,3,6,12,24,48,96",), pflop=PFLOP),
    Series(
        "n_deepest", "n = 384, once, for a quarter of the steps", N, (f"{N}=384",), seeds=(0,),
        fixed=(("memory.policy", "binomial"), ("train.steps", STEPS // 4)),
    ),
    Series("cycles_steps", "T at equal steps", CYCLES, (f"{CYCLES}=1,2,3,4,5,6",), probed=True),
    Series("cycles_operations", "T at equal operations", CYCLES, (f"{CYCLES}=1,2,3,4,5,6",), pflop=PFLOP),
    Series(
        "grad_cycles", "gradients through the last cycles of T = 4, equal steps", "model.grad_cycles",
        ("model.grad_cycles=1,2,3,4",), fixed=((CYCLES, 4),),
    ),
    Series(
        "backprop_steps", "gradients through supervision steps, T = 2, equal steps", "model.backprop_steps",
        ("model.backprop_steps=1,2,4",), fixed=(("model.grad_cycles", 2),),
    ),
    Series(
        "supervision_steps", "N_sup at equal steps", "model.supervision_steps", ("model.supervision_steps=4,8,16,32",)
    ),
    Series(
        "gradient", "the gradient at n = 6, equal steps", "", baseline="exact gradient", fixed=((N, 6),),
        turns=("model.gradient=one_step", "model.gradient=last_k+model.gradient_steps=3", "model.gradient=implicit"),
    ),
    Series(
        "curriculum", "depth that grows to n = 12, T = 2 and N_sup = 16, equal operations", "",
        baseline="the same throughout", fixed=((N, 12),), pflop=PFLOP,
        turns=(
            "train.curriculum=latent_steps=1@0.3,latent_steps=3@0.6",
            "train.curriculum=supervision_steps=2@0.3,supervision_steps=4@0.6",
            "train.curriculum=cycles=1@0.5",
        ),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Task:
    """One point of a series, as a sweep of its own in the folder of the series."""

    series: Series
    plan: Plan
    point: Point

    @property
    def alone(self) -> Plan:
        """The sweep with this point only."""
        return replace(self.plan, points=(self.point,))


def tasks(data: Path, only: Sequence[str] = ()) -> list[Task]:
    """All points, or those of some series, the cheapest first, and of those that cost much the same the shallowest.

    Raises:
      ConfigError, DataError.
    """
    found = []
    for series in SERIES:
        if not only or series.name in only:
            plan = series.plan(data)
            found += [Task(series, plan, point) for point in plan.points]
    return sorted(found, key=lambda task: float(f"{task.point.flops:.1e}"))
