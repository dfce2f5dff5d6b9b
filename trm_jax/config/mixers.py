"""The networks that `config.model.mixer` may name, and what is known of each before JAX is imported.

A *mixer* is the block of which a network consists: h [B, L, D] -> h of the same shape. This project's own stand at the
end of this file, each with its code in a file of its own under model/mixers/; a user's come in by the same door,
`register_mixer`. Nothing here imports JAX, so that a name or a size that is wrong is told at once: what a block is made
of is imported when a model is.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from trm_jax.errors import ConfigError, first_line


class UnknownMixer(ConfigError):
    """A name that nothing has registered here; a checkpoint may have it from elsewhere."""


@dataclass(frozen=True)
class Mixer:
    """What `register_mixer` was given. Each part is there, or is "package.module:name", where it will be found."""

    block: Any
    flops: Any = None
    rules: Any = None
    shape: Any = None
    ends: Any = None
    attends: bool = False
    candidate_ends: Any = None
    units: bool = False

    def part(self, name: str) -> Any:
        """The part of this name, imported if need be; None if there is none. Raises ConfigError if it is not found."""
        given = getattr(self, name)
        if not isinstance(given, str):
            return given
        module, _, attribute = given.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"{name} = {given!r} of a mixer is not found: {first_line(error)}") from error


_mixers: dict[str, Mixer] = {}
_ours: frozenset[str] = frozenset()
_revision = 0


def register_mixer(
    name: str,
    block: Callable[..., Any] | tuple[Callable[..., Any], Callable[..., Any]] | str,
    *,
    flops: Callable[[Any], int] | str | None = None,
    rules: Callable[[Any], str | None] | str | None = None,
    shape: Callable[[Any], tuple[int, int]] | str | None = None,
    ends: Callable[..., Any] | str | None = None,
    attends: bool = False,
    candidate_ends: Callable[..., Any] | str | None = None,
    units: bool = False,
) -> None:
    """Makes a network a value of `config.model.mixer`: to be trained, evaluated, solved with, estimated and saved.

    Each function gets `config`, the experiment's ModelConfig (config.width is D, config.positions_total is L). In place
    of anything but the name, text "package.module:name" says where it is; it is imported when it is needed. A name that
    is registered again stands for what it was given last. Checkpoints keep the name and the weights, not the code:
    register it again before one is loaded, or give the commands `--network FILE.py`, which does.

    Args:
      name: the value of `config.model.mixer`.
      block: a flax linen module class with one field, `config`, whose call maps h [B, L, D] to h of the same shape and
        dtype (config.dtype); or two functions, init(key, config) -> weights, a pytree of float32 arrays, and
        apply(weights, h, config) -> h.
      flops: flops(config) -> operations of one block on one puzzle, a multiplication and an addition counting two.
        None: as XLA counts them.
      rules: rules(config) -> one line that says what does not suit it and how to mend that, or None.
      shape: shape(config) -> (L, D) of y and of every z. None: config.tokens_in_front + config.seq_len positions of
        config.width.
      ends: a flax linen module class with one field, `config`, in place of trm_jax.model.ends.Ends: embed(inputs
        [B, S], rows of the puzzle table [B, R] or None) -> x [B, L, D]; read(y [B, L, D]) -> logits [B, S, V] and
        q [B, 2], halt and continue, float32.
      attends: its block has a field `implementation` besides, for `trm_jax.model.attention.attend`: "cudnn" where this
        machine's device has a fused kernel for config.heads heads, else "xla".
      candidate_ends: likewise in place of trm_jax.model.ends.CandidateEnds, for config.states = "candidates": where
        there is none, a mixer with a shape of its own has no such states.
      units: it is made of the puzzle's units, config.units.

    Raises:
      ConfigError: a name that is taken by one of this project's own, or a part of another kind.

    >>> import jax, jax.numpy as jnp
    >>> def init(key, config):
    ...     return {"kernel": jax.random.normal(key, (config.width, config.width)) / config.width**0.5}
    >>> def apply(weights, h, config):
    ...     return jnp.tanh(h @ weights["kernel"].astype(h.dtype) + h.mean(axis=1, keepdims=True))
    >>> register_mixer("mean", (init, apply), flops=lambda config: 2 * config.positions_total * config.width**2)
    """
    if not isinstance(name, str) or not name.isprintable() or not name.strip():
        raise ConfigError(f"register_mixer: name = {name!r:.60}: give text")
    if name in _ours:
        raise ConfigError(f"register_mixer: {name!r} is one of this project's own mixers: give another name")
    pair = isinstance(block, tuple) and len(block) == 2 and all(map(callable, block))
    if not pair and not _may_be_a_part(block):
        raise ConfigError(
            f"register_mixer: block of {name!r} is of type {type(block).__name__}: give a flax module class, two "
            "functions (init, apply), or 'package.module:name'"
        )
    for key, part in (
        ("flops", flops),
        ("rules", rules),
        ("shape", shape),
        ("ends", ends),
        ("candidate_ends", candidate_ends),
    ):
        if part is not None and not _may_be_a_part(part):
            raise ConfigError(
                f"register_mixer: {key} of {name!r} is of type {type(part).__name__}: give a function of the "
                "configuration, or 'package.module:name'"
            )
    global _revision
    new = Mixer(block, flops, rules, shape, ends, attends, candidate_ends, units)
    if _mixers.get(name, new) != new:
        _revision += 1
        if "jax" in sys.modules:
            sys.modules["jax"].clear_caches()  # of programs that hold what had this name before
    _mixers[name] = new


def _may_be_a_part(part: Any) -> bool:
    return part.count(":") == 1 if isinstance(part, str) else callable(part)


def mixer(name: str) -> Mixer:
    """What was registered under a name. Raises UnknownMixer."""
    if name not in _mixers:
        known = ", ".join(map(repr, _mixers))
        raise UnknownMixer(
            f"config.model.mixer = {name!r:.60} is unknown: give one of {known}, or make it known with "
            "trm_jax.register_mixer, in the experiment's file or in one that --network names"
        )
    return _mixers[name]


def revision() -> int:
    """How often a name has come to stand for something else: whoever keeps what follows from a name, keeps this too."""
    return _revision


def _rules_of_attention(config: Any) -> str | None:
    heads, width = config.heads, config.width
    if width % heads:
        return f"config.model.heads = {heads} does not divide config.model.width = {width}: change either"
    for positions, divisor, kind in (("rope", 2, "an even head width"), ("rope_2d", 4, "heads of a multiple of 4")):
        if config.positions == positions and (width // heads) % divisor:
            return (
                f"config.model.positions = {positions!r} needs {kind}, not {width} / {heads}: change config.model.heads"
            )
    return None


register_mixer(
    "attention",
    "trm_jax.model.mixers.attention:Block",
    flops="trm_jax.model.mixers.attention:flops",
    rules=_rules_of_attention,
    attends=True,
)
register_mixer("mlp", "trm_jax.model.mixers.mlp:Block", flops="trm_jax.model.mixers.mlp:flops")
register_mixer(
    "symmetric",
    "trm_jax.model.mixers.symmetric:Block",
    flops="trm_jax.model.mixers.symmetric:flops",
    shape="trm_jax.model.mixers.symmetric:shape",
    ends="trm_jax.model.mixers.symmetric:Ends",
    candidate_ends="trm_jax.model.mixers.symmetric:CandidateEnds",
    units=True,
)
_ours = frozenset(_mixers)
