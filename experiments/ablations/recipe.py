"""What others found to help, one switch at a time, each a variant; sources are numbers of arXiv.

    variant           differs from sudoku_mlp in                                      cost    from
    muon              Muon on matrices, AdamW on all else, at one rate                1.00    2502.16982, 2601.19085
    normalised_gate   sigmoid(g) * rms(g * u) in feed-forwards                        1.00    2601.19085
    no_puzzle_tokens  the 81 cells alone                                              0.73    2601.19085
    smoothing         a fifth of each label spread over all tokens                    1.00    2601.19085
    late_average      an average that begins after five eighths of the run            1.00    2601.19085
    bfloat16_weights  weights rounded to bfloat16                                     1.00    2601.19085
    winner_take_all   four latents, of which the best is trained                      3.40    2601.19085
    row_column_box    a learned vector for each row, column and box                   1.00    github.com/chenglou/sotaku
    damping           an application goes 95 % of the way                             1.00    EqR, 2605.21488
    random_starts     y and z start with noise of their own size                      1.00    EqR
    latent_noise      a little noise on z before each supervision step                1.00    EqR
    two_steps         two supervision steps an update, each with its own gradient     2.00    TinyRecursiveModels #41

    variant           differs from sudoku_attention in
    qk_norm           queries and keys of one size                                    1.00    2010.04245, 2302.05442
    rope_2d           rotary positions of rows and columns                            1.00    2403.13298, 2603.02193

Cost: of an optimiser step, against the same base; sudoku_mlp's is 35 network applications' worth. No variant:
sudoku_mlp. None of these has been measured here yet.

    trm train --config=ablations/recipe:muon --workdir=runs/recipe_muon --config.data.train=train.csv

Variant smoke: winner_take_all made tiny, for tests of the machine.
"""

from typing import Any

from ml_collections import ConfigDict

from trm_jax.experiments import check_variant, smoke, sudoku_attention, sudoku_mlp

SWITCHES: dict[str, dict[str, dict[str, Any]]] = {
    "muon": {"optim": {"optimiser": "muon"}},
    "normalised_gate": {"model": {"gate": "normalised"}},
    "no_puzzle_tokens": {"model": {"puzzle_dim": 0, "puzzle_tokens": 0}},
    "smoothing": {"loss": {"smoothing": 0.2}},
    "late_average": {"optim": {"ema_start": 40_690}},
    "bfloat16_weights": {"optim": {"weight_dtype": "bfloat16"}},
    "winner_take_all": {"model": {"latents": 4, "winner_take_all": True}},
    "row_column_box": {"model": {"positions": "row_column_box", "puzzle": "sudoku"}},
    "damping": {"model": {"damping": 0.05}},
    "random_starts": {"model": {"start_noise": 1.0}},
    "latent_noise": {"model": {"latent_noise": 0.01}},
    "two_steps": {"model": {"backprop_steps": 2}},
}
OF_ATTENTION: dict[str, dict[str, dict[str, Any]]] = {
    "qk_norm": {"model": {"qk_norm": True}},
    "rope_2d": {"model": {"positions": "rope_2d", "puzzle": "sudoku"}},
}
VARIANTS = (*SWITCHES, *OF_ATTENTION, "smoke")


def get_config(variant: str = "") -> ConfigDict:
    """What differs from sudoku_mlp, or sudoku_attention, in the variant."""
    check_variant(variant, *VARIANTS)
    switch = "winner_take_all" if variant == "smoke" else variant
    config = (sudoku_attention if switch in OF_ATTENTION else sudoku_mlp).get_config()
    config.name = f"recipe_{switch}" if switch else "recipe"
    config.update((SWITCHES | OF_ATTENTION | {"": {}})[switch])
    return smoke(config) if variant == "smoke" else config
