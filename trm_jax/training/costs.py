"""What every gradient policy costs, and which fit: memory by compiling the step, time by counting applications.

The largest batch and the deepest n follow from a few compilations: peak memory is a constant, plus what every puzzle of
a batch costs, plus what every kept state costs (docs/deep_recursion.md).
"""

import math
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from trm_jax.config import Experiment, MemoryConfig
from trm_jax.config.curriculum import deepest
from trm_jax.console import Bar
from trm_jax.model.estimate import estimate, graded_flops, supervision_flops
from trm_jax.model.model import Model
from trm_jax.recursion.policies import Residuals, plan
from trm_jax.sizes import format_bytes, si
from trm_jax.training.memory import Memory, needs_of
from trm_jax.training.planner import GIVEN, SHARE, describe, given_memory, in_order

# Deeper than this nobody is told how deep a policy goes.
DEEPEST = 10_000


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
    def here(self) -> bool:
        """Whether the device is the one on which times are measured."""
        return self.device != GIVEN

    @property
    def source(self) -> str:
        """Where the figures of memory come from."""
        return f"compiled for {self.options[0].needs.platform}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        options = [asdict(option) | {"name": option.name, "peak": option.needs.peak} for option in self.options]
        chosen = self.chosen
        return {
            "device": self.device,
            "device_memory": self.device_memory,
            "usable": int(SHARE * self.device_memory),
            "source": self.source,
            "options": options,
            "chosen": None if chosen is None else chosen.name,
        }

    def table(self) -> str:
        """Lines for people, the verdict last."""
        usable = f"{format_bytes(SHARE * self.device_memory)} of {format_bytes(self.device_memory)} ({self.device})"
        lines = [
            "",
            f"{'gradient policy':32}{'peak':>10}{'a step':>14}{'s a step':>10}{'batch':>13}{'n':>10}",
            f"{'':32}{'compiled':>10}{'counted':>14}{'expected':>10}{'at most':>13}{'at most':>10}",
        ]
        for o in self.options:
            deepest = f"{o.deepest:,}" + ("+" if o.deepest == DEEPEST else "")
            seconds = f"{o.seconds:.3g}" if o.seconds < 1_000 else f"{o.seconds:,.0f}"
            if not self.here:
                seconds = "-"
            lines.append(
                f"{o.name:32}{o.needs.size:>10}{si(o.flops):>14}{seconds:>10}"
                f"{o.largest_batch:>13,}{deepest:>10}{'' if o.fits else '   does not fit'}"
            )
        measured = "from one network application measured on this machine" if self.here else "the device is not here"
        lines += [
            f"peak: {self.source}, no array allocated; s a step: {measured};",
            "batch and n at most: interpolated, at this n and this batch",
        ]
        if (named := self.chosen) is not None:
            verdict = f"policy {named.name} fits into {usable}"
        else:
            named = min(self.options, key=lambda option: option.needs.peak)
            verdict = f"no policy fits into {usable}; the least is {named.name}"
        return "\n".join([*lines, f"verdict: {verdict}, peak {named.needs.size} ({self.source})"])


def compare(experiment: Experiment, budget: int | None = None) -> Verdict:
    """Compiles the training step under every policy; where none fits, also with slices, until one does.

    Args:
      experiment: sizes that it leaves to the data count as one; of a curriculum, the deepest stage is weighed.
      budget: bytes of the device; None: as config.memory.device_memory says, or else of the present one.
    """
    known = {name: max(1, getattr(experiment.model, name)) for name in ("vocab_size", "seq_len", "num_puzzles")}
    experiment = deepest(replace(experiment, model=replace(experiment.model, **known)))
    size, device = (budget, GIVEN) if budget else given_memory(experiment)
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


class _Scale:
    """Weighs ways to train one experiment, and tells how they grow with the batch and with n."""

    def __init__(self, experiment: Experiment, usable: float) -> None:
        self._experiment, self._usable = experiment, usable
        self._forward_rate, self._gradient_rate = _rates(experiment)
        # Weights, their averages and gradients, and the optimiser: what no puzzle adds to.
        batch = experiment.train.batch_size
        unit = experiment.memory.parts * experiment.memory.slices
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
        batch, unit = experiment.train.batch_size, memory.parts * memory.slices
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
        model, n = experiment.model, experiment.model.latent_steps
        if model.gradient != "cycles" or model.states in ("y", "candidates"):
            return DEEPEST if peak <= self._usable else 0  # what is kept does not grow with n
        kept = self._kept(experiment, peak)
        room = self._usable - peak + kept(n)
        return bisect_right(range(1, DEEPEST + 1), room, key=kept)

    def _kept(self, experiment: Experiment, peak: int) -> Callable[[int], float]:
        """Bytes of what the policy keeps of n latent steps, as a function of n."""
        model, memory = experiment.model, experiment.memory
        if isinstance(plan(memory.step_policy, model.latent_steps), Residuals):
            deeper = replace(experiment, model=replace(model, latent_steps=2 * model.latent_steps))
            per_step = (needs_of(deeper).peak - peak) / model.latent_steps
            return lambda n: n * per_step
        latents = 1 if model.winner_take_all else model.latents
        state = latents * math.prod(model.state_shape) * jnp.dtype(model.dtype).itemsize
        cycles = model.grad_cycles * model.backprop_steps if memory.outer_policy == "none" else 1
        per_state = state * cycles * experiment.train.batch_size // memory.parts

        def of_states(n: int) -> float:
            how = plan(memory.step_policy, n)
            assert not isinstance(how, Residuals)
            return how.states * per_state

        return of_states


def _rates(experiment: Experiment) -> tuple[float, float]:
    """Operations a second of a forward pass, and of a gradient with its forward pass, measured on two applications."""
    config = replace(experiment.model, latent_steps=1, cycles=1, grad_cycles=1, gradient="cycles", backprop_steps=1)
    model = Model(config)
    rows = min(experiment.train.batch_size, 4 if jax.default_backend() == "cpu" else 256)
    weights = jax.jit(model.init)(jax.random.key(0))
    inputs = jnp.zeros((rows, config.seq_len), jnp.int32)
    state = model.start(weights.starts, rows)

    def forward(params: Any) -> jax.Array:
        if config.states == "candidates":
            assert state.y is not None
            return model.deduce(params, state.y, inputs).symbols.sum()
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
