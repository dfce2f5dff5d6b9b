"""Forms of ARC tasks drawn instead of stored: the same in the step, in NumPy, in names and in votes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_batches import assert_same, made, with_devices

from trm_jax.commands.cli import main
from trm_jax.config import DataConfig, DevicesConfig, Experiment, ModelConfig, TrainConfig, validate
from trm_jax.config.files import FOLDER
from trm_jax.data import dataset
from trm_jax.data.fit import resolve
from trm_jax.data.folder_writer import Writer
from trm_jax.data.forms import Forms
from trm_jax.errors import ConfigError, DataError
from trm_jax.inference.evaluate import votes_for
from trm_jax.puzzles.arc import IDENTITY, decode_placed, encode, parse_name
from trm_jax.runs.checkpoint import load as load_weights

K, SEED = 5, 7
TRAINING = {f"train{i}": (1 + i, 1) for i in range(4)}
EVALUATION = {"one": (2, 1), "two": (1, 2), "three": (2, 3)}


def write_tasks(folder: Path, name: str, sizes: dict[str, tuple[int, int]], seed: int) -> None:
    """Challenges and solutions: so many demonstrations and tests of each task, in many colours and no two alike."""
    rng = np.random.default_rng(seed)

    def pairs(count: int) -> list[dict[str, list[list[int]]]]:
        grids = [rng.integers(0, 10, rng.integers(3, 9, 2)) for _ in range(count)]
        return [{"input": grid.tolist(), "output": (grid[::-1, 1:] + 1).clip(0, 9).tolist()} for grid in grids]

    tasks = {task: (pairs(train), pairs(test)) for task, (train, test) in sizes.items()}
    challenges = {
        task: {"train": train, "test": [{"input": one["input"]} for one in test]}
        for task, (train, test) in tasks.items()
    }
    solutions = {task: [one["output"] for one in test] for task, (_, test) in tasks.items()}
    for part, value in (("challenges", challenges), ("solutions", solutions)):
        (folder / f"toy_{name}_{part}.json").write_text(json.dumps(value))


def build(folder: Path, out: str, training: str, test: str, augmentations: int = 0) -> Path:
    subsets = ["--prefix", str(folder / "toy"), "--subsets", f"{training},{test}", "--test", test]
    assert main(["data", "arc", str(folder / out), *subsets, "--augmentations", str(augmentations)]) == 0
    return folder / out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven tasks, of which three are held out, none of them augmented."""
    place = tmp_path_factory.mktemp("forms")
    for seed, (name, sizes) in enumerate({"training": TRAINING, "evaluation": EVALUATION}.items()):
        write_tasks(place, name, sizes, seed)
    return build(place, "plain", "training", "evaluation")


@pytest.fixture(scope="module")
def other(folder: Path) -> Path:
    """Two tasks more, of which one is held out."""
    for seed, (name, sizes) in enumerate({"more": {"more": (2, 1)}, "other": {"other": (2, 2)}}.items(), 2):
        write_tasks(folder.parent, name, sizes, seed)
    return build(folder.parent, "other", "more", "other")


def data(folder: Path | str, forms: int = K, **changes) -> DataConfig:
    return DataConfig(puzzle="arc", train=str(folder), test=str(folder), forms=forms, **changes)


def experiment(folder: Path | str, **changes) -> Experiment:
    return Experiment(
        model=ModelConfig(vocab_size=12, seq_len=900, num_puzzles=0, width=8, heads=1, puzzle_dim=8),
        data=data(folder, **changes),
        devices=DevicesConfig(data=1, puzzles="resident"),
        train=TrainConfig(batch_size=16, seed=SEED),
    )


def grids(question, answer):
    return decode_placed(question)[0], decode_placed(np.where(answer < 0, 0, answer))[0]


def key(question, answer):
    return *(part.tobytes() for part in (question, answer)), question.shape, answer.shape


