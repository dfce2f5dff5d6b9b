"""Tokens of which nothing is known, as a kind of puzzle."""

from collections.abc import Mapping
from functools import cached_property
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles.kind import Kind, Rules
from trm_jax.puzzles.symmetry import Tokens
from trm_jax.puzzles.text.writing import Sizes, Writing


class Numbers(Kind):
    """Tokens of which nothing is known, as in a dataset folder without puzzle.json."""

    name = "tokens"
    padded = True
    holds_numbers = True
    has_rules = False
    has_symmetries = False
    vocab_size = 0  # any

    def __init__(self, cells: int) -> None:
        side = isqrt(cells)
        self.shape = (side, side) if side * side == cells else (1, cells)

    @classmethod
    def described(cls, about: Mapping[str, Any], cells: int, rules: Rules | None) -> "Numbers":
        return cls(cells)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.name}

    @cached_property
    def writing(self) -> Writing:
        """Whole numbers; their rows may be of any length, since the shape is not known."""
        needed = f"this puzzle has {self.cells}: add or remove some"
        sizes = Sizes.only("puzzle", (1, self.cells), needed, any_rows=True)
        return Writing({}, "is no token: give whole numbers from 0, separated by spaces", sizes, numbers=range(10**7))

    def encode(self, numbers: NDArray[np.integer[Any]]) -> Tokens:
        """Tokens are numbers already."""
        if numbers.size != self.cells:
            raise DataError(f"{numbers.size} tokens found, but this puzzle has {self.cells}: add or remove some")
        if (numbers < 0).any():
            raise DataError(f"{numbers.min()} is no token: give whole numbers from 0")
        return numbers.ravel().astype(np.int32)

    def decode(self, tokens: Tokens) -> NDArray[np.integer[Any]]:
        return tokens.reshape(self.shape)

    def glyphs(self, tokens: Tokens) -> list[str]:
        digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
        return [digits[token] if token < len(digits) else "?" for token in tokens.tolist()]

    def text(self, tokens: Tokens) -> str:
        return " ".join(str(token) for token in tokens.tolist())

    def given(self, question: Tokens) -> NDArray[np.bool_]:
        return np.zeros(len(question), np.bool_)
