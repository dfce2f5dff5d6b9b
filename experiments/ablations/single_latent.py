"""A single z and no y (Table 2, "single z").

Paper: 71.9 % (87.4 with y and z). The answer is read from z, which sees the puzzle in n steps of a cycle and
not in the last.
Cost: as sudoku_mlp, 35 network applications' worth a step; the carried state is half as large.

    trm train --config=ablations/single_latent --workdir=runs/single_latent \
        --config.data.train=train.csv
"""

from ml_collections import ConfigDict

from trm_jax.experiments import check_variant, smoke, sudoku_mlp

VARIANTS = ("smoke",)


def get_config(variant: str = "") -> ConfigDict:
    """What differs from sudoku_mlp; variant smoke: that made tiny, for tests of the machine."""
    check_variant(variant, *VARIANTS)
    config = sudoku_mlp.get_config()
    config.name = "single_latent"
    config.model.states = "z"
    return smoke(config) if variant == "smoke" else config
