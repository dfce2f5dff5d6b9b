"""What the shapes of an original's tensors say of the model that they belong to."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
from numpy.typing import NDArray

from trm_jax.config import Experiment, ModelConfig, validate
from trm_jax.errors import ConfigError
from trm_jax.model.layers import swiglu_width
from trm_jax.model.model import Model
from trm_jax.original import original

_LAYER = re.compile(r"(L|H)_level\.layers\.(\d{1,3})\.")


def overrides_for(experiment: Experiment, arrays: Mapping[str, NDArray[Any]]) -> str:
    """A clause that names the overrides under which tensors would fit; "" where none that are known make them fit.

    Args:
      experiment: under which they do not.
      arrays: by the names of the bare model (`original.plain_names`).
    """
    shapes = {name: array.shape for name, array in arrays.items()}
    told = _told(experiment.model, shapes)
    changes = {name: value for name, value in told.items() if value != getattr(experiment.model, name)}
    try:
        model = replace(experiment.model, **changes)
        validate(replace(experiment, model=model))
        like = jax.eval_shape(Model(model).init, jax.random.key(0))
    except (ConfigError, ValueError, TypeError):  # no such model
        return ""
    if not changes or original.export_shapes(like) != shapes:
        return ""
    return "; they would with " + " ".join(f"--config.model.{name}={value}" for name, value in changes.items())


def _told(model: ModelConfig, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Values of the model that shapes tell."""

    def axis(name: str, number: int) -> int | None:
        shape = shapes.get(original.PREFIX + name, ())
        return shape[number] if len(shape) > number else None

    told: dict[str, Any] = {
        "vocab_size": axis("embed_tokens.embedding_weight", 0),
        "width": axis("embed_tokens.embedding_weight", 1),
        "num_puzzles": axis("puzzle_emb.weights", 0),
        "puzzle_dim": axis("puzzle_emb.weights", 1) or 0,
    }
    layers: dict[str, set[int]] = {"L": set(), "H": set()}
    for name in shapes:
        if match := _LAYER.match(name.removeprefix(original.PREFIX)):
            layers[match[1]].add(int(match[2]))
    if layers["L"] and layers["H"]:
        told |= {"separate_networks": True, "layers": len(layers["L"]), "answer_layers": len(layers["H"])}
    elif layers["L"]:
        told |= {"separate_networks": False, "layers": len(layers["L"])}
    level = "L_level" if layers["L"] else "H_level"
    positions = axis(f"{level}.layers.0.mlp_t.gate_up_proj.weight", 1)
    if positions is not None:
        told |= {"mixer": "mlp", "positions": "none"}
        if model.seq_len:
            told["puzzle_tokens"] = positions - model.seq_len
    elif axis(f"{level}.layers.0.self_attn.qkv_proj.weight", 0) is not None:
        learned = original.PREFIX + "embed_pos.embedding_weight" in shapes
        told |= {"mixer": "attention", "positions": "learned" if learned else "rope"}
    width, inner = told["width"], axis(f"{level}.layers.0.mlp.down_proj.weight", 1)
    if width and inner:
        told["expansion"] = _expansion(model, width, inner)
    return {name: value for name, value in told.items() if value is not None}


def _expansion(model: ModelConfig, width: int, inner: int) -> float | None:
    """The expansion, of those that people take, that makes a SwiGLU as wide as this."""
    for expansion in (model.expansion, 4.0, 2.0, 8.0, 1.0, 3.0, 6.0):
        if swiglu_width(width, expansion) == inner:
            return expansion
    return None
