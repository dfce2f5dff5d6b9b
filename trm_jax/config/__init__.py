"""Every value of an experiment: type, range, meaning and rules; and the files that say which experiments there are.

It knows the names that recursion/ and puzzles/ offer, and nothing else of the house; what a mixer is made of it knows
by name alone, until a model is built. JAX is not imported here, so that a wrong value is told at once.
"""

from trm_jax.config.mappings import config_hash, differences, experiment_from, flat, to_dict
from trm_jax.config.rules import check_sources, validate
from trm_jax.config.values import (
    WEIGHT_PARTS,
    CandidatesConfig,
    DataConfig,
    DevicesConfig,
    Experiment,
    InitConfig,
    LossConfig,
    MemoryConfig,
    ModelConfig,
    OptimConfig,
    TrainConfig,
)

__all__ = [
    "WEIGHT_PARTS",
    "CandidatesConfig",
    "DataConfig",
    "DevicesConfig",
    "Experiment",
    "InitConfig",
    "LossConfig",
    "MemoryConfig",
    "ModelConfig",
    "OptimConfig",
    "TrainConfig",
    "check_sources",
    "config_hash",
    "differences",
    "experiment_from",
    "flat",
    "to_dict",
    "validate",
]
