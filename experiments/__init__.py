"""One file per experiment: every value that can be set, the paper's figure, the command and its cost.

A file's `get_config(variant)` returns an ml_collections ConfigDict that `trm_jax.config.experiment_from`
reads. All keys of trm_jax/config/values.py are present, so any of them can be overridden on the command line
although the configuration is locked: `--config.optim.learning_rate=2e-4`. A variant follows the file's name:
`--config=arc1:n6`. Each file has the variant `smoke`: tiny, for tests of the machine.
"""

from ml_collections import ConfigDict


def check_variant(variant: str, *known: str) -> None:
    """Raises ValueError, naming those that exist, unless the variant is known or empty."""
    if variant and variant not in known:
        names = ", ".join(known) if known else "none"
        raise ValueError(f"unknown variant {variant!r} of the experiment: there are {names}, or leave it out")


def candidates() -> dict[str, float]:
    """The group `candidates`, alike in all experiments; unused by models whose states are no sets of candidates."""
    return {
        "eliminate_below": 0.1,  # probability of being right
        "conflict_above": 0.5,
        "take_away_below": 0.05,  # in a search
        "give_up_above": 0.6,
        "temperature": 1.5,  # of the symbols that training pins
        "keep_weight": 4.0,  # of the loss on what is right: to lose it is the dearest
        "drop_weight": 0.5,
        "symbol_weight": 1.0,
        "conflict_weight": 0.1,
    }


def fresh() -> dict[str, str | bool]:
    """The group `init` of experiments that begin with no other model's weights: all of them, unless a user says so."""
    return {
        "source": "",  # whose weights: a workdir, a checkpoint, a file, a model that ships (--init-from)
        "weights": "",  # their SHA-256, which a run fills in
        "averaged": True,  # or as trained
        "parts": "all",  # or some of network, heads, embeddings, table (--init-parts)
        "new_rows": "zero",  # of puzzle ids that they do not know; or "mean", or the name of an id (--init-new)
        "names": "",  # dataset folders of the ids that they know, where they do not tell
    }


def smoke(config: ConfigDict) -> ConfigDict:
    """The experiment made tiny: 20 steps in a second, in which rows halt and every part of the model learns.

    Mixer, networks, gradients, losses, optimiser and kind of data are the experiment's own. No file is needed where
    Sudokus can be generated; elsewhere boards may have any size, but ARC's have 30 x 30 cells anyway.
    """
    config.name += "_smoke"
    model, data, train = config.model, config.data, config.train
    model.width = 16
    model.heads = 2
    model.layers = -(-model.layers // 2)
    model.answer_layers = -(-model.answer_layers // 2)
    for key, most in (("puzzle_dim", 16), ("puzzle_tokens", 2), ("latents", 3), ("latent_steps", 3), ("cycles", 2)):
        model[key] = min(model[key], most)
    model.grad_cycles = min(model.grad_cycles, model.cycles)
    model.supervision_steps = 4
    model.dtype = "float32"  # in bfloat16, the losses of two compilers soon part
    config.devices.data = 1
    config.optim.learning_rate = 1e-3
    config.optim.warmup_steps = 4
    config.optim.ema_start = min(config.optim.ema_start, 10)
    if data.puzzle == "sudoku":
        data.train = "generated"
        data.train_puzzles = 16
    else:
        model.seq_len = 0
    train.steps = 20
    train.batch_size = 8
    train.log_every = 1
    train.eval_every = 0
    train.save_every = 0
    return config
