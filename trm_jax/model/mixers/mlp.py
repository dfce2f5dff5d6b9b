"""A SwiGLU over the positions in place of attention, then one over the features: the paper's best on small boards."""

import flax.linen as nn
import jax

from trm_jax.config import ModelConfig
from trm_jax.model.layers import SwiGLU, rms_norm, swiglu_flops


class Block(nn.Module):
    """Mix the positions, then the features; each followed by a residual sum and a norm (post-norm)."""

    config: ModelConfig

    @nn.compact
    def __call__(self, h_BLD: jax.Array) -> jax.Array:
        c = self.config
        # With the positions in front, mixing them is one product of matrices, [., L] @ [L, B * D].
        h_LBD = h_BLD.swapaxes(0, 1)
        mixed_LBD = SwiGLU(c, axis=0, name="token_mixer")(h_LBD)
        # This norm is over the positions, not over the features.
        h_BLD = rms_norm(h_LBD + mixed_LBD, c.norm_eps, axis=0).swapaxes(0, 1)
        return rms_norm(h_BLD + SwiGLU(c, name="feed_forward")(h_BLD), c.norm_eps)


def flops(config: ModelConfig) -> int:
    """Of both SwiGLUs."""
    L, D = config.positions_total, config.width
    return D * swiglu_flops(L, config.expansion) + L * swiglu_flops(D, config.expansion)
