"""Six latents z_1 ... z_6 in place of one (Table 2, "multi-scale z").

Paper: 77.6 % (87.4 with y and one z). Each latent step overwrites one of them, and reads their sum.
Cost: as sudoku_mlp, 35 network applications' worth a step; the carried state is 3.5 times as large.

    trm train --config=ablations/six_latents --workdir=runs/six_latents \
        --config.data.train=train.csv
"""

from ml_collections import ConfigDict

from trm_jax.experiments import check_variant, smoke, sudoku_mlp

VARIANTS = ("smoke",)


def get_config(variant: str = "") -> ConfigDict:
    """What differs from sudoku_mlp; variant smoke: that made tiny, for tests of the machine."""
    check_variant(variant, *VARIANTS)
    config = sudoku_mlp.get_config()
    config.name = "six_latents"
    config.model.latents = 6
    return smoke(config) if variant == "smoke" else config
