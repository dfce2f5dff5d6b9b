"""What an exported file says of itself, as plain values for JSON: which model, which puzzles, what goes in and out."""

from dataclasses import asdict
from typing import Any

import numpy as np

from trm_jax.config import Experiment
from trm_jax.exporting.held import HeldWeights
from trm_jax.exporting.program import Port, Program
from trm_jax.model.model import Weights, count_weights
from trm_jax.puzzles.kind import Kind
from trm_jax.runs import shipped
from trm_jax.runs.named_arrays import fingerprint
from trm_jax.version import VERSION

# Of names, types and meanings of what programs take and give. A change that a caller would notice raises it.
CONVENTION = 1
# Of the configuration, what one wants to know who has only the file.
_MODEL = (
    "mixer", "states", "layers", "width", "latents", "latent_steps", "cycles", "supervision_steps", "dtype",
)  # fmt: skip


def about(experiment: Experiment, weights: Weights, kind: Kind, program: Program, held: HeldWeights) -> dict[str, Any]:
    """Everything that a file's metadata hold, but for its own checksum."""
    config, checksum = experiment.model, fingerprint(weights)
    cards = (shipped.card(name) for name in shipped.names())
    card = next((card for card in cards if card.sha256 == checksum), None)
    return {
        "convention": CONVENTION,
        "made_by": f"trm_jax {VERSION}",
        "program": program.name,
        "inputs": [_port(port) for port in program.inputs],
        "outputs": [_port(port) for port in program.outputs],
        "puzzle": kind.to_dict(),
        "shape": list(kind.shape),
        # The sign of each token, from token 0, which is padding and stands in no puzzle.
        "alphabet": [kind.glyphs(np.array([token], np.int32))[0] for token in range(config.vocab_size)],
        "blank": kind.blank,
        "units": None if kind.units is None else [[name, group.tolist()] for name, group in kind.units.partitions],
        "experiment": experiment.name,
        "model": {name: getattr(config, name) for name in _MODEL},
        "weights": {
            "count": sum(count_weights(weights).values()),
            "sha256": checksum,
            "held_as": held.name,
            "calibrated_on": held.puzzles,
        },
        "card": None if card is None else asdict(card),
    }


def _port(port: Port) -> dict[str, Any]:
    return asdict(port) | {"shape": list(port.shape)}
