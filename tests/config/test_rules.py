"""Configurations: what is wrong is refused in one line that names the key, the value and the mend."""

import dataclasses
import json
import subprocess
import sys
from hashlib import sha256
from typing import Any

import numpy as np
import pytest

from trm_jax.config import (
    Experiment,
    MemoryConfig,
    config_hash,
    differences,
    experiment_from,
    rules,
    to_dict,
    validate,
)
from trm_jax.config.mappings import value_of, wanted
from trm_jax.errors import ConfigError
from trm_jax.recursion.policies import POLICIES

# A configuration that keeps to every rule, on which one value at a time is made wrong.
GOOD: dict[str, Any] = {
    "model": {"width": 64, "heads": 4, "cycles": 2},
    "data": {"puzzle": "sudoku", "train": "generated", "train_puzzles": 10},
}


def changed(**values: Any) -> dict[str, Any]:
    """GOOD with group__key=value put in."""
    result: dict[str, Any] = json.loads(json.dumps(GOOD))
    for name, value in values.items():
        group, _, key = name.partition("__")
        if key:
            result.setdefault(group, {})[key] = value
        else:
            result[group] = value
    return result


def refusal(values: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        experiment_from(values)
    text = str(caught.value)
    assert text.startswith("config")
    assert "\n" not in text
    return text


UNKNOWN_KEYS = [
    ({"modle": {}}, "config.modle is unknown: did you mean 'model'?"),
    ({"Model": {}}, "config.Model is unknown: did you mean 'model'?"),
    (changed(model__witdh=3), "config.model.witdh is unknown: did you mean 'width'?"),
    (changed(model__num_heads=3), "config.model.num_heads is unknown: did you mean 'heads'?"),
    (changed(optim__lr=1e-3), "config.optim.lr is unknown: known: atan2_form, beta1, beta2, clip, ema_decay, "),
    (changed(optim__learningrate=1e-3), "config.optim.learningrate is unknown: did you mean 'learning_rate'?"),
    (changed(train__batchsize=8), "config.train.batchsize is unknown: did you mean 'batch_size'?"),
    (changed(memory__polcy="step"), "config.memory.polcy is unknown: did you mean 'policy'?"),
    (changed(memory__microbatches=2), "config.memory.microbatches is unknown: did you mean 'micro_batches'?"),
    (changed(model__checkpoint=True), "config.model.checkpoint is unknown: known: answer_layers, backprop_steps, "),
    (changed(data__tests="x"), "config.data.tests is unknown: did you mean 'test'?"),
    (changed(loss__token="softmax"), "config.loss.token is unknown: did you mean 'tokens'?"),
    ({3: {}}, "config.3 is unknown: known: candidates, data, devices, init, loss, memory, model, name, optim, train"),
]

WRONG_TYPES = [
    (changed(model__width="abc"), "config.model.width = 'abc' is of type str: give a whole number"),
    (changed(model__width=64.0), "config.model.width = 64.0 is of type float: give a whole number"),
    (changed(model__layers=True), "config.model.layers = True is of type bool: give a whole number"),
    (changed(model__width=None), "config.model.width = None is of type NoneType: give a whole number"),
    (changed(optim__learning_rate="1e-4"), "config.optim.learning_rate = '1e-4' is of type str: give a number"),
    (changed(optim__beta1=False), "config.optim.beta1 = False is of type bool: give a number"),
    (changed(name=3), "config.name = 3 is of type int: give text"),
    (changed(data__train=7), "config.data.train = 7 is of type int: give text"),
    (changed(data__augment=1), "config.data.augment = 1 is of type int: give True or False"),
    (changed(loss__continue_head="yes"), "config.loss.continue_head = 'yes' is of type str: give True or False"),
    (changed(memory__slices=2.0), "config.memory.slices = 2.0 is of type float: give a whole number"),
    (changed(memory__policy=None), "config.memory.policy = None is of type NoneType: give text"),
    (changed(memory__device_memory=80), "config.memory.device_memory = 80 is of type int: give text"),
    (changed(memory="step"), "config.memory = 'step' is one value: give a group of values"),
    (changed(model__solver_tolerance="1e-2"), "config.model.solver_tolerance = '1e-2' is of type str: give a number"),
    (changed(model=3), "config.model = 3 is one value: give a group of values"),
    (3, "config = 3 is one value: give a group of values"),
    (
        changed(model__mixer="mlpp"),
        "config.model.mixer = 'mlpp' is unknown: give one of 'attention', 'mlp', 'symmetric', or ",
    ),
    (
        changed(model__positions=None),
        "config.model.positions = None is unknown: give one of 'rope', 'rope_2d', 'learned', "
        "'row_column_box', 'relations', 'none'",
    ),
    (changed(model__states="yz"), "config.model.states = 'yz' is unknown: give one of 'y_z', 'z', 'y'"),
    (
        changed(model__gradient="last_step"),
        "config.model.gradient = 'last_step' is unknown: give one of 'cycles', 'one_step', 'last_k', 'implicit'",
    ),
    (changed(model__halt_by=0), "config.model.halt_by = 0 is unknown: give one of 'q_halt', 'q_continue'"),
    (changed(model__dtype="float64"), "config.model.dtype = 'float64' is unknown: give one of 'float32', 'bfloat16'"),
    (changed(optim__beta1=[0.9]), "config.optim.beta1 = [0.9] is of type list: give a number"),
    (changed(optim__beta1=(0.9,)), "config.optim.beta1 = (0.9,) is of type tuple: give a number"),
    (changed(model__mixer=["mlp"]), "config.model.mixer = ['mlp'] is of type list: give text"),
    (changed(model__mixer=np.array(["mlp", "mlp"])), "config.model.mixer = array(['mlp', 'mlp'], dtype='<U3') is of t"),
    (changed(train__seed=np.int64(3)), "config.train.seed = np.int64(3) is of type int64: give a whole number"),
    (changed(loss__tokens="mse"), "config.loss.tokens = 'mse' is unknown: give one of 'stablemax', 'softmax'"),
    (changed(optim__atan2_form=""), "config.optim.atan2_form = '' is unknown: give one of 'original', 'debiased'"),
    (
        changed(data__puzzle="chess"),
        "config.data.puzzle = 'chess': 'chess' is no kind of puzzle: give one of sudoku, maze",
    ),
]

OUT_OF_RANGE = [
    (changed(train__batch_size=-8), "config.train.batch_size = -8 is out of range: give a value from 1 to 16777216"),
    (changed(train__batch_size=0), "config.train.batch_size = 0 is out of range: give a value from 1 to"),
    (changed(train__steps=0), "config.train.steps = 0 is out of range: give a value from 1 to"),
    (changed(train__seed=-1), "config.train.seed = -1 is out of range: give a value from 0 to 2147483647"),
    (changed(train__log_every=0), "config.train.log_every = 0 is out of range: give a value from 1 to"),
    (changed(train__bad_steps=0), "config.train.bad_steps = 0 is out of range: give a value from 1 to 1048576"),
    (changed(optim__learning_rate=10**400), "config.optim.learning_rate = inf is out of range: give a value from"),
    (changed(optim__learning_rate=-(10**400)), "config.optim.learning_rate = -inf is out of range: give a value from"),
    (changed(train__keep_checkpoints=0), "config.train.keep_checkpoints = 0 is out of range: give a value from 1 to"),
    (changed(optim__learning_rate=float("nan")), "config.optim.learning_rate = nan: give a number"),
    (changed(optim__learning_rate=float("inf")), "config.optim.learning_rate = inf is out of range: give a value from"),
    (
        changed(optim__learning_rate=-1e-4),
        "config.optim.learning_rate = -0.0001 is out of range: give a value from 0 to",
    ),
    (changed(optim__beta1=1.0), "config.optim.beta1 = 1.0 is out of range: give a value from 0 to 0.999999"),
    (changed(optim__beta2=-0.1), "config.optim.beta2 = -0.1 is out of range: give a value from 0 to 0.999999"),
    (changed(optim__beta2=1), "config.optim.beta2 = 1.0 is out of range: give a value from 0 to 0.999999"),
    (changed(optim__ema_decay=1.0), "config.optim.ema_decay = 1.0 is out of range: give a value from 0 to 0.9999999"),
    (changed(optim__min_ratio=1.5), "config.optim.min_ratio = 1.5 is out of range: give a value from 0 to 1"),
    (changed(optim__weight_decay=-1), "config.optim.weight_decay = -1.0 is out of range: give a value from 0 to"),
    (changed(optim__warmup_steps=-1), "config.optim.warmup_steps = -1 is out of range: give a value from 0 to"),
    (changed(model__width=0), "config.model.width = 0 is out of range: give a value from 1 to 65536"),
    (changed(model__layers=0), "config.model.layers = 0 is out of range: give a value from 1 to"),
    (changed(model__cycles=0), "config.model.cycles = 0 is out of range: give a value from 1 to"),
    (changed(model__latent_steps=0), "config.model.latent_steps = 0 is out of range: give a value from 1 to"),
    (changed(model__latents=0), "config.model.latents = 0 is out of range: give a value from 1 to"),
    (changed(model__supervision_steps=0), "config.model.supervision_steps = 0 is out of range: give a value from 1 to"),
    (changed(model__exploration=1.1), "config.model.exploration = 1.1 is out of range: give a value from 0 to 1"),
    (changed(model__expansion=0), "config.model.expansion = 0.0 is out of range: give a value from 0.001 to"),
    (changed(model__norm_eps=0), "config.model.norm_eps = 0.0 is out of range: give a value from 1e-12 to"),
    (changed(model__gradient_steps=0), "config.model.gradient_steps = 0 is out of range: give a value from 1 to"),
    (changed(model__solver_steps=0), "config.model.solver_steps = 0 is out of range: give a value from 1 to 1048576"),
    (
        changed(model__solver_tolerance=0),
        "config.model.solver_tolerance = 0.0 is out of range: give a value from 1e-12 to 1",
    ),
    (
        changed(model__solver_tolerance=1.5),
        "config.model.solver_tolerance = 1.5 is out of range: give a value from 1e-12 to 1",
    ),
    (changed(model__backprop_steps=0), "config.model.backprop_steps = 0 is out of range: give a value from 1 to"),
    (changed(memory__levels=0), "config.memory.levels = 0 is out of range: give a value from 1 to 64"),
    (changed(memory__levels=65), "config.memory.levels = 65 is out of range: give a value from 1 to 64"),
    (changed(memory__repetitions=0), "config.memory.repetitions = 0 is out of range: give a value from 1 to 1024"),
    (changed(memory__states=-1), "config.memory.states = -1 is out of range: give a value from 0 to"),
    (changed(memory__micro_batches=-1), "config.memory.micro_batches = -1 is out of range: give a value from 0 to"),
    (changed(memory__slices=0), "config.memory.slices = 0 is out of range: give a value from 1 to"),
    (changed(data__test_puzzles=-1), "config.data.test_puzzles = -1 is out of range: give a value from 0 to"),
]

AT_ODDS = [
    (changed(model__heads=7), "config.model.heads = 7 does not divide config.model.width = 64: change either"),
    (changed(model__heads=64), "config.model.positions = 'rope' needs an even head width, not 64 / 64: change"),
    (
        changed(model__heads=32, model__positions="rope_2d"),
        "config.model.positions = 'rope_2d' needs heads of a multiple of 4, not 64 / 32: change config.model.heads",
    ),
    *(
        (
            changed(model__mixer="mlp", model__positions=positions),
            f"config.model.positions = {positions!r} is of attention, and config.model.mixer = 'mlp' has none: set it",
        )
        for positions in ("rope_2d", "relations")
    ),
    (
        changed(model__mixer="mlp", model__qk_norm=True),
        "config.model.qk_norm = True is of attention, and config.model.mixer = 'mlp' has none: set it to False",
    ),
    (
        changed(
            model__mixer="symmetric", model__puzzle_dim=0, model__puzzle_tokens=0, model__positions="row_column_box"
        ),
        "config.model.positions = 'row_column_box' tells cells apart, and config.model.mixer = 'symmetric' may not: ",
    ),
    (
        changed(model__puzzle="sudoku", model__seq_len=10, model__positions="row_column_box"),
        "config.model.puzzle = 'sudoku', of 10 cells: ",
    ),
    (
        changed(optim__muon_ratio=200.0),
        "config.optim.muon_ratio = 200.0, but config.optim.optimiser = 'adam_atan2': set it to 0",
    ),
    (changed(model__grad_cycles=3), "config.model.grad_cycles = 3 is more than config.model.cycles = 2: lower it"),
    (
        changed(model__gradient="one_step", model__grad_cycles=2),
        "config.model.grad_cycles = 2, but config.model.gradient = 'one_step' estimates the gradient within the last "
        "cycle: set it to 1",
    ),
    *(
        (
            changed(model__gradient=gradient, model__grad_cycles=2),
            f"config.model.grad_cycles = 2, but config.model.gradient = {gradient!r} estimates",
        )
        for gradient in ("last_k", "implicit")
    ),
    (
        changed(model__gradient="last_k", model__gradient_steps=7),
        "config.model.gradient_steps = 7 is more than config.model.latent_steps = 6: lower it",
    ),
    *(
        (
            changed(model__gradient=gradient, model__states="y"),
            f"config.model.gradient = {gradient!r} needs a latent, and config.model.states = 'y' has none: "
            "set config.model.gradient = 'cycles'",
        )
        for gradient in ("last_k", "implicit")
    ),
    (
        changed(model__grad_cycles=2, model__backprop_steps=3),
        "config.model.backprop_steps = 3 does not divide config.model.supervision_steps = 16: change either",
    ),
    (changed(memory__policy="binominal"), "config.memory.policy = 'binominal' is unknown: did you mean 'binomial'?"),
    (changed(memory__policy="Auto"), "config.memory.policy = 'Auto' is unknown: did you mean 'auto'?"),
    (
        changed(memory__policy=""),
        f"config.memory.policy = '' is unknown: known: {', '.join(sorted(('auto', *POLICIES)))}",
    ),
    (
        changed(memory__outer_policy="auto"),
        f"config.memory.outer_policy = 'auto' is unknown: known: {', '.join(sorted(POLICIES))}",
    ),
    (changed(memory__outer_policy="nestd"), "config.memory.outer_policy = 'nestd' is unknown: did you mean 'nested'?"),
    *(
        (
            changed(memory__states=1, **{f"memory__{name}": "binomial"}),
            "config.memory.states = 1, but a chain of steps cannot be reversed with one state: give at least 2, or 0",
        )
        for name in ("policy", "outer_policy")
    ),
    (
        changed(memory__micro_batches=7),
        "config.memory.micro_batches = 7 does not divide config.train.batch_size = 768: change either",
    ),
    (
        changed(memory__micro_batches=16, train__batch_size=8),
        "config.memory.micro_batches = 16 does not divide config.train.batch_size = 8: change either",
    ),
    (
        changed(memory__slices=5),
        "config.memory.slices = 5 does not divide the 768 rows of a batch: change it, or config.train.batch_size",
    ),
    (
        changed(memory__slices=4, memory__micro_batches=4, train__batch_size=24),
        "config.memory.slices = 4 does not divide the 6 rows of a micro-batch: change it, or config.train.batch_size",
    ),
    (
        changed(memory__slices=2, memory__policy="dots"),
        "config.memory.slices = 2 keeps only what a network application begins with, and config.memory.policy = 'dots' "
        "keeps its products: set slices to 1, or policy to 'step'",
    ),
    *(
        (
            changed(memory__device_memory=size),
            f"config.memory.device_memory = {size!r} is no size: give a size such as 80GiB, 1.5GB or 500MiB",
        )
        for size in ("lots", "0GiB", "80 gib", "-1GB", " ")
    ),
    (
        changed(model__states="z", model__latents=2),
        "config.model.latents = 2 needs config.model.states = 'y_z', not 'z'",
    ),
    (
        changed(model__winner_take_all=True),
        "config.model.winner_take_all = True, but config.model.latents = 1: give at least 2 that can compete",
    ),
    (
        changed(model__winner_take_all=True, model__latents=2, loss__continue_head=True),
        "config.model.winner_take_all = True trains no continue head: set config.loss.continue_head = False",
    ),
    (
        changed(model__states="z", model__separate_networks=True),
        "config.model.separate_networks = True needs a y to have a network of its own: set config.model.states = 'y_z'",
    ),
    (
        changed(model__answer_layers=2),
        "config.model.answer_layers = 2 is for two networks: set config.model.separate_networks = True, or it to 0",
    ),
    (
        changed(model__puzzle_tokens=1, model__puzzle_dim=65),
        "config.model.puzzle_dim = 65 does not fit into 1 puzzle tokens of width 64: raise config.model.puzzle_tokens",
    ),
    (
        changed(model__halt_by="q_continue"),
        "config.model.halt_by = 'q_continue' needs that head to be trained: set config.loss.continue_head = True",
    ),
    (
        changed(train__freeze="networks"),
        "config.train.freeze: 'networks' is no part of the weights: did you mean 'network'?, with commas between",
    ),
    (changed(init__source="a", init__parts="network,"), "config.init.parts: '' is no part of the weights: known: "),
    *(
        (
            changed(model__puzzle_dim=0, **values),
            f"config.{key} names the table, but config.model.puzzle_dim = 0, so that there is none: leave it out",
        )
        for key, values in (
            ("train.freeze", {"train__freeze": "table"}),
            ("init.parts", {"init__source": "a", "init__parts": "network,table"}),
        )
    ),
    (
        changed(model__puzzle_dim=0, init__source="a", init__new_rows="mean"),
        "config.init.new_rows = 'mean', but config.model.puzzle_dim = 0, so that there is no puzzle table: set it to",
    ),
    *(
        (changed(train__freeze=parts, **values), f"config.train.freeze = {parts!r} leaves nothing that could learn: ")
        for parts, values in (
            ("embeddings,network,heads,table", {}),
            ("network,heads,embeddings", {"model__puzzle_dim": 0}),
        )
    ),
    (
        changed(init__parts="heads"),
        "config.init says what to take of another model's weights, but config.init.source = '' names none: give ",
    ),
    (
        changed(data__columns="q,"),
        "config.data.columns = 'q,' are no two columns: give 'QUESTION,ANSWER', or ''",
    ),
    (changed(data__columns="q,q"), "config.data.columns = 'q,q' are no two columns"),
    (changed(data__columns="q,a,b"), "config.data.columns = 'q,a,b' are no two columns"),
    (changed(data__side=5), "config.data.side = 5: no Sudoku layout of side 5"),
    (
        changed(data__puzzle="tokens", data__train="x", data__augment=True),
        "config.data.augment = True, but 'tokens' has no symmetries to draw: set it to False",
    ),
    (
        changed(data__augment=True, data__side=4, data__test="generated", data__test_puzzles=1),
        "config.data.augment = True turns the 288 solutions of 4x4 into each other, held-out ones too: set False",
    ),
    (
        changed(data__puzzle="maze"),
        "config.data.puzzle = 'maze' cannot be generated: set it to 'sudoku', or give paths",
    ),
    (
        changed(data__train_puzzles=0),
        "config.data.train_puzzles = 0, but config.data.train = 'generated': give at least 1",
    ),
    (
        changed(data__test="generated"),
        "config.data.test_puzzles = 0, but config.data.test = 'generated': give at least 1",
    ),
    (
        changed(model__seq_len=16),
        "config.model.seq_len = 16, but the puzzles have 81, as config.data.side = 9: set it to 81, or to 0",
    ),
    (
        changed(model__vocab_size=6),
        "config.model.vocab_size = 6, but the puzzles have 11, as config.data.side = 9: set it to 11, or to 0",
    ),
    (changed(train__eval_every=5), "config.train.eval_every = 5 needs puzzles to evaluate on: give config.data.test"),
]


@pytest.mark.parametrize(("values", "expected"), UNKNOWN_KEYS + WRONG_TYPES + OUT_OF_RANGE + AT_ODDS)
def test_what_is_wrong_is_refused_in_one_line(values: Any, expected: str) -> None:
    assert refusal(values).startswith(expected)


def test_the_configuration_from_which_the_wrong_ones_are_made_is_right() -> None:
    experiment = experiment_from(GOOD)

    assert (experiment.model.width, experiment.model.heads, experiment.data.train_puzzles) == (64, 4, 10)
    assert experiment.optim == Experiment().optim


def test_rules_of_attention_are_not_laid_on_the_mlp_mixer() -> None:
    assert experiment_from(changed(model__heads=7, model__mixer="mlp")).model.heads == 7
    assert experiment_from(changed(model__heads=64, model__positions="none")).model.heads == 64


def test_what_is_right_by_a_hair_is_taken() -> None:
    """The neighbours of what the rules about gradients and memory refuse."""
    for model in (
        {"gradient": "last_k", "gradient_steps": 6},
        {"gradient_steps": 7},  # nothing reads it
        {"gradient": "implicit", "states": "z"},
        {"gradient": "one_step", "states": "y"},
        {"grad_cycles": 2, "backprop_steps": 4},
        {"cycles": 1, "backprop_steps": 16},
        {"backprop_steps": 2},
        {"solver_tolerance": 1},
    ):
        built = experiment_from(changed(**{f"model__{key}": value for key, value in model.items()})).model
        assert {key: getattr(built, key) for key in model} == model
    for memory in (
        {"policy": "binomial", "states": 2},
        {"policy": "step", "outer_policy": "nested", "states": 1},  # nothing reads it
        {"micro_batches": 768},
        {"micro_batches": 2, "slices": 384},
        {"slices": 2, "outer_policy": "dots"},
        {"slices": 2, "policy": "auto"},
        {"policy": "auto", "device_memory": " 79.5 GiB"},
    ):
        assert experiment_from(changed(memory=memory)).memory == MemoryConfig(**memory)


def test_policies_are_those_of_the_table() -> None:
    for name in POLICIES:
        assert experiment_from(changed(memory__policy=name, memory__outer_policy=name)).memory.outer_policy == name


def test_every_number_has_a_range() -> None:
    values = to_dict(Experiment())
    flat = {f"{group}.{key}": value for group in set(values) - {"name"} for key, value in values[group].items()}
    numbers = {key for key, value in flat.items() if isinstance(value, int | float) and not isinstance(value, bool)}

    assert set(rules.RANGES) == numbers


def test_ends_of_ranges_are_inside() -> None:
    experiment = Experiment()
    for beta in (0.0, 0.999999):
        validate(dataclasses.replace(experiment, optim=dataclasses.replace(experiment.optim, beta1=beta, beta2=beta)))


def test_an_int_passes_for_a_float_and_becomes_one() -> None:
    rate = experiment_from(changed(optim__learning_rate=1)).optim.learning_rate

    assert (rate, type(rate)) == (1.0, float)


@pytest.mark.parametrize(
    "values",
    [
        GOOD,
        changed(
            name="é \N{SNOWMAN}",
            model__dtype="float32",
            optim__learning_rate=0.1 + 0.2,
            optim__ema_decay=0.9999999,
            train__seed=2**31 - 1,
            data__augment=True,
        ),
        changed(
            model__gradient="last_k",
            model__gradient_steps=3,
            memory={"policy": "binomial", "states": 5, "micro_batches": 4, "slices": 3, "device_memory": "80GiB"},
        ),
    ],
)
def test_round_trip_through_json(values: dict[str, Any]) -> None:
    experiment = experiment_from(values)
    text = json.dumps(to_dict(experiment), allow_nan=False)

    assert experiment_from(json.loads(text)) == experiment
    assert to_dict(experiment_from(json.loads(text))) == to_dict(experiment)


def test_a_hash_is_of_what_differs_from_the_defaults_but_where_the_data_lies() -> None:
    made = experiment_from(changed())
    assert config_hash(made) == config_hash(experiment_from(changed(data__train="x.csv", model__layers=2)))
    others = [
        changed(model__layers=3),
        changed(train__seed=1),
        changed(data__train_puzzles=11),
        changed(memory__slices=2),
    ]
    assert len({config_hash(made), *(config_hash(experiment_from(other)) for other in others)}) == 5
    # What a key that later versions add leaves as it was, with every value that is no default in it.
    assert config_hash(Experiment()) == sha256(b"{}").hexdigest()


def test_differences_name_each_key_with_both_values() -> None:
    old = experiment_from(GOOD)
    new = experiment_from(changed(model__width=32, memory__policy="step", optim__beta1=0.5, name="other"))

    assert differences(old, old) == []
    assert differences(old, new) == [
        "name: 'unnamed' -> 'other'",
        "model.width: 64 -> 32",
        "memory.policy: 'none' -> 'step'",
        "optim.beta1: 0.9 -> 0.5",
    ]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("model.width", "a whole number"),
        ("optim.beta1", "a number"),
        ("data.augment", "True or False"),
        ("name", "text"),
        ("model.mixer", "text"),
        ("model.gradient", "one of 'cycles', 'one_step', 'last_k', 'implicit'"),
        ("memory.slices", "a whole number"),
        ("memory.policy", "text"),
    ],
)
def test_wanted_says_what_a_key_takes(key: str, words: str) -> None:
    assert wanted(key) == words


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("modle.width", "config.modle is unknown: did you mean 'model'?"),
        ("model.witdh", "config.model.witdh is unknown: did you mean 'width'?"),
        ("model.width.x", "config.model.width.x is unknown: config.model.width is one value, not a group"),
        ("model", "config.model is a group of values: give config.model.KEY=VALUE"),
        ("", "config. is unknown: known: candidates, data, devices, init, loss, memory, model, name, optim, train"),
    ],
)
def test_wanted_refuses_keys_that_do_not_exist(key: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        wanted(key)

    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("model.width", "-12", -12),
        ("optim.beta1", "1e-4", 1e-4),
        ("optim.beta1", "1", 1.0),
        ("data.augment", "TRUE", True),
        ("data.augment", "0", False),
        ("data.train", "a,b=c:d", "a,b=c:d"),
        ("name", "", ""),
        ("model.mixer", "mlpp", "mlpp"),  # which rules refuse, as they do in a file
    ],
)
def test_a_text_becomes_a_value_of_the_keys_type(key: str, text: str, value: Any) -> None:
    found = value_of(key, text)

    assert (found, type(found)) == (value, type(value))


