"""What a training step needs in memory, before it is run: compiled ahead of time, with no array allocated."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from trm_jax.config import Experiment
from trm_jax.step import init_state, train_step
from trm_jax.supervision import Batch


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


def compile_step(experiment: Experiment) -> jax.stages.Compiled:
    """The training step of an experiment with all sizes filled in, compiled for the default device."""
    state: Any = jax.eval_shape(partial(init_state, experiment))
    rows, cells = experiment.train.batch_size, experiment.model.seq_len
    tokens = jax.ShapeDtypeStruct((rows, cells), jnp.int32)
    batch = Batch(tokens, tokens, jax.ShapeDtypeStruct((rows,), jnp.int32))
    return jax.jit(partial(train_step, experiment), donate_argnums=0).lower(state, batch).compile()


def memory_of(compiled: jax.stages.Compiled) -> Memory:
    """Reads XLA's buffer assignment of a compiled step (`compile_step`)."""
    analysis: Any = compiled.memory_analysis()
    results = analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    platform = jax.default_backend()
    return Memory(analysis.argument_size_in_bytes + results, analysis.temp_size_in_bytes, platform)
