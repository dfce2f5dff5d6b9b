"""One network for the latent z and another for the answer y (Table 1, "w/ separate f_H, f_L").

Paper: 82.4 % (87.4 with one network for both).
Cost: as sudoku_mlp, 35 network applications' worth a step; twice the weights.

    trm train --config=ablations/separate_networks --workdir=runs/separate_networks \
        --config.data.train=train.csv
"""

from ml_collections import ConfigDict

from trm_jax.experiments import check_variant, smoke, sudoku_mlp

VARIANTS = ("smoke",)


def get_config(variant: str = "") -> ConfigDict:
    """What differs from sudoku_mlp; variant smoke: that made tiny, for tests of the machine."""
    check_variant(variant, *VARIANTS)
    config = sudoku_mlp.get_config()
    config.name = "separate_networks"
    config.model.separate_networks = True
    return smoke(config) if variant == "smoke" else config
