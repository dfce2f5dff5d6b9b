"""How fast a machine multiplies matrices of a model's sizes: the most that its training step could reach."""

import statistics
import time

import jax
import jax.numpy as jnp

from trm_jax.config import Experiment, ModelConfig
from trm_jax.model.layers import swiglu_width
from trm_jax.model.pooling import nodes_of

# A product is repeated until it has taken so long.
SECONDS = 0.05


def sizes(model: ModelConfig, batch: int) -> dict[str, tuple[int, int, int]]:
    """(m, k, n) of every product [m, k] @ [k, n] in one block of the network; attention's own are left out."""
    if model.mixer == "symmetric":
        return _of_sums(model, batch)
    L, D = model.positions_total, model.width
    inner, mixed = swiglu_width(D, model.expansion), swiglu_width(L, model.expansion)
    found = {"feed_forward/gate_up": (batch * L, D, 2 * inner), "feed_forward/down": (batch * L, inner, D)}
    if model.mixer == "mlp":
        return found | {
            "token_mixer/gate_up": (2 * mixed, L, batch * D),
            "token_mixer/down": (L, mixed, batch * D),
        }
    return found | {"attention/qkv": (batch * L, D, 3 * D), "attention/out": (batch * L, D, D)}


def _of_sums(model: ModelConfig, batch: int) -> dict[str, tuple[int, int, int]]:
    """Of what is said to each candidate, to each cell, and of every class of units to each of their groups."""
    symbols, D, inner = len(model.units.symbols), model.width, round(model.expansion * model.width)
    own = batch * model.seq_len * symbols
    found = {"own": (own, D, 2 * inner), "down": (own, inner, D), "symbols": (batch * model.seq_len, D, 2 * inner)}
    for i, node in enumerate(nodes_of(model.units)):
        found[f"{node.name}/{i}"] = (batch * len(node.cells) * symbols, D, 2 * inner)
    return found


class Products:
    """The products of an experiment's block, compiled; their rates are measured round by round."""

    def __init__(self, experiment: Experiment) -> None:
        self._sizes = sizes(experiment.model, experiment.train.batch_size)
        self._rates: dict[str, list[float]] = {name: [] for name in self._sizes}
        self._operands = {
            name: (jnp.ones((m, k), experiment.model.dtype), jnp.ones((k, n), experiment.model.dtype))
            for name, (m, k, n) in self._sizes.items()
        }
        self._product = jax.jit(jnp.matmul)
        self._counts = dict.fromkeys(self._sizes, 1)
        for name in self._sizes:
            self._seconds(name)  # compiles
            self._counts[name] = max(1, round(SECONDS / self._seconds(name)))

    def measure(self) -> None:
        """One more round."""
        for name, (m, k, n) in self._sizes.items():
            self._rates[name].append(2 * m * k * n * self._counts[name] / self._seconds(name))

    @property
    def best(self) -> tuple[str, float]:
        """The fastest product, and the median of its rates in operations a second."""
        medians = {name: statistics.median(rates) for name, rates in self._rates.items()}
        name = max(medians, key=lambda name: medians[name])
        return name, medians[name]

    def _seconds(self, name: str) -> float:
        left, right = self._operands[name]
        start = time.perf_counter()
        for _ in range(self._counts[name]):
            result = self._product(left, right)
        result.block_until_ready()
        return time.perf_counter() - start
