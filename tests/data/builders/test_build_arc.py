"""ARC datasets: every example leads back to a pair of its task, none twice, none in training that is asked for."""

import json
from itertools import pairwise, permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from places import ROOT

from trm_jax.data.builders.arc import Overlap, Sizes, Subset, build, find_subsets, subset_name
from trm_jax.data.builders.arc_augmentations import Augmentations, draw, place
from trm_jax.data.folder import Split, read, read_identifiers, read_puzzle, read_test_puzzles
from trm_jax.errors import DataError
from trm_jax.puzzles.arc import IDENTITY, SIDE, Augmentation, decode_placed, encode, parse_name
from trm_jax.puzzles.arc_tasks import read_challenges

GRIDS = st.tuples(st.integers(1, SIDE), st.integers(1, SIDE)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 9))
)


def grid(seed: int, rows: int, columns: int) -> list[list[int]]:
    return np.random.default_rng(seed).integers(0, 10, (rows, columns)).tolist()


def task(seed: int, train: int = 2, test: int = 1, shape: tuple[int, int] = (3, 4)) -> dict:
    """Random pairs; the output of each has a row less than its input."""
    pairs = [
        {"input": grid(100 * seed + i, *shape), "output": grid(100 * seed + 50 + i, max(1, shape[0] - 1), shape[1])}
        for i in range(train + test)
    ]
    return {"train": pairs[:train], "test": pairs[train:]}


def subset(folder: Path, name: str, tasks: dict, solved: bool = True) -> Subset:
    """Challenges as the contests publish them, with the outputs of test examples in a file of their own or nowhere."""
    challenges = {
        key: {"train": value["train"], "test": [{"input": pair["input"]} for pair in value["test"]]}
        for key, value in tasks.items()
    }
    (folder / f"toy_{name}_challenges.json").write_text(json.dumps(challenges))
    if solved:
        solutions = {key: [pair["output"] for pair in value["test"]] for key, value in tasks.items()}
        (folder / f"toy_{name}_solutions.json").write_text(json.dumps(solutions))
    return find_subsets(str(folder / "toy"), [name])[0]


def turned(pair: dict, augmentation: Augmentation) -> dict:
    return {key: augmentation.apply(np.array(value, np.uint8)).tolist() for key, value in pair.items()}


Examples = dict[str, list[list[tuple[np.ndarray, np.ndarray, tuple[int, int]]]]]


def examples(path: Path, split: str) -> tuple[Split, Examples]:
    """For each task the examples of each of its puzzles, led back: input, output, and where they had been put."""
    found, names = read(path, split), read_identifiers(path)
    led_back: Examples = {}
    for puzzle, (start, end) in zip(found.puzzle_ids, pairwise(found.puzzle_starts), strict=True):
        name, augmentation = parse_name(names[puzzle])
        rows = []
        for example in range(start, end):
            one, *place_of_one = decode_placed(found.inputs[example])
            two, *place_of_two = decode_placed(found.labels[example])
            assert place_of_one == place_of_two
            rows.append((augmentation.invert(one), augmentation.invert(two), tuple(place_of_one)))
        led_back.setdefault(name, []).append(rows)
    return found, led_back


def same_pairs(rows: list, pairs: list[dict]) -> bool:
    """Whether examples are these pairs, in whatever order."""
    found = sorted((one.tolist(), two.tolist()) for one, two, _ in rows)
    return found == sorted((pair["input"], pair["output"]) for pair in pairs)


TRAINING = {"a1": task(1, 3, 2), "a2": task(2, 2, 1, (1, 1)), "a3": task(3, 1, 1, (30, 7))}
EVALUATION = {"b1": task(4, 2, 2, (5, 2)), "b2": task(5, 4, 1, (30, 30)), "b3": task(6, 2, 1, (2, 30))}
AUGMENTATIONS = 40


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> list[Subset]:
    folder = tmp_path_factory.mktemp("sources")
    return [subset(folder, "training", TRAINING), subset(folder, "evaluation", EVALUATION)]


