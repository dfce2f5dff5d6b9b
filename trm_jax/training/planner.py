"""Which gradient policy to train with: memory by XLA's own plan of the compiled step, time by counting applications.

Every step is compiled ahead of time for the present device, with no array allocated. The largest batch and the deepest
n follow from a few such compilations: peak memory is a constant, plus what every puzzle of a batch costs, plus what
every kept state costs (docs/deep_recursion.md).
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from itertools import chain
from typing import Any

import jax
import jax.numpy as jnp

from trm_jax.config import Experiment, MemoryConfig
from trm_jax.console import Bar, say
from trm_jax.errors import ConfigError
from trm_jax.model.estimate import estimate, graded_flops, supervision_flops
from trm_jax.model.model import Model
from trm_jax.recursion.chain import check_available
from trm_jax.recursion.policies import POLICIES, Policy, Residuals, plan
from trm_jax.sizes import format_bytes, parse_bytes, si
from trm_jax.training.step import init_state, train_step
from trm_jax.training.supervision import Batch

# What is left to the runtime, and to evaluation.
SHARE = 0.9
# Deeper than this nobody is told how deep a policy goes.
DEEPEST = 10_000
# Bytes of a step that the compiler itself refuses.
TOO_MUCH = 1 << 62
# No slice is made smaller than so many rows: matrix products of fewer waste the hardware.
LEAST_ROWS = 8


@dataclass(frozen=True)
class Memory:
    """Bytes that a compiled training step needs, by XLA's buffer assignment for `platform`.

    arguments: weights, averages, optimiser, puzzle table, carry and batch; the results overwrite them.
    temporary: everything else: kept states, activations, gradients.
    """

    arguments: int
    temporary: int
    platform: str

    @property
    def peak(self) -> int:
        """Both together."""
        return self.arguments + self.temporary

    @property
    def size(self) -> str:
        """The peak for people."""
        return format_bytes(self.peak) if self.peak < TOO_MUCH else "too much"


def compile_step(experiment: Experiment, to_run: bool = True) -> jax.stages.Compiled:
    """The training step of an experiment with all sizes filled in, compiled for the default device.

    to_run: False compiles a slow program on a CPU, in half the time; its memory is the same.
    """
    state: Any = jax.eval_shape(partial(init_state, experiment))
    rows, cells = experiment.train.batch_size, experiment.model.seq_len
    tokens = partial(jnp.zeros, dtype=jnp.int32)
    batch = jax.eval_shape(lambda: Batch(tokens((rows, cells)), tokens((rows, cells)), tokens(rows)))
    options: Any = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" and not to_run else None
    return jax.jit(partial(train_step, experiment), donate_argnums=0).lower(state, batch).compile(options)


def memory_of(compiled: jax.stages.Compiled) -> Memory:
    """Reads XLA's buffer assignment of a compiled step (`compile_step`)."""
    analysis: Any = compiled.memory_analysis()
    results = analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    return Memory(analysis.argument_size_in_bytes + results, analysis.temp_size_in_bytes, jax.default_backend())


@lru_cache(maxsize=256)
def needs_of(experiment: Experiment) -> Memory:
    """What the compiled training step of an experiment needs; each is compiled once."""
    try:
        return memory_of(compile_step(experiment, to_run=False))
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return Memory(0, TOO_MUCH, jax.default_backend())


@dataclass(frozen=True)
class Option:
    """One way to train, and what it costs.

    memory: the policy with its numbers, slices and micro-batches.
    needs: compiled.
    flops: of a training step.
    seconds: a training step is expected to take, from the measured time of one network application.
    largest_batch: that fits into the device at this n, in steps of micro_batches * slices; interpolated.
    deepest: the largest n that fits at this batch, DEEPEST at most; interpolated.
    """

    memory: MemoryConfig
    needs: Memory
    flops: int
    seconds: float
    largest_batch: int
    deepest: int
    fits: bool

    @property
    def name(self) -> str:
        """As a person says it: binomial, 3 repetitions, 16 slices."""
        return describe(self.memory)


