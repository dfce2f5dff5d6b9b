"""Four layers and half as many latent steps (Table 1, "w/ 4-layers, n=3").

Paper: 79.5 % (87.4 with two layers and n = 6).
Cost: 1.1 times sudoku_mlp: (T + 2)(n + 1) = 20 applications of a network twice as deep, against 35. Twice the
weights.

    trm train --config=ablations/four_layers --workdir=runs/four_layers \
        --config.data.train=train.csv
"""

from ml_collections import ConfigDict

from trm_jax.experiments import check_variant, smoke, sudoku_mlp

VARIANTS = ("smoke",)


def get_config(variant: str = "") -> ConfigDict:
    """What differs from sudoku_mlp; variant smoke: that made tiny, for tests of the machine."""
    check_variant(variant, *VARIANTS)
    config = sudoku_mlp.get_config()
    config.name = "four_layers"
    config.model.layers = 4
    config.model.latent_steps = 3
    return smoke(config) if variant == "smoke" else config
