"""The files that a user asks commands for."""

from pathlib import Path

from trm_jax.errors import DataError


def write(path: Path, text: str) -> None:
    """Raises DataError, with the reason, where it cannot be written."""
    try:
        path.write_text(text)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from None
