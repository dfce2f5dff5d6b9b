"""The public PyTorch implementation's names for things: its configuration, its state dict, its states.

TinyRecursiveModels (github.com/SamsungSAILMontreal/TinyRecursiveModels) calls y `z_H` and z `z_L`, stores
linear weights as [out, in], and keeps start vectors and the puzzle table as buffers. Its recordings and
checkpoints come in through here, and go out again; nothing else knows these names.
"""

import re
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from trm_jax.config import Experiment, experiment_from
from trm_jax.errors import CheckpointError, ConfigError, together
from trm_jax.model.finite import not_finite
from trm_jax.model.model import Weights
from trm_jax.recursion.recursion import State

Arrays = Mapping[str, NDArray[Any]]

PREFIX = "model.inner."
TABLE = PREFIX + "puzzle_emb.weights"
COMPILED = "_orig_mod."
# What torch.compile and data parallelism put into names, and how names of the network itself begin.
_WRAPPERS = ("_orig_mod", "module")
_INSIDE = re.compile(r"[HL]\d*_init$|[HL]_level\.|embed_tokens\.|embed_pos\.|lm_head\.|q_head\.|puzzle_emb\.")

_LEVEL = {"latent_net": "L_level", "answer_net": "H_level"}
_BLOCK: dict[tuple[str, ...], str] = {
    ("attention", "qkv", "kernel"): "self_attn.qkv_proj",
    ("attention", "out", "kernel"): "self_attn.o_proj",
    ("token_mixer", "gate_up", "kernel"): "mlp_t.gate_up_proj",
    ("token_mixer", "down", "kernel"): "mlp_t.down_proj",
    ("feed_forward", "gate_up", "kernel"): "mlp.gate_up_proj",
    ("feed_forward", "down", "kernel"): "mlp.down_proj",
}
# (name in the original, transposed there) of the tensors outside the networks.
_OUTSIDE = {
    ("tokens",): ("embed_tokens.embedding_weight", False),
    ("positions",): ("embed_pos.embedding_weight", False),
    ("token_head", "kernel"): ("lm_head.weight", True),
    ("q_head", "kernel"): ("q_head.weight", True),
    ("q_head", "bias"): ("q_head.bias", False),
}


