"""What is asked of attempts reaches its place from every call that takes it."""

from functools import partial
from typing import Any

import pytest

import trm_jax as trm
from trm_jax.errors import ConfigError
from trm_jax.library.solver import Solver


@pytest.mark.parametrize("call", ["solve", "evaluate", "stress", "calibrate"])
@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"steps": 0}, "^steps = 0"),
        ({"attempts": 0}, "^attempts = 0"),
        ({"select": "best"}, "^select = 'best'"),
        ({"symmetries": True}, "^the first attempt has neither noise nor symmetries"),
        ({"start_noise": -1.0}, "^start_noise = -1.0"),
        ({"latent_noise": -1.0}, "^latent_noise = -1.0"),
        ({"seed": -1}, "^seed = -1"),
        ({"batch_size": 0}, "^batch_size = 0"),
    ],
)
def test_an_argument_out_of_range_is_told_by_its_name(
    solver: Solver, call: str, asked: dict[str, Any], told: str
) -> None:
    """Two fields of `Asked` in another order in one of the calls: its cases fail."""
    calls = {"solve": partial(solver.solve, ".21. ...4 .... .1.."), "evaluate": solver.evaluate}
    calls |= {"stress": partial(trm.stress, solver), "calibrate": partial(trm.calibrate, solver)}
    with pytest.raises(ConfigError, match=told):
        calls[call](**asked)
