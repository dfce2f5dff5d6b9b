"""What each save loses of memory in the libraries below, and how it is kept from that.

TensorStore (0.1.86) never frees the strings of the JSON that it gives to Python. Orbax (0.12.8) asks it, for each array
of a save, where its folder lies (300 bytes), and around each save, only to log them, for statistics (100 kB).
"""

from copy import deepcopy
from functools import lru_cache
from typing import Any

from orbax.checkpoint._src.serialization import tensorstore_utils


def stop_leaks() -> None:
    """Has Orbax ask for no statistics, and where a folder lies once instead of once for each array in it."""
    tensorstore_utils.get_tensorstore_raw_bytes = lambda direction=None: 0
    # In another version it may have another name, and leaks then; all else works.
    build = getattr(tensorstore_utils, "_build_ocdbt_kvstore_tspec", None)
    if build is None:
        return
    of_folder = lru_cache(maxsize=8)(build)

    def of_array(directory: str, name: str | None = None, **options: Any) -> dict[str, Any]:
        place: dict[str, Any] = deepcopy(of_folder(directory, **options))
        return place if name is None else place | {"path": name}

    tensorstore_utils._build_ocdbt_kvstore_tspec = of_array
