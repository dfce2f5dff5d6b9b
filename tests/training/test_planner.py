"""Memory, costs and the planner: figures of compiled steps, how they grow, and what is chosen by them."""

import math
import re
from dataclasses import replace
from functools import partial

import jax
import pytest
from small_run import SMALL_DEMO

from trm_jax.commands.cli import main
from trm_jax.config import Experiment, MemoryConfig, ModelConfig, TrainConfig
from trm_jax.config.files import experiment
from trm_jax.errors import ConfigError
from trm_jax.model.estimate import graded_flops
from trm_jax.recursion.policies import Residuals, plan
from trm_jax.training import costs, memory, planner
from trm_jax.training.costs import compare
from trm_jax.training.memory import Memory, compile_step, memory_of, needs_of
from trm_jax.training.planner import alternatives, describe, settle
from trm_jax.training.step import init_state

# Wide against its weights, so that kept states weigh more than all else.
TINY = Experiment(
    model=ModelConfig(
        vocab_size=6,
        seq_len=16,
        num_puzzles=1,
        width=32,
        expansion=0.5,
        heads=2,
        layers=1,
        puzzle_dim=0,
        puzzle_tokens=0,
        latent_steps=40,
        cycles=2,
        supervision_steps=4,
        dtype="float32",
    ),
    train=TrainConfig(batch_size=64),
)
ROW = 16 * 32 * 4  # bytes of one state of one puzzle


