"""Rules that stay with a user's own puzzle: a dataset, and checkpoints trained on it, say in which file they are.

A file of rules is a program, and datasets and checkpoints may come from anybody: what one says is no reason to
run anything. So the user has a list, outside of them all, of the files that he named in the making of a dataset. A file
is run without being named again where one of them and the list agree on it, down to a random key, and its content is
what it was then.
"""

import json
import os
import secrets
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from trm_jax.console import say
from trm_jax.data import folder
from trm_jax.data.user_rules import load_rules, read_source
from trm_jax.errors import DataError, printable
from trm_jax.puzzles.kind import Rules

FILE = "rules.json"
# Of the user's list, in bytes.
_LONGEST = 1 << 22


class Kept(NamedTuple):
    """Which rules the rows of a dataset have passed: path, SHA-256 of the content, and a key that nobody guesses."""

    path: str
    sha256: str
    key: str


def kept_from(rules: Path) -> Kept:
    """What is to be kept of a file that the user has named. Raises RulesError where there is none."""
    return Kept(str(rules.absolute()), sha256(read_source(rules)).hexdigest(), secrets.token_hex(16))


def keep(kept: Kept, out: Path) -> None:
    """Writes it into a dataset folder that was built with these rules, and into the user's list.

    Where the list cannot be written, later commands ask for --rules.
    """
    (out / FILE).write_text(json.dumps(kept._asdict()) + "\n")
    try:
        named = _list()
        named.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(named, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as file:
            file.write(json.dumps(kept) + "\n")
    except OSError:
        pass


def kept_by(sources: Iterable[str | Path]) -> Kept | None:
    """What the first dataset folder that keeps rules says of them. Raises DataError: a folder's rules.json is none."""
    return next((kept for kept, _ in _keeping(sources)), None)


def is_kept(value: Any) -> bool:
    """Whether it is a `Kept` as JSON has it, a mapping."""
    return type(value) is dict and value.keys() == set(Kept._fields) and all(type(v) is str for v in value.values())


def rules_of(
    named: Path | None,
    sources: Iterable[str | Path],
    model: str | Path = "",
    of_model: Kept | None = None,
    option: bool = True,
) -> Rules | None:
    """The rules by which a command judges: those that the user names, or else those that its datasets were built with,
    or else those of the dataset that its model was trained on, which may be gone.

    Says on standard error which file was taken from where, or why it was not: then there are no rules.

    Args:
      named: by --rules.
      sources: dataset folders in the order in which they count, and whatever else holds puzzles, which is passed over.
      model, of_model: a checkpoint, and what it keeps.
      option: whether --rules can be given.

    Raises:
      RulesError: as `load_rules`. DataError: a folder's rules.json is none.
    """
    if named is not None:
        return load_rules(named)
    for kept, source in _keeping(sources):
        return _trusted(kept, source, option)
    return _trusted(of_model, model, option) if of_model is not None else None


def _keeping(sources: Iterable[str | Path]) -> Iterator[tuple[Kept, Path]]:
    """The dataset folders among these that keep rules, each when it is asked for."""
    for source in map(Path, sources):
        if source.is_dir() and (kept := _read(source)) is not None:
            yield kept, source


def _trusted(kept: Kept, source: str | Path, option: bool) -> Rules | None:
    path, about = Path(kept.path), f"{source}: its rules are in {printable(kept.path)}"
    if kept not in _named():
        why, end = "which you have not named here to build a dataset", "if you trust it"
    elif not path.is_file():
        why, end = "which is no longer there", "to check answers"
    elif sha256(read_source(path)).hexdigest() != kept.sha256:
        why, end = "which has changed since", "to check answers by what it is now"
    else:
        say(f"{about}: answers are checked by them")
        return load_rules(path, kept.sha256)
    say(f"{about}, {why}: " + (f"give --rules FILE {end}" if option else "answers are not checked by them"))
    return None


def _read(source: Path) -> Kept | None:
    """What a dataset folder keeps; None where that is nothing."""
    value = folder.read_rules(source)
    if value is None:
        return None
    if not is_kept(value):
        raise DataError(
            f"{source / FILE}: expected path, sha256 and key, each a text: remove it, and give --rules FILE"
        )
    return Kept(**value)


def _list() -> Path:
    """Where the user's list is: in trm_jax/ of the user's folder for what programs remember."""
    states = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(states) / "trm_jax" / "rules.jsonl"


def _named() -> set[tuple[Any, ...]]:
    """What stands in the list; a line that is none does not count."""
    found: set[tuple[Any, ...]] = set()
    try:
        with _list().open("rb") as file:
            lines = file.read(_LONGEST).decode(errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, list) and all(type(each) is str for each in value):
            found.add(tuple(value))
    return found
