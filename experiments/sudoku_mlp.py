"""Sudoku-Extreme with the MLP mixer: the paper's best Sudoku model (Table 1, "TRM").

Paper: 87.4 % exact on 422,786 test puzzles, 5M weights, trained on 1,000 puzzles (arXiv 2510.04871).
Cost: 65,104 steps at batch 768, 2.1 EFLOP; the original took 18 to 36 hours on one L40S.

    trm train --config=experiments/sudoku_mlp.py --workdir=runs/sudoku_mlp \
        --config.data.train=train.csv --config.data.test=monitor.csv

The CSV files have the columns question and answer. To choose a checkpoint while training, watch puzzles that are
neither in training nor in the test set. The paper trains on 1,000 fixed shuffles of each puzzle; here a fresh one is
drawn each time.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The paper's hyperparameters."""
    return ConfigDict(
        {
            "name": "sudoku_mlp",
            "model": {
                "vocab_size": 11,  # pad, blank, digits 1-9
                "seq_len": 81,  # cells
                "num_puzzles": 1,  # one puzzle id for all Sudokus
                "width": 512,
                "layers": 2,
                "mixer": "mlp",
                "positions": "none",
                "puzzle_dim": 512,
                "puzzle_tokens": 16,
                "latent_steps": 6,  # n
                "cycles": 3,  # T
                "supervision_steps": 16,  # N_sup
                "exploration": 0.1,
                "dtype": "bfloat16",
            },
            "optim": {
                "learning_rate": 1e-4,
                "warmup_steps": 2_000,
                "min_ratio": 1.0,  # constant after the warm-up
                "weight_decay": 1.0,
                "puzzle_learning_rate": 1e-4,
                "puzzle_weight_decay": 1.0,
                "ema_decay": 0.999,
            },
            "data": {
                "puzzle": "sudoku",
                "train": "",  # CSV or dataset folder
                "test": "",
                "augment": True,  # digits, bands, stacks, rows, columns, transposition
            },
            "train": {
                "steps": 65_104,  # 50,000 epochs of 1,000 puzzles
                "batch_size": 768,
                "seed": 0,
                "log_every": 100,
                "eval_every": 0,  # 2,000 is sensible where data.test is given
                "eval_batch_size": 768,
                "save_every": 1_000,
                "keep_checkpoints": 2,
            },
        }
    )
