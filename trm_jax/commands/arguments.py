"""How the arguments of the commands read: each function refuses a text by an ArgumentTypeError."""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trm_jax.config import Experiment, files, mappings, meanings
from trm_jax.config.mappings import wanted
from trm_jax.devices.launchers import parse_address
from trm_jax.errors import ConfigError
from trm_jax.sizes import parse_bytes

# What folders are not called.
_FILES = {".json", ".jsonl", ".csv", ".tsv", ".txt", ".gz", ".xz", ".zip", ".tar", ".npy", ".npz", ".parquet", ".xlsx"}
# Among words about an experiment: what can be said, and what it means.
CONFIG_HELP = "--config.help"
# How rows are counted, in every command.
ROWS = "the line of a table's file, as an editor counts; in a folder, from 1"
# In one part of a path, on every common file system.
_LONGEST_NAME = 255


def _path(text: str) -> Path:
    """A path that can be: printable, and nothing in the way of looking whether it is there."""
    path = Path(text)
    if not text.strip() or not text.isprintable() or any(len(os.fsencode(part)) > _LONGEST_NAME for part in path.parts):
        raise argparse.ArgumentTypeError(f"{text!r:.60} is no name for a file or a folder")
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text!r:.60} cannot be looked at: {error.strerror}") from None
    return path


def new_path(text: str) -> Path:
    """A name at which something can be made. Told before minutes of work end in nothing, not after."""
    path = _path(text)
    if not path.name:
        raise argparse.ArgumentTypeError(f"{text!r:.60} is no name for a file or a folder")
    if os.path.lexists(path):
        raise argparse.ArgumentTypeError(f"{text} exists already: remove it or give another name")
    for there in path.parents:
        if there.exists() and not there.is_dir():
            raise argparse.ArgumentTypeError(f"{text} cannot be made: {there} is a file")
    return path


def new_folder(text: str) -> Path:
    """A name at which a folder can be made, and that nobody would take for a file's."""
    path = new_path(text)
    if path.suffix.lower() in _FILES:
        raise argparse.ArgumentTypeError(f"{text} is called like a file, and would become a folder: give another name")
    return path


def new_folder_or_table(text: str) -> Path:
    """As `new_folder`, or a table to be generated."""
    return new_path(text) if text.removesuffix(".gz").endswith(".csv") else new_folder(text)


def output_file(text: str) -> Path:
    """A file that can be written. Told before hours of work end in nothing, not after."""
    path = _path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder: give the name of a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text} cannot be written: there is no folder {path.parent}")
    return path


def png_file(text: str) -> Path:
    """A picture to be written."""
    return _written_as(text, ".png")


def gif_file(text: str) -> Path:
    """An animation to be written."""
    return _written_as(text, ".gif")


def csv_file(text: str) -> Path:
    """A table to be written."""
    return _written_as(text, ".csv")


def json_file(text: str) -> Path:
    """Figures or answers to be written."""
    return _written_as(text, ".json")


def jsonl_file(text: str) -> Path:
    """A ledger, which rows are added to."""
    return _written_as(text, ".jsonl")


def _written_as(text: str, ending: str) -> Path:
    """An `output_file` of one format, whose name claims no other."""
    path = output_file(text)
    if path.suffix.lower() not in ("", ending):
        raise argparse.ArgumentTypeError(
            f"{text}: this is written as {ending[1:].upper()} and nothing else: give a name that ends in {ending}"
        )
    return path


def output_folder(text: str) -> Path:
    """A folder that exists or can be made."""
    path = _path(text)
    for there in (path, *path.parents):
        if there.exists() and not there.is_dir():
            raise argparse.ArgumentTypeError(f"{text} cannot be a folder: {there} is a file")
    return path


def _number(text: str, least: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19) or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r:.60} is no whole number of at least {least}")
    return int(text)


def positive(text: str) -> int:
    """At least 1."""
    return _number(text, 1)


def count(text: str) -> int:
    """At least 0."""
    return _number(text, 0)


