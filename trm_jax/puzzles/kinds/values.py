"""The values of a description, as far as several kinds have them."""

from collections.abc import Mapping
from typing import Any

from trm_jax.errors import DataError


def legend_of(about: Mapping[str, Any]) -> str:
    """The characters that cells are written with; "" for the usual ones. Raises DataError for what is no text."""
    legend = about.get("legend", "")
    if not isinstance(legend, str):
        raise DataError(f"legend: {shown(legend)} is none: give the characters of the cells as a text")
    return legend


def shown(value: Any) -> str:
    """What a file holds, short enough for a line."""
    try:
        return repr(value)[:60]
    except RecursionError:
        return f"a {type(value).__name__} nested too deep"
