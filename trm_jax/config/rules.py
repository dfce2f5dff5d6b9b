"""The range of every number, and the rules between values."""

import os.path
from operator import attrgetter

from trm_jax.config.curriculum import stages
from trm_jax.config.mixers import mixer
from trm_jax.config.values import WEIGHT_PARTS, DataConfig, Experiment, InitConfig
from trm_jax.errors import ConfigError, DataError, near_miss
from trm_jax.puzzles.kinds import describe
from trm_jax.puzzles.sudoku import layout_for
from trm_jax.recursion.policies import POLICIES
from trm_jax.sizes import parse_bytes

# Closed intervals; a strict bound is written as the nearest sensible value.
RANGES: dict[str, tuple[float, float]] = {
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
    "model.start_noise": (0, 1e3),
    "model.latent_noise": (0, 1e3),
    "model.damping": (0, 0.999),
    "memory.levels": (1, 64),
    "memory.repetitions": (1, 1 << 10),
    "memory.states": (0, 1 << 24),
    "memory.micro_batches": (0, 1 << 24),
    "memory.slices": (1, 1 << 24),
    "devices.data": (0, 1 << 20),
    "devices.steps_per_call": (1, 1 << 20),
    "loss.smoothing": (0, 0.999),
    "loss.halting": (0, 1e3),
    "candidates.eliminate_below": (0, 1),
    "candidates.conflict_above": (0, 1),
    "candidates.take_away_below": (0, 1),
    "candidates.give_up_above": (0, 1),
    "candidates.temperature": (1e-3, 1e3),
    "candidates.keep_weight": (0, 1e3),
    "candidates.drop_weight": (0, 1e3),
    "candidates.symbol_weight": (0, 1e3),
    "candidates.conflict_weight": (0, 1e3),
    "optim.muon_ratio": (0, 1e6),
    "optim.clip": (0, 1e6),
    "optim.learning_rate": (0, 1e3),
    "optim.warmup_steps": (0, 1 << 40),
    "optim.min_ratio": (0, 1),
    "optim.beta1": (0, 0.999999),
    "optim.beta2": (0, 0.999999),
    "optim.weight_decay": (0, 1e3),
    "optim.puzzle_learning_rate": (0, 1e3),
    "optim.puzzle_weight_decay": (0, 1e3),
    "optim.ema_decay": (0, 0.9999999),
    "optim.ema_start": (0, 1 << 40),
    "data.reveal": (0, 1),
    "data.reveal_share": (1e-6, 1),
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
    "train.eval_calls": (1, 65_535),
    "train.patience": (0, 1 << 20),
    "train.save_every": (0, 1 << 40),
    "train.keep_checkpoints": (1, 1 << 20),
    "train.bad_steps": (1, 1 << 20),
}