def whole(text: str) -> int:
    """A seed: from 0, as far as 31 bits go."""
    if not (text.isascii() and text.isdecimal() and len(text) < 11) or int(text) >= 1 << 31:
        raise argparse.ArgumentTypeError(f"{text!r:.60} is no whole number from 0 to {(1 << 31) - 1}")
    return int(text)


def port(text: str) -> int:
    """Of TCP; 0 stands for any that is free."""
    if not (text.isascii() and text.isdecimal() and len(text) < 6) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r:.60} is no port: give a number from 0 to 65535")
    return int(text)


def noise(text: str) -> float:
    """A standard deviation."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r:.60} is no standard deviation: give a number from 0")
    return value


def minutes(text: str) -> float:
    """A time, in minutes."""
    return _time(text, "minutes, such as 90 or 0.5")


def seconds(text: str) -> float:
    """A time, in seconds."""
    return _time(text, "seconds, such as 5 or 0.5")


def _between(text: str, end: float, what: str) -> float:
    """A number above 0 and below `end`; what: the word is not, otherwise, and what to give."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < end:
        raise argparse.ArgumentTypeError(f"{text!r:.60} is no {what}")
    return value


def _time(text: str, wanted: str) -> float:
    return _between(text, 1e6, f"time: give {wanted}")


def share(text: str) -> float:
    """Above 0 and below 1."""
    return _between(text, 1, "share: give a number between 0 and 1, such as 0.99")


def logit(text: str) -> float:
    """Any number that a q_halt may be compared with."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r:.60} is no logit: give a number such as 0 or 2.5")
    return value


def value_of(key: str) -> Callable[[str], str]:
    """A value of the configuration, as the word that sets it. One that is empty does not mean the default."""

    def word(text: str) -> str:
        if not text.strip():
            raise argparse.ArgumentTypeError(f"{text!r:.60} names nothing: leave it out for the experiment's own")
        return f"--config.{key}={text}"

    return word


def puzzles(text: str) -> str:
    """Tables or dataset folders. A word that is empty, as of a variable that is not set, does not mean the default."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{text!r:.60} names no puzzles: leave it out for the experiment's own")
    return text


def amounts(text: str) -> tuple[int, int]:
    """TRAIN or TRAIN,TEST."""
    train, _, test = text.partition(",")
    return positive(train), count(test or "0")


def low_high(text: str) -> tuple[int, int]:
    """LOW,HIGH."""
    low, _, high = text.partition(",")
    if not high:
        raise argparse.ArgumentTypeError(f"{text!r:.60} is no range: give LOW,HIGH, such as 22,34")
    return count(low), count(high)


def size(text: str) -> tuple[int, int]:
    """ROWSxCOLUMNS."""
    rows, _, columns = text.partition("x")
    if not columns:
        raise argparse.ArgumentTypeError(f"{text!r:.60} is no size: give ROWSxCOLUMNS, such as 30x30")
    return positive(rows), positive(columns)


def place(text: str) -> tuple[int, int]:
    """ROW,COLUMN of a cell, from 1."""
    row, comma, column = text.partition(",")
    if not comma:
        raise argparse.ArgumentTypeError(f"{text!r:.60} is no cell: give ROW,COLUMN, both from 1, such as 2,5")
    return positive(row), positive(column)


def box(text: str) -> str:
    """As `size`, but text again: what `sudoku.layout_from` reads."""
    rows, columns = size(text)
    return f"{rows}x{columns}"


def row(text: str) -> int:
    """What people call an example of a table or a dataset folder."""
    if text == "0":
        raise argparse.ArgumentTypeError(f"there is no row 0: {ROWS}")
    return positive(text)


def rows(text: str) -> list[int]:
    """Several, separated by commas."""
    return [row(part) for part in text.split(",")]


def positives(text: str) -> list[int]:
    """Numbers from 1, separated by commas."""
    return [positive(part) for part in text.split(",")]


def pflop(text: str) -> float:
    """1e15 operations."""
    return _between(text, 1e12, "number of 1e15 operations: give one such as 30 or 0.5")