@pytest.fixture(scope="module")
def built(sources, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("built") / "toy"
    build(sources, out, test=["evaluation"], augmentations=AUGMENTATIONS, seed=3)
    return out


# --- What is built


def test_every_example_leads_back_to_a_pair_of_its_task(built):
    _, training = examples(built, "train")
    _, test = examples(built, "test")
    assert list(training) == [*TRAINING, *EVALUATION]
    assert list(test) == list(EVALUATION)
    for name, puzzles in training.items():
        content = TRAINING.get(name)
        pairs = EVALUATION[name]["train"] if content is None else content["train"] + content["test"]
        assert all(same_pairs(rows, pairs) for rows in puzzles)
    for name, puzzles in test.items():
        assert all(same_pairs(rows, EVALUATION[name]["test"]) for rows in puzzles)
        assert {place for rows in puzzles for *_, place in rows} == {(0, 0)}, "held-out examples are not shifted"


def test_counts_identifiers_and_groups(sources, built, tmp_path):
    told = []
    summary = build(
        sources, tmp_path / "x", test=["evaluation"], augmentations=AUGMENTATIONS, seed=3,
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert told == [(done, 6) for done in range(1, 7)]
    names, each = read_identifiers(built), AUGMENTATIONS + 1
    # Three pairs of single cells look alike under all eight maps.
    small = summary.fewer.get("a2", AUGMENTATIONS) + 1
    assert set(summary.fewer) <= {"a2"}
    assert names[0] == "<blank>"
    assert len(names) == len(set(names)) == summary.identifiers == 1 + 5 * each + small
    assert summary.splits == {
        "train": Sizes(6, 5 * each + small, each * (5 + 2 + 2 + 4 + 2) + small * 3),
        "test": Sizes(3, 3 * each, each * 4),
    }
    ids = {}
    for split, tasks in (("train", [*TRAINING, *EVALUATION]), ("test", list(EVALUATION))):
        found = read(built, split)
        assert (found.seq_len, found.vocab_size, found.num_puzzles) == (900, 12, len(names))
        assert len(found.puzzle_ids) == len(set(found.puzzle_ids.tolist())) == summary.splits[split].puzzles
        assert len(found.inputs) == summary.splits[split].examples
        for name, (start, end) in zip(tasks, pairwise(found.group_starts), strict=True):
            group = [parse_name(names[i]) for i in found.puzzle_ids[start:end]]
            assert {task for task, _ in group} == {name}
            assert group[0][1] == IDENTITY
            assert len(set(group)) == len(group)
            ids.setdefault(name, []).append(found.puzzle_ids[start:end].tolist())
    assert all(one == two for one, two in (ids[name] for name in EVALUATION)), "one identifier in both splits"
    assert read_test_puzzles(built) == EVALUATION
    assert read_puzzle(built) == {"kind": "arc"}
    assert (summary.hidden, summary.overlap, summary.left_out, summary.repeated) == (0, (), (), ())


def test_the_same_again_and_each_task_by_itself(sources, built, tmp_path):
    """Bytes depend on seed, name and content: not on other tasks, and more augmentations begin with the same."""
    again, other, more = (tmp_path / name for name in ("again", "other", "more"))
    build(sources, again, test=["evaluation"], augmentations=AUGMENTATIONS, seed=3)
    for file in built.rglob("*.*"):
        assert file.read_bytes() == (again / file.relative_to(built)).read_bytes()
    build(sources, other, test=["evaluation"], augmentations=AUGMENTATIONS, seed=4)
    alone = subset(tmp_path, "alone", {"b3": EVALUATION["b3"]})
    build([alone], more, test=["alone"], augmentations=AUGMENTATIONS + 5, seed=3)

    def of_task(path: Path, count: int) -> tuple:
        found, names = read(path, "train"), read_identifiers(path)
        puzzles = [i for i, name in enumerate(found.puzzle_ids) if names[name].startswith("b3")][:count]
        rows = slice(found.puzzle_starts[puzzles[0]], found.puzzle_starts[puzzles[-1] + 1])
        return [names[found.puzzle_ids[i]] for i in puzzles], found.inputs[rows].tobytes(), found.labels[rows].tobytes()

    assert of_task(more, AUGMENTATIONS + 1) == of_task(built, AUGMENTATIONS + 1)
    assert all(one != two for one, two in zip(of_task(other, 41), of_task(built, 41), strict=True))
    assert read(more, "train").num_puzzles == AUGMENTATIONS + 7


def test_one_example_of_each_puzzle_stays_and_the_others_go_anywhere(tmp_path):
    """Statistics over 2,000 puzzles of 3 examples; a grid of 24 x 28 has 7 rows and 3 columns to go to."""
    source = subset(tmp_path, "toy", {"a": task(9, 2, 1, (24, 28))})
    build([source], tmp_path / "x", test=[], augmentations=2_000)
    _, led_back = examples(tmp_path / "x", "train")
    at = np.array([[place for *_, place in rows] for rows in led_back["a"]])
    names = read_identifiers(tmp_path / "x")[1:]
    swapped = np.array([parse_name(name)[1].map in (1, 3, 6, 7) for name in names])
    assert 0.45 < swapped.mean() < 0.55
    at[swapped] = at[swapped][..., ::-1]
    assert at.max(axis=(0, 1)).tolist() == [6, 2]
    still = (at == 0).all(axis=2)
    assert still.any(axis=1).all(), "one of each puzzle stays"
    # Each stays in a third of the puzzles, and else in one of 21 by chance.
    assert still.mean(axis=0) == pytest.approx(1 / 3 + 2 / 3 / 21, abs=0.04)
    assert still.sum(axis=1).mean() == pytest.approx(1 + 2 / 21, abs=0.04)
    moved = at[~still]
    share = np.bincount(moved[:, 0] * 3 + moved[:, 1], minlength=21) / len(moved)
    np.testing.assert_allclose(share, [0] + [1 / 20] * 20, atol=0.015)
    # Examples of a puzzle do not go together.
    assert abs(np.corrcoef(at[:, 0, 0], at[:, 1, 0])[0, 1]) < 0.3


def test_full_boards_stay_where_they_are(built):
    _, training = examples(built, "train")
    assert {place for rows in training["b2"] for *_, place in rows} == {(0, 0)}
    assert {row for rows in training["a3"] for *_, (row, _) in rows} > {0}, "when turned, it has rows to go to"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(GRIDS, GRIDS), min_size=1, max_size=3), st.integers(0, 2**32))
