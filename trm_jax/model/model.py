"""A configuration becomes a model: embed, recurse, read out.

`Model` holds no arrays. Its methods are pure functions of weights and inputs, so that the optimiser, the averaged
weights and a loaded checkpoint all go through the same code.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from trm_jax.config import MemoryConfig, ModelConfig
from trm_jax.config.mixers import mixer
from trm_jax.errors import ConfigError
from trm_jax.model.attention import Implementation
from trm_jax.model.ends import CandidateEnds, Ends
from trm_jax.model.network import Network, check_made
from trm_jax.recursion.candidates import Deduction, all_possible
from trm_jax.recursion.chain import chain
from trm_jax.recursion.recursion import Networks, Schedule, State, recurse, watched_cycle

Params = dict[str, Any]


@partial(jax.tree_util.register_dataclass, data_fields=["params", "starts", "puzzle_table"], meta_fields=[])
@dataclass(frozen=True)
class Weights:
    """Everything that a trained model consists of.

    params: what the optimiser trains and the average follows.
    starts: the vectors from which y [D] and z [K, D] start; drawn once, never trained.
    puzzle_table: [num_puzzles, R], trained by its own sparse rule; None where there is none.
    """

    params: Params
    starts: State
    puzzle_table: jax.Array | None

    def with_given(self, given: "Weights") -> "Weights":
        """These weights, but for what `given` has: modules of `params` by their names, vectors, a table, or None."""

        def first(new: jax.Array | None, old: jax.Array | None) -> jax.Array | None:
            return old if new is None else new

        return Weights(
            params=self.params | given.params,
            starts=State(first(given.starts.y, self.starts.y), first(given.starts.z, self.starts.z)),
            puzzle_table=first(given.puzzle_table, self.puzzle_table),
        )


class Readout(NamedTuple):
    """logits [B, S, V], q_halt [B] and q_continue [B], all float32."""

    logits: jax.Array
    q_halt: jax.Array
    q_continue: jax.Array


class _Core(nn.Module):
    """The trained tensors and the four functions over them; recursion stays outside (scan and linen do not mix)."""

    config: ModelConfig
    attention: Implementation = "xla"

    def setup(self) -> None:
        c = self.config
        network = partial(Network, c, attention=self.attention)
        if c.states in ("y", "candidates"):
            self.answer_net = network(c.answer_layers or c.layers)
        else:
            self.latent_net = network(c.layers)
            if c.separate_networks:
                self.answer_net = network(c.answer_layers or c.layers)
        part, usual = ("candidate_ends", CandidateEnds) if c.states == "candidates" else ("ends", Ends)
        self.ends: Any = (mixer(c.mixer).part(part) or usual)(c)
        nn.share_scope(self, self.ends)

    def embed(self, inputs_BS: jax.Array, puzzle_rows_BR: jax.Array | None) -> jax.Array:
        x_BLD = self.ends.embed(inputs_BS, puzzle_rows_BR)
        check_made(self.config, "embed", x_BLD, (inputs_BS.shape[0], *self.config.state_shape), self.config.dtype)
        return x_BLD

    def latent(self, h_BLD: jax.Array, injection_BLD: jax.Array | float) -> jax.Array:
        return self.latent_net(h_BLD, injection_BLD)

    def answer(self, h_BLD: jax.Array, injection_BLD: jax.Array | float) -> jax.Array:
        two = self.config.states in ("y", "candidates") or self.config.separate_networks
        return (self.answer_net if two else self.latent_net)(h_BLD, injection_BLD)

    def read(self, y_BLD: jax.Array) -> Readout:
        logits_BSV, q_B2 = self.ends.read(y_BLD)
        c, batch = self.config, y_BLD.shape[0]
        check_made(c, "read", logits_BSV, (batch, c.seq_len, c.vocab_size), jnp.float32)
        check_made(c, "read", q_B2, (batch, 2), jnp.float32)
        return Readout(logits_BSV, q_B2[:, 0], q_B2[:, 1])

    def embed_set(self, possible_BSV: jax.Array, given_BS: jax.Array) -> jax.Array:
        x_BLD = self.ends.embed(possible_BSV, given_BS)
        check_made(self.config, "embed", x_BLD, (given_BS.shape[0], *self.config.state_shape), self.config.dtype)
        return x_BLD

    def read_set(self, h_BLD: jax.Array) -> Deduction:
        said = Deduction(*self.ends.read(h_BLD))
        c, batch = self.config, h_BLD.shape[0]
        each = (batch, c.seq_len, len(c.units.symbols))
        for logits, shape in zip(said, (each, each, (batch,)), strict=True):
            check_made(c, "read", logits, shape, jnp.float32)
        return said

    def touch_all(self, inputs_BS: jax.Array) -> Readout | Deduction:
        """Uses every module once, for initialisation."""
        if self.config.states == "candidates":
            possible_BSV = jnp.ones((*inputs_BS.shape, len(self.config.units.symbols)), jnp.bool_)
            return self.read_set(self.answer(self.embed_set(possible_BSV, inputs_BS > 0), 0.0))
        h_BLD = self.embed(inputs_BS, None)
        if self.config.states != "y":
            h_BLD = self.latent(h_BLD, 0.0)
        return self.read(self.answer(h_BLD, 0.0))


@dataclass(frozen=True)
class Model:
    """The pure functions that a `ModelConfig` describes. Hashable, so that it may be static to `jax.jit`.

    memory: what is kept for gradients; it changes no value.
    attention: plain or fused; it changes no value beyond rounding (attention.choose).
    """

    config: ModelConfig
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    attention: Implementation = "xla"

    @cached_property
    def schedule(self) -> Schedule:
        """The recursion's lengths and gradients (recursion.Schedule)."""
        c, m = self.config, self.memory
        return Schedule(
            latent_steps=c.latent_steps,
            cycles=c.cycles,
            grad_cycles=c.grad_cycles,
            gradient=c.gradient,
            gradient_steps=c.gradient_steps,
            tolerance=c.solver_tolerance,
            solver_steps=c.solver_steps,
            policy=m.step_policy,
            outer_policy=m.cycle_policy,
            slices=m.slices,
        )

    @cached_property
    def _core(self) -> _Core:
        return _Core(self.config, self.attention)

    def init(self, key: jax.Array) -> Weights:
        """Fresh weights. Tables and projections as the original draws them; the puzzle table starts at zero."""
        c = self.config
        params_key, y_key, z_key = jax.random.split(key, 3)
        inputs = jnp.zeros((1, c.seq_len), jnp.int32)
        params = self._core.init(params_key, inputs, method="touch_all")["params"]
        for path, leaf in jax.tree_util.tree_leaves_with_path(params):
            if leaf.dtype != jnp.float32:
                name = jax.tree_util.keystr(path, simple=True, separator=".")
                raise ConfigError(f"config.model.mixer = {c.mixer!r}: {name} is {leaf.dtype}: let weights be float32")
        # Truncated at two sigma; the constant gives back the standard deviation that truncation takes away.
        draw = partial(jax.random.truncated_normal, lower=-2.0, upper=2.0)
        width = c.state_shape[1]
        y_D = draw(y_key, shape=(width,)) / 0.87962566103423978
        z_KD = draw(z_key, shape=(c.latents, width)) / 0.87962566103423978
        starts = State(y_D if c.states in ("y_z", "y") else None, z_KD if c.states in ("y_z", "z") else None)
        table = jnp.zeros((c.num_puzzles, c.puzzle_dim), jnp.float32) if c.puzzle_dim else None
        return Weights(params, starts, table)

    def start(self, starts: State, batch_size: int) -> State:
        """The state before the first supervision step: y [B, L, D], z [B, K, L, D], in the computation's dtype.

        Of candidates: y is bool [B, S, V], and everything is possible.
        """
        c = self.config
        if c.states == "candidates":
            return State(jnp.ones((batch_size, c.seq_len, len(c.units.symbols)), jnp.bool_), None)
        B, (L, D) = batch_size, c.state_shape
        y, z = starts.y, starts.z
        return State(
            None if y is None else jnp.broadcast_to(y.astype(c.dtype), (B, L, D)),
            None if z is None else jnp.broadcast_to(z.astype(c.dtype)[None, :, None], (B, c.latents, L, D)),
        )

    def puzzle_rows(self, puzzle_table: jax.Array | None, puzzle_ids_B: jax.Array) -> jax.Array | None:
        """The batch's rows [B, R] of the puzzle table. Differentiate with respect to these, never to the table."""
        return None if puzzle_table is None else puzzle_table[puzzle_ids_B]

    def think(
        self, params: Params, puzzle_rows_BR: jax.Array | None, state: State, inputs_BS: jax.Array
    ) -> tuple[State, Readout]:
        """One supervision step's recursion: embeds the puzzle, improves the state, reads the answer out.

        Args:
          params: the trained tensors.
          puzzle_rows_BR: the batch's rows of the puzzle table, or None where there is no table.
          state: y and z from the step before, or from `start`.
          inputs_BS: tokens, int.

        Returns:
          The new state and its `Readout`; gradients flow through both. Of several latents that compete
          (training/competition.py), the first makes the step, and the others stay as they are.
        """
        if self.config.winner_take_all and state.z is not None and state.z.shape[1] > 1:
            first, readout = self.think(params, puzzle_rows_BR, State(state.y, state.z[:, :1]), inputs_BS)
            assert first.z is not None
            return State(first.y, state.z.at[:, :1].set(first.z)), readout
        x_BLD = self.embed(params, puzzle_rows_BR, inputs_BS)
        state = recurse(self.networks, params, state, x_BLD, self.schedule)
        return state, self.read(params, state)

    def think_for(
        self, params: Params, puzzle_rows_BR: jax.Array | None, state: State, inputs_BS: jax.Array, steps: int
    ) -> State:
        """The state after so many supervision steps, without gradients; arguments as for `think`."""
        return jax.lax.fori_loop(
            0, steps, lambda _, state: self.think(params, puzzle_rows_BR, state, inputs_BS)[0], state
        )

    def watch(
        self, params: Params, puzzle_rows_BR: jax.Array | None, state: State, inputs_BS: jax.Array
    ) -> tuple[State, Readout, jax.Array]:
        """One cycle of `think`, and what its latents would say if they were the answer.

        A latent goes through the head that is trained on y, after each latent step: the one which that step wrote.

        Args:
          params, puzzle_rows_BR, state, inputs_BS: as for `think`.

        Returns:
          The new state, its `Readout`, and the likeliest tokens of the latents, int32 [n, B, S].

        Raises:
          ConfigError: there is no latent.
        """
        c = self.config
        if c.states not in ("y_z", "z"):
            raise ConfigError(
                f"config.model.states = {c.states!r}: this model has no latent z to read out: leave out the latents"
            )
        assert state.z is not None
        if c.winner_take_all and state.z.shape[1] > 1:
            first, readout, said = self.watch(params, puzzle_rows_BR, State(state.y, state.z[:, :1]), inputs_BS)
            assert first.z is not None
            return State(first.y, state.z.at[:, :1].set(first.z)), readout, said
        x_BLD = self.embed(params, puzzle_rows_BR, inputs_BS)
        state, written = watched_cycle(self.networks, params, state, x_BLD, c.latent_steps)
        said = jax.lax.map(lambda z_BLD: self.read(params, State(z_BLD, None)).logits.argmax(axis=-1), written)
        return state, self.read(params, state), said

    def embed(self, params: Params, puzzle_rows_BR: jax.Array | None, inputs_BS: jax.Array) -> jax.Array:
        """The puzzle x [B, L, D], as `think` hands it to every application; arguments as there."""
        return cast(jax.Array, self._core.apply({"params": params}, inputs_BS, puzzle_rows_BR, method="embed"))

    def read(self, params: Params, state: State) -> Readout:
        """What a state says: logits of the answer, and of halting."""
        apply: Callable[..., Any] = self._core.apply
        return cast(Readout, apply({"params": params}, state.readout, method="read"))

    def deduce(self, params: Params, possible_BSV: jax.Array, inputs_BS: jax.Array) -> Deduction:
        """One call of a model of candidates: T applications of the network to a set, and what it then says.

        Args:
          params: the trained tensors.
          possible_BSV: candidates, bool [B, S, V]; what the puzzle gives overrules it.
          inputs_BS: tokens, int.
        """
        x_BLD = self._embedded(params, possible_BSV, inputs_BS)
        reached = recurse(self.networks, params, State(jnp.zeros_like(x_BLD), None), x_BLD, self.schedule)
        return cast(Deduction, self._core.apply({"params": params}, reached.readout, method="read_set"))

    def deduce_supervised(
        self, params: Params, possible_BSV: jax.Array, inputs_BS: jax.Array, cost: Callable[[Deduction], dict[str, Any]]
    ) -> tuple[Deduction, dict[str, jax.Array]]:
        """`deduce`, with the mean of cost(what the network says) over its T applications; gradients run through all.

        cost: float32 scalars by name; what it closes over gets no gradient.
        """
        x_BLD = self._embedded(params, possible_BSV, inputs_BS)

        def step(shared: Any, reached: Any, _: jax.Array) -> Any:
            params, x_BLD = shared
            h_BLD, _, sums = reached
            h_BLD = self.networks.answer(params, h_BLD, x_BLD)
            said = cast(Deduction, self._core.apply({"params": params}, h_BLD, method="read_set"))
            return h_BLD, said, jax.tree.map(lambda a, b: a + b / self.config.cycles, sums, cost(said))

        h_BLD = jnp.zeros_like(x_BLD)
        said = jax.eval_shape(partial(self._core.apply, method="read_set"), {"params": params}, h_BLD)
        start = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), (said, jax.eval_shape(cost, said)))
        reached = chain(step, (params, x_BLD), (h_BLD, *start), self.config.cycles, self.memory.step_policy)
        return reached[1], reached[2]

    def _embedded(self, params: Params, possible_BSV: jax.Array, inputs_BS: jax.Array) -> jax.Array:
        possible_BSV, given_BS = self.possible(possible_BSV, inputs_BS)
        return cast(jax.Array, self._core.apply({"params": params}, possible_BSV, given_BS, method="embed_set"))

    def possible(self, possible_BSV: jax.Array, inputs_BS: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The candidates that a puzzle leaves of a set, bool [B, S, V], and which cells it gives, bool [B, S]."""
        units = self.config.units
        given_BS = inputs_BS != units.blank
        this_BSV = inputs_BS[..., None] == jnp.array(units.symbols)[None, None]
        return possible_BSV & all_possible(given_BS, this_BSV), given_BS

    @cached_property
    def networks(self) -> Networks:
        """f and g, pure functions of (params, h [B, L, D], injection)."""
        way = 1 - self.config.damping  # arXiv 2605.21488 goes 0.95 of it

        def net(method: str) -> Any:
            def applied(params: Any, h: jax.Array, injection: Any) -> jax.Array:
                new = cast(jax.Array, self._core.apply({"params": params}, h, injection, method=method))
                return new if way == 1 else h + jnp.asarray(way, h.dtype) * (new - h)

            return applied

        return Networks(net("latent"), net("answer"))


def part_of(module: str) -> str:
    """Which of config.WEIGHT_PARTS a module of `Weights.params` belongs to, by its name."""
    if module in ("latent_net", "answer_net"):
        return "network"
    return "heads" if module.endswith("_head") else "embeddings"


def count_weights(weights: Weights) -> dict[str, int]:
    """Numbers of weights by what they are for: network, heads, embeddings, puzzle table (start vectors apart)."""

    def size(tree: Any) -> int:
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))

    counts = dict.fromkeys(("network", "heads", "embeddings"), 0)
    for name, module in weights.params.items():
        counts[part_of(name)] += size(module)
    return counts | {
        "puzzle table": size(weights.puzzle_table),
        "start vectors": size(weights.starts),
    }