def plain_pairs(puzzles, names) -> dict[str, set]:
    """The pairs of grids of each task, of a set that holds the tasks themselves."""
    found: dict[str, set] = {}
    for question, answer, puzzle_id in zip(puzzles.inputs, puzzles.labels, puzzles.puzzle_ids, strict=True):
        found.setdefault(names[puzzle_id], set()).add(key(*grids(question, answer)))
    return found


def assert_named_rightly(inputs, labels, ids, names, pairs) -> None:
    """Every pair is one of the task that its id is named after, under the augmentation that the name tells."""
    for question, answer, puzzle_id in zip(inputs, labels, ids, strict=True):
        task, change = parse_name(names[puzzle_id])
        back = (change.invert(grid.astype(np.uint8)) for grid in grids(question, answer))
        assert key(*back) in pairs[task], names[puzzle_id]


def test_a_folder_without_augmentations_holds_the_tasks(folder: Path) -> None:
    names = json.loads((folder / "identifiers.json").read_text())
    assert names == ["<blank>", *TRAINING, *EVALUATION]
    train, test = (dataset.read_folder(folder, split) for split in ("train", "test"))
    assert (len(train), len(test)) == (2 + 3 + 4 + 5 + 2 + 1 + 2, 1 + 2 + 3)
    assert train.num_puzzles == 8
    np.testing.assert_array_equal(test.puzzle_ids, [5, 6, 6, 7, 7, 7])


def test_ids_of_forms_follow_their_tasks() -> None:
    forms = Forms(3, 0)
    ids = forms.ids(np.array([0, 0, 1, 1, 2, 9], np.int32), np.array([0, 3, 0, 3, 0, 2], np.int32))
    assert ids.dtype == np.int32
    assert ids.tolist() == [0, 0, 1, 4, 5, 35]
    assert [forms.number_of_ids(n) for n in (1, 2, 10)] == [1, 5, 37]
    names = forms.names(["<blank>", "a", "b|||c|||t0|||0123456789"])
    assert len(names) == forms.number_of_ids(3)
    assert (names[0], names[1], names[5]) == ("<blank>", "a", "b|||c|||t0|||0123456789")
    assert [parse_name(name)[0] for name in names[1:]] == ["a"] * 4 + ["b|||c"] * 4
    assert all(parse_name(name)[1] != IDENTITY for name in names[2:5] + names[6:])
    assert Forms(0, 0).names(["<blank>", "a|||t1|||0213456789"]) == ["<blank>", "a|||t1|||0213456789"]


def test_forms_are_drawn_evenly_and_by_seed() -> None:
    names = Forms(999, 0).names(["<blank>", "a", "b"])
    changes = [parse_name(name)[1] for name in names[1:]]
    assert len(set(changes)) > 1990
    for part in (changes[1:1000], changes[1001:]):
        maps = np.bincount([change.map for change in part], minlength=8)
        assert abs(maps - 999 / 8).max() < 5 * np.sqrt(999 / 8)
        became = np.array([change.colours for change in part])
        assert (became[:, 0] == 0).all()
        counts = np.array([np.bincount(column, minlength=10)[1:] for column in became[:, 1:].T])
        assert abs(counts - 999 / 9).max() < 5 * np.sqrt(999 / 9)
    assert Forms(999, 0).names(["<blank>", "a"]) == names[:1001], "the tasks behind make no difference"
    seeds = [Forms(5, seed).names(["<blank>", "a"])[2] for seed in range(6)]
    assert len(set(seeds)) == 6


def test_the_blank_puzzle_and_the_task_itself_stay_as_they_are() -> None:
    boards = np.stack([encode(np.arange(12, dtype=np.uint8).reshape(3, 4) % 10, 4, 9)] * 3)
    inputs, labels = Forms(3, 0).turned(np.array([0, 5, 6], np.int32), boards, boards)
    np.testing.assert_array_equal(inputs[:2], boards[:2])
    np.testing.assert_array_equal(labels, inputs)
    assert (inputs[2] != boards[2]).any()


