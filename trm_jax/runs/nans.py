"""Where a number that is not finite came from: a step, made again operation by operation."""

from pathlib import Path
from typing import Any

import jax
from jax.experimental import checkify

from trm_jax.config import Experiment
from trm_jax.data.order import Position
from trm_jax.devices.sharding import ALONE, Layout
from trm_jax.errors import ConfigError, NotFiniteError
from trm_jax.training.feed import Source, next_batch
from trm_jax.training.program import Signs
from trm_jax.training.step import TrainState, train_step

_OURS = Path(__file__).parents[1]


def prepare(layout: Layout) -> None:
    """Has JAX remember where each operation stands, from the call of `train_step` on; to be called before it traces.

    Raises:
      ConfigError: steps are shared by several devices, whose operations cannot be looked at.
    """
    if layout.count > 1:
        raise ConfigError(f"--debug-nans looks at one device, not {layout.count}: add --config.devices.data=1")
    jax.config.update("jax_traceback_in_locations_limit", 200)


def check_step(experiment: Experiment, before: TrainState, position: Position, source: Source, signs: Signs) -> None:
    """Raises NotFiniteError, which names the first operation that gave a nan, if a step was skipped.

    Args:
      experiment: as it is run.
      before, position: as they were before the step.
      source: of its batch, the first one of its call.
      signs: what the step told of itself.
    """
    if not int(jax.device_get(signs.skipped_in_a_row)):
        return
    raise NotFiniteError(
        f"step {int(before.step) + 1}: {signs.metric} is not finite; {_origin(experiment, before, position, source)}"
    )


def _origin(experiment: Experiment, state: TrainState, position: Position, source: Source) -> str:
    """What happened first, in a clause."""

    def step(state: TrainState, position: Position, source: Source) -> Any:
        batch, _ = next_batch(experiment, ALONE, source, position, state.key, state.step + 1, 0)
        return train_step(experiment, state, batch, ALONE)

    error, _ = jax.jit(checkify.checkify(step, errors=checkify.nan_checks))(state, position, source)
    found: Any = error.get_exception()
    if found is None:
        return "no operation made a nan, so that numbers have grown beyond what their type can hold"
    frames = found.traceback_info.frames
    ours = [frame for frame in frames if Path(frame.file_name).is_relative_to(_OURS)]
    # JAX's own functions are traced once for all who call them, and remember none of these.
    places = [f"{frame.function_name} ({Path(frame.file_name).name})" for frame in ours[:3] or frames[-1:]]
    return f"the first nan came from the operation {found.prim} in {', called by '.join(places)}"
