"""Reads what is said to the command `trm`, by the words of its commands (trm_jax/commands/words)."""

import argparse
import re
import shlex
from collections.abc import Sequence
from typing import Any, NoReturn

from trm_jax.commands import arguments
from trm_jax.commands.words import answering, datasets, ledger, models, training
from trm_jax.errors import ConfigError, near_miss
from trm_jax.version import VERSION

# What may begin with - besides a puzzle, which has at least four cells: options, and the numbers that these take.
_OPTION = re.compile(r"-h$|--[a-z][a-z.-]*(=|$)")
_NUMBER = re.compile(r"-[0-9.]+(e[-+]?[0-9]+)?")
_SHORTEST, _LONGEST_NUMBER = 4, 16
# What about an experiment is read by `arguments.load_experiment`.
_ABOUT_EXPERIMENT = re.compile(r"--config(\.[^=]*)?(=|$)", re.DOTALL)
# Groups of commands; alone, each prints its help, as `trm` does.
_GROUPS: tuple[list[str], ...] = ([], ["data"], ["ledger"])


def parse(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """What is asked for, and the words that are left, which describe an experiment (`arguments.load_experiment`).

    Returns:
      A namespace whose `command` is the name of a command, such as "train" or "data sudoku", with its arguments, and
      `said` all that was said; and the words about an experiment, of a command that takes one.

    Raises:
      ConfigError: one line, for words that mean nothing.
    """
    words = list(words)
    if words in _GROUPS:
        words.append("--help")
    said = shlex.join(["trm", *words])
    if words[:2] == ["eval", "arc-score"]:
        words[:2] = ["eval arc-score"]
    # argparse takes no puzzle that begins with a dash, and any other only right behind the checkpoint.
    named = [word for word in words if _is_puzzle(word)] if words[:1] == ["solve"] else []
    args, rest = _parser().parse_known_args([word for word in words if word not in (named and [*named, "--"])])
    args.said = said
    if words[:1] == ["solve"]:
        named += [word for word in rest if not word.startswith("--")]
        rest = [word for word in rest if word.startswith("--") and word != "--"]
    if rest and not args.takes_config:
        raise ConfigError(f"unknown argument {rest[0]!r}: `trm {args.command} --help` tells what it takes")
    if named:
        if len(named) > 1 or args.puzzle is not None:
            raise ConfigError("several puzzles are named: write them into a file, one a line, and name that")
        args.puzzle = named[0]
    return args, rest


def _is_puzzle(word: str) -> bool:
    """Whether a word that begins as an option does is a puzzle whose first blank is written so."""
    if not word.startswith("-") or len(word) < _SHORTEST or _OPTION.match(word):
        return False
    return len(word) >= _LONGEST_NUMBER or not _NUMBER.fullmatch(word)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others, and name the option that is near to an unknown one."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As always, but options that nobody knows are told here, where it is known which there are."""
        words = list(args or ())
        if words[:1] and self._subparsers is not None:
            self._check(words[:1])
        if self.get_default("takes_config") and arguments.CONFIG_HELP in words:
            for action in self._actions:  # help comes before what is missing
                action.required = False
        found, rest = super().parse_known_args(words, namespace)
        self._check(rest)
        return found, rest

    def _check(self, words: Sequence[str]) -> None:
        for word in words:
            name = word.partition("=")[0]
            if _OPTION.match(word) and name not in self._option_string_actions and not self._is_ours(word):
                known = [option for option in self._option_string_actions if option.startswith("--")]
                known += ["--config"] if self.get_default("takes_config") else []
                raise ConfigError(f"unknown option {name}: {near_miss(name, known)} (see `{self.prog} --help`)")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            near = near_miss(value, list(action.choices))
            raise ConfigError(f"unknown command {value!r:.60}: {near} (see `{self.prog} --help`)")
        super()._check_value(action, value)

    def _is_ours(self, word: str) -> bool:
        """Whether a word is about an experiment, of a command that takes one."""
        takes_config = self.get_default("takes_config")
        return takes_config is not False and bool(_ABOUT_EXPERIMENT.match(word))

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (see `{self.prog} --help`)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="trm",
        description="Tiny Recursive Models in JAX: train, evaluate, solve, compare.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"trm_jax {VERSION}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    for group in (training, datasets, answering, models, ledger):
        group.add(commands)
    return parser