def test_batches_are_those_of_numpy_and_of_the_names(folder: Path) -> None:
    plain = dataset.load(data(folder), "train", SEED)
    names = json.loads((folder / "identifiers.json").read_text())
    config = resolve(experiment(folder), plain)
    batch, _ = made(config, plain, calls=6, count=1)
    forms = Forms(K, SEED)

    assert config.model.num_puzzles == 1 + 7 * (K + 1) == forms.number_of_ids(plain.num_puzzles)
    ids = batch.puzzle_ids.T.ravel()
    inputs, labels = (part.transpose(1, 0, 2).reshape(-1, 900) for part in (batch.inputs, batch.labels))
    tasks, numbers = 1 + (ids - 1) // (K + 1), (ids - 1) % (K + 1)
    assert set(tasks.tolist()) == set(range(1, 8))
    assert set(numbers.tolist()) == set(range(K + 1))
    pairs = plain_pairs(plain, names)
    assert_named_rightly(inputs, labels, ids, forms.names(names), pairs)
    found = set()
    for task, question, answer, puzzle_id in zip(tasks, inputs, labels, ids, strict=True):
        own = plain.puzzle_ids == task
        turned = forms.turned(np.full(own.sum(), puzzle_id, np.int32), plain.inputs[own], plain.labels[own])
        same = (turned[0] == question).all(axis=1) & (turned[1] == np.where(answer < 0, 0, answer)).all(axis=1)
        assert same.sum() == 1
        found.add((task, int(same.argmax())))
    assert len(found) == len(plain), "every example has its turn"


def test_moved_forms_keep_their_ids_and_neither_place_nor_devices_change_a_bit(folder: Path) -> None:
    plain = dataset.load(data(folder), "train", SEED)
    config = resolve(experiment(folder, augment=True), plain)
    still, position = made(resolve(experiment(folder), plain), plain, count=1)
    moved = made(config, plain, count=1)

    assert moved[1] == position
    np.testing.assert_array_equal(moved[0].puzzle_ids, still.puzzle_ids)
    assert (moved[0].inputs != still.inputs).any(axis=2).mean() > 0.6  # some stay at the top left
    names = json.loads((folder / "identifiers.json").read_text())
    rows = (part.reshape(-1, *part.shape[2:]) for part in (moved[0].inputs, moved[0].labels, moved[0].puzzle_ids))
    assert_named_rightly(*rows, Forms(K, SEED).names(names), plain_pairs(plain, names))
    for changes in ({"data": 4}, {"data": 2, "puzzles": "streamed"}):
        assert_same(made(with_devices(config, **changes), plain, count=1), moved)


def test_the_test_set_stands_in_all_forms(folder: Path) -> None:
    plain, whole = dataset.read_folder(folder, "test"), dataset.load(data(folder), "test", SEED)
    base = json.loads((folder / "identifiers.json").read_text())
    names = whole.forms.names(base)

    assert (len(whole), whole.num_puzzles, len(names)) == (6 * (K + 1), 1 + 7 * (K + 1), 1 + 7 * (K + 1))
    assert (whole.inputs.shape, whole.inputs.dtype) == ((len(whole), 900), plain.inputs.dtype)
    inputs, labels = whole.inputs[:], whole.labels[:]
    assert_named_rightly(inputs, labels, whole.puzzle_ids, names, plain_pairs(plain, base))
    # Every form of every task once, in groups by task, and the task itself in front.
    starts = whole.puzzle_starts
    assert np.diff(starts).tolist() == np.repeat([1, 2, 3], K + 1).tolist()
    assert whole.group_starts.tolist() == [0, K + 1, 2 * (K + 1), 3 * (K + 1)]
    assert whole.puzzle_ids[starts[:-1]].tolist() == list(range(1 + 4 * (K + 1), 1 + 7 * (K + 1)))
    assert [parse_name(names[i])[0] for i in whole.puzzle_ids] == [list(EVALUATION)[group] for group in whole.groups]
    for puzzle in range(0, 3 * (K + 1), K + 1):
        rows = slice(starts[puzzle], starts[puzzle + 1])
        own = plain.puzzle_ids == 5 + puzzle // (K + 1)
        np.testing.assert_array_equal(inputs[rows], plain.inputs[own])
        np.testing.assert_array_equal(labels[rows], plain.labels[own])
    pairs = {(*key(*grids(*pair)), int(i)) for *pair, i in zip(inputs, labels, whole.puzzle_ids, strict=True)}
    assert len(pairs) == len(whole)
    # Any rows are those of the whole.
    rows = np.array([[17, 3], [-1, 3]])
    np.testing.assert_array_equal(whole.inputs[rows], inputs[rows])
    np.testing.assert_array_equal(whole.labels[5:20:3], labels[5:20:3])


