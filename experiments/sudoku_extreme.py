"""Sudoku-Extreme on two CPU cores: a symmetric network that carries sets of candidates, and searches.

The network is made of rows, columns and boxes alone (trm_jax/model/mixers/symmetric.py), so that it needs no shuffled
copies of its 1,000 training puzzles. What passes from one call to the next is the set of digits that each cell may
still have (trm_jax/recursion/candidates.py).

    trm train --config=sudoku_extreme --workdir=runs/sudoku_extreme \
        --config.data.train=train.csv --config.data.test=monitor.csv

Blanks of training rows are filled from their own answers at first (config.data.reveal): the loss stands still for long
without.
"""

from ml_collections import ConfigDict

from trm_jax.experiments import candidates, check_variant, fresh, smoke

VARIANTS = ("single", "attention", "smoke")


def get_config(variant: str = "") -> ConfigDict:
    """Variants: single, TRM's own y and z in the symmetric network, one chain and no search; attention, a transformer
    with a bias for each relation of two cells, and candidates; smoke, tiny, for tests of the machine."""
    check_variant(variant, *VARIANTS)
    config = ConfigDict(
        {
            "name": "sudoku_extreme",
            "model": {
                "vocab_size": 11,  # pad, blank, digits 1-9
                "seq_len": 81,  # cells S
                "num_puzzles": 1,  # unused
                "width": 32,  # of the vector that each cell has for each digit
                "heads": 4,  # of attention
                "expansion": 2.0,  # inner width of a block, before it is split into gate and up
                "layers": 2,  # blocks of the network
                "answer_layers": 0,
                "mixer": "symmetric",
                "puzzle": "sudoku",  # whose units the network is made of
                "positions": "none",
                "rope_theta": 10_000.0,
                "qk_norm": False,
                "gate": "silu",
                "norm_eps": 1e-5,
                "puzzle_dim": 0,  # all puzzles are one task
                "puzzle_tokens": 0,
                "states": "candidates",
                "latents": 1,
                "winner_take_all": False,
                "separate_networks": False,
                "latent_steps": 1,  # unused: candidates have no z
                "cycles": 8,  # applications of the network in a call
                "grad_cycles": 8,  # all with gradients
                "gradient": "cycles",
                "gradient_steps": 1,
                "solver_tolerance": 1e-2,
                "solver_steps": 30,
                "backprop_steps": 1,
                "supervision_steps": 50,  # calls after which training leaves a puzzle
                "halt_by": "q_halt",
                "exploration": 0.0,
                "start_noise": 0.0,  # of y and z at the start
                "latent_noise": 0.0,  # of z, before each supervision step
                "damping": 0.0,  # share of h that each application keeps
                "dtype": "float32",
            },
            "memory": {
                "policy": "none",
                "levels": 2,
                "repetitions": 2,
                "states": 0,
                "outer_policy": "none",
                "micro_batches": 0,  # as a CPU's cache wants, else 1
                "slices": 1,
                "device_memory": "",
            },
            "devices": {
                "data": 0,
                "weights": "replicated",
                "steps_per_call": 1,
                "puzzles": "auto",
                "attention": "auto",
            },
            "loss": {
                "tokens": "softmax",
                "continue_head": False,
                "smoothing": 0.0,
                "halting": 0.5,
            },
            "candidates": candidates(),
            "optim": {
                "optimiser": "adamw",
                "muon_ratio": 0.0,
                "clip": 1.0,
                "learning_rate": 2e-3,
                "warmup_steps": 200,
                "min_ratio": 0.0,  # a cosine to nothing
                "beta1": 0.9,
                "beta2": 0.95,
                "weight_decay": 0.1,
                "atan2_form": "original",
                "puzzle_learning_rate": 0.0,
                "puzzle_weight_decay": 0.0,
                "ema_decay": 0.998,
                "ema_start": 0,
                "weight_dtype": "float32",
            },
            "data": {
                "puzzle": "sudoku",
                "train": "",
                "test": "",
                "columns": "",  # of tables, as "QUESTION,ANSWER"; "": the usual names
                "augment": False,  # the network knows the symmetries
                "reveal": 0.5,
                "reveal_share": 0.6,
                "forms": 0,
                "side": 9,
                "train_puzzles": 0,
                "test_puzzles": 0,
            },
            "init": fresh(),
            "train": {
                "steps": 20_000,
                "batch_size": 64,
                "seed": 0,
                "log_every": 100,
                "eval_every": 0,
                "eval_batch_size": 64,
                "eval_calls": 128,  # in which the search is to solve a held-out puzzle
                "patience": 0,
                "save_every": 500,
                "keep_checkpoints": 2,
                "bad_steps": 10,
                "freeze": "",
                "curriculum": "",
            },
        }
    )
    if variant in ("single", "attention"):
        config.name += f"_{variant}"
    if variant == "single":
        config.model.update(
            states="y_z", latent_steps=3, cycles=2, grad_cycles=1, supervision_steps=16, exploration=0.1
        )
        config.data.update(reveal=0.7, reveal_share=1.0)
        config.optim.ema_decay = 0.995
    if variant == "attention":
        config.model.update(mixer="attention", width=128, positions="relations", layers=4, expansion=4.0)
        config.data.augment = True
    return smoke(config) if variant == "smoke" else config
