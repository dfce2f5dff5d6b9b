"""The programs of models of candidates: a search with a verifier, and one call on a batch of sets.

The search is that of `inference.search` for a puzzle that is searched alone: the same calls, chains and draws, and so
the same answer, whatever else is in the batch. Only puzzles whose rules are their units can be verified in a graph.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from trm_jax.config import CandidatesConfig
from trm_jax.errors import ConfigError
from trm_jax.exporting.draws import draws
from trm_jax.exporting.program import BATCH, NEXT, Port, Program
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.units import Units
from trm_jax.recursion.candidates import eliminated, pinned_by

_TOKENS = "tokens; the blank is {}"


def step(model: Model, weights: Weights, config: CandidatesConfig) -> Program:
    """One call: pins a cell of each set that asks for it, eliminates, and says what is left."""

    def function(**called: jax.Array) -> dict[str, jax.Array]:
        return _call(model, weights, config, **called)

    cells, symbols, blank = model.config.seq_len, len(model.config.units.symbols), model.config.units.blank
    each = BATCH, cells, symbols
    inputs = (
        Port("question", "int32", (BATCH, cells), _TOKENS.format(blank)),
        Port("possible", "bool", each, "candidates that are left; all true at first"),
        Port("symbols", "float32", each, "as the call before gave them; zeros at first"),
        Port("pin", "bool", (BATCH,), "whether to guess: pin a cell to its likeliest symbol; false at first"),
        Port("draws", "float32", (BATCH, cells), "random, evenly from 0 to 1: the largest picks the cell to pin"),
    )
    outputs = (
        Port("asked", "bool", each, "the candidates that went into the network: clues, and the pinned cell"),
        Port(f"{NEXT}possible", "bool", each, "those that are left"),
        Port(f"{NEXT}symbols", "float32", each, "logits of the symbol of each cell"),
        Port("keep", "float32", each, "logits that a candidate is right"),
        Port("conflict", "bool", (BATCH,), "a set to be given up"),
        Port("solved", "bool", (BATCH,), "one candidate in every cell: to be checked by the rules"),
        Port("answer", "int32", (BATCH, cells), "tokens: of what is left the likeliest"),
    )
    return Program("step", function, inputs, outputs)


def solve(model: Model, weights: Weights, config: CandidatesConfig, kind: Kind, chains: int) -> Program:
    """A search for each puzzle: calls in a loop, until every puzzle has an answer or has had all its calls.

    Raises:
      ConfigError: the rules of this kind cannot be checked in a graph.
    """
    if kind.name != "sudoku":
        raise ConfigError(
            f"a search checks its answers, and the rules of {kind.name!r} are not of units alone: "
            "export the program 'step'"
        )
    units, cells = model.config.units, model.config.seq_len

    def function(question: jax.Array, seed: jax.Array, most_calls: jax.Array) -> dict[str, jax.Array]:
        return _search(model, weights, config, chains, question, seed, most_calls)

    inputs = (
        Port("question", "int32", (BATCH, cells), _TOKENS.format(units.blank)),
        Port("seed", "uint32", (), "of the cells that are picked"),
        Port("most_calls", "int32", (), "calls of the network for a puzzle, after which no more are begun; 1024"),
    )
    outputs = (
        Port("answer", "int32", (BATCH, cells), "tokens that keep to rules and question; where none was found, zeros"),
        Port("found", "bool", (BATCH,), "whether there is an answer"),
        Port("calls", "int32", (BATCH,), "that were made"),
        Port("chains", "int32", (BATCH,), f"of guesses that were started, at most {chains} at a time"),
    )
    return Program("solve", function, inputs, outputs)


def _call(
    model: Model,
    weights: Weights,
    config: CandidatesConfig,
    question: jax.Array,
    possible: jax.Array,
    symbols: jax.Array,
    pin: jax.Array,
    draws: jax.Array,
) -> dict[str, jax.Array]:
    possible, given_BS = model.possible(possible, question)
    noise_BV = jnp.zeros((possible.shape[0], possible.shape[2]), jnp.float32)
    asked = jnp.where(pin[:, None, None], pinned_by(possible, symbols, draws, noise_BV), possible)
    said = model.deduce(weights.params, asked, question)
    found = eliminated(asked, given_BS, said, config.take_away_below, config.give_up_above)
    likeliest = jnp.where(found.possible, said.symbols, -jnp.inf).argmax(axis=-1).astype(jnp.int32)
    return {
        "asked": asked,
        f"{NEXT}possible": found.possible,
        f"{NEXT}symbols": said.symbols,
        "keep": said.keep,
        "conflict": found.conflict,
        "solved": found.solved,
        "answer": likeliest + model.config.units.symbols[0],
    }


def _search(
    model: Model,
    weights: Weights,
    config: CandidatesConfig,
    chains: int,
    question: jax.Array,
    seed: jax.Array,
    most_calls: jax.Array,
) -> dict[str, jax.Array]:
    """K chains of each puzzle, [B, K] slots; a slot whose chain has ended takes the next one, as `search._fill` does.

    What a puzzle starts its chains from is its root: what the first call has left, or all where that was wrong.
    """
    units, (batch, cells) = model.config.units, question.shape
    every = batch, chains, cells, len(units.symbols)

    def call(question: jax.Array, possible: Any, symbols: Any, pin: Any, draws: Any) -> dict[str, jax.Array]:
        said = _call(model, weights, config, question, possible, symbols, pin, draws)
        return said | {"keeps": said["solved"] & _keeps(units, said["answer"])}

    def rows(array: jax.Array) -> jax.Array:
        """[B, K, ...] -> [B * K, ...]"""
        return array.reshape(-1, *array.shape[2:])

    everything = jnp.ones((batch, *every[2:]), jnp.bool_)
    none = jnp.zeros((batch, *every[2:]), jnp.float32)
    root = call(question, everything, none, jnp.zeros(batch, jnp.bool_), jnp.zeros((batch, cells), jnp.float32))
    wrong_B = root["solved"] | root["conflict"]
    root_possible = jnp.where(wrong_B[:, None, None], True, root[f"{NEXT}possible"])
    question_BKS = jnp.broadcast_to(question[:, None], every[:3])

    def under_way(search: dict[str, jax.Array]) -> jax.Array:
        return ~search["found"] & (search["calls"] < most_calls)

    def turn(search: dict[str, jax.Array]) -> dict[str, jax.Array]:
        free_BK = search["chain"] == 0
        chain_BK = jnp.where(free_BK, search["chains"][:, None] + jnp.cumsum(free_BK, axis=1), search["chain"])
        # Every other chain starts from the puzzle: what the root has lost by mistake is lost to the rest.
        begins = jnp.where((chain_BK % 2 == 1)[..., None, None], root_possible[:, None], True)
        possible = jnp.where(free_BK[..., None, None], begins, search["possible"])
        symbols = jnp.where(free_BK[..., None, None], root[f"{NEXT}symbols"][:, None], search["symbols"])
        before_BK = jnp.broadcast_to(search["calls"][:, None], every[:2])
        drawn = draws(seed, rows(chain_BK), rows(before_BK), cells)
        pin = jnp.ones_like(drawn[:, 0], jnp.bool_)
        said = call(rows(question_BKS), rows(possible), rows(symbols), pin, drawn)
        said = {name: array.reshape(batch, chains, *array.shape[1:]) for name, array in said.items()}

        # Of several answers the one of the oldest chain counts, and the calls up to it.
        age_BK = jnp.where(said["keeps"], chain_BK, jnp.iinfo(jnp.int32).max)
        winner_BK = said["keeps"] & (chain_BK == age_BK.min(axis=1, keepdims=True))
        found_B = winner_BK.any(axis=1)
        up_to_B = (chain_BK <= age_BK.min(axis=1, keepdims=True)).sum(axis=1, dtype=jnp.int32)
        after = {
            "possible": said[f"{NEXT}possible"],
            "symbols": said[f"{NEXT}symbols"],
            "chain": jnp.where(said["solved"] | said["conflict"], 0, chain_BK),
            "chains": chain_BK.max(axis=1),
            "calls": search["calls"] + up_to_B,
            "found": found_B,
            "answer": jnp.where(winner_BK[..., None], said["answer"], 0).max(axis=1),
        }
        goes_on = under_way(search)
        return {
            name: jnp.where(goes_on.reshape(-1, *(1,) * (array.ndim - 1)), after[name], array)
            for name, array in search.items()
        }

    start = {
        "possible": jnp.ones(every, jnp.bool_),
        "symbols": jnp.zeros(every, jnp.float32),
        "chain": jnp.zeros(every[:2], jnp.int32),
        "chains": jnp.zeros(batch, jnp.int32),
        "calls": jnp.ones(batch, jnp.int32),
        "found": root["keeps"],
        "answer": jnp.where(root["keeps"][:, None], root["answer"], 0),
    }
    reached = jax.lax.while_loop(lambda search: under_way(search).any(), turn, start)
    return {name: reached[name] for name in ("answer", "found", "calls", "chains")}


def _keeps(units: Units, answer_BS: jax.Array) -> jax.Array:
    """Whether no symbol stands twice in a unit, bool [B]."""
    is_BSV = (answer_BS[..., None] == jnp.array(units.symbols)[None, None]).astype(jnp.float32)
    groups = [group == number for _, group in units.partitions for number in range(int(group.max()) + 1)]
    counts_GBV = jnp.einsum("gs,bsv->gbv", jnp.array(np.stack(groups), jnp.float32), is_BSV)
    return (counts_GBV <= 1).all(axis=(0, 2))