def test_an_id_looks_alike_in_training_and_in_evaluation(folder: Path) -> None:
    """Of the demonstrations, which `trm eval --split train` shows."""
    plain = dataset.load(data(folder), "train", SEED)
    shown = dataset.load_named(experiment(folder), str(folder), "train", 0)
    batch, _ = made(resolve(experiment(folder), plain), plain, count=1)
    known = {(int(i), row.tobytes()) for i, row in zip(shown.puzzle_ids, shown.inputs[:].astype(np.int32), strict=True)}

    assert len(shown) == len(plain) * (K + 1)
    drawn = zip(batch.puzzle_ids.ravel(), batch.inputs.reshape(-1, 900), strict=True)
    assert all((int(i), row.tobytes()) in known for i, row in drawn)


def test_pairs_are_turned_in_pieces(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = dataset.load(data(folder), "test", SEED)
    expected = whole.inputs[:]
    sizes = []
    turned = Forms.turned
    monkeypatch.setattr("trm_jax.data.forms._CHUNK", 10)
    monkeypatch.setattr(Forms, "turned", lambda self, ids, *pair: sizes.append(len(ids)) or turned(self, ids, *pair))

    np.testing.assert_array_equal(whole.inputs[:], expected)
    assert sizes == [10, 10, 10, 6]


@pytest.mark.parametrize("limit", [1, 2, 5, 9, 1_000])
def test_a_limit_takes_the_first_rows_of_all_forms(folder: Path, limit: int) -> None:
    whole = dataset.load(data(folder), "test", SEED)
    limited = dataset.load_named(experiment(folder), "", "test", limit)

    count = min(limit, len(whole))
    assert len(limited) == count
    for part in ("inputs", "labels", "puzzle_ids"):
        np.testing.assert_array_equal(np.asarray(getattr(limited, part)), np.asarray(getattr(whole, part))[:count])
    assert limited.puzzle_starts[-1] == count
    assert limited.group_starts[-1] == len(limited.puzzle_starts) - 1


def test_who_predicts_every_label_reaches_all(folder: Path, other: Path) -> None:
    """Also by turned forms alone, of which none looks like the answer before it is turned back."""
    for source, tasks in ((str(folder), 3), (f"{folder},{other}", 4)):
        puzzles = dataset.load_named(experiment("elsewhere"), source, "test", 0)
        every = np.arange(len(puzzles))
        for rows in (every, every[(puzzles.puzzle_ids - 1) % (K + 1) > 0]):
            votes = votes_for(puzzles)
            votes.add(puzzles.inputs[rows], puzzles.labels[rows], puzzles.puzzle_ids[rows], np.zeros(len(rows)))
            result = votes.result()
            assert set((result.pass_at or {}).values()) == {1.0}
            assert (len((result.task_scores or {})[1]), result.unanswered, result.strays) == (tasks, 0, 0)
    # Under the names of another seed nothing but the tasks themselves is turned back rightly.
    wrong = votes_for(replace(puzzles, forms=Forms(K, SEED + 1)))
    wrong.add(puzzles.inputs, puzzles.labels, puzzles.puzzle_ids, np.zeros(len(puzzles)))
    assert wrong.result().strays == len(puzzles) * K // (K + 1)


@pytest.mark.slow
def test_training_and_evaluation_by_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = (
        "model.width=8", "model.heads=1", "model.expansion=1.0", "model.layers=1", "model.puzzle_dim=8",
        "model.puzzle_tokens=1", "model.latent_steps=1", "model.cycles=1", "model.supervision_steps=2",
        "model.dtype=float32", "train.steps=1", "train.batch_size=4", "train.eval_batch_size=9", "train.eval_every=1",
        "train.save_every=1", "train.log_every=1", f"data.train={folder}", f"data.test={folder}", f"data.forms={K}",
        "data.augment=True", "devices.data=1",
    )  # fmt: skip
    run = tmp_path / "run"
    config = FOLDER / "arc1.py"
    assert main(["train", f"--config={config}", f"--workdir={run}", *(f"--config.{each}" for each in settings)]) == 0
    assert f"of {6 * (K + 1)} held-out puzzles" in capsys.readouterr().err
    assert load_weights(run)[0].model.num_puzzles == 1 + 7 * (K + 1)

    assert main(["eval", str(run), str(folder), "--devices=1", "--json", str(tmp_path / "report.json")]) == 0

    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["puzzles"], report["tasks"]) == (6 * (K + 1), 3)
    assert (report["arc"]["outputs"], report["arc"]["unanswered"], report["arc"]["strays"]) == (6, 0, 0)


