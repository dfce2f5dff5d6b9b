"""The recursion of HRM, two latent steps and two cycles (Table 1, "w/ T=2, n=2").

Paper: 73.7 % (87.4 with T = 3, n = 6).
Cost: a third of sudoku_mlp: (T + 2)(n + 1) = 12 network applications' worth a step, against 35.

    trm train --config=ablations/shallow_recursion --workdir=runs/shallow_recursion \
        --config.data.train=train.csv
"""

from ml_collections import ConfigDict

from trm_jax.experiments import check_variant, smoke, sudoku_mlp

VARIANTS = ("smoke",)


def get_config(variant: str = "") -> ConfigDict:
    """What differs from sudoku_mlp; variant smoke: that made tiny, for tests of the machine."""
    check_variant(variant, *VARIANTS)
    config = sudoku_mlp.get_config()
    config.name = "shallow_recursion"
    config.model.latent_steps = 2
    config.model.cycles = 2
    return smoke(config) if variant == "smoke" else config
