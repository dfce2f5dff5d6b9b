"""ARC from the contest's files to a score: build, train, evaluate, submit; with votes pooled, or solutions hidden."""

import functools
import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from trm_jax.commands.cli import main
from trm_jax.config.files import FOLDER
from trm_jax.data import dataset, puzzle_set
from trm_jax.data.identifiers import identifiers_of
from trm_jax.data.puzzle_set import PuzzleSet
from trm_jax.errors import DataError
from trm_jax.inference.attempts import attempt
from trm_jax.inference.effort import Effort
from trm_jax.inference.evaluate import votes_for
from trm_jax.model.model import Model
from trm_jax.puzzles.arc import VOCAB_SIZE, parse_name
from trm_jax.puzzles.arc_votes import Votes
from trm_jax.runs.checkpoint import load
from trm_jax.runs.sources import trained_on

# Builders, votes, scores and reports have quick tests of their own; here all of them work together.
pytestmark = pytest.mark.slow

# Small, quick, and enough to learn in forty steps to copy a grid; turning it upside down is beyond it.
SETTINGS = (
    "model.width=32", "model.heads=1", "model.expansion=1.0", "model.layers=1", "model.puzzle_dim=32",
    "model.puzzle_tokens=1", "model.latent_steps=1", "model.cycles=1", "model.supervision_steps=2",
    "model.dtype=float32", "optim.learning_rate=0.01", "optim.warmup_steps=5", "optim.ema_decay=0.8",
    "devices.data=1", "train.steps=40", "train.batch_size=8", "train.eval_batch_size=16", "train.save_every=25",
    "train.log_every=20", "train.eval_every=0",
)  # fmt: skip
# The examples of each task: "copy" or "turn" for each demonstration, and for each test input.
TRAINING = {f"train{i}": (["copy"] * 3, ["copy"]) for i in range(6)}
EVALUATION = {
    "copied": (["copy", "copy"], ["copy"]),
    "half": (["copy", "copy"], ["copy", "turn"]),
    "turned": (["copy", "copy"], ["turn"]),
    "again": (["copy", "copy", "copy"], ["copy"]),
}
OTHER = {"other": (["copy", "copy"], ["copy", "copy"])}
Rules = dict[str, tuple[list[str], list[str]]]
AUGMENTATIONS = 4


class Place(NamedTuple):
    """Folders and files that the tests share."""

    folder: Path
    ten: Path  # the ten tasks above, of which four are held out
    two: Path  # two more, of which one is held out
    run: Path  # trained on both

    @property
    def solutions(self) -> Path:
        return self.folder / "toy_evaluation_solutions.json"


def write_tasks(folder: Path, name: str, rules: Rules, seed: int, solved: bool = True) -> None:
    """Challenges and solutions as the contests publish them."""
    rng = np.random.default_rng(seed)

    def pair(rule: str) -> dict[str, Any]:
        grid = rng.integers(0, 10, rng.integers(2, 6, 2))
        return {"input": grid.tolist(), "output": (grid if rule == "copy" else (grid[::-1] + 1) % 10).tolist()}

    tasks = {task: ([pair(r) for r in train], [pair(r) for r in test]) for task, (train, test) in rules.items()}
    challenges = {
        task: {"train": train, "test": [{"input": one["input"]} for one in test]}
        for task, (train, test) in tasks.items()
    }
    (folder / f"toy_{name}_challenges.json").write_text(json.dumps(challenges))
    if solved:
        solutions = {task: [one["output"] for one in test] for task, (_, test) in tasks.items()}
        (folder / f"toy_{name}_solutions.json").write_text(json.dumps(solutions))


