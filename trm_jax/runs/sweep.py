"""The plan of a sweep: the points at which an experiment is trained, what each costs, and the folder that they share.

Nothing is run here: points.py does that.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from functools import cache
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

from trm_jax.config import DataConfig, Experiment, ModelConfig, check_sources, config_hash
from trm_jax.config.files import experiment, source_of
from trm_jax.config.mappings import value_of
from trm_jax.data import dataset, puzzle_set
from trm_jax.data.fit import resolve
from trm_jax.errors import ConfigError, DataError, first_line, together
from trm_jax.model.estimate import mean_step_flops
from trm_jax.runs.lock import FILE as LOCK
from trm_jax.runs.writers import write_whole

# In the folder of a sweep.
FILE = "sweep.json"
SEED = "train.seed"
# What a sweep that was killed at its very start may leave.
_OURS = (LOCK, f"{FILE}.tmp")
# Of what differs in no switch and in no value.
BASELINE = "baseline"

_MOST_POINTS = 10_000
_PFLOP = 1e15
_STEPS = "train.steps"
# The switches of a turn are joined by "+", which may also stand in a value, as in 1e+3 or within a curriculum.
_JOINED = re.compile(r"\+(?=\w+\.[\w.]+=)")
# Text that is a part of a folder's name as it is, also where capitals do not count.
_PLAIN = re.compile("[a-z0-9][a-z0-9._]*")
_LONGEST_NAME = 100


@dataclass(frozen=True)
class Point:
    """One experiment of a sweep.

    name: says what differs, and is the name of its folder.
    over: values of the keys that are gone through. turn: of the switches that are turned; empty at a baseline.
    steps, flops_per_step: of its training; of a curriculum, on average.
    searches: whether its model carries candidates and is evaluated by a search.
    """

    name: str
    over: Mapping[str, Any]
    turn: Mapping[str, Any]
    steps: int
    flops_per_step: int
    searches: bool

    @property
    def flops(self) -> int:
        """Operations of its training."""
        return self.steps * self.flops_per_step


@dataclass(frozen=True)
class Asked:
    """How points are evaluated; None, "" and () leave it to `trm eval`.

    puzzles: tables or dataset folders. steps: supervision steps. calls, chains, seconds: of a search.
    """

    puzzles: str = ""
    steps: tuple[int, ...] = ()
    calls: int | None = None
    chains: int | None = None
    seconds: float | None = None
    limit: int | None = None

    def words(self, searches: bool) -> list[str]:
        """Arguments of `trm eval`, for a model that searches or one that does not."""
        steps = {"steps": ",".join(map(str, self.steps)) or None}
        search = {"calls": self.calls, "chains": self.chains, "seconds": self.seconds}
        told = {"limit": self.limit} | (search if searches else steps)
        named = [self.puzzles] if self.puzzles else []
        return [*named, *(f"--{name}={value}" for name, value in told.items() if value is not None)]


@dataclass(frozen=True)
class Plan:
    """A sweep.

    source, changes: the experiment's file, and what is changed in it at every point.
    file: hash of what the file says.
    pflop: until which each point trains; None: as many steps as the experiment says.
    points: in the order in which they were asked for.
    """

    source: str
    changes: Mapping[str, Any]
    file: str
    pflop: float | None
    asked: Asked
    points: tuple[Point, ...] = field(repr=False)

    def cheapest_first(self) -> list[Point]:
        """The order in which they are run, so that a sweep that is not done has the most rows."""
        return sorted(self.points, key=lambda point: point.flops)

    def overrides(self, point: Point) -> dict[str, Any]:
        """All that differs from the file at a point."""
        steps = {} if self.pflop is None else {_STEPS: point.steps}
        return {**self.changes, **point.over, **point.turn, **steps}

    def _head(self) -> dict[str, Any]:
        told = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("asked", "points")}
        return told | {f"eval {name}": value for name, value in asdict(self.asked).items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        told = {point.name: {"over": point.over, "turn": point.turn, "steps": point.steps} for point in self.points}
        plain: dict[str, Any] = json.loads(json.dumps(self._head() | {"points": told}))
        return plain


def plan(
    source: str,
    changes: Mapping[str, Any],
    over: Sequence[str],
    turns: Sequence[str],
    pflop: float | None = None,
    asked: Asked = Asked(),
) -> Plan:
    """Reads a sweep, and counts what it costs.

    Args:
      source, changes: as for `files.experiment`.
      over: texts KEY=VALUE,VALUE; every combination of their values is a baseline.
      turns: texts KEY=VALUE or KEY=VALUE+KEY=VALUE; each is turned by itself at every baseline.
      pflop: 1e15 operations of training, of which each point makes as many steps as come nearest; None: its own steps.
      asked: how points are evaluated.

    Raises:
      ConfigError: one line: a key or a value that cannot be, alone or together with others, at a point that it names;
        points that are the same; none, or too many; no puzzles; an experiment that the ledger could not name.
      DataError: sizes are left to the data, and it cannot be read.
    """
    values, switches = _over(over, changes), [_turn(text) for text in turns]
    if not values and not switches:
        raise ConfigError("nothing to go through: give --over KEY=VALUE,VALUE or --turn KEY=VALUE")
    for text, turn in zip(turns, switches, strict=True):
        if both := turn.keys() & values.keys():
            raise ConfigError(f"--turn {text}: {min(both)} is in --over already: leave it out of one")
    if pflop is not None and any(_STEPS in keys for keys in (changes, values, *switches)):
        raise ConfigError(f"--pflop says how many steps there are: leave {_STEPS} out")
    number = math.prod(map(len, values.values())) * (1 + len(switches))
    if number > _MOST_POINTS:
        raise ConfigError(f"{number:,} points: a sweep has at most {_MOST_POINTS:,}: give fewer values")
    found: dict[Experiment, Point] = {}
    for combination in product(*values.values()):
        gone = dict(zip(values, combination, strict=True))
        for turn in ({}, *switches):
            name = name_of(gone | turn)
            try:
                made = experiment(source, {**changes, **gone, **turn})
                check_sources(made.data)
            except ConfigError as error:
                raise ConfigError(f"point {name}: {error}") from None
            if made in found:
                raise ConfigError(f"points {found[made].name} and {name} are the same experiment: leave one out")
            found[made] = _point(name, gone, turn, made, pflop)
    for made in {made.name: made for made in found}.values():
        source_of(made)  # or no row could be made of it
    _check_asked(asked, found)
    return Plan(source, changes, config_hash(experiment(source)), pflop, asked, tuple(found.values()))


def name_of(different: Mapping[str, Any]) -> str:
    """A folder's name for what differs, as latent_steps-4+seed-0: the same in every sweep."""
    parts = [f"{short(key)}-{_part(value)}" for key, value in different.items()]
    name = "+".join(parts) or BASELINE
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 9]}-{_digest(name, 8)}"


