"""Experiments from nested mappings, and back: every key known, every value of its type, every rule kept."""

import dataclasses
import json
import math
import typing
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Literal

from trm_jax.config.rules import validate
from trm_jax.config.values import Experiment
from trm_jax.errors import ConfigError, near_miss

# How a truth is written as a word.
_TRUTH = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
_READ: dict[Any, Callable[[str], Any]] = {int: int, float: float, bool: lambda text: _TRUTH[text.lower()]}


def experiment_from(values: Mapping[str, Any]) -> Experiment:
    """Builds and validates an experiment from nested mappings (a ConfigDict's `to_dict()`, or parsed JSON).

    Raises:
      ConfigError: unknown key (with the nearest known one), wrong type, out of range, or two values at odds.
    """
    experiment: Experiment = _build(Experiment, values, "")
    validate(experiment)
    return experiment


def to_dict(experiment: Experiment) -> dict[str, Any]:
    """Nested plain dictionaries, ready for JSON; `experiment_from` reads them back."""
    return dataclasses.asdict(experiment)


def flat(experiment: Experiment) -> dict[str, Any]:
    """Every value by its key, such as "model.width"."""
    return _flatten(to_dict(experiment))


def config_hash(experiment: Experiment) -> str:
    """SHA-256 of every value but where puzzles and weights lie, and under which columns.

    A value that is the default counts as absent, so that a key that later versions add leaves the hash as it was.
    """
    usual = flat(Experiment())
    places = ("data.train", "data.test", "data.columns", "init.source", "init.names")
    own = {k: v for k, v in flat(experiment).items() if v != usual[k] and k not in places}
    return sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()


def differences(old: Experiment, new: Experiment) -> list[str]:
    """The keys in which two experiments differ, each as `group.key: old -> new`."""
    flat_old, flat_new = flat(old), flat(new)
    return [f"{key}: {flat_old[key]!r} -> {flat_new[key]!r}" for key in flat_old if flat_old[key] != flat_new[key]]


def wanted(key: str) -> str:
    """What the value of a key such as "model.width" has to be, in words. Raises ConfigError if there is no such key."""
    return _in_words(_hint(key))


def value_of(key: str, text: str) -> Any:
    """The value that a text means as that of a key such as "model.width"; whether it keeps the rules is not asked.

    Raises:
      ConfigError: no such key, or a text that is no value of its type.
    """
    hint = _hint(key)
    try:
        return _READ.get(hint, str)(text)
    except (ValueError, KeyError):
        raise ConfigError(f"config.{key} = {text!r}: give {_in_words(hint)}") from None


def _hint(key: str) -> Any:
    hint: Any = Experiment
    path = "config"
    for name in key.split("."):
        if not dataclasses.is_dataclass(hint):
            raise ConfigError(f"config.{key} is unknown: {path} is one value, not a group")
        hints = typing.get_type_hints(hint)
        if name not in hints:
            raise ConfigError(f"{path}.{name} is unknown: {near_miss(name, hints)}")
        path, hint = f"{path}.{name}", hints[name]
    if dataclasses.is_dataclass(hint):
        raise ConfigError(f"{path} is a group of values: give {path}.KEY=VALUE")
    return hint


def _build(cls: type, values: Any, path: str) -> Any:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{f'config.{path}'[:-1]} = {values!r} is one value: give a group of values")
    hints = typing.get_type_hints(cls)
    for key in values:
        if key not in hints:
            raise ConfigError(f"config.{path}{key} is unknown: {near_miss(str(key), hints)}")
    built = {}
    for key, value in values.items():
        hint = hints[key]
        build = _build if dataclasses.is_dataclass(hint) else _checked
        built[key] = build(hint, value, f"{path}{key}." if build is _build else f"{path}{key}")
    return cls(**built)


def _checked(hint: Any, value: Any, path: str) -> Any:
    """The value, if it is of the hinted type; an int passes for a float, a bool never for a number."""
    if typing.get_origin(hint) is Literal:
        choices = typing.get_args(hint)
        if not isinstance(value, str) or value not in choices:
            raise ConfigError(f"config.{path} = {value!r} is unknown: give {_in_words(hint)}")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError:
            value = math.inf if value > 0 else -math.inf
    if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        raise ConfigError(f"config.{path} = {value!r} is of type {type(value).__name__}: give {_in_words(hint)}")
    if hint is float and math.isnan(value):
        raise ConfigError(f"config.{path} = nan: give a number")
    return value


def _in_words(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return f"one of {', '.join(map(repr, typing.get_args(hint)))}"
    return {int: "a whole number", float: "a number", bool: "True or False", str: "text"}[hint]


def _flatten(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flatten(value, f"{path}{key}.") if isinstance(value, Mapping) else {path + key: value}
    return flat