def build(folder: Path, out: str, training: str, test: str, seed: int = 0) -> Path:
    arguments = ["--prefix", str(folder / "toy"), "--subsets", f"{training},{test}", "--test", test]
    numbers = ["--augmentations", str(AUGMENTATIONS), "--seed", str(seed)]
    assert main(["data", "arc", str(folder / out), *arguments, *numbers]) == 0
    return folder / out


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("arc")
    write_tasks(folder, "training", TRAINING, 0)
    write_tasks(folder, "evaluation", EVALUATION, 1)
    write_tasks(folder, "more", {"train9": (["copy"] * 2, ["copy"])}, 2)
    write_tasks(folder, "other", OTHER, 3)
    write_tasks(folder, "hidden", EVALUATION, 1, solved=False)
    ten, two = build(folder, "ten", "training", "evaluation"), build(folder, "two", "more", "other")
    run = folder / "run"
    both = f"{ten},{two}"
    assert main([
        "train", f"--config={FOLDER / 'arc1.py'}", f"--workdir={run}",
        f"--config.data.train={both}", f"--config.data.test={both}", *(f"--config.{each}" for each in SETTINGS),
    ]) == 0  # fmt: skip
    return Place(folder, ten, two, run)


Evaluated = tuple[str, dict[str, Any], dict[str, Any]]
Evaluate = Callable[..., Evaluated]


