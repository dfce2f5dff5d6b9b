"""Perfect mazes, which have one path, with a network of width 128 and one layer: the setting of EqR.

EqR (arXiv 2605.21488): 93 % exact on 1,000 test mazes of 30 x 30 with paths of 100 to 140 steps, 0.26M weights, trained
on 1,000. All above TRM's own recipe comes from random starts, a little noise on z, and damping.
Cost: 100,000 steps at batch 768, 1.7 EFLOP.

    trm data maze train.csv --generate 1000 --size 30x30 --min-length 100 --perfect
    trm data maze monitor.csv --generate 1000 --size 30x30 --min-length 100 --perfect --seed 1
    trm train --config=maze_unique --workdir=runs/maze_unique \
        --config.data.train=train.csv --config.data.test=monitor.csv

Variant "small": for two cores, and another model: a symmetric network made of pairs of neighbouring cells that carries
sets of candidates (docs/small_models.md). It learns to fill dead ends on mazes of 7 x 7 in 15 minutes, and goes on with
those of 11 x 11 from there:

    trm data maze small.csv --generate 4000 --size 7x7 --min-length 6 --perfect
    trm train --config=maze_unique:small --workdir=runs/small --config.data.train=small.csv \
        --config.train.batch_size=64 --config.train.steps=2000
    trm data maze train.csv --generate 20000 --size 11x11 --min-length 16 --perfect
    trm train --config=maze_unique:small --workdir=runs/maze --config.data.train=train.csv --init-from=runs/small

All else is as in maze and in sudoku_extreme, where each value is explained.
"""

from ml_collections import ConfigDict

from trm_jax.experiments import check_variant, maze, smoke, sudoku_extreme

VARIANTS = ("small", "smoke")


def get_config(variant: str = "") -> ConfigDict:
    """EqR's hyperparameters; variant small: for two cores; variant smoke: tiny, for tests of the machine."""
    check_variant(variant, *VARIANTS)
    if variant == "small":
        config = sudoku_extreme.get_config()
        config.name = "maze_unique_small"
        config.model.update(vocab_size=6, seq_len=0, width=16, puzzle="maze")
        config.candidates.take_away_below = 0.1
        config.data.update(puzzle="maze", reveal=0.0)
        config.train.update(steps=3_000, batch_size=32)
        return config
    config = maze.get_config()
    config.name = "maze_unique"
    config.model.update(width=128, heads=4, layers=1, puzzle_dim=0, puzzle_tokens=0)
    config.model.update(start_noise=1.0, latent_noise=0.01, damping=0.05)
    config.train.steps = 100_000
    return smoke(config) if variant == "smoke" else config