def test_puzzle_tokens_follow_from_the_row_where_they_are_not_given() -> None:
    model = experiment_from(changed(model__puzzle_dim=65, model__puzzle_tokens=0, model__seq_len=81)).model

    assert (model.tokens_in_front, model.positions_total) == (2, 83)
    model = experiment_from(changed(model__puzzle_dim=0, model__puzzle_tokens=0, model__seq_len=81)).model
    assert (model.tokens_in_front, model.positions_total) == (0, 81)


# Builds every configuration that it is given and exits with the number of those that were not refused.
WITHOUT_JAX = """
import json, sys
import trm_jax.commands.cli
from trm_jax.config import experiment_from
from trm_jax.errors import ConfigError

taken = 0
for values in json.load(sys.stdin):
    try:
        experiment_from(values)
        taken += 1
    except ConfigError:
        pass
assert not {"jax", "jaxlib", "flax"} & set(sys.modules)
sys.exit(taken)
"""


def test_what_is_wrong_is_refused_without_jax() -> None:
    every = [values for values, _ in UNKNOWN_KEYS + WRONG_TYPES + OUT_OF_RANGE + AT_ODDS]
    wrong = json.dumps(every, default=repr)  # what JSON cannot say is text, and wrong too

    for cases, taken in ((wrong, 0), (json.dumps([GOOD]), 1)):
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_JAX], input=cases, stderr=subprocess.PIPE, text=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (taken, "")
