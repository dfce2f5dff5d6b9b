"""A row of the ledger, made from what a run has left in its folder and from what `trm eval --json` has written.

What was said on the command line is not asked: the words are those that give the run's configuration, so that the same
command trains the same weights. Paths outside the repository are told by their last name.
"""

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trm_jax.config import Experiment, config_hash
from trm_jax.config.files import source_of
from trm_jax.devices.machine import describe
from trm_jax.errors import CheckpointError, ConfigError, DataError, first_line
from trm_jax.model.estimate import estimate, training_flops
from trm_jax.runs.checkpoint import BEST, FOLDER, load
from trm_jax.runs.ledger import Row, identity
from trm_jax.runs.meta import Meta, read_meta
from trm_jax.runs.named_arrays import fingerprint
from trm_jax.runs.parts import read_parts
from trm_jax.runs.step_folders import StepFolders
from trm_jax.runs.writers import read_metrics

_PFLOP = 1e15
# Values that name files or folders.
_PLACES = ("data.train", "data.test", "init.source", "init.names")
# A longer file is no figures of an evaluation.
_LONGEST = 1 << 26


@dataclass(frozen=True)
class Said:
    """What no file tells, "" for nothing.

    beside: what else the machine did while this was trained.
    note: what has to be said beside the figures.
    commit, here: the commit at which a run was trained, and that it was this machine, of a run that recorded neither.
    """

    beside: str = ""
    note: str = ""
    commit: str = ""
    here: bool = False


@dataclass(frozen=True)
class _Saved:
    """Weights that a run has kept: step, meta and hash. path: as `load` takes it."""

    path: Path
    step: int
    meta: Meta
    averaged: bool
    weights: str


def entry(run: Path, figures: Path | None, said: Said, root: Path | None) -> Row:
    """The row of a run's best weights, or else its newest, if nothing was evaluated; otherwise of what was.

    Args:
      run: the folder that `trm train` has written.
      figures: the JSON file that `trm eval` has written, or None.
      said: what no file tells.
      root: of the repository, or None.

    Raises:
      CheckpointError: there is no checkpoint, or what was evaluated is none of this run's.
      ConfigError: the experiment is none of this repository's; something was said that the run has recorded itself.
      DataError: the file is no JSON of `trm eval`, or the row cannot be made of it.
    """
    told = None if figures is None else _read(figures)
    saved = _found(run, told)
    experiment = saved.meta.experiment
    if told is not None and told["config_sha256"] != config_hash(experiment):
        raise CheckpointError(
            f"{figures}: {told['command']} evaluated another configuration than that of {saved.path}: evaluate again"
        )
    source, changes = source_of(experiment)
    overrides = {k: _shown(v, run, root) if k in _PLACES else v for k, v in changes.items()}
    row = {
        "experiment": source,
        "overrides": overrides,
        "config": config_hash(experiment),
        "weights": saved.weights,
        "averaged": saved.averaged,
        "step": saved.step,
        "seed": experiment.train.seed,
        "weight_count": estimate(experiment).trained,
        "trained": _given(_trained(run, saved, source, overrides, said)),
        **({} if told is None else _evaluated(told, run, root)),
    }
    notes = (["revealed clues"] if experiment.data.reveal else []) + ([said.note] if said.note else [])
    return {"id": identity(row)} | row | ({"note": "; ".join(notes)} if notes else {})


def _found(run: Path, told: Mapping[str, Any] | None) -> _Saved:
    """The weights that a row is about."""
    averaged = told is None or told["weights"] == "averaged"
    for path, step, folder in _kept(run, told["checkpoints"] if told else ()):
        _, weights = load(path, averaged)
        saved = _Saved(path, step, read_meta(folder), averaged, fingerprint(weights))
        if told is None or saved.weights == told["weights_sha256"]:
            return saved
    if told is None:
        there = "no checkpoint here" if run.exists() else "no such folder"
        raise CheckpointError(f"{run}: {there}: give a folder that `trm train` has written")
    raise CheckpointError(
        f"{run} has none of the weights that were evaluated ({told['checkpoints'][0]}): evaluate one of its checkpoints"
    )


def _kept(run: Path, named: Iterable[str]) -> Iterator[tuple[Path, int, Path]]:
    """The checkpoints of a run, each as `load` takes it, with its step and its folder: the likeliest first."""
    checkpoints = run / FOLDER
    kept = [(checkpoints / BEST, step, checkpoints / BEST / str(step)) for step in _steps(checkpoints / BEST)[:1]]
    kept += [(checkpoints / str(step), step, checkpoints / str(step)) for step in _steps(checkpoints)]
    names = {Path(name).name for name in named}
    yield from sorted(kept, key=lambda each: each[0].name not in names)


def _steps(folder: Path) -> list[int]:
    """The newest first."""
    return StepFolders(folder, keep=1, writes=False).steps[::-1]


