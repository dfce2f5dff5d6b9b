"""What networks are made of: a projection, a SwiGLU, a norm.

Initialisers, norm and sizes are those of the original (see docs/paper_to_code.md). All weights are float32; a module
computes in its `dtype`, except for norms, softmax and rotary angles, which are float32.
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from trm_jax.config import ModelConfig

# Truncated at two sigma with the variance that truncation takes away given back: true standard deviation
# 1 / sqrt(fan in).
lecun_normal = nn.initializers.lecun_normal()
# The same for a table [rows, D], whose rows are to have standard deviation 1 / sqrt(D).
embedding_normal = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal", in_axis=-1, out_axis=-2)


def rms_norm(h: jax.Array, eps: float, axis: int = -1) -> jax.Array:
    """h / sqrt(mean(h^2) + eps) over one axis, without a scale, in float32."""
    h32 = h.astype(jnp.float32)
    scale = jax.lax.rsqrt(jnp.mean(jnp.square(h32), axis=axis, keepdims=True) + eps)
    return (h32 * scale).astype(h.dtype)


def swiglu_width(d: int, expansion: float) -> int:
    """The inner width of a SwiGLU on d features: two thirds of the expansion, rounded up to a multiple of 256."""
    return -(-round(expansion * d * 2 / 3) // 256) * 256


def swiglu_flops(d: int, expansion: float) -> int:
    """Operations of a SwiGLU on one vector of d features: two for each of its weights."""
    return 2 * 3 * d * swiglu_width(d, expansion)


class Linear(nn.Module):
    """A projection of the last axis [..., d] -> [..., features], or of the first [d, ...] -> [features, ...]; no bias.

    It multiplies matrices: with more than two axes XLA copies activations to transpose them for the weights' gradient,
    which made a training step on a CPU twice as slow.
    """

    features: int
    dtype: DTypeLike
    axis: Literal[0, -1] = -1

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        d = h.shape[self.axis]
        kernel = self.param("kernel", lecun_normal, (d, self.features)).astype(self.dtype)
        if self.axis == 0:
            return (kernel.T @ h.reshape(d, -1)).reshape(self.features, *h.shape[1:])
        return (h.reshape(-1, d) @ kernel).reshape(*h.shape[:-1], self.features)


def gated(gate: jax.Array, up: jax.Array, config: ModelConfig, axis: int = -1) -> jax.Array:
    """What passes a gate, as config.gate says; features lie along one axis.

    "silu": silu(gate) * up, which is sigmoid(gate) * (gate * up). "normalised": sigmoid(gate) * rms(gate * up), whose
    size does not grow with the product's (arXiv 2601.19085, which found that Muon needs it).
    """
    if config.gate == "silu":
        return jax.nn.silu(gate) * up
    return jax.nn.sigmoid(gate) * rms_norm(gate * up, config.norm_eps, axis)


class SwiGLU(nn.Module):
    """W_down(`gated`(gate, up)) over the last or the first axis, gate and up from one projection."""

    config: ModelConfig
    axis: Literal[0, -1] = -1

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        c, d = self.config, h.shape[self.axis]
        inner = swiglu_width(d, c.expansion)
        gate, up = jnp.split(Linear(2 * inner, c.dtype, self.axis, name="gate_up")(h), 2, axis=self.axis)
        return Linear(d, c.dtype, self.axis, name="down")(gated(gate, up, c, self.axis))