def test_grids_are_placed_as_encode_does(pairs, seed):
    rng = np.random.default_rng(seed)
    maps = rng.permutation(8)
    colours = np.array([[0, *rng.permutation(np.arange(1, 10))] for _ in maps], np.uint8)
    augmentations = [Augmentation(int(k), tuple(c.tolist())) for k, c in zip(maps, colours, strict=True)]
    images = [[tuple(a.apply(g) for g in pair) for pair in pairs] for a in augmentations]
    room = np.array([[SIDE - np.max([g.shape for g in pair], axis=0) for pair in of_one] for of_one in images])
    shifts = rng.integers(0, room + 1)
    inputs, labels = place(pairs, Augmentations(maps.astype(np.intp), colours), shifts.astype(np.intp))
    expected = [
        [encode(g, int(row), int(column)) for g in pair]
        for of_one, at in zip(images, shifts, strict=True)
        for pair, (row, column) in zip(of_one, at, strict=True)
    ]
    np.testing.assert_array_equal(inputs, [pair[0] for pair in expected])
    np.testing.assert_array_equal(labels, [pair[1] for pair in expected])
    assert inputs.dtype == labels.dtype == np.uint8


# --- Which augmentations


def different(pairs: list, augmentations: list[Augmentation]) -> int:
    """How many of them make different pairs, by making them."""
    return len({images(pairs, augmentation) for augmentation in augmentations})


def images(pairs: list, augmentation: Augmentation) -> tuple:
    turned = [[augmentation.apply(np.array(g, np.uint8)) for g in pair] for pair in pairs]
    return tuple(sorted(tuple((g.shape, g.tobytes()) for g in pair) for pair in turned))


SIMPLE = {
    "nothing but background": ([([[0, 0]], [[0]]), ([[0], [0]], [[0]])], 0),
    "background that turns": ([([[0, 0]], [[0]])], 1),
    "one colour": ([([[4]], [[4]])], 8),
    "one colour on two sides": ([([[4, 4], [4, 4]], [[4]])], 8),
    "two colours, one cell": ([([[4]], [[5]])], 71),
    "pairs that are images of each other": ([([[1, 0, 0]], [[1]]), ([[0, 0, 1]], [[1]])], 17),
    "the same pair twice": ([([[1, 0]], [[1]]), ([[1, 0]], [[1]])], 4 * 9 - 1),
    "shapes alone": ([([[1, 1]], [[1]]), ([[1], [1]], [[1]])], 8),
    "colours that change places": ([([[1]], [[2]]), ([[2]], [[1]])], 35),
    "inputs that change places": ([([[1, 0]], [[1]]), ([[0, 1]], [[0]])], 4 * 9 - 1),
    "symmetric about the diagonal": ([([[1, 0], [0, 1]], [[1]])], 2 * 9 - 1),
}