def short(key: str) -> str:
    """A key without its group, unless another group has one of that name."""
    name = key.rpartition(".")[2]
    return name if _names().count(name) == 1 else key


def claim(workdir: Path, plan: Plan) -> None:
    """Makes a folder that of a sweep, if it is none yet; what is planned may be more than what was.

    Raises:
      ConfigError: it is the folder of another sweep, or of something else. DataError: it does not tell.
    """
    check(workdir, plan)
    workdir.mkdir(parents=True, exist_ok=True)
    write_whole(workdir / FILE, (json.dumps(plan.to_dict(), indent=1) + "\n").encode())


def check(workdir: Path, plan: Plan) -> None:
    """Raises as `claim` does, and writes nothing."""
    path = workdir / FILE
    if not path.exists():
        if workdir.is_dir() and any(each.name not in _OURS for each in workdir.iterdir()):
            raise ConfigError(f"--workdir={workdir} holds something else than a sweep: give a folder of its own")
        return
    try:
        before = json.loads(path.read_bytes())
        points = before.pop("points")
    except (OSError, ValueError, RecursionError, AttributeError, KeyError, TypeError) as error:
        raise DataError(f"{path}: no plan of a sweep ({first_line(error)}): give another --workdir") from None
    now = plan.to_dict()
    planned = now.pop("points")
    faults = [f"{key}: {before.get(key)!r:.60} -> {now.get(key)!r:.60}" for key in now if before.get(key) != now[key]]
    faults += [f"without point {name!r:.60}" for name in points if planned.get(name) != points[name]]
    if faults:
        raise ConfigError(
            f"--workdir={workdir} belongs to another sweep; these differ: {together(faults)}: use those, or give "
            "another --workdir (more points may be added)"
        )


