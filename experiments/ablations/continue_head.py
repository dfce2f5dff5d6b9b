"""With the continue head of HRM (Table 1, "w/ ACT").

Paper: 86.1 % (87.4 without). The model also learns the value of going on, from one more supervision step, and
halts while training where the value of halting is the larger.
Cost: 1.6 times sudoku_mlp: 56 network applications' worth a step, (T + 2)(n + 1) = 35 and 21 more forward.

    trm train --config=ablations/continue_head --workdir=runs/continue_head \
        --config.data.train=train.csv
"""

from ml_collections import ConfigDict

from trm_jax.experiments import check_variant, smoke, sudoku_mlp

VARIANTS = ("smoke",)


def get_config(variant: str = "") -> ConfigDict:
    """What differs from sudoku_mlp; variant smoke: that made tiny, for tests of the machine."""
    check_variant(variant, *VARIANTS)
    config = sudoku_mlp.get_config()
    config.name = "continue_head"
    config.loss.continue_head = True
    config.model.halt_by = "q_continue"
    return smoke(config) if variant == "smoke" else config
