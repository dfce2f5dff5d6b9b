"""`trm calibrate`: learns from held-out puzzles how sure an answer is, and writes it beside the weights.

`trm eval --confidence` tells on other puzzles how well that does.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from trm_jax.commands.asked import Asked, rule_of
from trm_jax.commands.report import print_table
from trm_jax.console import Bar, say
from trm_jax.data.fit import Matched
from trm_jax.devices.cluster import is_main, noticing_loss, unanimous
from trm_jax.devices.sharding import mesh_layout
from trm_jax.display.canvas import new_figure
from trm_jax.display.reliability import draw_reliability
from trm_jax.errors import ConfigError
from trm_jax.inference.confidence import Confidence, Evidence, calibrate, gather, independent, refuse_too_few
from trm_jax.inference.effort import Effort
from trm_jax.inference.reliability import PromiseRow, ReliabilityReport, reliability
from trm_jax.inference.selection import Rule
from trm_jax.model.model import Model, Weights
from trm_jax.runs import calibration, shipped
from trm_jax.runs.calibration import Calibrated
from trm_jax.runs.sources import load
from trm_jax.sizes import counted


@dataclass(frozen=True, kw_only=True)
class Request(Asked):
    """What `trm calibrate` or `trm eval --confidence` was asked for.

    effort, selection: how each puzzle is tried, as `trm solve` is to try it; its seed draws who fits and who bounds.
    confidence: the promise that is wanted.
    delta: of `inference.confidence.calibrate`.
    out: the file to write; None: beside the weights.
    calibration, plot: the file to compare with, None: the one beside the weights; and a picture to draw.
    """

    checkpoint: Path
    effort: Effort
    selection: Rule | str = ""
    confidence: float = 0.99
    delta: float = 0.05
    out: Path | None = None
    calibration: Path | None = None
    plot: Path | None = None


class _Given(NamedTuple):
    """A model and the puzzles, and how these are tried."""

    weights: Weights
    found: Matched
    rule: Rule
    how: dict[str, Any]
    batch_size: int


def run(request: Request) -> Calibrated:
    """Tries the puzzles, fits, bounds, prints the table and writes the file.

    Raises:
      ConfigError, DataError: what was asked for cannot be, or the puzzles are none for this model, or too few.
      StorageError: the file cannot be written.
    """
    out = request.out or calibration.place(request.checkpoint)
    if request.out is None and not request.checkpoint.exists() and request.checkpoint.name in shipped.names():
        raise ConfigError(
            f"{request.checkpoint} comes with the package: give --out FILE.json, and --calibration FILE.json to `solve`"
        )
    given = _given(request)
    refuse_too_few(len(independent(given.found.puzzles)), request.confidence, request.delta)
    evidence, seconds = _gathered(request, given)
    confidence = calibrate(evidence, request.confidence, request.delta, request.effort.seed)
    found = Calibrated.of(confidence, given.weights, given.found.kind, given.how, given.found.puzzles)
    _tell(found.confidence, evidence, seconds, request.confidence)
    calibration.write(out, found)
    given_by = f" --calibration {out}" if request.out else ""
    print(f"calibrated: `trm solve {request.checkpoint} --confidence P{given_by}` answers, or is not sure")
    if request.out is None:
        say(f"wrote {out}")
    return found


def evaluate(request: Request) -> ReliabilityReport:
    """Tries the puzzles and tells how well the calibration fits them: each signal alone, all together, each promise.

    Raises:
      CheckpointError: there is no calibration of these weights.
      ConfigError, DataError: what was asked for cannot be, or the puzzles are none for this model.
    """
    path = request.calibration or calibration.place(request.checkpoint)
    with unanimous() as facts:
        made = calibration.read(path)
        if request.plot:
            new_figure((1, 1))  # or says at once that matplotlib is missing
        given = _given(request)
        puzzles = given.found.puzzles
        confidence = calibration.check(str(path), made, given.weights, given.found.kind, given.how)
        confidence.promise(request.confidence)
        facts |= {"the fingerprint of the puzzles": puzzles.fingerprint[:12]}
    evidence, seconds = _gathered(request, given)
    report = reliability(evidence, confidence, request.confidence, seconds)
    if is_main():
        _print(report)
        if puzzles.fingerprint == made.puzzles:
            print("these are the puzzles of the calibration: it has been fitted to them, so that figures flatter it")
        experiment = given.found.experiment
        about = request.origin((request.checkpoint,), experiment, given.weights, given.found)
        request.write(about, {"reliability": True} | report.to_dict())
        if request.plot:
            what = f"{request.checkpoint} on {request.puzzles or 'its own held-out puzzles'}"
            draw_reliability(request.plot, report, f"{what}: {counted(report.puzzles, 'puzzle')}")
    return report


def _given(request: Request) -> _Given:
    experiment, weights = load(request.checkpoint, request.averaged)
    if experiment.model.states == "candidates":
        raise ConfigError(
            f"{request.checkpoint}: a model of candidates searches, and gives answers alone that the rules certify: "
            "there is nothing to calibrate"
        )
    found = request.matched(experiment, request.checkpoint)
    request.effort.check_chosen(request.selection)
    rule = rule_of(request.selection, found.kind)
    how = calibration.how_of(request.effort, rule)
    size = request.batch_size or experiment.train.eval_batch_size
    return _Given(weights, found, rule, how, size)


def _gathered(request: Request, given: _Given) -> tuple[Evidence, float]:
    """What attempts at all puzzles leave, and the seconds that it took."""
    began, layout, found = time.perf_counter(), mesh_layout(request.devices), given.found
    total = len(independent(found.puzzles))
    model, weights = Model(found.experiment.model), layout.everywhere(given.weights)
    with noticing_loss(), Bar("evaluating", total, every=max(1, total // 10)) as bar:
        what = found.puzzles, found.kind, request.effort, given.rule, given.batch_size
        evidence = gather(model, weights, *what, layout, bar.update)
    return evidence, time.perf_counter() - began


def _tell(confidence: Confidence, evidence: Evidence, seconds: float, asked: float) -> None:
    """What the calibration promises."""
    right = evidence.right.mean()
    print(f"{counted(len(evidence.right), 'puzzle')}, {right:.2%} solved, {seconds:.1f} s")
    weights = ", ".join(
        f"{name} {weight:+.2f}" for name, weight in zip(confidence.fit.names, confidence.fit.weights, strict=True)
    )
    print(f"fitted on {confidence.fitted}, weights of the standardised signals: {weights}")
    print(f"bounded by {confidence.bounded}; with probability {1 - confidence.delta:g} all of these hold:")
    rows = [
        [f"{b.answered / confidence.bounded:.1%}", str(b.answered), str(b.wrong), f"{1 - b.most_wrong:.3%}"]
        for b in confidence.bounds
    ]
    print_table(["answers", "number", "wrong", "right at least"], rows)
    if confidence.most < asked:
        print(f"confidence {asked:g} cannot be kept: of answers that were sure, too many were wrong")


def _print(report: ReliabilityReport) -> None:
    """The tables for people, on standard output."""
    print(f"{counted(report.puzzles, 'puzzle')}, {report.right} right, {report.seconds:.1f} s")
    columns = ["confidence by", "AUROC", "AURC", "calibration error"]
    rows = [
        [
            row.name,
            "-" if row.calibration.auroc is None else f"{row.calibration.auroc:.3f}",
            f"{row.aurc:.4%}",
            f"{row.calibration.expected_error:.4f}",
        ]
        for row in report.signals
    ]
    print_table(columns, rows)
    print(f"AUROC 0.5 and AURC {1 - report.right.value:.4%} tell right from wrong no better than chance\n")
    promises = [*report.promises, *([report.asked] if report.asked else [])]
    rows = [[*_promise(row), ""] for row in promises]
    if report.asked:
        rows[-1][-1] = f"--confidence {report.confidence:g}"
    print_table(["right at least", "answers", "wrong of these (95 % interval)", ""], rows)


def _promise(row: PromiseRow) -> list[str]:
    return [f"{row.promised:.3%}", f"{row.answered.value:.1%}", "-" if row.wrong is None else str(row.wrong)]