@pytest.mark.parametrize("name", SIMPLE)
def test_simple_tasks_have_fewer_augmentations(name):
    """With 2,000 draws all of so few are met; how many there are is counted by making the images of all."""
    pairs, expected = SIMPLE[name]
    used = sorted({colour for pair in pairs for g in pair for row in g for colour in row} - {0})
    every = []
    for turn in range(8):
        for chosen in permutations(range(1, 10), len(used)):
            colours = dict(zip(used, chosen, strict=True))
            rest = iter(sorted(set(range(1, 10)) - set(chosen)))
            every.append(Augmentation(turn, (0, *(colours.get(c) or next(rest) for c in range(1, 10)))))
    assert different(pairs, every) == expected + 1
    drawn = draw("t", [tuple(np.array(g, np.uint8) for g in pair) for pair in pairs], 400, 0)
    found = [Augmentation(int(k), tuple(c.tolist())) for k, c in zip(*drawn, strict=True)]
    assert found[0] == IDENTITY
    assert different(pairs, found) == len(found) == expected + 1


def test_augmentations_are_drawn_evenly():
    pair = tuple(np.random.default_rng(i).integers(0, 10, (9, 9)).astype(np.uint8) for i in range(2))
    maps, colours = draw("t", [pair], 8_000, 5)
    assert len(maps) == 8_001
    np.testing.assert_allclose(np.bincount(maps) / 8_001, 1 / 8, atol=0.015)
    assert (colours[:, 0] == 0).all()
    assert (np.sort(colours, axis=1) == np.arange(10)).all()
    for colour in range(1, 10):
        np.testing.assert_allclose(np.bincount(colours[1:, colour])[1:] / 8_000, 1 / 9, atol=0.015)
    one, other = (draw(name, [pair], 100, 5).names("x") for name in ("t", "u"))
    assert len(set(one) & set(other)) < 5


def test_fewer_than_asked_is_told(tmp_path):
    plain = {"train": [{"input": [[3]], "output": [[3]]}], "test": [{"input": [[3, 3]], "output": [[3]]}]}
    summary = build([subset(tmp_path, "s", {"p": plain})], tmp_path / "x", test=["s"], augmentations=50)
    assert summary.fewer == {"p": 2 * 9 - 1}
    assert summary.splits == {"train": Sizes(1, 18, 18), "test": Sizes(1, 18, 18)}
    assert len({row.tobytes() for row in read(tmp_path / "x", "test").inputs}) == 18
    summary = build([subset(tmp_path, "s", {"p": plain})], tmp_path / "y", test=["s"], augmentations=0)
    assert (summary.fewer, summary.identifiers, read_identifiers(tmp_path / "y")) == ({}, 2, ["<blank>", "p"])


# --- Hidden outputs


def test_hidden_outputs_have_a_dummy_label_and_are_not_trained_on(tmp_path):
    sources = [subset(tmp_path, "t", TRAINING, solved=False), subset(tmp_path, "e", EVALUATION, solved=False)]
    assert [source.solutions for source in sources] == [None, None]
    summary = build(sources, tmp_path / "x", test=["e"], augmentations=3)
    assert summary.hidden == 8
    found, led_back = examples(tmp_path / "x", "test")
    np.testing.assert_array_equal(found.labels, np.tile(encode(np.zeros((1, 1), np.uint8)), (16, 1)))
    for name, puzzles in led_back.items():
        pairs = [{"input": pair["input"], "output": [[0]]} for pair in EVALUATION[name]["test"]]
        assert all(same_pairs(rows, pairs) for rows in puzzles)
    _, led_back = examples(tmp_path / "x", "train")
    for name, content in (TRAINING | EVALUATION).items():
        assert all(same_pairs(rows, content["train"]) for rows in led_back[name])
    stored = read_test_puzzles(tmp_path / "x")
    assert list(stored) == list(EVALUATION)
    assert {tuple(pair) for content in stored.values() for pair in content["test"]} == {("input",)}
    # It can be read as a file of challenges.
    assert len(read_challenges(tmp_path / "x" / "test_puzzles.json", None)) == 3


