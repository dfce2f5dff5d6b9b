"""An update that can be undone, and how well float32 undoes it.

The model's own update, h <- rms(h + f(h)), cannot: the norm forgets the length of what it divides, and h is not to be
had from h + f(h) but by iterating, where f changes less than h does. Additive coupling (RevNet, arXiv 1707.04585) has
two streams and changes each by what the other says:

    a <- keep a + f(b);  b <- keep b + f(a)        undone:  b <- (b - f(a)) / keep;  a <- (a - f(b)) / keep

Nothing of it has to be kept for a gradient but its end. With keep < 1 streams stay bounded, as momentum residual
networks (arXiv 2102.07870) have it, and each step back multiplies what was rounded away by 1 / keep.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Streams = tuple[jax.Array, jax.Array]
Change = Callable[[jax.Array], jax.Array]


def forward(change: Change, streams: Streams, applications: int, keep: float = 1.0) -> Streams:
    """The streams after so many applications of the change, an even number; they change in turns, the first first."""

    def both(streams: Streams, _: None) -> tuple[Streams, None]:
        a, b = streams
        a = keep * a + change(b)
        return (a, keep * b + change(a)), None

    return jax.lax.scan(both, streams, length=applications // 2)[0]


def backward(change: Change, streams: Streams, applications: int, keep: float = 1.0) -> Streams:
    """The streams from which `forward` came to these."""

    def both(streams: Streams, _: None) -> tuple[Streams, None]:
        a, b = streams
        b = (b - change(a)) / keep
        return ((a - change(b)) / keep, b), None

    return jax.lax.scan(both, streams, length=applications // 2)[0]


def round_trip_error(change: Change, streams: Streams, applications: int, keep: float = 1.0) -> jax.Array:
    """How far the streams are off after a way there and back, relative to their size; a scalar."""
    back = backward(change, forward(change, streams, applications, keep), applications, keep)
    off, size = (
        jnp.sqrt(sum(jnp.sum(jnp.square(part)) for part in parts)) for parts in (_minus(back, streams), streams)
    )
    return off / size


def _minus(first: Streams, second: Streams) -> Streams:
    return first[0] - second[0], first[1] - second[1]
