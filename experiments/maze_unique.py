"""Perfect mazes, which have one path, with a network of width 128 and one layer: the setting of EqR.

EqR (arXiv 2605.21488): 93 % exact on 1,000 test mazes of 30 x 30 with paths of 100 to 140 steps, 0.26M weights, trained
on 1,000. All above TRM's own recipe comes from random starts, a little noise on z, and damping.
Cost: 100,000 steps at batch 768, 1.7 EFLOP.

    trm data maze train.csv --generate 1000 --size 30x30 --min-length 100 --perfect
    trm data maze monitor.csv --generate 1000 --size 30x30 --min-length 100 --perfect --seed 1
    trm train --config=maze_unique --workdir=runs/maze_unique \
        --config.data.train=train.csv --config.data.test=monitor.csv

Variant "small": what two cores train in two hours, on 20,000 mazes of 11 x 11 (`--size 11x11 --min-length 16`).

All else is as in maze, where each value is explained.
"""

from ml_collections import ConfigDict

from trm_jax.experiments import check_variant, maze, smoke

VARIANTS = ("small", "smoke")


def get_config(variant: str = "") -> ConfigDict:
    """EqR's hyperparameters; variant small: for two cores; variant smoke: tiny, for tests of the machine."""
    check_variant(variant, *VARIANTS)
    config = maze.get_config()
    config.name = "maze_unique"
    config.model.update(width=128, heads=4, layers=1, puzzle_dim=0, puzzle_tokens=0)
    config.model.update(start_noise=1.0, latent_noise=0.01, damping=0.05)
    config.train.steps = 100_000
    if variant == "small":
        config.name += "_small"
        config.model.update(seq_len=121, dtype="float32")
        config.loss.tokens = "softmax"
        config.optim.update(optimiser="adamw", clip=1.0, learning_rate=1e-3, warmup_steps=200, min_ratio=0.1)
        config.optim.update(weight_decay=0.1, ema_decay=0.995)
        config.train.update(steps=6_000, batch_size=32, eval_batch_size=128, save_every=250)
    return smoke(config) if variant == "smoke" else config