def validate(experiment: Experiment) -> None:
    """Checks every range and every rule between values. Raises ConfigError for the first that does not hold."""
    for key, (low, high) in RANGES.items():
        value = attrgetter(key)(experiment)
        if not low <= value <= high:  # also false for nan
            raise ConfigError(f"config.{key} = {value!r} is out of range: give a value from {low} to {high}")
    model, memory, data, train = experiment.model, experiment.memory, experiment.data, experiment.train
    init, learnt = experiment.init, set(WEIGHT_PARTS if model.puzzle_dim else WEIGHT_PARTS[:-1])
    for key, parts in (("init.parts", init.parts_of(())), ("train.freeze", train.frozen)):
        _check_parts(key, parts, bool(model.puzzle_dim))
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
    if model.puzzle:
        try:
            describe(model.puzzle)
        except DataError as error:
            raise ConfigError(f"config.model.puzzle = {model.puzzle!r}: {error}") from None
        if model.seq_len and model.needs_units:
            model.units  # noqa: B018 (raises where there are none)
        if model.seq_len and model.needs_puzzle:
            model.places  # noqa: B018 (likewise)
    unsuited = mixer(model.mixer).part("rules")
    if unsuited and (message := unsuited(model)):
        raise ConfigError(message)
    for broken, message in (
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
            model.gradient in ("last_k", "implicit") and model.states in ("y", "candidates"),
            f"config.model.gradient = {model.gradient!r} needs a latent, and config.model.states = {model.states!r} "
            "has none: set config.model.gradient = 'cycles'",
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
            train.batch_size % memory.parts,
            f"config.memory.micro_batches = {memory.micro_batches} does not divide config.train.batch_size = "
            f"{train.batch_size}: change either",
        ),
        (
            train.batch_size // memory.parts % memory.slices,
            f"config.memory.slices = {memory.slices} does not divide the {train.batch_size // memory.parts} "
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
            model.winner_take_all and model.latents == 1,
            "config.model.winner_take_all = True, but config.model.latents = 1: give at least 2 that can compete",
        ),
        (
            model.winner_take_all and experiment.loss.continue_head,
            "config.model.winner_take_all = True trains no continue head: set config.loss.continue_head = False",
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
        *(
            (
                model.states == "candidates" and broken,
                f"config.model.states = 'candidates', but config.{key}: set config.{mend}",
            )
            for broken, key, mend in (
                (
                    model.gradient != "cycles" or model.grad_cycles != model.cycles,
                    f"model.grad_cycles = {model.grad_cycles} is not the number of cycles",
                    f"model.grad_cycles = {model.cycles}, and config.model.gradient = 'cycles'",
                ),
                (
                    model.backprop_steps != 1,
                    f"model.backprop_steps = {model.backprop_steps}",
                    "model.backprop_steps = 1",
                ),
                (model.puzzle_dim != 0, f"model.puzzle_dim = {model.puzzle_dim}", "model.puzzle_dim = 0"),
                (model.start_noise > 0, f"model.start_noise = {model.start_noise}", "model.start_noise = 0"),
                (experiment.loss.continue_head, "loss.continue_head = True", "loss.continue_head = False"),
            )
        ),
        (
            mixer(model.mixer).units and (model.puzzle_dim or model.puzzle_tokens),
            f"config.model.mixer = {model.mixer!r} has no position for puzzle tokens: set config.model.puzzle_dim = 0 "
            "and config.model.puzzle_tokens = 0",
        ),
        (
            model.latent_noise > 0 and model.states in ("y", "candidates"),
            f"config.model.latent_noise = {model.latent_noise} is noise on z, and config.model.states = "
            f"{model.states!r} has none: set it to 0",
        ),
        (
            model.positions in ("relations", "rope_2d") and not mixer(model.mixer).attends,
            f"config.model.positions = {model.positions!r} is of attention, and config.model.mixer = {model.mixer!r} "
            "has none: set it to 'none'",
        ),
        (
            model.positions == "row_column_box" and mixer(model.mixer).units,
            f"config.model.positions = 'row_column_box' tells cells apart, and config.model.mixer = {model.mixer!r} "
            "may not: set it to 'none'",
        ),
        (
            model.qk_norm and not mixer(model.mixer).attends,
            f"config.model.qk_norm = True is of attention, and config.model.mixer = {model.mixer!r} has none: set it "
            "to False",
        ),
        (
            experiment.optim.optimiser == "muon" and experiment.devices.weights == "sharded",
            "config.optim.optimiser = 'muon' needs whole matrices: set config.devices.weights = 'replicated'",
        ),
        (
            experiment.optim.muon_ratio > 0 and experiment.optim.optimiser != "muon",
            f"config.optim.muon_ratio = {experiment.optim.muon_ratio}, but config.optim.optimiser = "
            f"{experiment.optim.optimiser!r}: set it to 0",
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
            data.columns and not _names_columns(data.columns),
            f"config.data.columns = {data.columns!r:.60} are no two columns: give 'QUESTION,ANSWER', or ''",
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
        (
            not init.source and init != InitConfig(),
            "config.init says what to take of another model's weights, but config.init.source = '' names none: give "
            "--init-from",
        ),
        (
            init.new_rows != "zero" and not model.puzzle_dim,
            f"config.init.new_rows = {init.new_rows!r:.80}, but config.model.puzzle_dim = 0, so that there is no "
            "puzzle table: set it to 'zero'",
        ),
        (
            learnt <= set(train.frozen),
            f"config.train.freeze = {train.freeze!r} leaves nothing that could learn: freeze less",
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
    if train.curriculum:
        _check_stages(experiment)


def _check_stages(experiment: Experiment) -> None:
    """Raises ConfigError unless every stage of the curriculum has steps, keeps the rules and tells the same figures."""
    before = 0
    for stage in stages(experiment):
        told = f"config.train.curriculum, stage {stage.name!r}:" if stage.name else "config.train.curriculum:"
        if stage.end <= before:
            raise ConfigError(
                f"{told} none of config.train.steps = {experiment.train.steps} is left for "
                f"{'it' if stage.name else 'the depth after it'}: change its share, or raise the number of steps"
            )
        before = stage.end
        try:
            validate(stage.experiment)
        except ConfigError as error:
            raise ConfigError(f"{told} {error}") from None
        steps, own = stage.experiment.model.supervision_steps, experiment.model.supervision_steps
        if experiment.loss.continue_head and (steps == 1) != (own == 1):
            raise ConfigError(
                f"{told} config.model.supervision_steps = {steps} here and {own} at the end, and with one there is no "
                "continue loss: give at least 2 in both, or set config.loss.continue_head = False"
            )


def _check_parts(key: str, parts: tuple[str, ...], has_table: bool) -> None:
    """Raises ConfigError unless each is a part of the weights that this model has."""
    for part in parts:
        if part not in WEIGHT_PARTS:
            raise ConfigError(
                f"config.{key}: {part!r:.60} is no part of the weights: {near_miss(part, WEIGHT_PARTS)}, with commas "
                "between several"
            )
    if "table" in parts and not has_table:
        raise ConfigError(
            f"config.{key} names the table, but config.model.puzzle_dim = 0, so that there is none: leave it out"
        )


def _names_columns(text: str) -> bool:
    names = text.split(",")
    return all(names) and len(set(names)) == len(names) <= 2


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