def _over(texts: Iterable[str], changes: Mapping[str, Any]) -> dict[str, list[Any]]:
    values: dict[str, list[Any]] = {}
    for text in texts:
        key, several = _pair("--over", text)
        if key in values:
            raise ConfigError(f"--over {text}: {key} is there twice: give all its values at once")
        if key in changes:
            raise ConfigError(f"--over {text}: --config.{key} is given too: leave it out")
        values[key] = [_value("--over", key, one) for one in several.split(",")]
        most, times = Counter(values[key]).most_common(1)[0]
        if times > 1:
            raise ConfigError(f"--over {text}: {most} is there twice: leave one out")
    return values


def _turn(text: str) -> dict[str, Any]:
    turned: dict[str, Any] = {}
    for part in _JOINED.split(text):
        key, value = _pair("--turn", part)
        if key in turned:
            raise ConfigError(f"--turn {text}: {key} is there twice: leave one out")
        turned[key] = _value("--turn", key, value)
    return turned


def _pair(flag: str, text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"{flag} {text}: give {flag} KEY=VALUE, as in {flag} optim.learning_rate=0.001")
    return key, value


def _value(flag: str, key: str, text: str) -> Any:
    try:
        return value_of(key, text)
    except ConfigError as error:
        raise ConfigError(f"{flag}: {error}") from None


def _point(name: str, gone: Mapping[str, Any], turn: Mapping[str, Any], made: Experiment, pflop: float | None) -> Point:
    flops = _flops_per_step(_costly(made))
    steps = made.train.steps if pflop is None else max(1, round(pflop * _PFLOP / flops))
    return Point(name, gone, turn, steps, flops, made.model.states == "candidates")


def _costly(made: Experiment) -> Experiment:
    """What the operations of a step depend on, and nothing else: points that differ in a seed are counted once."""
    usual = Experiment()
    data = made.data if _waits_for_data(made.model) else usual.data
    train = replace(usual.train, batch_size=made.train.batch_size, curriculum=made.train.curriculum)
    return replace(usual, model=made.model, memory=made.memory, loss=made.loss, data=data, train=train)


@cache
def _flops_per_step(costly: Experiment) -> int:
    if _waits_for_data(costly.model):
        costly = resolve(costly, _puzzles(costly.data))
    return mean_step_flops(costly)


def _waits_for_data(model: ModelConfig) -> bool:
    """Whether operations depend on sizes, or on a kind of puzzle, that an experiment leaves to the data."""
    return not (model.seq_len and model.vocab_size and (model.puzzle or not model.needs_puzzle))


@cache
def _puzzles(data: DataConfig) -> puzzle_set.PuzzleSet:
    """Of which only the sizes count, which are the same with every seed."""
    return dataset.load(data, "train", 0)


def _check_asked(asked: Asked, points: Mapping[Experiment, Point]) -> None:
    """Raises ConfigError where an evaluation has no puzzles, or was given what no point takes."""
    if not asked.puzzles and (without := [point.name for made, point in points.items() if not made.data.test]):
        raise ConfigError(f"point {without[0]} has no held-out puzzles: give --eval, or config.data.test")
    for name in asked.puzzles.split(",") if asked.puzzles else ():
        if not Path(name).exists():
            raise ConfigError(f"--eval={asked.puzzles}: there is no file or folder {name!r}")
    search = {"--calls": asked.calls, "--chains": asked.chains, "--seconds": asked.seconds}
    of_search = [flag for flag, value in search.items() if value is not None]
    given = {True: of_search, False: ["--eval-steps"] if asked.steps else []}
    for searches, flags in given.items():
        if flags and not any(point.searches is searches for point in points.values()):
            who = "no point of this sweep" if searches else "every point of this sweep"
            raise ConfigError(f"{flags[0]}: {who} searches (config.model.states = 'candidates'): leave it out")


def _part(value: Any) -> str:
    """A value as a part of a folder's name; what cannot stand there is told apart by a hash."""
    if not isinstance(value, str):
        return str(value).lower()
    if _PLAIN.fullmatch(value):
        return value
    return f"{re.sub('[^a-z0-9._]+', '-', value.lower()).strip('-.')}-{_digest(value, 6)}"


def _digest(text: str, digits: int) -> str:
    return sha256(text.encode()).hexdigest()[:digits]


@cache
def _names() -> list[str]:
    return list(_keys(Experiment()))


def _keys(group: Any) -> Iterator[str]:
    """The names of all values, without their groups."""
    for each in fields(group):
        value = getattr(group, each.name)
        if is_dataclass(value):
            yield from _keys(value)
        else:
            yield each.name
