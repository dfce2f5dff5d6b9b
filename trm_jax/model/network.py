"""The network: blocks of one mixer, whichever config.model.mixer names."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from trm_jax.config import ModelConfig
from trm_jax.config.mixers import mixer
from trm_jax.errors import ConfigError
from trm_jax.model.attention import Implementation


class Network(nn.Module):
    """net(h, injection) = blocks(h + injection); one of these is all that recurses."""

    config: ModelConfig
    layers: int
    attention: Implementation = "xla"

    @nn.compact
    def __call__(self, h_BLD: jax.Array, injection_BLD: jax.Array | float) -> jax.Array:
        h_BLD = h_BLD + injection_BLD
        for i in range(self.layers):
            new_BLD = block(self.config, self.attention, name=f"block_{i}")(h_BLD)
            check_made(self.config, "block", new_BLD, h_BLD.shape, h_BLD.dtype)
            h_BLD = new_BLD
        return h_BLD


class Functions(nn.Module):
    """A block that was given as two functions, init(key, config) -> weights and apply(weights, h, config) -> h."""

    config: ModelConfig
    functions: tuple[Callable[..., Any], Callable[..., Any]]

    @nn.compact
    def __call__(self, h_BLD: jax.Array) -> Any:
        init, apply = self.functions
        return apply(self.param("weights", init, self.config), h_BLD, self.config)


def block(config: ModelConfig, attention: Implementation = "xla", name: str | None = None) -> nn.Module:
    """One block of the configuration's mixer, as a flax module."""
    known = mixer(config.mixer)
    made = known.part("block")
    if isinstance(made, tuple):
        return Functions(config, made, name=name)
    module = made(config, name=name, **({"implementation": attention} if known.attends else {}))
    if not isinstance(module, nn.Module):
        kind = type(module).__name__
        raise ConfigError(f"config.model.mixer = {config.mixer!r}: its block makes a {kind}: let it be a flax module")
    return module


def check_made(config: ModelConfig, what: str, made: Any, shape: tuple[int, ...], dtype: Any) -> None:
    """ConfigError if a mixer's function has made something other than an array of this shape and dtype."""
    found = f"{made.dtype}{list(made.shape)}" if hasattr(made, "dtype") else f"a {type(made).__name__}"
    if found != (wanted := f"{jnp.dtype(dtype)}{list(shape)}"):
        raise ConfigError(f"config.model.mixer = {config.mixer!r}: its {what} makes {found}: let it make {wanted}")
