"""One file per experiment: every value that can be set, the paper's figure, the command and its cost.

A file's `get_config(variant)` returns an ml_collections ConfigDict that `trm_jax.config.experiment_from`
reads. All keys of trm_jax/config.py are present, so any of them can be overridden on the command line
although the configuration is locked: `--config.optim.learning_rate=2e-4`. A variant follows the file's name:
`--config=experiments/arc1.py:n6`.
"""


def check_variant(variant: str, *known: str) -> None:
    """Raises ValueError, naming those that exist, unless the variant is known or empty."""
    if variant and variant not in known:
        names = ", ".join(known) if known else "none"
        raise ValueError(f"unknown variant {variant!r} of the experiment: there are {names}, or leave it out")
