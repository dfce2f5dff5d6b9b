"""The Hierarchical Reasoning Model (Table 1, "HRM"; arXiv 2506.21734).

Paper: 55.0 %, 27M weights (87.4 with 5M). Two attention networks of four layers, two latent steps, two
cycles, gradients through the last application of each network, a continue head, no weight average, and one
puzzle token. Optimiser, batch, length of the run and data are those of sudoku_mlp, not HRM's own.
Cost: 0.9 times sudoku_mlp. A step is 16 applications' worth of four layers: 6 forward, 4 for the gradients of
two, and 6 more forward for the continue head.

    trm train --config=ablations/hrm --workdir=runs/hrm --config.data.train=train.csv
"""

from ml_collections import ConfigDict

from trm_jax.experiments import check_variant, smoke, sudoku_mlp

VARIANTS = ("smoke",)


def get_config(variant: str = "") -> ConfigDict:
    """What differs from sudoku_mlp; variant smoke: that made tiny, for tests of the machine."""
    check_variant(variant, *VARIANTS)
    config = sudoku_mlp.get_config()
    config.name = "hrm"
    config.model.mixer = "attention"
    config.model.positions = "rope"
    config.model.separate_networks = True
    config.model.layers = 4  # of the latent network
    config.model.answer_layers = 4
    config.model.puzzle_tokens = 0  # as many as a row of the table fills: one
    config.model.latent_steps = 2
    config.model.cycles = 2
    config.model.gradient = "one_step"
    config.model.halt_by = "q_continue"
    config.loss.continue_head = True
    config.optim.ema_decay = 0.0
    return smoke(config) if variant == "smoke" else config
