"""Public benchmarks from the Hugging Face Hub, each at one revision. Needs huggingface_hub (extra `hub`)."""

import shutil
from pathlib import Path
from typing import NamedTuple

from trm_jax.data.builders.appear import appearing, check_free
from trm_jax.errors import DataError


class Source(NamedTuple):
    """A dataset repository, and the commit whose files are meant; None where nobody here has seen which that is."""

    repository: str
    revision: str | None


SOURCES = {
    "sudoku-extreme": Source("sapientinc/sudoku-extreme", "58942f96baeb572ca3127e2a9e9c70f330783d6b"),
    "sudoku-extreme-1k": Source("sapientinc/sudoku-extreme-1k", None),
    "maze-hard": Source("sapientinc/maze-30x30-hard-1k", "549754de3d67eebe57b6b22c7d226b9412d55b07"),
}
FILES = ("train.csv", "test.csv")

_WITHOUT = "every builder works from local files too: give them by --train and --test"


def download(name: str, to: Path, revision: str = "") -> list[Path]:
    """Fetches train.csv and test.csv of a benchmark into a new folder, and returns their paths.

    The folder appears when both are there. What arrived before a failure stays in the hub's own cache, so that the next
    attempt goes on from it.

    Args:
      name: one of SOURCES.
      to: the folder to be; must not exist.
      revision: a commit, a branch or a tag; "" is the commit in SOURCES.

    Raises:
      DataError: no such benchmark or revision, the hub cannot be reached, or the folder cannot be written.
    """
    if name not in SOURCES:
        raise DataError(f"{name[:60]!r} is no benchmark that can be fetched: give one of {', '.join(SOURCES)}")
    check_free(to)
    source = SOURCES[name]
    wanted = revision or source.revision
    if wanted is None:
        raise DataError(
            f"{name}: which revision of {source.repository}? none is on record here: give --revision, a commit of it"
        )
    fetched = [_fetched(source.repository, file, wanted) for file in FILES]
    with appearing(to) as folder:
        folder.mkdir()
        for path in fetched:
            shutil.copyfile(path, folder / path.name)
    return [to / path.name for path in fetched]


def _fetched(repository: str, file: str, revision: str) -> Path:
    """Where the hub's cache has a file."""
    try:
        from huggingface_hub import errors, hf_hub_download
        from huggingface_hub.utils import logging
    except ImportError:
        raise DataError('downloads need huggingface_hub: pip install "trm_jax[hub]"') from None
    # Else each attempt that fails is a paragraph on the terminal, before our own line.
    logging.set_verbosity_error()
    what = f"{repository} {file} at {revision}"
    try:
        return Path(hf_hub_download(repository, file, repo_type="dataset", revision=revision))
    except (errors.LocalEntryNotFoundError, ConnectionError):
        raise DataError(
            f"{what}: could not reach the hub: check the connection, and that HF_HUB_OFFLINE is not set; {_WITHOUT}"
        ) from None
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.EntryNotFoundError):
        raise DataError(f"{what}: the hub has no such file for you: check the revision; {_WITHOUT}") from None
    except Exception as error:  # the hub's client lets through whatever its transport and the disk raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{what}: not fetched ({reason}): try again; {_WITHOUT}") from None