# --- Tasks that stand in several subsets

TURN = Augmentation(7, (0, 4, 3, 9, 8, 1, 2, 7, 5, 6))


def with_copy(part: str, solved: bool = True) -> dict:
    """The training tasks and one that has an image of a pair of b1: of its demonstration or of its test."""
    copied = task(77)
    copied["test"][0] = turned(EVALUATION["b1"][part][1], TURN)
    return TRAINING | {"copy": copied}


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_held_out_pair_in_training_is_refused(tmp_path, part):
    sources = [subset(tmp_path, "t", with_copy(part)), subset(tmp_path, "e", EVALUATION)]
    expected = r"^1 of 3 held-out tasks are in the training subsets too, up to symmetry, first b1 \(copy in t\): "
    with pytest.raises(DataError, match=expected) as caught:
        build(sources, tmp_path / "x", test=["e"], augmentations=1)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "x").exists()
    found = (Overlap("b1", "copy", "t"),)
    dropped = build(sources, tmp_path / "drop", test=["e"], augmentations=1, overlap="drop")
    assert (dropped.overlap, dropped.left_out, dropped.repeated) == (found, (("copy", "t"),), ())
    assert list(examples(tmp_path / "drop", "train")[1]) == [*TRAINING, *EVALUATION]
    kept = build(sources, tmp_path / "keep", test=["e"], augmentations=1, overlap="keep")
    assert (kept.overlap, kept.left_out, kept.repeated) == (found, (), ())
    assert list(examples(tmp_path / "keep", "train")[1]) == [*TRAINING, "copy", *EVALUATION]


def test_a_held_out_task_in_training_by_name_is_refused(tmp_path):
    sources = [subset(tmp_path, "t", TRAINING | {"b2": task(78)}), subset(tmp_path, "e", EVALUATION)]
    for order in (sources, sources[::-1]):
        with pytest.raises(DataError, match=r"1 of 3 .* first b2 \(b2 in t\)"):
            build(order, tmp_path / "x", test=["e"], augmentations=1)
    for how in ("drop", "keep"):
        summary = build(sources, tmp_path / how, test=["e"], augmentations=1, overlap=how)
        assert summary.left_out + summary.repeated == (("b2", "t"),)
        assert read_test_puzzles(tmp_path / how)["b2"] == EVALUATION["b2"]
        assert list(examples(tmp_path / how, "train")[1]) == [*TRAINING, *EVALUATION]


def test_hidden_outputs_overlap_by_their_demonstrations_alone(tmp_path):
    hidden = subset(tmp_path, "e", EVALUATION, solved=False)
    build([subset(tmp_path, "t", with_copy("test")), hidden], tmp_path / "x", test=["e"], augmentations=1)
    with pytest.raises(DataError, match="first b1"):
        build([subset(tmp_path, "t", with_copy("train")), hidden], tmp_path / "y", test=["e"], augmentations=1)


def test_of_tasks_of_one_name_the_first_is_kept(tmp_path):
    sources = [
        subset(tmp_path, "t", TRAINING),
        subset(tmp_path, "u", {"a2": TRAINING["a2"], "new": task(79), "a1": task(80)}),
    ]
    summary = build(sources, tmp_path / "x", test=[], augmentations=2)
    assert summary.repeated == (("a2", "u"), ("a1", "u"))
    assert list(summary.splits) == ["train"]
    assert not (tmp_path / "x" / "test").exists()
    assert read_test_puzzles(tmp_path / "x") == {}
    _, led_back = examples(tmp_path / "x", "train")
    assert list(led_back) == [*TRAINING, "new"]
    assert all(same_pairs(rows, TRAINING["a1"]["train"] + TRAINING["a1"]["test"]) for rows in led_back["a1"])


def test_two_held_out_subsets(tmp_path):
    sources = [
        subset(tmp_path, "e", EVALUATION),
        subset(tmp_path, "f", {"b1": EVALUATION["b1"], "c1": task(81)}),
        subset(tmp_path, "g", {"b1": task(82)}),
    ]
    summary = build(sources[:2], tmp_path / "x", test=["f", "e"], augmentations=2)
    assert summary.repeated == (("b1", "f"),)
    assert list(read_test_puzzles(tmp_path / "x")) == [*EVALUATION, "c1"]
    assert summary.splits["test"].groups == 4
    with pytest.raises(DataError, match=r"toy_g_challenges.json: task b1: another held-out task has this name"):
        build(sources, tmp_path / "y", test=["e", "g"], augmentations=2, overlap="keep")