def commit(text: str) -> str:
    """The whole name of a commit."""
    if len(text) != 40 or not set(text) <= set("0123456789abcdef"):
        raise argparse.ArgumentTypeError(f"{text!r:.60} is no commit: give all 40 digits")
    return text


def names(text: str) -> list[str]:
    """Separated by commas."""
    return [name for name in text.split(",") if name]


def columns(text: str) -> tuple[str, str]:
    """QUESTION,ANSWER, or QUESTION alone: then the answer has a usual name, or is not there."""
    names = text.split(",")
    if not all(names) or len(set(names)) < len(names) or len(names) > 2:
        raise argparse.ArgumentTypeError(f"{text!r:.60} are no two columns: give QUESTION,ANSWER")
    return names[0], (*names, "")[1]


def memory(text: str) -> int:
    """A size in bytes: 80GiB, 1.5GB."""
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r:.60} is no size: {error}") from None


def window(text: str) -> range:
    """Steps FIRST:LAST, both included."""
    first, _, last = text.partition(":")
    if not all(part.isascii() and part.isdecimal() and len(part) < 19 for part in (first, last)):
        raise argparse.ArgumentTypeError(f"{text!r:.60} is no FIRST:LAST, such as 100:110")
    if not 1 <= int(first) <= int(last):
        raise argparse.ArgumentTypeError(f"{text!r:.60}: the first step is at least 1, and the last no earlier")
    return range(int(first) - 1, int(last))


def address(text: str) -> str:
    """HOST:PORT."""
    if len(text) > 2 * _LONGEST_NAME:
        raise argparse.ArgumentTypeError(f"{text!r:.60} is too long for an address HOST:PORT")
    try:
        parse_address(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def load_experiment(arguments: Sequence[str]) -> Experiment:
    """The experiment that --config=FILE[:VARIANT] and --config.GROUP.KEY=VALUE name, validated.

    Raises:
      ConfigError: one line, naming the file or the key; typos with what was probably meant.
    """
    source, changes = experiment_words(arguments)
    try:
        config = files.read(source)
    except ConfigError as error:
        raise ConfigError(f"--config={error}") from error
    return files.changed(config, changes)


def config_help(arguments: Sequence[str]) -> str:
    """Every key of the experiment that words name, its value and its meaning, a line each; of none, the defaults.

    Raises:
      ConfigError: as `load_experiment`.
    """
    words = [word for word in arguments if word != CONFIG_HELP]
    return meanings.listed(load_experiment(words) if words else Experiment())


def workdir_of(experiment: Experiment) -> Path:
    """Where an experiment is trained if nobody says where: runs/NAME.

    Raises:
      ConfigError: its name is none for a folder.
    """
    name = experiment.name
    if name in ("", ".", "..") or Path(name).name != name or not name.isprintable():
        raise ConfigError(f"config.name = {name!r:.60} is no name for a folder: give --workdir")
    try:
        return output_folder(f"runs/{name}")
    except argparse.ArgumentTypeError as error:
        raise ConfigError(f"{error}: give --workdir") from None


def experiment_words(arguments: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The file that --config names, and the values that --config.GROUP.KEY=VALUE gives; nothing else may be there.

    A value may be a word of its own, and True be left out. Of a key that is given twice the last value counts.

    Raises:
      ConfigError: one line: none or several files, a key that is unknown, a value of another type.
    """
    sources: list[str] = []
    changes: dict[str, Any] = {}
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if name == "--config":
            sources.append(value if equals else next(words, ""))
        elif name.startswith("--config."):
            key = name.removeprefix("--config.")
            kind = wanted(key)
            if not equals:
                following = "True" if kind == "True or False" else next(words, None)
                if following is None:
                    raise ConfigError(f"config.{key} has no value: give {kind}")
                value = following
            changes[key] = mappings.value_of(key, value)
        else:
            raise ConfigError(f"unknown argument {word!r}: overrides are written --config.GROUP.KEY=VALUE")
    if len(sources) != 1:
        raise ConfigError("which experiment? give one --config=experiments/NAME.py")
    return sources[0], changes
