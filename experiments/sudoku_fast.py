"""Sudoku-Extreme in ten minutes of an H100: the recipe of arXiv 2601.19085, as far as its text tells it.

Its authors: 85.5 +- 1.3 % exact over 4 seeds, in 48 minutes of one RTX 5090 and 16 GiB (PyTorch); one seed on 38,400
test puzzles had 3.8 % at step 500, 22 at 2,000, 58 at 4,000, 83 at 6,000 and 87.1 at 8,000. Not run here yet: neither
accuracy nor time is measured.
Cost: 80 network applications' worth a step of 81 positions, 8,000 steps at batch 384: 0.22 EFLOP, a tenth of
sudoku_mlp. Ten minutes are those of an H100 that reaches 45 % of 800 TFLOP/s. For a longer or shorter run change
config.train.steps and config.optim.ema_start alike: the cosine is sized to the steps.

    trm train --config=sudoku_fast --workdir=runs/sudoku_fast \
        --config.data.train=train.csv --config.data.test=monitor.csv --config.train.eval_every=1000

Unlike theirs: initial weights are truncated normals, and all symmetries of a Sudoku are drawn, bands and stacks too.
"""

from ml_collections import ConfigDict

from trm_jax.experiments import check_variant, smoke, sudoku_mlp

VARIANTS = ("smoke",)


def get_config(variant: str = "") -> ConfigDict:
    """What differs from sudoku_mlp; variant smoke: that made tiny, for tests of the machine."""
    check_variant(variant, *VARIANTS)
    config = sudoku_mlp.get_config()
    config.name = "sudoku_fast"
    config.model.update(puzzle_dim=0, puzzle_tokens=0)
    config.model.gate = "normalised"  # as Muon needs it
    config.model.update(latent_steps=9, cycles=6)
    config.loss.update(smoothing=0.2, halting=0.05)
    config.optim.update(optimiser="muon", muon_ratio=200.0)  # matrices at 0.02, all else at 1e-4
    config.optim.update(warmup_steps=0, min_ratio=0.0)  # a cosine to nothing
    config.optim.update(ema_decay=0.9, ema_start=5_000, weight_dtype="bfloat16")
    config.train.update(steps=8_000, batch_size=384)
    return smoke(config) if variant == "smoke" else config
