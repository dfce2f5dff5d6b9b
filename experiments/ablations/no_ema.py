"""Without the moving average of the weights (Table 1, "no EMA").

Paper: 79.9 % (87.4 with it). Evaluation uses the weights as they are.
Cost: as sudoku_mlp.

    trm train --config=ablations/no_ema --workdir=runs/no_ema --config.data.train=train.csv
"""

from ml_collections import ConfigDict

from trm_jax.experiments import check_variant, smoke, sudoku_mlp

VARIANTS = ("smoke",)


def get_config(variant: str = "") -> ConfigDict:
    """What differs from sudoku_mlp; variant smoke: that made tiny, for tests of the machine."""
    check_variant(variant, *VARIANTS)
    config = sudoku_mlp.get_config()
    config.name = "no_ema"
    config.optim.ema_decay = 0.0  # the average is the latest weights
    return smoke(config) if variant == "smoke" else config