@dataclass(frozen=True)
class Verdict:
    """All options, and the fastest that fits."""

    options: tuple[Option, ...]
    device_memory: int
    device: str

    @property
    def chosen(self) -> Option | None:
        """The one with the fewest operations; among equals the first."""
        return min((option for option in self.options if option.fits), key=lambda option: option.flops, default=None)

    @property
    def platform(self) -> str:
        """For what the options were compiled."""
        return self.options[0].needs.platform

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        options = [asdict(option) | {"name": option.name, "peak": option.needs.peak} for option in self.options]
        chosen = self.chosen
        return {
            "device": self.device,
            "device_memory": self.device_memory,
            "usable": int(SHARE * self.device_memory),
            "source": f"compiled for {self.platform}",
            "options": options,
            "chosen": None if chosen is None else chosen.name,
        }

    def table(self) -> str:
        """Lines for people, the verdict last."""
        usable = f"{format_bytes(SHARE * self.device_memory)} of {format_bytes(self.device_memory)} ({self.device})"
        source = f"compiled for {self.platform}"
        lines = [
            "",
            f"{'gradient policy':32}{'peak':>10}{'a step':>14}{'s a step':>10}{'batch':>9}{'n':>10}",
            f"{'':32}{'compiled':>10}{'counted':>14}{'expected':>10}{'at most':>9}{'at most':>10}",
        ]
        for o in self.options:
            deepest = f"{o.deepest:,}" + ("+" if o.deepest == DEEPEST else "")
            lines.append(
                f"{o.name:32}{o.needs.size:>10}{si(o.flops):>14}{o.seconds:>10.3g}"
                f"{o.largest_batch:>9,}{deepest:>10}{'' if o.fits else '   does not fit'}"
            )
        lines += [
            f"peak: {source}, no array allocated; s a step: from one network application measured on this machine;",
            "batch and n at most: interpolated, at this n and this batch",
        ]
        chosen = self.chosen
        if chosen is None:
            least = min(self.options, key=lambda option: option.needs.peak)
            lines.append(f"verdict: no policy fits into {usable}; the least is {least.name}, peak {self._peak(least)}")
        else:
            lines.append(f"verdict: policy {chosen.name} fits into {usable}, peak {self._peak(chosen)}")
        return "\n".join(lines)

    def _peak(self, option: Option) -> str:
        return f"{option.needs.size} (compiled for {self.platform})"


def describe(memory: MemoryConfig) -> str:
    """A memory configuration in a few words."""
    words = [memory.policy]
    if memory.policy == "nested":
        words.append(f"{memory.levels} levels")
    if memory.policy == "binomial":
        words.append(f"{memory.states} states" if memory.states else f"{memory.repetitions} repetitions")
    for name in ("micro_batches", "slices"):
        if (count := getattr(memory, name)) > 1:
            words.append(f"{count} {name.replace('_', '-')}")
    return ", ".join(words)


def device_memory() -> tuple[int, str]:
    """Bytes that the default device has for a process, and where the figure comes from."""
    device = jax.local_devices()[0]
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return int(stats["bytes_limit"]), f"{device.device_kind}, its allocator's limit"
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        with open("/sys/fs/cgroup/memory.max") as file:
            total = min(total, int(file.read()))
    except (OSError, ValueError):  # no control group, or one without a limit
        pass
    return total, "this machine's memory"


def _given_memory(experiment: Experiment) -> tuple[int, str]:
    given = experiment.memory.device_memory
    return (parse_bytes(given), "as given") if given else device_memory()