# --- What is wrong is told before any work


def test_what_a_user_can_get_wrong(sources, tmp_path):
    for changes, expected in (
        ({"test": ["evaluations"]}, r"subset 'evaluations' is to be held out, but .*: training, evaluation"),
        ({"augmentations": -1}, "-1 augmentations: give 0 to 10000"),
        ({"augmentations": 10_001}, "10001 augmentations"),
        ({"seed": -1}, "seed -1: give 0"),
        ({"seed": 1 << 64}, "seed 18446744073709551616"),
        ({"sources": [sources[0], sources[0]]}, "subsets training, training: give"),
        ({"sources": []}, "subsets none: give at least one"),
        ({"sources": [Subset("e", tmp_path / "absent.json", None)], "test": []}, "absent.json: cannot be read"),
        ({"out": tmp_path}, "exists already"),
    ):
        arguments = {"sources": sources, "out": tmp_path / "x", "test": ["evaluation"], "augmentations": 1} | changes
        with pytest.raises(DataError, match=expected) as caught:
            build(arguments.pop("sources"), arguments.pop("out"), **arguments)
        assert "\n" not in str(caught.value)
        assert list(tmp_path.iterdir()) == []


def test_subsets_are_found_by_their_names(tmp_path):
    for name in ("one", "two"):
        subset(tmp_path, name, TRAINING, solved=name == "one")
    prefix = tmp_path / "toy"
    assert find_subsets(str(prefix), ["two", "one"]) == [
        Subset("two", tmp_path / "toy_two_challenges.json", None),
        Subset("one", tmp_path / "toy_one_challenges.json", tmp_path / "toy_one_solutions.json"),
    ]
    for wrong, names, expected in (
        (prefix, ["three"], r"toy_three_challenges.json: no such file: the subsets there are: one, two$"),
        (tmp_path / "tay", ["one"], r"tay_one_challenges.json: no such file: .*: none with this prefix"),
        (tmp_path / "absent" / "toy", ["one"], r"toy_one_challenges.json: no such file: .*: none with this prefix"),
        (prefix, ["\0"], "no such file"),
    ):
        with pytest.raises(DataError, match=expected):
            find_subsets(str(wrong), names)


def test_subsets_of_contests_with_hyphens_and_of_repositories(tmp_path):
    pairs = [{"input": [[1, 0]], "output": [[2]]}, {"input": [[0, 3]], "output": [[4]]}]
    for name, content in (("x-y_training-challenges.json", TRAINING), ("x-y_evaluation-challenges.json", EVALUATION)):
        (tmp_path / name).write_text(json.dumps(content))
    solutions = tmp_path / "x-y_evaluation-solutions.json"
    solutions.write_text(
        json.dumps({name: [each["output"] for each in EVALUATION[name]["test"]] for name in EVALUATION})
    )
    prefix = str(tmp_path / "x-y")
    assert find_subsets(prefix, ["training", "evaluation"]) == [
        Subset("training", tmp_path / "x-y_training-challenges.json", None),
        Subset("evaluation", tmp_path / "x-y_evaluation-challenges.json", solutions),
    ]
    assert [subset_name(Path(name)) for name in ("a-b-challenges.json", "a_challenges.json", "data/training/")] == [
        "a-b", "a", "training",
    ]  # fmt: skip
    with pytest.raises(
        DataError, match=r"x-y_no_challenges\.json: no such file: the subsets there are: evaluation, tra"
    ):
        find_subsets(prefix, ["no"])
    (tmp_path / "x-y_training_challenges.json").write_text("{}")
    with pytest.raises(DataError, match=r"'training' may be .*x-y_training_challenges.json or .*: name one by --files"):
        find_subsets(prefix, ["training"])

    # RE-ARC: pairs to train on, and none to hold out.
    (tmp_path / "re_arc").mkdir()
    (tmp_path / "re_arc" / "c1.json").write_text(json.dumps(pairs))
    (own,) = find_subsets(str(tmp_path), ["re_arc"])
    assert own == Subset("re_arc", tmp_path / "re_arc", None)
    held_out = find_subsets(prefix, ["evaluation"])
    summary = build([own, *held_out], tmp_path / "out", test=["evaluation"], augmentations=0)
    assert summary.splits["train"] == Sizes(4, 4, 2 + sum(len(each["train"]) for each in EVALUATION.values()))
    _, led_back = examples(tmp_path / "out", "train")
    assert all(same_pairs(rows, pairs) for rows in led_back["c1"])
    with pytest.raises(DataError, match="re_arc: task c1: no test examples: it is for training alone"):
        build([own, *held_out], tmp_path / "other", test=["re_arc"], augmentations=0)


