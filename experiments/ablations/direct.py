"""The baseline without a latent: one pass of a deep network a supervision step ("direct prediction").

Paper: 0.0 % on Sudoku-Extreme, 27M weights; 21.0 % on ARC-AGI-1 and 0.0 on ARC-AGI-2. Eight attention layers,
applied once to the last step's answer and the puzzle.
Cost: a third of sudoku_mlp: one application of eight layers, forward and backward, is worth 12 of two.

    trm train --config=ablations/direct --workdir=runs/direct --config.data.train=train.csv

The original's file has 12 heads at width 512. They are 42 wide, and its attention so 504, which cannot be
said here: heads must divide the width, so there are 8, as in all other models. The original halts by
comparison with a continue head that the baseline never trains; here q_halt alone decides.
"""

from ml_collections import ConfigDict

from trm_jax.experiments import check_variant, smoke, sudoku_mlp

VARIANTS = ("smoke",)


def get_config(variant: str = "") -> ConfigDict:
    """What differs from sudoku_mlp; variant smoke: that made tiny, for tests of the machine."""
    check_variant(variant, *VARIANTS)
    config = sudoku_mlp.get_config()
    config.name = "direct"
    config.model.states = "y"
    config.model.mixer = "attention"
    config.model.positions = "rope"
    config.model.layers = 8
    config.model.puzzle_tokens = 0  # as many as a row of the table fills: one
    config.model.cycles = 1
    return smoke(config) if variant == "smoke" else config
