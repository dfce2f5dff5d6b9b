"""Tables of generated puzzles, with the columns of the public files: source, question, answer, rating."""

import csv
import gzip
import io
from collections.abc import Sequence
from pathlib import Path
from typing import IO, cast

from trm_jax.data.builders.appear import appearing
from trm_jax.data.builders.pairs import Pairs
from trm_jax.puzzles.kind import Kind


def is_table(out: Path) -> bool:
    """Whether a table is to be written, not a dataset folder."""
    return out.name.removesuffix(".gz").endswith(".csv")


def write_table(out: Path, kind: Kind, pairs: Pairs, source: str, ratings: Sequence[int | None]) -> None:
    """Writes a CSV file, gzipped if its name ends in .gz; the same puzzles make the same bytes.

    Args:
      out: the file to be; must not exist.
      kind: how cells are written.
      pairs: the puzzles.
      source: where they come from, the same for all.
      ratings: of each puzzle; None leaves it empty.

    Raises:
      DataError: `out` exists, or the disk is full or not writable.
    """
    with appearing(out) as path, path.open("wb") as file:
        # Neither the time nor a name, which gzip would keep.
        packed = gzip.GzipFile("", "wb", fileobj=file, mtime=0) if out.name.endswith(".gz") else None
        with io.TextIOWrapper(cast(IO[bytes], packed or file), encoding="utf-8", newline="") as text:
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(("source", "question", "answer", "rating"))
            for question, answer, rating in zip(pairs.inputs, pairs.labels, ratings, strict=True):
                writer.writerow((source, kind.text(question), kind.text(answer), rating))