def test_forms_are_for_arc(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.data\.forms = 5 turns ARC tasks, but config\.data\.puzzle = 'sud"):
        validate(Experiment(data=DataConfig(puzzle="sudoku", forms=5)))
    with pytest.raises(ConfigError, match=r"config\.data\.forms = -1 is out of range"):
        validate(Experiment(data=DataConfig(puzzle="arc", forms=-1)))
    for puzzle in ("", "arc", '{"kind": "arc"}'):
        validate(Experiment(data=DataConfig(puzzle=puzzle, forms=5)))
    with Writer(tmp_path / "maze", 4, 6, puzzle={"kind": "maze", "shape": [2, 2]}) as writer:
        for split in ("train", "test"):
            writer.split(split).add_singles(np.ones((1, 4), np.uint8), np.ones((1, 4), np.uint8))
    for split in ("train", "test"):
        with pytest.raises(DataError, match=r"maze: puzzles of kind 'maze', but config\.data\.forms = 5"):
            dataset.load(replace(data(tmp_path / "maze"), puzzle=""), split, 0)
    with pytest.raises(DataError, match="puzzles of kind 'maze'"):
        dataset.load_named(experiment(folder), str(tmp_path / "maze"), "test", 0)


def test_forms_are_of_tasks_that_have_none_yet(folder: Path) -> None:
    augmented = build(folder.parent, "augmented", "training", "evaluation", augmentations=2)
    for load in (
        lambda: dataset.load(data(augmented), "train", 0),
        lambda: dataset.load(data(f"{folder},{augmented}"), "test", 0),
        lambda: dataset.load_named(experiment(folder), str(augmented), "test", 0),
    ):
        with pytest.raises(DataError, match=r"augmented: its tasks are augmented \(train0.*augmentations 0") as caught:
            load()
        assert "\n" not in str(caught.value)
    assert len(dataset.load(data(augmented, forms=0), "test", 0)) == 3 * 6


def test_more_forms_than_ids_are_refused(folder: Path) -> None:
    puzzles = replace(dataset.read_folder(folder, "train"), num_puzzles=2_050)
    with pytest.raises(DataError, match=r"here: config\.data\.forms = 1048576 makes 2,148,534,274 puzzle ids"):
        dataset._forms(data(folder, forms=1 << 20), 0, puzzles, "here")
    assert dataset._forms(data(folder, forms=1 << 20), 0, replace(puzzles, num_puzzles=2_048), "here").count == 1 << 20
