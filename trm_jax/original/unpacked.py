"""What a torch file holds besides a bare state dict: wrappers that others put around one, and predictions."""

import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from trm_jax.errors import CheckpointError, printable

# Names of tensors that an evaluation of the original saves, in files beside those of the weights.
_PREDICTIONS = {"inputs", "labels", "puzzle_identifiers", "logits", "preds", "q_halt_logits", "q_continue_logits"}
# In bytes, of what a file says of its tensors.
_LONGEST_INDEX = 1 << 20
# What only names of weights have.
_OF_WEIGHTS = ("_init", "_weight", ".weight", ".weights", ".bias")


def state_dict_in(loaded: Mapping[Any, Any], tensor: type, path: Path) -> Mapping[Any, Any]:
    """The state dict itself, out of a training state such as {"model": ..., "optimizers": ..., "step": ...}.

    Args:
      loaded: what the file holds; returned as it is, right or wrong, where it holds no state dict as a value.
      tensor: of what a state dict consists.
      path: of the file, for an error.

    Raises:
      CheckpointError: there are several, and nothing says which is meant.
    """
    found = {name: value for name, value in loaded.items() if _is_state_dict(value, tensor)}
    if not found:
        return loaded
    if len(found) > 1:
        names = ", ".join(printable(repr(name))[:40] for name in list(found)[:8])
        raise CheckpointError(f"{path}: holds several sets of weights, {names}: save the one that is meant by itself")
    (state_dict,) = found.values()
    return state_dict


def _is_state_dict(value: Any, tensor: type) -> bool:
    """Whether it is a mapping of names such as weights have to tensors."""
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(name, str) and isinstance(part, tensor) for name, part in value.items())
        and any(name.endswith(_OF_WEIGHTS) for name in value)
    )


def predictions_in(path: Path) -> str:
    """The names of predictions in a file of torch.save that names no weights, without reading it; "" elsewhere."""
    with path.open("rb") as file:
        index = file.read(_LONGEST_INDEX)
    with suppress(Exception), zipfile.ZipFile(path) as archive:  # a damaged one is told by whoever reads it
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        with archive.open(name) as member:
            index = member.read(_LONGEST_INDEX)
    if any(ending.encode() in index for ending in _OF_WEIGHTS):
        return ""
    return ", ".join(sorted(name for name in _PREDICTIONS if name.encode() in index))


def predictions_among(names: Mapping[str, Any]) -> str:
    """The names, where they are all of predictions; "" elsewhere."""
    return ", ".join(sorted(names)) if names and _PREDICTIONS.issuperset(names) else ""
