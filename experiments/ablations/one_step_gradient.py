"""Gradients through the last latent step and the answer step only (Table 1, "w/ 1-step gradient").

Paper: 56.5 % (87.4 with gradients through a whole cycle).
Cost: 0.7 times sudoku_mlp: T(n + 1) = 21 applications forward and two of them backward, 25 against 35.

    trm train --config=ablations/one_step_gradient --workdir=runs/one_step_gradient \
        --config.data.train=train.csv
"""

from ml_collections import ConfigDict

from trm_jax.experiments import check_variant, smoke, sudoku_mlp

VARIANTS = ("smoke",)


def get_config(variant: str = "") -> ConfigDict:
    """What differs from sudoku_mlp; variant smoke: that made tiny, for tests of the machine."""
    check_variant(variant, *VARIANTS)
    config = sudoku_mlp.get_config()
    config.name = "one_step_gradient"
    config.model.gradient = "one_step"
    return smoke(config) if variant == "smoke" else config
