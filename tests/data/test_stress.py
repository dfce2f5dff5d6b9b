"""What is made of a set: its perturbations, wrong ids, other sizes, and folders that every command reads."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_run

from trm_jax.config import Experiment
from trm_jax.data import folder
from trm_jax.data.dataset import read_folder
from trm_jax.data.folder_writer import Writer
from trm_jax.data.puzzle_set import PuzzleSet, from_pairs
from trm_jax.data.sample import check_sample
from trm_jax.data.stress import PLAIN, stress_sets
from trm_jax.data.stress_folders import save
from trm_jax.errors import ConfigError, DataError
from trm_jax.puzzles import sudoku, sudoku_search
from trm_jax.puzzles.kinds import kind_of

KIND = kind_of("sudoku", 16)
EXPERIMENT = small_run.experiment(
    model__vocab_size=6, model__seq_len=16, model__num_puzzles=1, model__puzzle_dim=0, model__puzzle_tokens=0
)


@pytest.fixture(scope="module")
def puzzles() -> PuzzleSet:
    questions, answers = sudoku_search.generate(20, sudoku.layout_for(4), 1)
    return from_pairs(questions + 1, answers + 1, 6, "sudoku")


def with_model(**changes: object) -> Experiment:
    return replace(EXPERIMENT, model=replace(EXPERIMENT.model, **changes))  # type: ignore[arg-type]


def named(puzzles: PuzzleSet, ids: list[int], tasks: list[int]) -> PuzzleSet:
    """With these puzzle ids, and groups of so many puzzles each."""
    return replace(
        puzzles,
        puzzle_ids=np.array(ids, np.int32),
        group_starts=np.concatenate([[0], np.cumsum(tasks)]).astype(np.int64),
        num_puzzles=max(ids) + 1,
    )


def test_the_plain_puzzles_come_first_and_each_row_knows_its_own(puzzles: PuzzleSet) -> None:
    inputs = np.asarray(puzzles.inputs).copy()
    inputs[0] = 1  # has many answers, so that nothing can be made of it
    found = stress_sets(replace(puzzles, inputs=inputs), KIND, EXPERIMENT, 3)
    plain = found.sets[0]
    assert plain.name == PLAIN
    assert (plain.inputs == inputs).all()
    assert (plain.labels == puzzles.labels).all()
    assert plain.counts == {}
    for one in found.sets[1:]:
        assert sum(one.counts.values()) == len(one) > 0
        assert (one.labels.any(axis=1) == (one.answers == "one")).all()
        if one.name in ("wrong_clues_1", "contradictory", "unsolvable"):
            assert one.groups.tolist() == list(range(1, 20))
            assert ((one.inputs != plain.inputs[one.groups]).sum(axis=1) == 1).all()
    assert found.left_out["wrong_id"] == "the model has no puzzle table"
    assert found.left_out["other sizes"] == "the network serves boards of one size"
    again = stress_sets(replace(puzzles, inputs=inputs), KIND, EXPERIMENT, 3)
    assert all((a.inputs == b.inputs).all() for a, b in zip(found.sets, again.sets, strict=True))


def test_of_a_large_set_some_are_taken_evenly_unless_all_are_wanted(puzzles: PuzzleSet) -> None:
    few = stress_sets(puzzles, KIND, EXPERIMENT, 0, spread=5).sets[0]
    assert few.groups.tolist() == [0, 4, 9, 14, 19]
    assert len(stress_sets(puzzles, KIND, EXPERIMENT, 0, spread=0).sets[0]) == 20


def test_a_wrong_id_is_that_of_another_task(puzzles: PuzzleSet) -> None:
    experiment = with_model(puzzle_dim=16, puzzle_tokens=1, num_puzzles=21)
    several = named(puzzles, list(range(1, 21)), [5, 5, 10])
    wrong = stress_sets(several, KIND, experiment, 0).sets[-1]
    assert wrong.name == "wrong_id"
    assert len(wrong) == 20
    assert (wrong.inputs == puzzles.inputs).all()
    assert (several.groups[wrong.puzzle_ids - 1] != wrong.groups).all()
    alone = stress_sets(named(puzzles, list(range(1, 21)), [20]), KIND, experiment, 0)
    assert alone.left_out["wrong_id"] == "the puzzles have no ids of several tasks"


def test_sudokus_of_other_sizes_where_the_network_serves_them(puzzles: PuzzleSet) -> None:
    symmetric = with_model(mixer="symmetric", puzzle="sudoku", positions="none", puzzle_dim=0, puzzle_tokens=0)
    found = stress_sets(puzzles, KIND, symmetric, 0, spread=4)
    assert [one.name for one in found.sets[-2:]] == ["size_6x6", "size_9x9"]
    for one in found.sets[-2:]:
        assert len(one) == 4
        assert one.kind.satisfied(one.inputs, one.labels).all()
    assert "other sizes" not in found.left_out


def test_folders_are_read_as_what_they_are(puzzles: PuzzleSet, tmp_path: Path) -> None:
    found = stress_sets(puzzles, KIND, EXPERIMENT, 3)
    out = tmp_path / "stressed"
    save(found.sets, puzzles, 3, out)
    assert {path.name for path in out.iterdir()} == {one.name for one in found.sets}
    for one in found.sets:
        read = read_folder(out / one.name, "test")
        assert (np.asarray(read.inputs) == one.inputs).all()
        assert (np.asarray(read.labels) == one.labels).all()
        assert read.faulty == (one.name == "contradictory")
        check_sample(KIND, read, "saved")
    with pytest.raises(DataError, match="exists already: remove it or give another name"):
        save(found.sets, puzzles, 3, out)


def test_what_is_not_meant_to_break_rules_is_refused_still(puzzles: PuzzleSet, tmp_path: Path) -> None:
    out = tmp_path / "stressed"
    save(stress_sets(puzzles, KIND, EXPERIMENT, 3).sets, puzzles, 3, out)
    file = out / "contradictory" / "stress.json"
    file.write_text(file.read_text().replace("true", "false"))
    with pytest.raises(DataError, match=r"row 1 is no puzzle of kind 'sudoku'.*stands twice"):
        check_sample(KIND, read_folder(file.parent, "test"), "saved")
    file.write_text('{"faulty": "yes"}')
    with pytest.raises(DataError, match="faulty is 'yes', expected true or false"):
        read_folder(file.parent, "test")


def test_names_of_ids_and_tasks_stay(puzzles: PuzzleSet, tmp_path: Path) -> None:
    tasks = {"a": {"train": [], "test": []}}
    with Writer(tmp_path / "own", 16, 6, puzzle=KIND.to_dict()) as writer:
        for i in range(2):
            question, label = np.asarray(puzzles.inputs[i : i + 1]), np.asarray(puzzles.labels[i : i + 1])
            writer.split("test").add(question, label, [1], [i + 1])
        writer.finish(["<blank>", "a", "b"], tasks)
    own = read_folder(tmp_path / "own", "test")
    experiment = with_model(puzzle_dim=16, puzzle_tokens=1, num_puzzles=3)
    save(stress_sets(own, KIND, experiment, 0).sets, own, 0, tmp_path / "out")
    wrong = tmp_path / "out" / "wrong_id"
    assert read_folder(wrong, "test").puzzle_ids.tolist() == [2, 1]
    assert folder.read_identifiers(wrong) == ["<blank>", "a", "b"]
    assert folder.read_test_puzzles(wrong) == tasks


def test_a_seed_below_zero_is_refused(puzzles: PuzzleSet) -> None:
    with pytest.raises(ConfigError, match="--stress-seed -1: give a whole number from 0"):
        stress_sets(puzzles, KIND, EXPERIMENT, -1)
