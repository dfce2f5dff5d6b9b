"""What an experiment consists of: frozen dataclasses, every value with its type, range and meaning.

An experiment file builds an ml_collections ConfigDict with these groups and names (experiments/sudoku_mlp.py is the one
to read); `experiment_from` turns it, or the JSON kept beside a checkpoint, into an `Experiment`, or raises a
ConfigError that names the key, the value and the mend. JAX is not imported here, so that a wrong value is told at once.
"""

import dataclasses
import math
import os.path
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trm_jax.errors import ConfigError, DataError, near_miss
from trm_jax.puzzles.kind import describe
from trm_jax.puzzles.sudoku import layout_for
from trm_jax.recursion.policies import POLICIES, Policy
from trm_jax.sizes import parse_bytes

Dtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class ModelConfig:
    """The network, the recursion over it, and when a puzzle counts as finished."""

    vocab_size: int = 0  # tokens 0 ... V-1; 0: from the data
    seq_len: int = 0  # cells S of a puzzle; 0: from the data
    num_puzzles: int = 0  # rows of the puzzle table; 0: from the data
    width: int = 512  # D
    heads: int = 8  # of the attention; unused by the MLP mixer
    expansion: float = 4.0  # inner width of a SwiGLU, before its two thirds
    layers: int = 2  # blocks of the network (of the latent network, where there are two)
    answer_layers: int = 0  # blocks of the answer network, where there are two; 0: as many as `layers`
    mixer: Literal["attention", "mlp"] = "attention"
    positions: Literal["rope", "learned", "none"] = "rope"
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    puzzle_dim: int = 512  # length R of a row of the puzzle table; 0: no table
    puzzle_tokens: int = 16  # P, positions in front of the cells; 0: as many as a row of the table fills
    states: Literal["y_z", "z", "y"] = "y_z"  # what recurses: TRM and HRM; single z; the one-pass baseline
    latents: int = 1  # K latents z_1 ... z_K
    separate_networks: bool = False  # one network for z and another for y
    latent_steps: int = 6  # n
    cycles: int = 3  # T
    grad_cycles: int = 1  # the last so many cycles carry gradients
    # "cycles": exact through grad_cycles; estimators within the last cycle: "one_step" (HRM's), "last_k", "implicit"
    # (recursion.Schedule)
    gradient: Literal["cycles", "one_step", "last_k", "implicit"] = "cycles"
    gradient_steps: int = 1  # of "last_k": gradients through the last k latent steps
    solver_tolerance: float = 1e-2  # of "implicit": the residual's norm over the gradient's, at which its solver ends
    solver_steps: int = 30  # of "implicit": products with the Jacobian, at most
    backprop_steps: int = 1  # supervision steps in each optimiser step, with gradients through all; divides N_sup
    supervision_steps: int = 16  # N_sup
    halt_by: Literal["q_halt", "q_continue"] = "q_halt"  # training halts at q_halt > 0, or at q_halt > q_continue
    exploration: float = 0.1  # share of rows that draw a minimum of supervision steps before they may halt
    dtype: Dtype = "bfloat16"  # of the computation; weights are float32

    @property
    def tokens_in_front(self) -> int:
        """P: as configured, or else as many positions as a row of the puzzle table fills (PARITY: ceil(R / D))."""
        return self.puzzle_tokens or -(-self.puzzle_dim // self.width)

    @property
    def positions_total(self) -> int:
        """L = P + S."""
        return self.tokens_in_front + self.seq_len


@dataclass(frozen=True)
class MemoryConfig:
    """What the backward pass keeps and what it computes again: memory and time, but no value beyond rounding.

    The names of policies are the keys of policies.POLICIES, and "auto" besides: the fastest that fits (planner.settle).
    """

    policy: str = "none"  # of latent steps: a key of POLICIES, or "auto", which sets the next three and raises slices
    levels: int = 2  # of "nested", at which states are kept
    repetitions: int = 2  # of "binomial": how often a step is advanced over at most, the forward pass included
    states: int = 0  # of "binomial": how many are kept, at least 2; 0: as few as the repetitions allow
    # A key of POLICIES, for cycles, and for supervision steps, where gradients go through several; with the same
    # numbers. "none": all of them keep at once what `policy` keeps in each.
    outer_policy: str = "none"
    micro_batches: int = 1  # the whole step goes over so many parts of the batch, one by one
    slices: int = 1  # each network application goes over so many parts of a (micro-)batch, one by one
    device_memory: str = ""  # what "auto" takes the device to have, as in "80GiB"; "": what it does have

    @property
    def step_policy(self) -> Policy:
        """Of the latent steps and the answer step."""
        return Policy(self.policy, self.levels, self.repetitions, self.states)

    @property
    def cycle_policy(self) -> Policy:
        """Of the cycles, and of the supervision steps."""
        return Policy(self.outer_policy, self.levels, self.repetitions, self.states)


@dataclass(frozen=True)
class DevicesConfig:
    """How the work is spread over devices and handed to them; no value depends on it beyond rounding."""

    data: int = 0  # devices that share each batch: the one axis of the mesh; 0: all that there are
    # On each device all weights, averages and moments; or on each a part, collected for every step.
    weights: Literal["replicated", "sharded"] = "replicated"
    steps_per_call: int = 1  # optimiser steps that the devices make in one go
    # Where puzzles lie: on every device; or on the host, from which batches are sent ahead. "auto": what fits.
    puzzles: Literal["auto", "resident", "streamed"] = "auto"
    attention: Literal["auto", "xla", "cudnn"] = "auto"  # plain, or fused; "auto": fused where the device can


@dataclass(frozen=True)
class LossConfig:
    """What is minimised: token loss + 0.5 * (halting loss + continue loss)."""

    tokens: Literal["stablemax", "softmax"] = "stablemax"
    continue_head: bool = False  # also train q_continue, by one more supervision step (paper, table 1: "w/ ACT")


@dataclass(frozen=True)
class OptimConfig:
    """AdamATan2 on the weights, sign-SGD on the puzzle table, and the averaged weights."""

    learning_rate: float = 1e-4
    warmup_steps: int = 2_000
    min_ratio: float = 1.0  # of the rate at the end of the cosine; 1: constant after the warm-up
    beta1: float = 0.9
    beta2: float = 0.95
    weight_decay: float = 0.1
    atan2_form: Literal["original", "debiased"] = "original"  # debiased: 1.27 * atan2 of both corrected moments
    puzzle_learning_rate: float = 1e-2
    puzzle_weight_decay: float = 0.1
    ema_decay: float = 0.999


@dataclass(frozen=True)
class DataConfig:
    """Where puzzles come from: tables (CSV or JSONL: question, answer), or folders in the public dataset format."""

    puzzle: str = ""  # sudoku, maze, arc, tokens, or a JSON description (puzzles/kind.py); "": as the data says
    train: str = ""  # path, several with commas between, or "generated"
    test: str = ""  # likewise; "": no evaluation while training
    augment: bool = False  # each time a puzzle is drawn, a random symmetry of its kind is applied to it
    # Of ARC: coloured and turned forms of each task, drawn as they are needed, each with a puzzle id; 0: those stored
    forms: int = 0
    side: int = 9  # of generated Sudokus
    train_puzzles: int = 0  # how many to generate
    test_puzzles: int = 0  # how many to generate, or to read at most (0: all)


@dataclass(frozen=True)
class TrainConfig:
    """How long, how many at once, and what is told and kept on the way. Intervals count steps; 0: never."""

    steps: int = 1
    batch_size: int = 768
    seed: int = 0
    log_every: int = 100
    eval_every: int = 0
    eval_batch_size: int = 768
    save_every: int = 1_000
    keep_checkpoints: int = 2
    bad_steps: int = 10  # steps in a row with non-finite numbers, at which the run ends


@dataclass(frozen=True)
class Experiment:
    """One experiment, whole: what the file under experiments/ says and a checkpoint keeps."""

    name: str = "unnamed"
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    memory: MemoryConfig = dataclasses.field(default_factory=MemoryConfig)
    devices: DevicesConfig = dataclasses.field(default_factory=DevicesConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)


# Closed intervals; a strict bound is written as the nearest sensible value.
_RANGES: dict[str, tuple[float, float]] = {
    "model.vocab_size": (0, 1 << 20),
    "model.seq_len": (0, 1 << 20),
    "model.num_puzzles": (0, 1 << 31),
    "model.width": (1, 1 << 16),
    "model.heads": (1, 1 << 12),
    "model.expansion": (1e-3, 64),
    "model.layers": (1, 1 << 10),
    "model.answer_layers": (0, 1 << 10),
    "model.rope_theta": (1, 1e12),
    "model.norm_eps": (1e-12, 1),
    "model.puzzle_dim": (0, 1 << 20),
    "model.puzzle_tokens": (0, 1 << 14),
    "model.latents": (1, 1 << 10),
    "model.latent_steps": (1, 1 << 24),
    "model.cycles": (1, 1 << 24),
    "model.grad_cycles": (1, 1 << 24),
    "model.gradient_steps": (1, 1 << 24),
    "model.solver_tolerance": (1e-12, 1),
    "model.solver_steps": (1, 1 << 20),
    "model.backprop_steps": (1, 1 << 20),
    "model.supervision_steps": (1, 1 << 20),
    "model.exploration": (0, 1),
    "memory.levels": (1, 64),
    "memory.repetitions": (1, 1 << 10),
    "memory.states": (0, 1 << 24),
    "memory.micro_batches": (1, 1 << 24),
    "memory.slices": (1, 1 << 24),
    "devices.data": (0, 1 << 20),
    "devices.steps_per_call": (1, 1 << 20),
    "optim.learning_rate": (0, 1e3),
    "optim.warmup_steps": (0, 1 << 40),
    "optim.min_ratio": (0, 1),
    "optim.beta1": (0, 0.999999),
    "optim.beta2": (0, 0.999999),
    "optim.weight_decay": (0, 1e3),
    "optim.puzzle_learning_rate": (0, 1e3),
    "optim.puzzle_weight_decay": (0, 1e3),
    "optim.ema_decay": (0, 0.9999999),
    "data.forms": (0, 1 << 20),
    "data.side": (4, 25),
    "data.train_puzzles": (0, 1 << 31),
    "data.test_puzzles": (0, 1 << 31),
    "train.steps": (1, 1 << 40),
    "train.batch_size": (1, 1 << 24),
    "train.seed": (0, (1 << 31) - 1),
    "train.log_every": (1, 1 << 40),
    "train.eval_every": (0, 1 << 40),
    "train.eval_batch_size": (1, 1 << 24),
    "train.save_every": (0, 1 << 40),
    "train.keep_checkpoints": (1, 1 << 20),
    "train.bad_steps": (1, 1 << 20),
}


def experiment_from(values: Mapping[str, Any]) -> Experiment:
    """Builds and validates an experiment from nested mappings (a ConfigDict's `to_dict()`, or parsed JSON).

    Raises:
      ConfigError: unknown key (with the nearest known one), wrong type, out of range, or two values at odds.
    """
    experiment = _build(Experiment, values, "")
    validate(experiment)
    return experiment


def to_dict(experiment: Experiment) -> dict[str, Any]:
    """Nested plain dictionaries, ready for JSON; `experiment_from` reads them back."""
    return dataclasses.asdict(experiment)


def differences(old: Experiment, new: Experiment) -> list[str]:
    """The keys in which two experiments differ, each as `group.key: old -> new`."""
    flat_old, flat_new = _flatten(to_dict(old)), _flatten(to_dict(new))
    return [f"{key}: {flat_old[key]!r} -> {flat_new[key]!r}" for key in flat_old if flat_old[key] != flat_new[key]]


def validate(experiment: Experiment) -> None:
    """Checks every range and every rule between values. Raises ConfigError for the first that does not hold."""
    flat = _flatten(to_dict(experiment))
    for key, (low, high) in _RANGES.items():
        if not low <= flat[key] <= high:  # also false for nan
            raise ConfigError(f"config.{key} = {flat[key]!r} is out of range: give a value from {low} to {high}")
    model, memory, data, train = experiment.model, experiment.memory, experiment.data, experiment.train
    calls = experiment.devices.steps_per_call
    for name, known in (("policy", ("auto", *POLICIES)), ("outer_policy", tuple(POLICIES))):
        if (value := getattr(memory, name)) not in known:
            raise ConfigError(f"config.memory.{name} = {value!r} is unknown: {near_miss(value, known)}")
    try:
        if memory.device_memory:
            parse_bytes(memory.device_memory)
    except ValueError as error:
        raise ConfigError(f"config.memory.device_memory = {memory.device_memory!r} is no size: {error}") from None
    try:
        if data.puzzle:
            describe(data.puzzle)
    except DataError as error:
        raise ConfigError(f"config.data.puzzle = {data.puzzle!r}: {error}") from None
    try:
        if "generated" in (data.train, data.test):
            layout_for(data.side)
    except DataError as error:
        raise ConfigError(f"config.data.side = {data.side}: {error}") from None
    for broken, message in (
        (
            model.mixer == "attention" and model.width % model.heads,
            f"config.model.heads = {model.heads} does not divide config.model.width = {model.width}: change either",
        ),
        (
            model.mixer == "attention" and model.positions == "rope" and (model.width // model.heads) % 2,
            f"config.model.positions = 'rope' needs an even head width, not {model.width} / {model.heads}: "
            "change config.model.heads",
        ),
        (
            model.grad_cycles > model.cycles,
            f"config.model.grad_cycles = {model.grad_cycles} is more than config.model.cycles = {model.cycles}: "
            "lower it",
        ),
        (
            model.gradient != "cycles" and model.grad_cycles != 1,
            f"config.model.grad_cycles = {model.grad_cycles}, but config.model.gradient = {model.gradient!r} estimates "
            "the gradient within the last cycle: set it to 1",
        ),
        (
            model.gradient == "last_k" and model.gradient_steps > model.latent_steps,
            f"config.model.gradient_steps = {model.gradient_steps} is more than config.model.latent_steps = "
            f"{model.latent_steps}: lower it",
        ),
        (
            model.gradient in ("last_k", "implicit") and model.states == "y",
            f"config.model.gradient = {model.gradient!r} needs a latent, and config.model.states = 'y' has none: "
            "set config.model.gradient = 'cycles'",
        ),
        (
            model.backprop_steps > 1 and (model.gradient != "cycles" or model.grad_cycles != model.cycles),
            f"config.model.backprop_steps = {model.backprop_steps} needs gradients through every cycle: set it to 1, "
            f"or config.model.gradient = 'cycles' and config.model.grad_cycles = {model.cycles}",
        ),
        (
            model.supervision_steps % model.backprop_steps,
            f"config.model.backprop_steps = {model.backprop_steps} does not divide config.model.supervision_steps = "
            f"{model.supervision_steps}: change either",
        ),
        (
            "binomial" in (memory.policy, memory.outer_policy) and memory.states == 1,
            "config.memory.states = 1, but a chain of steps cannot be reversed with one state: give at least 2, or 0",
        ),
        (
            train.batch_size % memory.micro_batches,
            f"config.memory.micro_batches = {memory.micro_batches} does not divide config.train.batch_size = "
            f"{train.batch_size}: change either",
        ),
        (
            train.batch_size // memory.micro_batches % memory.slices,
            f"config.memory.slices = {memory.slices} does not divide the {train.batch_size // memory.micro_batches} "
            f"rows of a {'micro-' if memory.micro_batches > 1 else ''}batch: change it, or config.train.batch_size",
        ),
        (
            memory.slices > 1 and memory.policy == "dots",
            f"config.memory.slices = {memory.slices} keeps only what a network application begins with, and "
            "config.memory.policy = 'dots' keeps its products: set slices to 1, or policy to 'step'",
        ),
        (
            model.states != "y_z" and model.latents != 1,
            f"config.model.latents = {model.latents} needs config.model.states = 'y_z', not {model.states!r}",
        ),
        (
            model.states == "z" and model.separate_networks,
            "config.model.separate_networks = True needs a y to have a network of its own: "
            "set config.model.states = 'y_z'",
        ),
        (
            model.answer_layers and not (model.separate_networks or model.states == "y"),
            f"config.model.answer_layers = {model.answer_layers} is for two networks: "
            "set config.model.separate_networks = True, or it to 0",
        ),
        (
            model.puzzle_dim > model.tokens_in_front * model.width,
            f"config.model.puzzle_dim = {model.puzzle_dim} does not fit into {model.tokens_in_front} puzzle tokens of "
            f"width {model.width}: raise config.model.puzzle_tokens, or set it to 0",
        ),
        (
            model.halt_by == "q_continue" and not experiment.loss.continue_head and model.states != "y",
            "config.model.halt_by = 'q_continue' needs that head to be trained: set config.loss.continue_head = True",
        ),
        (
            data.puzzle == "tokens" and data.augment,
            f"config.data.augment = True, but {data.puzzle!r} has no symmetries to draw: set it to False",
        ),
        (
            data.forms and data.puzzle and describe(data.puzzle)["kind"] != "arc",
            f"config.data.forms = {data.forms} turns ARC tasks, but config.data.puzzle = {data.puzzle!r}: set it to 0",
        ),
        (
            data.augment and data.side == 4 and data.test == "generated",
            "config.data.augment = True turns the 288 solutions of 4x4 into each other, held-out ones too: set False",
        ),
        (
            "generated" in (data.train, data.test) and data.puzzle != "sudoku",
            f"config.data.puzzle = {data.puzzle!r} cannot be generated: set it to 'sudoku', or give paths in "
            "config.data.train and config.data.test",
        ),
        (
            data.train == "generated" and data.train_puzzles < 1,
            "config.data.train_puzzles = 0, but config.data.train = 'generated': give at least 1",
        ),
        (
            data.test == "generated" and data.test_puzzles < 1,
            "config.data.test_puzzles = 0, but config.data.test = 'generated': give at least 1",
        ),
        *(
            (
                "generated" in (data.train, data.test) and stated not in (0, found),
                f"config.model.{name} = {stated}, but the puzzles have {found}, as config.data.side = {data.side}: set "
                f"it to {found}, or to 0",
            )
            for name, stated, found in (
                ("vocab_size", model.vocab_size, data.side + 2),
                ("seq_len", model.seq_len, data.side**2),
            )
        ),
        (
            train.eval_every and not data.test,
            f"config.train.eval_every = {train.eval_every} needs puzzles to evaluate on: give config.data.test, or 0",
        ),
        (
            experiment.devices.data and train.batch_size % experiment.devices.data,
            f"config.train.batch_size = {train.batch_size} cannot be shared by config.devices.data = "
            f"{experiment.devices.data} devices: change either",
        ),
        *(
            (
                every % calls,
                f"config.train.{name} = {every} is no multiple of config.devices.steps_per_call = {calls}, between "
                "which nothing can be told or saved: change either",
            )
            for name in ("log_every", "eval_every", "save_every")
            for every in (getattr(train, name),)
        ),
    ):
        if broken:
            raise ConfigError(message)


def check_sources(data: DataConfig) -> None:
    """Raises ConfigError where a file or folder of puzzles is not there. What is in it is checked when it is read."""
    if not data.train:
        raise ConfigError(
            "config.data.train = '' names no puzzles: give a table or a dataset folder, or 'generated' for Sudokus"
        )
    for split, source in (("train", data.train), ("test", data.test)):
        for name in source.split(",") if source not in ("", "generated") else ():
            if not os.path.exists(name):
                raise ConfigError(
                    f"config.data.{split} = {source!r}: there is no file or folder {name!r}: give a table, a dataset "
                    "folder, or 'generated'"
                )
            if os.path.isdir(name) and not os.path.exists(os.path.join(name, split, "dataset.json")):
                raise ConfigError(
                    f"config.data.{split} = {source!r}: {name!r} has no {split}/dataset.json: give a folder that "
                    "`trm data` has built"
                )


def wanted(key: str) -> str:
    """What the value of a key such as "model.width" has to be, in words. Raises ConfigError if there is no such key."""
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
    return _in_words(hint)


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
