"""A complete search with a network's order, without it, and a SAT solver, on the same puzzles.

    python -m benchmarks.complete MODEL PUZZLES [--limit N] [--nodes 100000]

MODEL is what `trm solve` takes, PUZZLES a table. Each of the three solves each puzzle from the start, one after the
other in this process: nodes that were looked at, and seconds. The network is not asked to solve anything by itself
first. The SAT solver (CaDiCaL, by python-sat) is given one variable for each candidate, and the units as clauses; it is
the measure of what can be had without a network. Rules that no unit says, it does not know: puzzles with such are
refused.
"""

import argparse
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from pysat.solvers import Cadical153

from benchmarks.machine import describe, faults_told
from benchmarks.turns import publish
from trm_jax.commands.completing import completed
from trm_jax.commands.questions import Task
from trm_jax.data.fit import matched
from trm_jax.devices.cores import use_cores
from trm_jax.errors import ConfigError
from trm_jax.puzzles.symmetry import Tokens
from trm_jax.puzzles.units import Units
from trm_jax.runs.sources import load

RESULTS = Path(__file__).parent / "results" / "complete.jsonl"


class Sat:
    """Units as clauses: variable cell * V + symbol + 1 says that the cell has the symbol, both from 0."""

    def __init__(self, units: Units) -> None:
        self._units, self._solver = units, Cadical153()
        cells, symbols = range(units.cells), range(len(units.symbols))
        for cell in cells:
            self._exactly_one([self._variable(cell, symbol) for symbol in symbols], some=True)
        for _, part in units.partitions:
            for group in np.unique(part[part >= 0]):
                members = np.flatnonzero(part == group).tolist()
                for symbol in symbols:
                    places = [self._variable(cell, symbol) for cell in members]
                    self._exactly_one(places, some=len(members) == len(symbols))

    def solve(self, question: Tokens) -> bool:
        """Whether the question [S] has an answer."""
        symbols = self._units.symbols
        given = [(cell, symbols.index(token)) for cell, token in enumerate(question.tolist()) if token in symbols]
        return bool(self._solver.solve(assumptions=[self._variable(*each) for each in given]))

    def _variable(self, cell: int, symbol: int) -> int:
        return cell * len(self._units.symbols) + symbol + 1

    def _exactly_one(self, variables: list[int], some: bool) -> None:
        """At most one of them, and if there has to be some, one."""
        for pair in combinations(variables, 2):
            self._solver.add_clause([-each for each in pair])
        if some:
            self._solver.add_clause(variables)


def measure(model: Path, source: str, limit: int, nodes: int) -> list[dict[str, Any]]:
    """A row for each way: with the network, without, SAT.

    Raises:
      ConfigError: the kind declares no units. DataError: the puzzles cannot be read.
    """
    experiment, weights = load(model)
    found = matched(experiment, source, "test", limit, None)
    kind = found.kind
    if kind.units is None:
        raise ConfigError(f"puzzles of kind {kind.to_dict()['kind']!r} declare no units: there is nothing to compare")
    tasks = [Task(kind, np.asarray(question, np.int32)) for question in found.puzzles.inputs[:]]
    sat = Sat(kind.units)
    completed(found.experiment, weights, tasks[0], 2)  # compiles
    seconds: dict[str, list[float]] = {"network": [], "plain": [], "sat": []}
    counts: dict[str, list[int]] = {"network": [], "plain": []}
    solved = dict.fromkeys(seconds, 0)
    for task in tasks:
        for way in ("network", "plain"):
            began = time.perf_counter()
            ended = completed(found.experiment, weights, task, nodes, guided=way == "network")
            seconds[way].append(time.perf_counter() - began)
            counts[way].append(ended.nodes)
            solved[way] += ended.tokens is not None
        began = time.perf_counter()
        solved["sat"] += sat.solve(task.question)
        seconds["sat"].append(time.perf_counter() - began)
    about = describe() | {
        "model": str(model),
        "puzzles": Path(found.source).name,
        "count": len(tasks),
        "nodes_at_most": nodes,
    }
    return [
        about
        | {"way": way, "solved": solved[way]}
        | _summary("nodes", counts.get(way, []), 1)
        | _summary("ms", [1e3 * each for each in seconds[way]], 2)
        for way in seconds
    ]


def _summary(name: str, values: list[Any], digits: int) -> dict[str, float]:
    """Median, mean, ninth decile and most."""
    if not values:
        return {}
    figures = {
        "median": np.median(values),
        "mean": np.mean(values),
        "p90": np.quantile(values, 0.9),
        "most": max(values),
    }
    return {f"{name}_{what}": round(float(value), digits) for what, value in figures.items()}


def main() -> None:
    """Measures, prints a column for each way and appends them to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a run, or a model of `trm models`")
    parser.add_argument("puzzles", help="a table")
    parser.add_argument("--limit", type=int, default=0, help="the first puzzles alone (all)")
    parser.add_argument("--nodes", type=int, default=100_000, help="of a search, at most (100000)")
    args = parser.parse_args()
    use_cores()
    with faults_told():
        rows = measure(args.model, args.puzzles, args.limit, args.nodes)
    publish(rows, RESULTS)


if __name__ == "__main__":
    main()
