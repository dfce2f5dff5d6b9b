"""Memory: what a compiled training step needs of it, by XLA's own plan, and how much of it the device has.

Every step is compiled ahead of time for the present device, with no array allocated.
"""

import os
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp

from trm_jax.config import Experiment
from trm_jax.config.mixers import revision
from trm_jax.sizes import format_bytes
from trm_jax.training.step import init_state, train_step
from trm_jax.training.supervision import Batch

# Bytes of a step that the compiler itself refuses.
TOO_MUCH = 1 << 62


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
    options: Any = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" and not to_run else None
    return trace_step(experiment).lower().compile(options)


def trace_step(experiment: Experiment) -> jax.stages.Traced:
    """The training step of an experiment with all sizes filled in, ready to be lowered for any platform."""
    state: Any = jax.eval_shape(partial(init_state, experiment))
    rows, cells = experiment.train.batch_size, experiment.model.seq_len
    tokens = partial(jnp.zeros, dtype=jnp.int32)
    batch = jax.eval_shape(lambda: Batch(tokens((rows, cells)), tokens((rows, cells)), tokens(rows)))
    return jax.jit(partial(train_step, experiment), donate_argnums=0).trace(state, batch)


def memory_of(compiled: jax.stages.Compiled) -> Memory:
    """Reads XLA's buffer assignment of a compiled step (`compile_step`)."""
    analysis: Any = compiled.memory_analysis()
    results = analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    return Memory(analysis.argument_size_in_bytes + results, analysis.temp_size_in_bytes, jax.default_backend())


def needs_of(experiment: Experiment) -> Memory:
    """What the compiled training step of an experiment needs; each is compiled once."""
    return _needs_of(experiment, revision())


@lru_cache(maxsize=256)
def _needs_of(experiment: Experiment, revision: int) -> Memory:
    try:
        return memory_of(compile_step(experiment, to_run=False))
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return Memory(0, TOO_MUCH, jax.default_backend())


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