# --- Real data


def test_the_public_builders_dataset_and_ours(tmp_path):
    recorded = ROOT.parent / "shared" / "parity" / "arc_eval"
    if not recorded.is_dir():
        pytest.skip(f"no dataset of the public builder at {recorded}")
    theirs, ours = recorded / "dataset", tmp_path / "ours"
    summary = build(
        find_subsets(str(recorded / "src" / "arc-agi"), ["evaluation"]), ours, test=["evaluation"], augmentations=12
    )
    assert (summary.fewer, summary.hidden) == ({}, 0)
    assert read_test_puzzles(ours) == read_test_puzzles(theirs)
    assert sorted(parse_name(name)[0] for name in read_identifiers(ours)) == sorted(
        parse_name(name)[0] for name in read_identifiers(theirs)
    )
    for split in ("train", "test"):
        about, recorded_about = (json.loads((path / split / "dataset.json").read_text()) for path in (ours, theirs))
        assert about == recorded_about
        (found, led_back), (expected, recorded_back) = (examples(path, split) for path in (ours, theirs))
        assert found.inputs.shape == expected.inputs.shape
        assert np.diff(found.group_starts).tolist() == np.diff(expected.group_starts).tolist()
        for name, puzzles in recorded_back.items():
            assert len(led_back[name]) == len(puzzles)
            own, [first, *_] = led_back[name], puzzles
            wanted = [{"input": one.tolist(), "output": two.tolist()} for one, two, _ in first]
            assert all(same_pairs(rows, wanted) for rows in own)
    identity = {}
    for path in (ours, theirs):
        found, names = read(path, "test"), read_identifiers(path)
        for puzzle, (start, end) in zip(found.puzzle_ids, pairwise(found.puzzle_starts), strict=True):
            if "|" not in names[puzzle]:
                rows = found.inputs[start:end].tobytes(), found.labels[start:end].tobytes()
                identity.setdefault(names[puzzle], []).append(rows)
    assert len(identity) == 16
    assert all(one == two for one, two in identity.values())


@pytest.mark.parametrize(
    ("training", "test", "count"),
    [
        pytest.param(["training2"], "evaluation", 376, marks=pytest.mark.slow),
        pytest.param(["training", "concept"], "evaluation", 2, marks=pytest.mark.slow),
        pytest.param(["evaluation"], "evaluation2", 7, marks=pytest.mark.slow),
        pytest.param(["training2", "concept"], "evaluation2", 0, marks=pytest.mark.slow),
    ],
)
def test_overlaps_of_the_public_subsets(training, test, count, real_data, tmp_path):
    sources = find_subsets(str(real_data / "arc" / "arc-agi"), [*training, test])
    summary = build(sources, tmp_path / "x", test=[test], augmentations=0, overlap="drop")
    assert len(summary.overlap) == count
    assert len(summary.left_out) >= count
    assert summary.splits["test"].groups == {"evaluation": 400, "evaluation2": 120}[test]


@pytest.mark.slow
def test_the_public_recipe_is_told_of_two_tasks_that_leak(real_data, tmp_path):
    """Sizes as the original's builder makes them of the same files and 12 augmentations."""
    sources = find_subsets(str(real_data / "arc" / "arc-agi"), ["training", "evaluation", "concept"])
    with pytest.raises(DataError, match=r"^2 of 400 .* first 070dd51e \(40853293 in training\)"):
        build(sources, tmp_path / "x", test=["evaluation"])
    summary = build(sources, tmp_path / "x", test=["evaluation"], augmentations=12, overlap="keep")
    assert summary.overlap[1] == Overlap("50a16a69", "caa06a1f", "training")
    assert summary.identifiers == 12_477
    assert summary.splits == {"train": Sizes(960, 12_476, 51_832), "test": Sizes(400, 5_196, 5_443)}
    assert summary.fewer == {"332efdb3": 8}
