"""What a complete search is compared with: the SAT solver is given the same puzzle, no other."""

import numpy as np

from benchmarks.complete import Sat
from trm_jax.puzzles.kinds import kind_of
from trm_jax.puzzles.sudoku_search import all_solutions_4x4


def test_clauses_say_what_units_say() -> None:
    kind, grids, rng = kind_of("sudoku", 16), all_solutions_4x4(), np.random.default_rng(0)
    assert kind.units is not None
    sat, verdicts = Sat(kind.units), []
    for _ in range(60):
        first, second = grids[rng.integers(288, size=2)]
        cells = rng.permutation(16)
        question = np.zeros(16, np.int32)
        question[cells[:4]], question[cells[4:7]] = first[cells[:4]], second[cells[4:7]]
        verdicts.append(bool((grids == question)[:, question > 0].all(axis=1).any()))
        assert sat.solve(question + 1) == verdicts[-1]
    assert set(verdicts) == {True, False}