def _trained(run: Path, saved: _Saved, source: str, overrides: Mapping[str, Any], said: Said) -> dict[str, Any]:
    experiment = saved.meta.experiment
    parts = [part for part in read_parts(run) if part["first"] < saved.step]
    commits = _distinct(part["commit"] for part in parts if part.get("commit"))
    machines = _distinct(part["machine"] for part in parts if part.get("machine"))
    for flag, given, recorded in (("--commit", said.commit, commits), ("--here", said.here, machines)):
        if given and recorded:
            raise ConfigError(f"{flag}: {run} has recorded that itself: leave it out")
    if said.here:
        machines = [describe()]
    words = ["trm", "train", f"--config={source}", *(f"--config.{key}={value}" for key, value in overrides.items())]
    peaks = [part["peak_gib"] for part in parts if "peak_gib" in part]
    rows = saved.step * experiment.train.batch_size
    return {
        "command": shlex.join([*words, f"--workdir=runs/{run.resolve().name}"]),
        "commits": commits or ([said.commit] if said.commit else []),
        "machines": machines,
        "versions": dict(saved.meta.versions),
        "puzzles": saved.meta.position.get("fingerprint"),
        "rows": rows,
        "pflop": round(training_flops(experiment, saved.step) / _PFLOP, 6),
        "hours": _hours(run, saved.step, experiment),
        "peak_gib": max(peaks) if peaks else None,
        "beside": said.beside or None,
    }


def _hours(run: Path, step: int, experiment: Experiment) -> float | None:
    """Of the steps up to this one and the evaluations between them; what was compiled, or lost to a kill, apart."""
    try:
        rows = read_metrics(run)
    except OSError:
        return None
    seconds, reached, pace = 0.0, 0, 0.0
    for row in rows:
        if (at := row["step"]) is None or at > step:
            break
        seconds += row.get("time/eval_seconds") or 0.0
        if now := row.get("time/puzzles_per_second"):
            pace = now
            seconds += (at - reached) * experiment.train.batch_size / pace
            reached = int(at)
    if not pace:
        return None
    return round((seconds + (step - reached) * experiment.train.batch_size / pace) / 3_600, 3)


def _read(path: Path) -> dict[str, Any]:
    """The figures of an evaluation, with what a row needs of them. Raises DataError."""
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)
        told = json.loads(content) if len(content) <= _LONGEST else None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: no JSON of `trm eval`: {first_line(error)}") from None
    texts = ("command", "weights", "weights_sha256", "config_sha256", "data", "data_sha256", "split")
    if not isinstance(told, dict) or not all(type(told.get(name)) is str for name in texts):
        raise DataError(f"{path}: not what `trm eval --json` of this version writes: evaluate again")
    if told.get("stress"):
        raise DataError(f"{path}: figures of a stress test, of which the ledger holds none: evaluate without --stress")
    if told.get("reliability"):
        raise DataError(f"{path}: figures of a calibration, which no ledger holds: evaluate without --confidence")
    names = told.get("checkpoints")
    if not isinstance(names, list) or not names or not all(type(name) is str for name in names):
        raise DataError(f"{path}: it does not say which checkpoint was evaluated: evaluate again")
    if len(names) > 1:
        raise DataError(f"{path}: {len(names)} checkpoints are pooled there: a row is about one: evaluate it alone")
    return told


def _evaluated(told: Mapping[str, Any], run: Path, root: Path | None) -> dict[str, Any]:
    """What was evaluated how, and the figures: single chains, restarts and searches apart."""
    try:
        figures, how = _of_search(told) if "search" in told else _of_attempts(told)
        about = {
            "command": shlex.join(_shown(word, run, root) for word in shlex.split(told["command"])),
            "commit": told["commit"],
            "machine": told["machine"],
            "name": _shown(told["data"], run, root),
            "split": told["split"],
            "sha256": told["data_sha256"],
            "puzzles": told["puzzles"],
            "seconds": round(told["seconds"], 1),
            "peak_gib": told["peak_gib"],
            "how": how,
        }
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise DataError(f"not the figures of an evaluation: {first_line(error)} is amiss: evaluate again") from None
    return {"evaluated": _given(about)} | figures


def _of_search(told: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """One call is one supervision step: what it says unsearched is the single chain of that depth."""
    search = {"found": told["found"], "exact": told["exact"], "calls": told["calls"]}
    return {"single": {"1": told["first_call"]}, "search": search}, told["budget"] | told["thresholds"]


def _of_attempts(told: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    effort, figures = told["effort"], {}
    if single := {str(row["supervision_steps"]): row["exact"] for row in told["table"] if row["attempts"] == 1}:
        figures["single"] = single
    if effort["attempts"] > 1:
        figures["restarts"] = {"attempts": effort["attempts"], "selection": told["selection"]} | {
            name: {str(row["supervision_steps"]): row[name] for row in told["rows"]} for name in ("exact", "oracle")
        }
    if told["arc"] is not None and told["arc"]["pass_at"] is not None:
        figures["votes"] = told["arc"]["pass_at"]
    return figures, effort | {"selection": told["selection"], "puzzle_ids": told["puzzle_ids"]}


def _shown(word: str, run: Path, root: Path | None) -> str:
    """A word of a command without what a path tells of one's own disk; several paths may stand in it."""
    name, equals, rest = word.rpartition("=") if word.startswith("--") else ("", "", word)
    return name + equals + ",".join(_place(text, run, root) for text in rest.split(","))


def _place(text: str, run: Path, root: Path | None) -> str:
    path = Path(text)
    if not path.is_absolute() and ".." not in path.parts:
        return text
    path = path.resolve()
    if path.is_relative_to(run.resolve()):
        return str(Path("runs", run.resolve().name, path.relative_to(run.resolve())))
    if root is not None and path.is_relative_to(root):
        return str(path.relative_to(root))
    return path.name


def _distinct(values: Iterable[Any]) -> list[Any]:
    """In the order in which they came."""
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _given(group: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is not known."""
    return {key: value for key, value in group.items() if value not in (None, "", [], {})}
