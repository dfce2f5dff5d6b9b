"""Sudoku-Extreme with self-attention in place of the MLP mixer (Table 1, "w/ self-attention").

Paper: 74.7 % exact on 422,786 test puzzles, 7M weights (arXiv 2510.04871).
Cost: 65,104 steps at batch 768, 2.4 EFLOP, 1.1 times that of sudoku_mlp.

    trm train --config=sudoku_attention --workdir=runs/sudoku_attention \
        --config.data.train=train.csv --config.data.test=monitor.csv --config.train.eval_every=2000

All else is as in sudoku_mlp, where each value is explained.
"""

from ml_collections import ConfigDict

from trm_jax.experiments import check_variant, smoke, sudoku_mlp

VARIANTS = ("smoke",)


def get_config(variant: str = "") -> ConfigDict:
    """The paper's hyperparameters; variant smoke: tiny, for tests of the machine."""
    check_variant(variant, *VARIANTS)
    config = sudoku_mlp.get_config()
    config.name = "sudoku_attention"
    config.model.mixer = "attention"  # 8 heads
    config.model.positions = "rope"
    return smoke(config) if variant == "smoke" else config