def export_params(params: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """A tree shaped like Weights.params (weights, gradients, moments), by the original's names and layout."""
    return {name: np.asarray(array) for name, array in _named_params(params).items()}


def import_params(like: Mapping[str, Any], arrays: Arrays) -> dict[str, Any]:
    """The inverse of `export_params`, into the structure and shapes of `like` (arrays or shapes).

    Raises:
      CheckpointError: names every tensor that is missing, not of floats, or of another shape.
    """
    return _params(like, _fitting("weights", _shapes(_named_params, like), arrays))


def export_state(state: State, suffix: str = "") -> dict[str, NDArray[Any]]:
    """y and z, or with suffix "_init" their starts, by the original's names: z_H, z_L or z_L1 ... z_LK."""
    return {name: np.asarray(array, np.float32) for name, array in _named_state(state, suffix).items()}


def import_state(like: State, arrays: Arrays, prefix: str) -> State:
    """The inverse of `export_state`, from the arrays named after `prefix`; raises like `import_params`."""
    shapes = {prefix + name: shape for name, shape in _shapes(_named_state, like).items()}
    return _state(_fitting("states", shapes, arrays), prefix + "z_H", axis=1)


def export_weights(weights: Weights) -> dict[str, NDArray[Any]]:
    """A state dict as the original would save it."""
    return {name: np.asarray(array) for name, array in _named_weights(weights).items()}


def import_weights(like: Weights, arrays: Arrays) -> Weights:
    """A state dict of the original as weights of the model whose shapes `like` has.

    Args:
      like: from jax.eval_shape(model.init, key), or weights.
      arrays: by name, as `plain_names` reads it.

    Raises:
      CheckpointError: names every tensor that is missing, superfluous, not of floats, or of another shape; or that
        holds NaN or infinity.
    """
    expected = export_shapes(like)
    found = _fitting("weights", expected, plain_names(arrays, expected), closed=True)
    if faults := not_finite(found):
        raise CheckpointError(f"weights that no model can use: {together(faults)}: give those of an earlier step")
    starts = {name: array for name, array in found.items() if name.endswith("_init")}
    table: Any = found.get(TABLE)
    return Weights(_params(like.params, found), _state(starts, PREFIX + "H_init", axis=0), table)


def plain_names(arrays: Arrays, known: Container[str] = ()) -> dict[str, NDArray[Any]]:
    """The same arrays by the names of the bare model.

    Wherever they stand, `_orig_mod.` of torch.compile and `module.` of data parallelism are left out; and names of the
    network without its head of losses begin with `inner.` or with what is in it. Names in `known` stay.

    Raises:
      CheckpointError: two names that are one then.
    """
    plain: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        bare = name if name in known else ".".join(part for part in name.split(".") if part not in _WRAPPERS)
        if bare not in known and not bare.startswith(PREFIX):
            inside = bare.removeprefix("inner.")
            bare = PREFIX + inside if _INSIDE.match(inside) else bare
        if bare in plain:
            raise CheckpointError(f"two tensors are {bare!r:.100} but for what wraps their names: leave one out")
        plain[bare] = array
    return plain


def export_shapes(like: Weights) -> dict[str, tuple[int, ...]]:
    """The names and shapes that `export_weights` gives to weights like these (arrays or shapes)."""
    return _shapes(_named_weights, like)


# kind of a recording -> the parts in which its model differs from TRM
_KINDS: dict[str, dict[str, Any]] = {
    "trm": {},
    "singlez": {"states": "z"},
    "hier6": {"latents": 6},
    "hrm": {"separate_networks": True, "gradient": "one_step", "halt_by": "q_continue"},
    "transformer": {"states": "y", "halt_by": "q_continue", "cycles": 1},
}


def experiment_of(config: Mapping[str, Any]) -> Experiment:
    """The experiment that a recording's configuration describes (keys of the original's YAML, plus `kind`).

    Raises:
      ConfigError: a missing key or an unknown kind.
    """
    try:
        kind = config["kind"]
        if kind not in _KINDS:
            raise ConfigError(f"recording of kind {kind!r:.100}: known are {', '.join(_KINDS)}")
        two = kind in ("hrm", "transformer")
        continue_head = kind == "hrm" or (kind != "transformer" and not config.get("no_ACT_continue", True))
        model: dict[str, Any] = {
            "vocab_size": config["vocab_size"],
            "seq_len": config["seq_len"],
            "num_puzzles": config["num_puzzle_identifiers"],
            "width": config["hidden_size"],
            "heads": config["num_heads"],
            "expansion": config["expansion"],
            "layers": config.get("L_layers", 1) if kind == "transformer" else config["L_layers"],
            "answer_layers": config["H_layers"] if two else 0,
            "mixer": "mlp" if config.get("mlp_t", False) and kind != "transformer" else "attention",
            "positions": config["pos_encodings"],
            "rope_theta": config.get("rope_theta", 10_000.0),
            "norm_eps": config.get("rms_norm_eps", 1e-5),
            "puzzle_dim": config.get("puzzle_emb_ndim", 0),
            # HRM and the baseline ignore the number of puzzle tokens and fit them to the row.
            "puzzle_tokens": 0 if two else config.get("puzzle_emb_len", 16),
            "latent_steps": config.get("L_cycles", 1) if kind == "transformer" else config["L_cycles"],
            "cycles": config["H_cycles"],
            "supervision_steps": config["halt_max_steps"],
            "halt_by": "q_continue" if continue_head else "q_halt",
            "exploration": config["halt_exploration_prob"],
            "dtype": config["forward_dtype"],
        } | _KINDS[kind]
        values: dict[str, Any] = {"name": kind, "model": model, "loss": {"continue_head": continue_head}}
        if "steps" in config:
            values["optim"] = {
                "learning_rate": config["lr"],
                "warmup_steps": config["warmup"],
                "min_ratio": config["lr_min_ratio"],
                "beta1": config["beta1"],
                "beta2": config["beta2"],
                "weight_decay": config["weight_decay"],
                "puzzle_learning_rate": config["puzzle_emb_lr"],
                "puzzle_weight_decay": config["puzzle_emb_weight_decay"],
                "ema_decay": config["ema"],
            }
            values["train"] = {"steps": config["steps"], "batch_size": config["batch_size"]}
    except KeyError as missing:
        raise ConfigError(f"recording's config lacks the key {missing}") from None
    return experiment_from(values)


def _name(path: Sequence[Any]) -> tuple[str, bool]:
    """A trained tensor's name in the original, and whether the original stores it transposed.

    What the original does not have, of networks of one's own, keeps its own name within its layer.
    """
    keys = tuple(jax.tree_util.keystr(tuple(path), simple=True, separator="/").split("/"))
    if keys in _OUTSIDE:
        name, transposed = _OUTSIDE[keys]
        return PREFIX + name, transposed
    if keys[0] not in _LEVEL:
        return PREFIX + ".".join(keys), False
    net, block, *part = keys
    layer = f"{PREFIX}{_LEVEL[net]}.layers.{block.removeprefix('block_')}"
    if known := _BLOCK.get(tuple(part)):
        return f"{layer}.{known}.weight", True
    return f"{layer}.{'.'.join(part)}", False


def _named_params(params: Mapping[str, Any]) -> dict[str, Any]:
    named = {}
    for path, leaf in jax.tree.leaves_with_path(params):
        name, transposed = _name(path)
        named[name] = leaf.T if transposed else leaf
    return named


def _named_state(state: State, suffix: str = "") -> dict[str, Any]:
    stem, axis = ("", 0) if suffix else ("z_", 1)
    named = {} if state.y is None else {f"{stem}H{suffix}": state.y}
    if state.z is not None:
        count = state.z.shape[axis]
        for k in range(count):
            number = k + 1 if count > 1 else ""
            named[f"{stem}L{number}{suffix}"] = state.z[k] if suffix else state.z[:, k]
    return named


def _named_weights(weights: Weights) -> dict[str, Any]:
    starts = {PREFIX + name: vector for name, vector in _named_state(weights.starts, "_init").items()}
    table = {} if weights.puzzle_table is None else {TABLE: weights.puzzle_table}
    return _named_params(weights.params) | starts | table


def _shapes(named: Callable[[Any], dict[str, Any]], like: Any) -> dict[str, tuple[int, ...]]:
    """The names and shapes of what `named` makes of a tree like this, of arrays or of shapes."""
    return {name: tuple(array.shape) for name, array in jax.eval_shape(named, like).items()}


def _fitting(
    what: str, expected: Mapping[str, tuple[int, ...]], arrays: Arrays, closed: bool = False
) -> dict[str, NDArray[np.float32]]:
    """The expected arrays as float32, or one error that names all that is wrong; closed: nothing else."""
    wrong = []
    for name, shape in expected.items():
        array = arrays.get(name)
        if array is None:
            wrong.append(f"{name} is missing")
        elif array.shape != shape:
            wrong.append(f"{name} has shape {list(array.shape)}, the model {list(shape)}")
        elif not jnp.issubdtype(array.dtype, jnp.floating):  # NumPy's own issubdtype does not know bfloat16
            wrong.append(f"{name} holds {array.dtype}, not floats")
    if closed:
        # Names from a foreign file: of any length, and with line ends perhaps.
        wrong += [f"{repr(name)[1:-1]:.100} is not part of the model" for name in arrays if name not in expected]
    if wrong:
        raise CheckpointError(f"{what} do not fit the model: {together(wrong)}")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is told as that
        return {name: np.asarray(arrays[name], np.float32) for name in expected}


def _params(like: Mapping[str, Any], arrays: Arrays) -> dict[str, Any]:
    def take(path: Sequence[Any], _: Any) -> NDArray[Any]:
        name, transposed = _name(path)
        return np.ascontiguousarray(arrays[name].T if transposed else arrays[name])

    params: dict[str, Any] = jax.tree.map_with_path(take, like)
    return params


def _state(arrays: Arrays, answer: str, axis: int) -> State:
    """y, which is called `answer`, and the latents, in order, joined along an axis."""
    latents = [array for name, array in arrays.items() if name != answer]
    y: Any = arrays.get(answer)
    z: Any = np.stack(latents, axis) if latents else None
    return State(y, z)
