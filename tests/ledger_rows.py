"""Rows of a ledger as they may stand there, for the tests of what is done with rows."""

from typing import Any

from trm_jax.runs.ledger import identity

SHARE = {"value": 0.5, "low": 0.4, "high": 0.6}


def row(**changes: Any) -> dict[str, Any]:
    """A row with each field, some changed: search=..., trained__hours=...; None takes one away. Its name is right."""
    made: dict[str, Any] = {
        "experiment": "sudoku_extreme:single",
        "overrides": {"data.train": "train.csv", "optim.clip": 0.5, "train.save_every": 7},
        "config": "a" * 64,
        "weights": "b" * 64,
        "averaged": True,
        "step": 500,
        "seed": 3,
        "weight_count": 53_442,
        "trained": {
            "command": "trm train --config=sudoku_extreme:single --workdir=runs/x",
            "commits": ["c" * 40],
            "machines": [{"device": "a processor", "cores": 2, "memory_gib": 23.5}],
            "versions": {"jax": "0.10.2"},
            "puzzles": "d" * 64,
            "rows": 32_000,
            "pflop": 0.25,
            "hours": 1.5,
            "peak_gib": 0.75,
            "beside": "nothing",
        },
        "evaluated": {
            "command": "trm eval runs/x test.csv --steps=1,16 --json=figures.json",
            "commit": "c" * 40 + "-dirty",
            "machine": {"device": "a processor"},
            "name": "test.csv",
            "split": "test",
            "sha256": "e" * 64,
            "puzzles": 1_000,
            "seconds": 12.5,
            "peak_gib": 0.5,
            "how": {"depths": [1, 16], "attempts": 8, "halting": False, "seed": 0},
        },
        "single": {"1": SHARE, "16": {"value": 0.25, "low": 0.2, "high": 0.3}},
        "restarts": {"attempts": 8, "selection": "rules", "exact": {"1": SHARE, "16": SHARE}, "oracle": {"16": SHARE}},
        "note": "revealed clues",
    }
    for key, value in changes.items():
        *groups, name = key.split("__")
        group = made[groups[0]] if groups else made
        if value is None:
            del group[name]
        else:
            group[name] = value
    return {"id": identity(made)} | made


def searched(**changes: Any) -> dict[str, Any]:
    """The same of a search."""
    search = {"found": {"1": SHARE, "512": {"value": 0.75, "low": 0.7, "high": 0.8}}, "exact": SHARE, "calls": 40.25}
    how = {"calls": 512, "seconds": 5.0, "chains": 8, "seed": 0}
    single = {"1": SHARE}
    return row(**{"search": search, "single": single, "restarts": None, "evaluated__how": how} | changes)