def like_xla(experiment: Experiment) -> Memory:
    """What a compiled step is found to need below, by arithmetic, so that many may be asked for."""
    memory, model = experiment.memory, experiment.model
    how = plan(memory.step_policy, model.latent_steps)
    rows = experiment.train.batch_size // memory.parts
    if isinstance(how, Residuals):
        kept = model.latent_steps * {"all": 12, "products": 6, "host": 0}[how.keep]
    else:
        kept = how.states
    return Memory(10_000 + 200 * experiment.train.batch_size, rows * ROW * (kept + 40 // memory.slices), "xla")


@pytest.fixture(autouse=True)
def known_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are measured in one test alone."""
    monkeypatch.setattr(costs, "_rates", lambda experiment: (1e9, 0.5e9))


@pytest.fixture
def by_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (planner, costs):
        monkeypatch.setattr(module, "needs_of", like_xla)
    monkeypatch.setattr(costs, "DEEPEST", 500)  # long plans take long


def deeper(n: int, experiment: Experiment = TINY) -> Experiment:
    return replace(experiment, model=replace(experiment.model, latent_steps=n))


@pytest.mark.slow
def test_a_compiled_step_needs_what_its_arrays_take_and_nothing_is_allocated() -> None:
    before = len(jax.live_arrays())
    needs = memory_of(compile_step(TINY))
    assert len(jax.live_arrays()) == before
    assert needs_of(TINY) == needs  # compiled in haste

    state = jax.eval_shape(partial(init_state, TINY))
    held = sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(state)) + 64 * (2 * 16 + 1) * 4
    assert held <= needs.arguments <= held + 4096  # and the metrics
    assert needs.temporary > 40 * 64 * ROW
    assert needs.peak == needs.arguments + needs.temporary
    assert needs.platform == jax.default_backend()


@pytest.mark.slow
@pytest.mark.parametrize(
    "memory", [MemoryConfig("step"), pytest.param(MemoryConfig("binomial", repetitions=2), marks=pytest.mark.slow)]
)
def test_memory_grows_by_the_states_of_the_plan(memory: MemoryConfig) -> None:
    more = replace(TINY, memory=memory)
    states = [plan(memory.step_policy, n).states for n in (40, 440)]
    found = needs_of(deeper(440, more)).peak - needs_of(more).peak
    assert found == pytest.approx((states[1] - states[0]) * 64 * ROW, rel=0.02)


def test_of_a_curriculum_the_deepest_stage_is_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(costs, "_Scale", lambda made, usable: asked.append(made))
    monkeypatch.setattr(costs, "in_order", lambda made: [])
    grown = replace(TINY, train=replace(TINY.train, curriculum="latent_steps=99@0.5"))
    compare(grown, 10**12)
    assert asked == [replace(TINY, model=replace(TINY.model, latent_steps=99))]


@pytest.mark.usefixtures("by_arithmetic")
def test_the_verdict_names_the_fastest_that_fits() -> None:
    full = compare(TINY, 10**12)
    names = [option.name for option in full.options]
    assert names[:3] == ["none", "dots", "step"]
    assert set(names[3:]) == {
        "nested, 2 levels",
        "nested, 3 levels",
        *(f"binomial, {repetitions} repetitions" for repetitions in (2, 3, 4)),
    }
    assert [option.flops for option in full.options] == sorted(option.flops for option in full.options)
    assert full.chosen is not None
    assert full.chosen.name == "none"
    assert full.table().splitlines()[-1].startswith("verdict: policy none fits into 900 GB of 1 TB (as given), peak ")
    slow = replace(full.options[0], seconds=12_345.6, largest_batch=123_456_789)
    # Of a device that is not here nobody knows how long a step takes.
    for device, seconds in (("this machine's memory", "12,346"), (full.device, "-")):
        told = replace(full, options=(slow,), device=device).table().splitlines()
        (row,) = (line for line in told if line.startswith("none "))
        assert row.split()[-3:-1] == [seconds, "123,456,789"]

    by_name = {option.name: option for option in full.options}
    step, binomial = by_name["step"], by_name["binomial, 2 repetitions"]
    assert step.seconds < binomial.seconds
    # A forward pass at one pace, a gradient with its forward pass at another.
    graded = graded_flops(TINY)
    assert step.seconds == pytest.approx((step.flops - 3 * graded) / 1e9 + 3 * graded / 0.5e9)
    # Just enough for `step`, then just too little for it.
    for size, policy in ((step.needs.peak, "step"), (step.needs.peak - 10, "nested")):
        chosen = compare(TINY, math.ceil(size / 0.9)).chosen
        assert chosen is not None
        assert chosen.memory.policy == policy
        assert chosen.needs.peak <= 0.9 * math.ceil(size / 0.9)


@pytest.mark.usefixtures("by_arithmetic")
@pytest.mark.parametrize("micro_batches", [1, 4])
def test_the_largest_batch_and_the_deepest_n_fit_and_no_more_does(micro_batches: int) -> None:
    size = 20_000_000
    experiment = replace(TINY, memory=MemoryConfig(micro_batches=micro_batches))
    for option in compare(experiment, size).options:
        for extra, fits in ((0, True), (micro_batches, False)):
            train = replace(TINY.train, batch_size=option.largest_batch + extra)
            found = like_xla(replace(TINY, memory=option.memory, train=train)).peak
            assert (found <= 0.9 * size) is fits, (option.name, extra)
        assert option.largest_batch % micro_batches == 0
        for extra, fits in ((0, True), (1, option.deepest == costs.DEEPEST)):
            found = like_xla(deeper(option.deepest + extra, replace(TINY, memory=option.memory))).peak
            assert (found <= 0.9 * size) is fits, (option.name, extra)


@pytest.mark.usefixtures("by_arithmetic")
def test_where_nothing_fits_slices_are_tried_and_then_it_is_said() -> None:
    shallow = deeper(2)
    least = min(option.needs.peak for option in compare(shallow, 10**12).options)

    sliced = compare(shallow, int(0.7 * least / planner.SHARE)).chosen
    assert sliced is not None
    assert sliced.memory.slices == 2
    assert sliced.name.endswith(", 2 slices")
    assert sliced.largest_batch % 2 == 0

    nothing = compare(replace(shallow, memory=MemoryConfig(device_memory="100KB")))
    assert nothing.chosen is None
    assert nothing.to_dict()["chosen"] is None
    last = nothing.table().splitlines()[-1]
    assert re.match(r"verdict: no policy fits into 90 kB of 100 kB \(as given\); the least is .*, peak [\d.]+ kB", last)
    with pytest.raises(
        ConfigError, match=r"config\.memory\.policy = 'auto': nothing fits into 90% of 100 kB"
    ) as caught:
        settle(replace(shallow, memory=MemoryConfig("auto", device_memory="100KB")))
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("by_arithmetic")
def test_the_command_line_fails_where_nothing_fits(capsys: pytest.CaptureFixture[str]) -> None:
    for size, code, said in (("100KB", 1, "no policy fits into 90 kB of 100 kB"), ("1TB", 0, "policy none fits into ")):
        assert main(["estimate", *SMALL_DEMO, f"--device-memory={size}"]) == code
        assert capsys.readouterr().out.splitlines()[-1].startswith(f"verdict: {said}")


@pytest.mark.usefixtures("by_arithmetic")
def test_auto_settles_for_the_fastest_that_fits_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert settle(TINY) is TINY
    auto = replace(TINY, memory=MemoryConfig("auto", device_memory="1TB"))
    assert settle(auto).memory.policy == "none"
    assert "memory policy: none " in capsys.readouterr().err

    # Room for the step alone is too little.
    just = replace(auto, memory=replace(auto.memory, device_memory=str(like_xla(TINY).peak)))
    assert settle(just).memory.policy != "none"
    capsys.readouterr()

    between = (like_xla(TINY).peak + like_xla(replace(TINY, memory=MemoryConfig("step"))).peak) // 2
    tight = replace(auto, memory=replace(auto.memory, device_memory=str(between)))
    settled = settle(tight)
    assert settled == replace(tight, memory=replace(tight.memory, policy=settled.memory.policy))
    assert settled.memory.policy != "none"
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"memory policy: {describe(settled.memory)}" in said
    assert "too much: none " in said
    assert "compiled for xla" in said


def test_policies_that_come_to_the_same_plan_are_listed_once() -> None:
    once = [describe(memory) for memory in alternatives(replace(TINY, model=replace(TINY.model, latent_steps=1)))]
    assert once == ["none", "dots", "step"]
    sliced = alternatives(replace(TINY, memory=MemoryConfig(slices=4)))
    assert {memory.slices for memory in sliced} == {4}
    assert "dots" not in {memory.policy for memory in sliced}


@pytest.mark.slow  # test_memory_grows_by_the_states_of_the_plan has it in small
@pytest.mark.parametrize(
    ("n", "cycles", "memory", "most"),
    [
        # The paper's table 3: out of memory.
        (12, 6, MemoryConfig("step"), 16e9),
        (384, 3, MemoryConfig("binomial", repetitions=3, slices=16), 4e9),
        (10_000, 3, MemoryConfig("binomial", repetitions=3), 16e9),
        (10_000, 3, MemoryConfig("binomial", repetitions=4, slices=16), 5e9),
    ],
)
def test_deep_recursion_of_the_full_model_fits_at_batch_768(
    n: int, cycles: int, memory: MemoryConfig, most: float
) -> None:
    base = experiment("sudoku_mlp")
    model = replace(base.model, latent_steps=n, cycles=cycles)
    assert needs_of(replace(base, model=model, memory=memory)).temporary < most


def test_the_rates_are_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    forward, gradient = costs._rates(TINY)
    assert 1e6 < forward < 1e15
    assert 1e6 < gradient < 1e15


def test_the_device_says_how_much_it_has() -> None:
    size, where = memory.device_memory()
    assert size > 100_000_000
    assert where
    assert Memory(3, 4, "cpu").peak == 7


def test_a_step_that_the_compiler_refuses_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(experiment: Experiment, to_run: bool) -> None:
        raise jax.errors.JaxRuntimeError(experiment.name)

    monkeypatch.setattr(memory, "compile_step", refuse)
    needs = needs_of(replace(TINY, name="RESOURCE_EXHAUSTED: out of memory"))
    assert needs.size == "too much"
    assert needs.peak > 10**18
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        needs_of(replace(TINY, name="INTERNAL: a fault"))
