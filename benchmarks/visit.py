"""What is worth knowing from a short visit to a machine with an accelerator, in a budget of seconds.

    python -m benchmarks.visit [--budget 600] [--out runs/visit] [--train FILE --monitor FILE] [--reference PATH]
        [--only NAME,NAME] [--show] [--dry-run]

What matters most comes first: does it compile, is it the same model, what does a step cost beside the original's, does
memory keep to its plan. Then a model is trained until the budget is used, and the next visit goes on with it; once it
is done, what comes after has its turn. Each stage has a limit of its own (benchmarks/stages.py). All results lie in the
folder of --out: at most 8 files, together below 60 MB. Bring them to the next visit: what is done there is not done
again, and training resumes (benchmarks/carried_run.py). `--only` names stages that are to be run, others are left out.

--train and --monitor are tables of Sudokus to train on and to watch; without them nothing is trained. --reference is a
checkout of the original, to be timed beside ours; that needs torch. `--show` prints the plan and runs nothing.
`--dry-run` tests the plan itself on a CPU: a tenth of the width, a hundredth of the batch, and not what needs a GPU.

The exit code is 1 where a stage failed; one that is late, or for which no time was left, is told of.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks.stages import Folder, Running, Stage, line
from trm_jax.runs.signals import StopSignals

# What is trained.
TRAINED = "sudoku_fast"
_ROOT = Path(__file__).parent.parent
_RESULTS = "--results={out}/results.jsonl"
# A tenth of the width and a hundredth of the batch, which a CPU gets through.
_SMALL = (
    "--batch=8", "--repeats=1", "--config.model.width=48", "--config.model.puzzle_dim=48",
    "--config.model.dtype=float32",
)  # fmt: skip
_NEED_A_GPU = ("offload", "maze_xla", "maze_cudnn")
_DRY_LIMIT, _DRY_EXPECTED = 15.0, 3.0


def plan(train: str = "", monitor: str = "", reference: str = "", *, dry: bool = False) -> list[Stage]:
    """The stages, what matters most first; the arguments as on the command line, paths absolute."""

    def step(name: str, *words: str, expected: float = 40, limit: float = 90) -> Stage:
        if not any(word.startswith("--config=") for word in words):
            words = ("--config=sudoku_mlp", *words)
        sizes = _SMALL if dry else ()
        return _stage(name, "benchmarks.step_time", *words, *sizes, _RESULTS, expected=expected, limit=limit)

    compiled = [f"{TRAINED}:smoke"] if dry else dict.fromkeys((TRAINED, "sudoku_mlp", "sudoku_attention"))
    stages = [
        _stage("compile", "benchmarks.compiles", *compiled, _RESULTS, expected=60, limit=90),
        _stage("parity", "trm_jax", "parity", "tests/testdata", expected=40, limit=75),
    ]
    if reference:
        # One after the other: three models at this batch do not fit into one memory.
        against = f"--reference={reference}"
        stages += [
            step("step_and_eager", against, "--variants=ours,eager", expected=50),
            step("step_and_compiled", against, "--variants=ours,compiled", expected=80, limit=150),
        ]
    else:
        stages.append(step("step"))
    for n in (6, 12):
        stages.append(step(f"memory_n{n}_T6", f"--config.model.latent_steps={n}", "--config.model.cycles=6"))
    if train or dry:
        stages.append(_training(train, monitor, dry))
    stages += [
        step("attention", "--config=sudoku_attention"),
        step("offload", "--config.memory.policy=offload"),
        _stage("arc_table", "benchmarks.puzzle_table", _RESULTS, expected=30, limit=60),
        step("policy_step", "--config.memory.policy=step"),
        step("policy_binomial", "--config.memory.policy=binomial"),
        step("maze_xla", "--config=maze", "--config.devices.attention=xla", "--batch=128"),
        step("maze_cudnn", "--config=maze", "--config.devices.attention=cudnn", "--batch=128"),
    ]
    return [_dried(stage) for stage in stages if stage.name not in _NEED_A_GPU] if dry else stages


def _stage(name: str, *words: str, expected: float, limit: float) -> Stage:
    return Stage(name, ("{python}", "-m", *words), expected, limit)


def _training(train: str, monitor: str, dry: bool) -> Stage:
    if dry:
        words = [
            f"--config={TRAINED}:smoke",
            "--config.train.steps=100000",
            "--config.train.save_every=50",
            "--every=2",
        ]
    else:
        words = [f"--config={TRAINED}", f"--config.data.train={train}", "--config.train.save_every=200"]
        words += ["--config.train.log_every=50"]
        words += [f"--config.data.test={monitor}", "--config.train.eval_every=1000"] if monitor else []
    command = ("{python}", "-m", "benchmarks.carried_run", "{out}", "{work}/run", *words)
    return Stage("training", command, expected=60, limit=None, farewell=20, goes_on=True)


def _dried(stage: Stage) -> Stage:
    """With the times of a dry run; training has a limit there, or nothing would come after it."""
    return replace(stage, expected=_DRY_EXPECTED, limit=_DRY_LIMIT, farewell=min(stage.farewell, 6.0))


def table(stages: Sequence[Stage]) -> str:
    """The plan for a page."""
    rows = ["| stage | seconds expected | at most |", "| --- | --- | --- |"]
    for stage in stages:
        limit = "all that are left" if stage.limit is None else f"{stage.limit:.0f}"
        rows.append(f"| {stage.name} | {stage.expected:.0f} | {limit} |")
    return "\n".join(rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the plan and prints how each stage ended; 1 if any failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=600.0, help="seconds for everything (600)")
    parser.add_argument("--out", type=Path, help="folder of results (runs/visit; of a dry run, one that is removed)")
    parser.add_argument("--train", type=Path, help="table of Sudokus to train on")
    parser.add_argument("--monitor", type=Path, help="table of Sudokus that are watched meanwhile")
    parser.add_argument("--reference", type=Path, metavar="PATH", help="a checkout of the original")
    parser.add_argument("--only", default="", metavar="NAME,NAME", help="stages to run, in the order of the plan")
    parser.add_argument("--show", action="store_true", help="print the plan, and run nothing")
    parser.add_argument("--dry-run", action="store_true", help="on a CPU, small")
    args = parser.parse_args(argv)
    if not args.budget > 0:
        parser.error("--budget: give seconds, more than 0")
    for flag in ("train", "monitor", "reference"):
        if (path := getattr(args, flag)) and not path.exists():
            parser.error(f"--{flag} {path}: there is no such file or folder")
    train, monitor, reference = (
        str(path.resolve()) if path else "" for path in (args.train, args.monitor, args.reference)
    )
    stages = plan(train, monitor, reference, dry=args.dry_run)
    names = args.only.split(",") if args.only else [stage.name for stage in stages]
    if unknown := set(names) - {stage.name for stage in stages}:
        parser.error(f"--only: no stage {min(unknown)!r}: there are {', '.join(stage.name for stage in stages)}")
    stages = [stage for stage in stages if stage.name in names]
    if args.show:
        print(table(stages))
        return 0
    with ExitStack() as entered:
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        scratch = (
            Path(entered.enter_context(tempfile.TemporaryDirectory(prefix="trm_visit_"))) if args.dry_run else None
        )
        if args.dry_run:
            environment |= {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
        out = args.out or (scratch / "out" if scratch else _ROOT / "runs" / "visit")
        work = scratch / "work" if scratch else _ROOT / "runs" / "visit_work"
        folder = Folder(out.resolve())
        signals = entered.enter_context(StopSignals())
        rows = Running(folder, work, args.budget, _ROOT, environment, signals).run(stages)
        print("\n".join(line(row) for row in rows))
        sizes = folder.files()
        print(f"{len(sizes)} files, {sum(sizes.values()) / 1e6:.1f} MB in {out}")
    return 1 if any(row["state"] == "failed" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
