"""Every value of an experiment: its type, range, meaning and rules, and the files that say which experiments there are.

It may know what recursion/ and puzzles/ offer by name, and nothing else of the house; JAX is not imported here, so that
a wrong value is told at once.
"""

from trm_jax.config.rules import (
    DataConfig,
    DevicesConfig,
    Dtype,
    Experiment,
    LossConfig,
    MemoryConfig,
    ModelConfig,
    OptimConfig,
    TrainConfig,
    check_sources,
    differences,
    experiment_from,
    to_dict,
    validate,
    wanted,
)

__all__ = [
    "DataConfig",
    "DevicesConfig",
    "Dtype",
    "Experiment",
    "LossConfig",
    "MemoryConfig",
    "ModelConfig",
    "OptimConfig",
    "TrainConfig",
    "check_sources",
    "differences",
    "experiment_from",
    "to_dict",
    "validate",
    "wanted",
]
