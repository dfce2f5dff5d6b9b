"""The commands `trm ledger ...`: rows in, tables out, and whether what pages quote is what stands there."""

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path

from trm_jax.errors import ConfigError, near_miss
from trm_jax.exit_codes import DONE, FAILED
from trm_jax.sizes import counted


def _add(args: argparse.Namespace) -> int:
    from trm_jax.devices.compilation import remember_programs
    from trm_jax.runs import ledger
    from trm_jax.runs.entry import Said, entry
    from trm_jax.runs.parts import repository

    path, root = ledger_of(args), repository()
    remember_programs()
    row = entry(args.run, args.eval, Said(args.beside, args.note, args.commit or "", args.here), root)
    ledger.append(path, row, root)
    print(f"{path}: added {row['id']}")
    return DONE


def _show(args: argparse.Namespace) -> int:
    from trm_jax.display import ledger as tables
    from trm_jax.runs import ledger

    rows = ledger.read(ledger_of(args))
    if args.experiment:
        of = [{row["experiment"], row["experiment"].partition(":")[0]} for row in rows]
        _known("--experiment", args.experiment, set().union(*of))
        rows = [row for row, names in zip(rows, of, strict=True) if args.experiment in names]
    if args.rows:
        by_id = {row["id"]: row for row in rows}
        for name in args.rows:
            _known("--rows", name, by_id)
        rows = [by_id[name] for name in args.rows]
    if args.json:
        print(json.dumps(rows, indent=1))
    else:
        print((tables.markdown if args.markdown else tables.text)(rows, args.columns))
    return DONE


def _check(args: argparse.Namespace) -> int:
    from trm_jax.display import ledger as tables
    from trm_jax.runs import ledger
    from trm_jax.runs.parts import repository

    path, root = ledger_of(args), repository()
    faults = ledger.faults_in(path, root)
    rows, _ = ledger.parse(path.read_bytes())
    quoted = 0
    for page in _pages(root):
        text = page.read_text(encoding="utf-8")
        quoted += tables.quoted(text)
        faults += [f"{page}, line {line}: {fault}" for line, fault in tables.misquoted(text, rows)]
    right = f"{path}: {counted(len(rows), 'row')}, {counted(quoted, 'table')} of them on our pages, all right"
    print("\n".join(faults) if faults else right)
    return FAILED if faults else DONE


def _known(flag: str, name: str, names: Iterable[str]) -> None:
    """Raises ConfigError unless a name is among those of the ledger."""
    if name not in names:
        raise ConfigError(f"{flag}={name}: no such row in the ledger, {near_miss(name, names)}")


def ledger_of(args: argparse.Namespace) -> Path:
    """The ledger that is meant. Raises ConfigError: there is no repository whose ledger it could be."""
    from trm_jax.runs.ledger import PLACE
    from trm_jax.runs.parts import repository

    if args.ledger is not None:
        return Path(args.ledger)
    root = repository()
    if root is None:
        raise ConfigError("which ledger? there is no repository here: give --ledger FILE")
    return root / PLACE


def _pages(root: Path | None) -> list[Path]:
    """The pages of a repository that may quote its ledger."""
    if root is None:
        return []
    return sorted(page for folder in (".", "docs", "data", "trm_jax/**") for page in root.glob(f"{folder}/*.md"))


COMMANDS: dict[str, Callable[[argparse.Namespace, list[str]], int]] = {
    "ledger add": lambda args, rest: _add(args),
    "ledger show": lambda args, rest: _show(args),
    "ledger check": lambda args, rest: _check(args),
}
