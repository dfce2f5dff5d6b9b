"""What an experiment consists of: frozen dataclasses, every value with its type and meaning."""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from trm_jax.config.mixers import mixer
from trm_jax.errors import ConfigError, DataError
from trm_jax.puzzles.kinds import kind_of, units_of
from trm_jax.puzzles.units import Units
from trm_jax.recursion.policies import Policy

Dtype = Literal["float32", "bfloat16"]
# What the weights of a model consist of: the networks with the vectors from which they start; what reads states; what
# depends on tokens or on positions; the puzzle table.
WEIGHT_PARTS = ("network", "heads", "embeddings", "table")
Told = TypeVar("Told")


@dataclass(frozen=True)
class ModelConfig:
    """The network, the recursion over it, and when a puzzle counts as finished."""

    vocab_size: int = 0  # tokens 0 ... V-1; 0: from the data
    seq_len: int = 0  # cells S of a puzzle; 0: from the data
    num_puzzles: int = 0  # rows of the puzzle table; 0: from the data
    width: int = 512  # D, numbers in a position
    heads: int = 8  # of attention; others leave it unused
    expansion: float = 4.0  # inner width of a SwiGLU, before its two thirds
    layers: int = 2  # blocks of the network (of the latent network, where there are two)
    answer_layers: int = 0  # blocks of the answer network, where there are two; 0: as many as `layers`
    mixer: str = "attention"  # a name that config/mixers.py knows: "attention", "mlp", "symmetric", one of your own
    # Which puzzle's units (puzzles/units.py) or board the network is made of; "": as the data says. Of the symmetric
    # mixer, of positions "relations", "rope_2d" and "row_column_box", and of states "candidates"; else it is unused.
    puzzle: str = ""
    # "rope": attention turns by a cell's number; "rope_2d": by its row and column. "learned": a vector for each
    # position; "row_column_box": one for each row, column and box. "relations": a learned bias of attention for all
    # that two cells may have in common
    positions: Literal["rope", "rope_2d", "learned", "row_column_box", "relations", "none"] = "rope"
    rope_theta: float = 10_000.0  # base of the rotations' wavelengths
    qk_norm: bool = False  # attention compares queries and keys of one size (root mean square 1)
    gate: Literal["silu", "normalised"] = "silu"  # of feed-forwards: silu(g) * u, or sigmoid(g) * rms(g * u)
    norm_eps: float = 1e-5  # under the root of a norm
    puzzle_dim: int = 512  # length R of a row of the puzzle table; 0: no table
    puzzle_tokens: int = 16  # P, positions in front of the cells; 0: as many as a row of the table fills
    # What recurses: TRM and HRM; single z; the one-pass baseline. "candidates": as "y", within a supervision step; from
    # one to the next the symbols are carried that are still possible in each cell (recursion/candidates.py)
    states: Literal["y_z", "z", "y", "candidates"] = "y_z"
    latents: int = 1  # K latents z_1 ... z_K
    # Latents are not added up but compete: each leads to an answer of its own, that of the smallest token loss is
    # trained, and all go on from its y (training/competition.py); at inference there is z_1 alone
    winner_take_all: bool = False
    separate_networks: bool = False  # one network for z and another for y
    latent_steps: int = 6  # n, of a cycle
    cycles: int = 3  # T, of a supervision step
    grad_cycles: int = 1  # the last so many cycles carry gradients
    # "cycles": exact through grad_cycles; estimators within the last cycle: "one_step" (HRM's), "last_k", "implicit"
    # (recursion.Schedule)
    gradient: Literal["cycles", "one_step", "last_k", "implicit"] = "cycles"
    gradient_steps: int = 1  # of "last_k": gradients through the last k latent steps
    solver_tolerance: float = 1e-2  # of "implicit": the residual's norm over the gradient's, at which its solver ends
    solver_steps: int = 30  # of "implicit": products with the Jacobian, at most
    # Supervision steps in each optimiser step; divides N_sup. Where every cycle carries gradients, they run through all
    # of these steps; elsewhere each has its own, and the update is by their mean
    backprop_steps: int = 1
    supervision_steps: int = 16  # N_sup, of a puzzle, at most
    halt_by: Literal["q_halt", "q_continue"] = "q_halt"  # training halts at q_halt > 0, or at q_halt > q_continue
    exploration: float = 0.1  # share of rows that draw a minimum of supervision steps before they may halt
    start_noise: float = 0.0  # standard deviation of what a puzzle's initial y and z (of size 1) differ by in training
    latent_noise: float = 0.0  # likewise, of noise on z before each supervision step
    damping: float = 0.0  # each application moves h by 1 - damping of the way to what the network says
    dtype: Dtype = "bfloat16"  # of the computation; weights are float32 (config.optim.weight_dtype)

    @property
    def needs_units(self) -> bool:
        """Whether the network is made of a puzzle's units, or of its symbols."""
        return mixer(self.mixer).units or self.positions == "relations" or self.states == "candidates"

    @property
    def needs_puzzle(self) -> bool:
        """Whether the network is made of anything that `puzzle` says."""
        return self.needs_units or self.positions in ("rope_2d", "row_column_box")

    @property
    def any_size(self) -> bool:
        """Whether the same weights serve boards of every size: the network is made of units and nothing else."""
        return mixer(self.mixer).units and not self.puzzle_dim

    @property
    def units(self) -> Units:
        """Of `puzzle`, at this number of cells. Raises ConfigError where there are none."""
        return _units(self.puzzle, self.seq_len)

    @property
    def places(self) -> NDArray[np.int32]:
        """Row, column and, where there are boxes, box of each cell, [2 or 3, S]. Raises ConfigError as `units`."""
        return _places(self.puzzle, self.seq_len)

    @property
    def tokens_in_front(self) -> int:
        """P: as configured, or else as many positions as a row of the puzzle table fills (PARITY: ceil(R / D))."""
        return self.puzzle_tokens or -(-self.puzzle_dim // self.width)

    @property
    def state_shape(self) -> tuple[int, int]:
        """(L, D) of y and of each z: P + S positions of `width`, unless the mixer says otherwise."""
        told = mixer(self.mixer).part("shape")
        return (self.tokens_in_front + self.seq_len, self.width) if told is None else told(self)

    @property
    def positions_total(self) -> int:
        """L; of most mixers P + S."""
        return self.state_shape[0]


@lru_cache
def _units(puzzle: str, cells: int) -> Units:
    return _of_puzzle(units_of, "units", puzzle, cells)


@lru_cache
def _places(puzzle: str, cells: int) -> NDArray[np.int32]:
    return _of_puzzle(kind_of, "board", puzzle, cells).places


def _of_puzzle(told_by: Callable[[str, int], Told], what: str, puzzle: str, cells: int) -> Told:
    if not puzzle:
        raise ConfigError(f"config.model.puzzle = '': name the puzzle whose {what} the network is made of, as 'sudoku'")
    try:
        return told_by(puzzle, cells)
    except DataError as error:
        raise ConfigError(f"config.model.puzzle = {puzzle!r:.80}, of {cells} cells: {error}") from None


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
    # The whole step goes over so many parts of the batch, one by one; 0: as many as keep a CPU's caches in use
    # (training.parts), elsewhere one.
    micro_batches: int = 1
    slices: int = 1  # each network application goes over so many parts of a (micro-)batch, one by one
    device_memory: str = ""  # what "auto" takes the device to have, as in "80GiB"; "": what it does have

    @property
    def parts(self) -> int:
        """Micro-batches; where it is left open how many, one."""
        return self.micro_batches or 1

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
    """What is minimised: token loss + halting * (halting loss + continue loss)."""

    tokens: Literal["stablemax", "softmax"] = "stablemax"
    continue_head: bool = False  # also train q_continue, by one more supervision step (paper, table 1: "w/ ACT")
    smoothing: float = 0.0  # share of each label that is spread evenly over all tokens
    halting: float = 0.5  # weight of the halting loss and of the continue loss


@dataclass(frozen=True)
class CandidatesConfig:
    """Of models whose states are "candidates": how a set of symbols changes between two calls, and what is minimised.

    The loss is the mean, over the network's applications of a call, of: binary cross-entropy of keeping each candidate;
    symbol_weight * cross-entropy of the symbol of each cell; conflict_weight * binary cross-entropy of a conflict.
    """

    eliminate_below: float = 0.1  # in training a candidate goes when it is kept with a probability below this
    conflict_above: float = 0.5  # in training a set is given up when a conflict is likelier than this
    # The same of a search; what is best is to be tried on held-out puzzles
    take_away_below: float = 0.05
    give_up_above: float = 0.6
    temperature: float = 1.5  # of the symbols that training pins
    keep_weight: float = 4.0  # of the loss of candidates that are right
    drop_weight: float = 0.5  # of those that are wrong
    symbol_weight: float = 1.0
    conflict_weight: float = 0.1


@dataclass(frozen=True)
class OptimConfig:
    """The optimiser of the weights, sign-SGD on the puzzle table, and the averaged weights."""

    optimiser: Literal["adam_atan2", "adamw", "muon"] = "adam_atan2"  # "muon": on blocks' matrices, AdamW on the rest
    # Of "muon": by how much the rate of matrices is larger, which is that of their singular values; 0: their entries
    # move as far as AdamW's (training.optim.muon)
    muon_ratio: float = 0.0
    clip: float = 0.0  # the gradients' norm is brought down to this; 0: left alone
    learning_rate: float = 1e-4  # of the weights, after the warm-up
    warmup_steps: int = 2_000  # over which the rates rise from 0
    min_ratio: float = 1.0  # of the rate at the end of the cosine; 1: constant after the warm-up
    beta1: float = 0.9  # of the gradients' moving average
    beta2: float = 0.95  # of their squares'
    weight_decay: float = 0.1  # times the rate, of the weights
    atan2_form: Literal["original", "debiased"] = "original"  # debiased: 1.27 * atan2 of both corrected moments
    puzzle_learning_rate: float = 1e-2  # of the puzzle table
    puzzle_weight_decay: float = 0.1
    ema_decay: float = 0.999  # of the averaged weights, which are evaluated
    ema_start: int = 0  # step after which averaging begins; until then the average is the weights
    weight_dtype: Dtype = "float32"  # to whose values the trained weights are rounded after each step


@dataclass(frozen=True)
class DataConfig:
    """Where puzzles come from: tables (CSV or JSONL: question, answer), or folders in the public dataset format."""

    puzzle: str = ""  # sudoku, maze, arc, tokens, or a JSON description (puzzles/kinds/); "": as the data says
    train: str = ""  # path, several with commas between, or "generated"
    test: str = ""  # likewise; "": no evaluation while training
    columns: str = ""  # of tables, "QUESTION,ANSWER"; "": the usual names (puzzles/table_columns.py)
    augment: bool = False  # each time a puzzle is drawn, a random symmetry of its kind is applied to it
    # Blanks of a training row are filled from its own answer, each with a probability that is drawn for the row, from 0
    # to this; which falls linearly to 0 over a share of config.train.steps.
    reveal: float = 0.0
    reveal_share: float = 1.0
    # Of ARC: coloured and turned forms of each task, drawn as they are needed, each with a puzzle id; 0: those stored
    forms: int = 0
    side: int = 9  # of generated Sudokus
    train_puzzles: int = 0  # how many to generate
    test_puzzles: int = 0  # how many to generate, or to read at most (0: all)

    @property
    def table_columns(self) -> tuple[str, str]:
        """Of the question and of the answer, "" for a usual name."""
        question, _, answer = self.columns.partition(",")
        return question, answer


@dataclass(frozen=True)
class InitConfig:
    """The weights of another model that a run begins with. A run that has begun keeps here which they were."""

    # A working directory, a checkpoint in it, a .safetensors file, or the name of a model that ships; "": none
    source: str = ""
    weights: str = ""  # SHA-256 of those weights, if no others will do; a run fills it in
    averaged: bool = True  # their moving average, or the weights as trained
    parts: str = "all"  # or some of network, heads, embeddings, table, with commas between; what is left out is drawn
    # Rows of the puzzle table are found by the names of their ids; those of other ids begin as this: "zero", "mean" (of
    # all rows that were trained), or as the row of the id that has this name
    new_rows: str = "zero"
    names: str = ""  # folders of the dataset whose ids these weights know, with commas between; "": as they say

    def parts_of(self, there: Iterable[str]) -> tuple[str, ...]:
        """Those parts that are wanted, of those that are there."""
        return tuple(there) if self.parts == "all" else _listed(self.parts)


@dataclass(frozen=True)
class TrainConfig:
    """How long, how many at once, and what is told and kept on the way. Intervals count steps; 0: never."""

    steps: int = 1  # optimiser steps
    batch_size: int = 768  # puzzles in a step, of all devices together
    seed: int = 0  # of weights, order and all else that is drawn
    log_every: int = 100
    eval_every: int = 0
    eval_batch_size: int = 768  # puzzles at once
    eval_calls: int = 64  # of models of candidates: calls of the network in which a held-out puzzle is to be solved
    patience: int = 0  # evaluations in a row without a better one, after which the run ends
    save_every: int = 1_000
    keep_checkpoints: int = 2
    bad_steps: int = 10  # steps in a row with non-finite numbers, at which the run ends
    # Parts of the weights (as config.init.parts) that stay as they are, their average as well; "": all learn
    freeze: str = ""
    # Depth that grows while training: "latent_steps=1@0.3,latent_steps=2@0.6" is n = 1 until 0.3 of the steps are made,
    # 2 until 0.6, then the model's own, which evaluations have throughout. Likewise cycles, grad_cycles and
    # supervision_steps, several joined by "+" (config/curriculum.py); "": the same depth throughout
    curriculum: str = ""

    @property
    def frozen(self) -> tuple[str, ...]:
        """The parts of the weights that stay as they are."""
        return _listed(self.freeze)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


@dataclass(frozen=True)
class Experiment:
    """One experiment, whole: what the file under experiments/ says and a checkpoint keeps."""

    name: str = "unnamed"
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    memory: MemoryConfig = dataclasses.field(default_factory=MemoryConfig)
    devices: DevicesConfig = dataclasses.field(default_factory=DevicesConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    candidates: CandidatesConfig = dataclasses.field(default_factory=CandidatesConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    init: InitConfig = dataclasses.field(default_factory=InitConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