def alternatives(experiment: Experiment) -> list[MemoryConfig]:
    """Every policy that this machine can run, with usual numbers; those that come to the same plan once."""
    memory, n = experiment.memory, experiment.model.latent_steps
    numbers: dict[str, list[dict[str, Any]]] = {
        "nested": [{"levels": levels} for levels in (2, 3)],
        "binomial": [{"repetitions": repetitions, "states": 0} for repetitions in (2, 3, 4)],
    }
    found: dict[Any, MemoryConfig] = {}
    for name in POLICIES:
        if name == "dots" and memory.slices > 1:
            continue
        try:
            check_available(Policy(name))
        except ConfigError:
            continue
        for values in numbers.get(name, [{}]):
            candidate = replace(memory, policy=name, **values)
            how = plan(candidate.step_policy, n)
            found.setdefault(how if isinstance(how, Residuals) else (how.states, how.recomputed), candidate)
    return list(found.values())


def in_order(experiment: Experiment) -> Iterator[list[MemoryConfig]]:
    """What to try: every policy as it is, fewest operations first; then each with twice, four times ... the slices."""
    memory = experiment.memory
    rows = experiment.train.batch_size // memory.micro_batches

    def cost(memory: MemoryConfig) -> int:
        return estimate(replace(experiment, memory=memory)).flops_per_step

    slices = memory.slices
    while slices == memory.slices or (rows % slices == 0 and rows // slices >= LEAST_ROWS):
        yield sorted(alternatives(replace(experiment, memory=replace(memory, slices=slices))), key=cost)
        slices *= 2


def compare(experiment: Experiment, budget: int | None = None) -> Verdict:
    """Compiles the training step under every policy; where none fits, also with slices, until one does.

    Args:
      experiment: sizes that it leaves to the data count as one.
      budget: bytes of the device; None: as config.memory.device_memory says, or else of the present one.
    """
    known = {name: max(1, getattr(experiment.model, name)) for name in ("vocab_size", "seq_len", "num_puzzles")}
    experiment = replace(experiment, model=replace(experiment.model, **known))
    size, device = (budget, "as given") if budget else _given_memory(experiment)
    weigh = _Scale(experiment, SHARE * size)
    options: list[Option] = []
    for number, memories in enumerate(in_order(experiment)):
        with Bar("compiling", len(memories), every=len(memories)) as bar:
            for done, memory in enumerate(memories, start=1):
                options.append(weigh(memory))
                bar.update(done)
                if number and options[-1].fits:
                    break
        if any(option.fits for option in options):
            break
    return Verdict(tuple(options), size, device)


def settle(experiment: Experiment) -> Experiment:
    """The experiment with config.memory.policy = "auto" replaced by the fastest policy that fits; others as they are.

    Raises:
      ConfigError: none fits.
    """
    if experiment.memory.policy != "auto":
        return experiment
    size, device = _given_memory(experiment)
    too_much: list[str] = []
    for memory in chain.from_iterable(in_order(experiment)):
        candidate = replace(experiment, memory=memory)
        needs = needs_of(candidate)
        peak = f"{describe(memory)} {needs.size}"
        if needs.peak <= SHARE * size:
            say(
                f"memory policy: {peak} of {format_bytes(size)} ({device}), compiled for {needs.platform}"
                f"{'; too much: ' if too_much else ''}{', '.join(too_much)}"
            )
            return candidate
        too_much.append(peak)
    raise ConfigError(
        f"config.memory.policy = 'auto': nothing fits into {SHARE:.0%} of {format_bytes(size)} ({device}; the least is "
        f"{too_much[-1]}): lower config.train.batch_size, or raise config.memory.micro_batches"
    )


class _Scale:
    """Weighs ways to train one experiment, and tells how they grow with the batch and with n."""

    def __init__(self, experiment: Experiment, usable: float) -> None:
        self._experiment, self._usable = experiment, usable
        self._forward_rate, self._gradient_rate = _rates(experiment)
        # Weights, their averages and gradients, and the optimiser: what no puzzle adds to.
        batch = experiment.train.batch_size
        unit = experiment.memory.micro_batches * experiment.memory.slices
        other = max(batch // 2 // unit, 1) * unit
        other = other if other < batch else 2 * batch
        frugal = replace(experiment, memory=replace(experiment.memory, policy="step"))
        half = needs_of(replace(frugal, train=replace(frugal.train, batch_size=other))).peak
        whole = needs_of(frugal).peak
        self._constant = whole - batch * (whole - half) / (batch - other)

    def __call__(self, memory: MemoryConfig) -> Option:
        experiment = replace(self._experiment, memory=memory)
        needs = needs_of(experiment)
        flops = estimate(experiment).flops_per_step
        graded = graded_flops(experiment)
        batch, unit = experiment.train.batch_size, memory.micro_batches * memory.slices
        per_puzzle = (needs.peak - self._constant) / batch
        return Option(
            memory=memory,
            needs=needs,
            flops=flops,
            # The pace of a gradient is that of a forward pass and its backward pass together, three times the work.
            seconds=(flops - 3 * graded) / self._forward_rate + 3 * graded / self._gradient_rate,
            largest_batch=max(0, int((self._usable - self._constant) / per_puzzle)) // unit * unit,
            deepest=self._deepest(experiment, needs.peak),
            fits=needs.peak <= self._usable,
        )

    def _deepest(self, experiment: Experiment, peak: int) -> int:
        """The largest n that fits, by how many more states its plan keeps, or by what twice the n needs."""
        model, memory = experiment.model, experiment.memory
        n, policy = model.latent_steps, memory.step_policy
        if model.gradient != "cycles" or model.states == "y":
            return DEEPEST if peak <= self._usable else 0  # what is kept does not grow with n
        kept: Callable[[int], float]
        if isinstance(plan(policy, n), Residuals):
            deeper = replace(experiment, model=replace(model, latent_steps=2 * n))
            per_step = (needs_of(deeper).peak - peak) / n
            kept = lambda n: n * per_step  # noqa: E731
        else:
            itemsize = jnp.dtype(model.dtype).itemsize
            state = model.latents * model.positions_total * model.width * itemsize
            cycles = model.grad_cycles * model.backprop_steps if memory.outer_policy == "none" else 1
            per_state = state * cycles * experiment.train.batch_size // memory.micro_batches

            def kept(n: int) -> float:
                how = plan(policy, n)
                assert not isinstance(how, Residuals)
                return how.states * per_state

        low, high = 0, DEEPEST
        while low < high:
            middle = (low + high + 1) // 2
            fits = peak + kept(middle) - kept(n) <= self._usable
            low, high = (middle, high) if fits else (low, middle - 1)
        return low


def _rates(experiment: Experiment) -> tuple[float, float]:
    """Operations a second of a forward pass, and of a gradient with its forward pass, measured on two applications."""
    config = replace(experiment.model, latent_steps=1, cycles=1, grad_cycles=1, gradient="cycles", backprop_steps=1)
    model = Model(config)
    rows = min(experiment.train.batch_size, 4 if jax.default_backend() == "cpu" else 256)
    weights = jax.jit(model.init)(jax.random.key(0))
    inputs = jnp.zeros((rows, config.seq_len), jnp.int32)
    state = model.start(weights.starts, rows)

    def forward(params: Any) -> jax.Array:
        return model.think(params, None, state, inputs)[1].logits.sum()

    flops = rows * supervision_flops(config)
    gradient = jax.jit(jax.grad(forward))
    return flops / _seconds(jax.jit(forward), weights.params), 3 * flops / _seconds(gradient, weights.params)


def _seconds(f: Callable[[Any], Any], argument: Any) -> float:
    """The fastest of a few calls, compilation apart."""
    times = []
    for _ in range(4):
        start = time.perf_counter()
        jax.block_until_ready(f(argument))
        times.append(time.perf_counter() - start)
    return min(times[1:])
