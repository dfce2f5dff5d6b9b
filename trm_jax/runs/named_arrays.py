"""The arrays of a pytree by their names, as checkpoints and files of weights have them."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import jax
import numpy as np


def fingerprint(tree: Any) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of every array of a pytree; equal if and only if all bits are."""
    digest = sha256()
    for name, array in sorted(flat(tree).items()):
        values = np.asarray(array)
        digest.update(f"{name} {values.dtype} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def flat(tree: Any) -> dict[str, Any]:
    """The leaves of a pytree by their names, such as `params.latent_net.block_0.feed_forward.down.kernel`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def unflat(like: Any, arrays: Mapping[str, Any]) -> Any:
    """The pytree of the structure of `like` whose leaves have these names."""
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in flat(like)])