@pytest.fixture
def evaluate(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Evaluate:
    """Runs `trm eval` on the checkpoint; returns what it printed, the JSON and the submission."""

    def call(*arguments: str) -> Evaluated:
        files = tmp_path / "report.json", tmp_path / "submission.json"
        capsys.readouterr()
        written = ["--batch-size=7", "--json", str(files[0]), "--submission", str(files[1])]
        code = main(["eval", "--devices=1", str(place.run), *arguments, *written])
        out, err = capsys.readouterr()
        assert code == 0, err
        report, submission = (json.loads(file.read_text()) for file in files)
        return out, report, submission

    return call


_plain: dict[Path, Evaluated] = {}


@pytest.fixture
def plain(place: Place, evaluate: Evaluate) -> Evaluated:
    """Of the ten tasks, without further arguments; made once."""
    if place.ten not in _plain:
        _plain[place.ten] = evaluate(str(place.ten))
    return _plain[place.ten]


def arc_score(submission: dict[str, Any], solutions: Path, folder: Path) -> dict[str, Any]:
    """What `trm eval arc-score` says of it."""
    (folder / "scored.json").write_text(json.dumps(submission))
    files = str(folder / "scored.json"), str(solutions)
    assert main(["eval", "arc-score", *files, "--json", str(folder / "score.json")]) == 0
    score: dict[str, Any] = json.loads((folder / "score.json").read_text())
    return score


def held_out(folder: Path) -> PuzzleSet:
    return dataset.read_folder(folder, "test")


@functools.cache
def predictions(checkpoint: Path, folder: Path, first: int | None = 0) -> tuple[np.ndarray, np.ndarray]:
    """Answers [N, 900] and q_halt [N] of a checkpoint's averaged weights after two supervision steps.

    first: what is added to puzzle ids; None: all are blank.
    """
    experiment, weights = load(checkpoint)
    puzzles = held_out(folder)
    ids = np.zeros_like(puzzles.puzzle_ids) if first is None else puzzles.puzzle_ids + np.int32(first)
    parts = list(attempt(Model(experiment.model), weights, Effort((2,)), puzzles.inputs, ids, 16))
    answers, q_halt = (np.concatenate([getattr(part, name) for part in parts]) for name in ("answers", "q_halt"))
    return answers[:, 0, 0], q_halt[:, 0, -1]


def test_the_score_of_the_submission_is_pass_at_2(place: Place, plain: Evaluated, tmp_path: Path) -> None:
    out, report, submission = plain

    arc, score = report["arc"], arc_score(submission, place.solutions, tmp_path)
    assert arc["pass_at"]["2"]["value"] == pytest.approx(score["task_mean"])
    assert arc["output_share"]["2"]["value"] == pytest.approx(score["output_share"])
    assert arc["task_scores"]["2"] == score["task_results"]
    assert score["malformed"] == []
    assert score["missing"] == []
    # Not all is wrong, nothing that was never shown is right, and the two ways to count differ.
    assert score["task_results"]["half"] == 0.5
    assert score["task_results"]["turned"] == 0.0
    assert score["task_mean"] != score["output_share"]
    assert (arc["outputs"], arc["unanswered"], arc["strays"]) == (5, 0, 0)
    shown = [line for line in out.splitlines() if line.split()[:1] == ["2"]][-1]
    interval = arc["pass_at"]["2"]
    assert f"{score['task_mean']:.2%} ({interval['low']:.1%} to {interval['high']:.1%})" in shown
    assert f"{score['output_share']:.2%} (" in shown
    assert f"{5 * (1 + AUGMENTATIONS)} puzzles of 4 tasks, " in out
    assert json.loads((place.ten / "test_puzzles.json").read_text()).keys() == submission.keys()
    assert arc_score(submission, place.ten / "test_puzzles.json", tmp_path)["task_mean"] == score["task_mean"]


def test_the_submission_holds_the_votes_of_all_augmentations(place: Place, plain: Evaluated) -> None:
    puzzles = held_out(place.ten)
    votes = Votes.from_folder(place.ten)
    answers, q_halt = predictions(place.run, place.ten)
    votes.add(puzzles.inputs, answers, puzzles.puzzle_ids, q_halt)

    assert plain[2] == votes.result().submission


def test_votes_go_by_the_own_id_whatever_the_model_is_told(place: Place, evaluate: Evaluate) -> None:
    puzzles = held_out(place.ten)
    votes = Votes.from_folder(place.ten)
    answers, q_halt = predictions(place.run, place.ten, None)
    votes.add(puzzles.inputs, answers, puzzles.puzzle_ids, q_halt)

    _, report, submission = evaluate(str(place.ten), "--puzzle-ids=blank")

    assert submission == votes.result().submission
    assert report["arc"]["strays"] == 0


def test_the_run_keeps_what_identifies_its_puzzles(place: Place) -> None:
    known = trained_on(place.run).identifiers
    assert known == identifiers_of(dataset.load(load(place.run)[0].data, "train", 0))
    assert known["count"] > 1


def test_checkpoints_pool_their_votes(
    place: Place, plain: Evaluated, evaluate: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    add = Votes.add

    def counting(self: Votes, inputs: Any, *rest: Any) -> None:
        counted.append(len(inputs))
        add(self, inputs, *rest)

    earlier = place.run / "checkpoints" / "25"
    puzzles, votes = held_out(place.ten), Votes.from_folder(place.ten)
    for checkpoint in (place.run, earlier):
        answers, q_halt = predictions(checkpoint, place.ten)
        votes.add(puzzles.inputs, answers, puzzles.puzzle_ids, q_halt)
    monkeypatch.setattr(Votes, "add", counting)

    out, report, submission = evaluate(str(place.ten), "--pool", str(earlier))

    assert report["checkpoints"] == [str(place.run), str(earlier)]
    assert "votes of all augmentations, pooled over 2 checkpoints: 5 outputs" in out
    assert submission == votes.result().submission
    assert sum(counted) == 2 * len(puzzles)
    assert report["arc"]["pass_at"]["2"]["value"] == arc_score(submission, place.solutions, tmp_path)["task_mean"]
    # All else is told of the first.
    assert report["rows"] == plain[1]["rows"]
    assert report["puzzles"] == plain[1]["puzzles"]


def test_a_checkpoint_is_pooled_once(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whatever path it is named."""
    monkeypatch.setattr("trm_jax.inference.evaluate.attempt", lambda *_: pytest.fail("worked first"))
    earlier = place.run / "checkpoints" / "25"
    newest = max(
        (step for step in (place.run / "checkpoints").iterdir() if step.name.isdecimal()), key=lambda p: int(p.name)
    )
    for pool, twice, known in (
        ([newest], newest, place.run),
        ([earlier, earlier], earlier, earlier),
        ([earlier, place.run], place.run, place.run),
    ):
        capsys.readouterr()
        assert main(["eval", str(place.run), "--pool", *map(str, pool)]) == 2
        told = f"trm: error: --pool {twice}: the weights of {known} again, whose votes would count twice\n"
        assert capsys.readouterr().err == told


def test_a_checkpoint_of_another_model_is_refused_before_the_work(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import jax

    from trm_jax.config import Experiment, ModelConfig
    from trm_jax.runs.checkpoint import Checkpoints
    from trm_jax.runs.meta import Meta

    config = ModelConfig(12, 900, 2, width=16, heads=1, layers=1, puzzle_dim=16, puzzle_tokens=1)
    with Checkpoints(tmp_path / "other") as checkpoints:
        checkpoints.save_weights(jax.jit(Model(config).init)(jax.random.key(0)), Meta(Experiment(model=config)))
    monkeypatch.setattr("trm_jax.inference.evaluate.attempt", lambda *_: pytest.fail("worked first"))
    capsys.readouterr()

    assert main(["eval", str(place.run), "--pool", str(tmp_path / "other")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (f"trm: error: {tmp_path / 'other'}: another model than {place.run}: pool checkpoints of one run\n")
    assert main(["eval", str(place.run), "--pool", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith(f"trm: error: {tmp_path / 'none'}: no such file or folder")


def test_hidden_solutions_give_a_submission_and_no_score(
    place: Place, plain: Evaluated, evaluate: Evaluate, tmp_path: Path
) -> None:
    hidden = build(place.folder, "hidden", "training", "hidden")

    out, report, submission = evaluate(str(hidden))

    assert "solutions are hidden: no scores; " in out
    assert "pass@k" not in out
    arc = report["arc"]
    assert (arc["pass_at"], arc["output_share"], arc["task_scores"]) == (None, None, None)
    assert (arc["outputs"], arc["unanswered"]) == (5, 0)
    # The same tasks and augmentations: what nobody knows has no influence on the answers.
    assert submission == plain[2]
    assert arc_score(submission, place.solutions, tmp_path)["task_mean"] > 0


def test_a_limit_leaves_outputs_without_votes(place: Place, evaluate: Evaluate, tmp_path: Path) -> None:
    out, report, submission = evaluate(str(place.ten), "--limit=1")

    assert report["arc"]["unanswered"] == 4
    assert "5 outputs, 4 without any vote" in out
    assert [task for task, answers in submission.items() if answers] == ["copied"]
    assert arc_score(submission, place.solutions, tmp_path)["missing"] == ["half", "turned", "again"]


def test_two_datasets_at_once_are_voted_on_together(place: Place, evaluate: Evaluate, tmp_path: Path) -> None:
    _, report, submission = evaluate()

    assert report["data"] == f"{place.ten},{place.two}"
    assert report["puzzles"] == (5 + 2) * (1 + AUGMENTATIONS)
    assert report["tasks"] == 5
    assert list(submission) == [*EVALUATION, "other"]
    shift = 10 * (1 + AUGMENTATIONS)  # as many puzzle ids as the first set has, but for the blank one
    expected: dict[str, Any] = {}
    for folder, first in ((place.ten, 0), (place.two, shift)):
        puzzles, votes = held_out(folder), Votes.from_folder(folder)
        answers, q_halt = predictions(place.run, folder, first)
        votes.add(puzzles.inputs, answers, puzzles.puzzle_ids, q_halt)
        expected |= votes.result().submission
    assert submission == expected
    solutions: dict[str, Any] = {}
    for name in ("evaluation", "other"):
        solutions |= json.loads((place.folder / f"toy_{name}_solutions.json").read_text())
    (tmp_path / "both.json").write_text(json.dumps(solutions))
    score = arc_score(submission, tmp_path / "both.json", tmp_path)
    assert report["arc"]["task_scores"]["2"] == score["task_results"]
    assert report["arc"]["pass_at"]["2"]["value"] == pytest.approx(score["task_mean"])
    assert report["arc"]["outputs"] == score["outputs"] == 7


# ---- a model that knows all answers, without the model ----


def test_who_predicts_every_label_reaches_all(place: Place) -> None:
    joint = puzzle_set.join([held_out(place.ten), held_out(place.two)], ["one", "other"])
    for puzzles, tasks in ((held_out(place.ten), 4), (held_out(place.two), 1), (joint, 5)):
        votes = votes_for(puzzles)
        votes.add(puzzles.inputs, puzzles.labels, puzzles.puzzle_ids, np.zeros(len(puzzles)))
        result = votes.result()
        assert set((result.pass_at or {}).values()) == set((result.output_share or {}).values()) == {1.0}
        assert (len((result.task_scores or {})[1]), result.unanswered, result.strays) == (tasks, 0, 0)


def test_names_of_several_datasets_are_told_apart(place: Place) -> None:
    """What is predicted for one set under the other's ids is turned back wrongly, or belongs to no test input."""
    ten, two = held_out(place.ten), held_out(place.two)
    joint = puzzle_set.join([ten, two], ["one", "other"])
    assert joint.puzzle_ids[len(ten)] == ten.num_puzzles - 1 + two.puzzle_ids[0]
    votes = votes_for(joint)
    names = json.loads((place.two / "identifiers.json").read_text())
    of_two = [parse_name(names[i])[0] for i in two.puzzle_ids]
    assert set(of_two) == {"other"}
    votes.add(two.inputs, two.labels, two.puzzle_ids, np.zeros(len(two)))
    assert votes.result().unanswered == 7


def test_a_task_that_two_datasets_hold_is_counted_once(place: Place) -> None:
    again = build(place.folder, "again", "training", "evaluation", seed=1)
    joint = puzzle_set.join([held_out(place.ten), held_out(again)], ["one", "other"])

    votes = votes_for(joint)
    votes.add(joint.inputs, joint.labels, joint.puzzle_ids, np.zeros(len(joint)))

    result = votes.result()
    assert (result.outputs, result.unanswered, result.strays) == (5, 0, 0)
    assert list(result.submission) == [*EVALUATION]
    assert (result.pass_at or {})[1] == 1.0


def test_another_task_of_the_same_name_is_refused(place: Place, tmp_path: Path) -> None:
    write_tasks(tmp_path, "training", TRAINING, 0)
    write_tasks(tmp_path, "evaluation", dict(islice(EVALUATION.items(), 1)), 9)
    clash = build(tmp_path, "clash", "training", "evaluation")

    with pytest.raises(DataError, match="task copied: another dataset has a different task of this name: evaluate th"):
        votes_for(puzzle_set.join([held_out(place.ten), held_out(clash)], ["one", "other"]))


def test_missing_names_are_told(place: Place) -> None:
    path = build(place.folder, "short", "training", "evaluation") / "identifiers.json"
    names = json.loads(path.read_text())
    path.write_text(json.dumps(names[:-1]))

    with pytest.raises(DataError, match=f"{len(names) - 1} names, but there are {len(names)} puzzle ids"):
        votes_for(held_out(place.folder / "short"))


def test_the_votes_are_those_of_arc_puzzles(place: Place) -> None:
    puzzles = held_out(place.ten)
    assert (puzzles.vocab_size, puzzles.seq_len) == (VOCAB_SIZE, 900)
    with pytest.raises(DataError, match="dataset folders"):
        votes_for(puzzle_set.from_pairs(np.asarray(puzzles.inputs), np.asarray(puzzles.labels), VOCAB_SIZE))
