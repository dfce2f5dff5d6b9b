"""Many devices: where each part of a training step lies, and everything that ever crosses from one to another.

The mesh has one axis. Every device has its rows of the batch and makes the same step with them that a single device
would make with all (`step.train_step` inside `jax.shard_map`); weights are whole on each device, or in parts; a puzzle
table is split by rows. What crosses is written down here and nowhere else: gradients, rows of the table that the batch
uses, sums of metrics, and weights where they are in parts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from numpy.typing import NDArray

from trm_jax.config import Experiment
from trm_jax.devices.cores import taken
from trm_jax.errors import ConfigError
from trm_jax.model.model import Model

AXIS = "data"
EVERYWHERE = PartitionSpec()
BY_ROWS = PartitionSpec(AXIS)

Tree = TypeVar("Tree")


@dataclass(frozen=True)
class Layout:
    """Which devices work together, and what each of them holds. Hashable, so that it may be static to `jax.jit`.

    Methods from `own` on are for use inside `jax.shard_map` over the mesh; alone, they change nothing.

    mesh: None: a single device, the default one.
    weight_axes: of each tensor that AdamATan2 trains, in the order of leaves, the axis along which devices share it, or
      None where each has all of it; empty: each has all of everything.
    table_split: whether devices share the rows of the puzzle table.
    """

    mesh: Mesh | None = None
    weight_axes: tuple[int | None, ...] = ()
    table_split: bool = False

    @property
    def count(self) -> int:
        """How many devices."""
        return 1 if self.mesh is None else int(self.mesh.size)

    @property
    def table_spec(self) -> PartitionSpec:
        """How the puzzle table lies."""
        return BY_ROWS if self.table_split else EVERYWHERE

    def weight_specs(self, params: Any) -> Any:
        """How trained tensors, their averages and moments lie: a tree like `params`."""
        leaves, tree = jax.tree.flatten(params)
        specs = [EVERYWHERE if axis is None else PartitionSpec(*(None,) * axis, AXIS) for axis in self._axes(leaves)]
        return jax.tree.unflatten(tree, specs)

    def shardings(self, specs: Any) -> Any:
        """Specifications as shardings over the mesh; of a single device its own, whatever they say."""
        mesh = self.mesh
        if mesh is None:
            alone = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
            return jax.tree.map(lambda _: alone, specs, is_leaf=_is_spec)
        return jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs, is_leaf=_is_spec)

    def everywhere(self, values: Any) -> Any:
        """NumPy arrays, the same in every process, as arrays that lie whole on every device."""
        sharding = self.shardings(EVERYWHERE)
        if self.mesh is None:
            return jax.tree.map(lambda value: jax.device_put(np.asarray(value), sharding), values)
        return jax.tree.map(lambda value: _placed(np.asarray(value), sharding), values)

    def spread(self, values: Any) -> Any:
        """NumPy arrays of which each device gets its equal share of rows, from those of its own process."""
        if self.mesh is None:
            return values
        sharding = self.shardings(BY_ROWS)
        return jax.tree.map(lambda value: _placed(value, sharding), values)

    def by_each(self, function: Callable[..., Any], in_specs: Any, out_specs: Any) -> Callable[..., Any]:
        """The function as every device calls it, with what it has of the arguments (`jax.shard_map`)."""
        if self.mesh is None:
            return function
        return jax.shard_map(function, mesh=self.mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)

    def own(self, rows: Tree) -> Tree:
        """Of arrays that all devices have alike, with a row for each puzzle of the whole batch: this device's rows."""
        if self.mesh is None:
            return rows

        def part(array: jax.Array) -> jax.Array:
            size = array.shape[0] // self.count
            return jax.lax.dynamic_slice_in_dim(array, jax.lax.axis_index(AXIS) * size, size)

        return jax.tree.map(part, rows)

    def total(self, tree: Tree) -> Tree:
        """Sums over devices."""
        return tree if self.mesh is None else jax.lax.psum(tree, AXIS)

    def whole(self, params: Any) -> Any:
        """The tensors of which this device has parts, for use in this step."""
        return self._by_axis(params, lambda a, axis: jax.lax.all_gather(a, AXIS, axis=axis, tiled=True), lambda a: a)

    def reduced(self, grads: Any) -> Any:
        """Gradients with respect to whole tensors, summed over devices; each has left what it has of the tensors."""
        return self._by_axis(
            grads,
            lambda a, axis: jax.lax.psum_scatter(a, AXIS, scatter_dimension=axis, tiled=True),
            self.total,
        )

    def norm(self, tree: Any) -> jax.Array:
        """Euclidean norm of tensors that lie as the trained ones do."""
        leaves = jax.tree.leaves(tree)
        squares = [jnp.square(leaf).sum() for leaf in leaves]
        nothing = jnp.zeros((), jnp.float32)
        parts = [square for square, axis in zip(squares, self._axes(leaves), strict=True) if axis is not None]
        wholes = [square for square, axis in zip(squares, self._axes(leaves), strict=True) if axis is None]
        total = sum(wholes, nothing)
        return jnp.sqrt(total + self.total(sum(parts, nothing)) if parts else total)

    def collected(self, rows: jax.Array) -> jax.Array:
        """Every device's rows of the batch, in order."""
        return rows if self.mesh is None else jax.lax.all_gather(rows, AXIS, tiled=True)

    def table_rows(self, table_NR: jax.Array, ids_B: jax.Array) -> jax.Array:
        """Rows of the puzzle table for this device's part of the batch, from wherever they are."""
        if not self.table_split:
            return table_NR[ids_B]
        here = self.collected(ids_B) - self.first_row(table_NR)
        mine = (here >= 0) & (here < table_NR.shape[0])
        rows = jnp.where(mine[:, None], table_NR[jnp.where(mine, here, 0)], 0.0)
        # Each row is on one device; all others add zeros.
        return jax.lax.psum_scatter(rows, AXIS, scatter_dimension=0, tiled=True)

    def first_row(self, table_NR: jax.Array) -> jax.Array | int:
        """Which row of the whole table is the first of this device's part."""
        return jax.lax.axis_index(AXIS) * table_NR.shape[0] if self.table_split else 0

    def _axes(self, leaves: list[Any]) -> tuple[int | None, ...]:
        return self.weight_axes or (None,) * len(leaves)

    def _by_axis(self, params: Any, split: Any, kept: Any) -> Any:
        leaves, tree = jax.tree.flatten(params)
        pairs = zip(leaves, self._axes(leaves), strict=True)
        return jax.tree.unflatten(tree, [kept(a) if axis is None else split(a, axis) for a, axis in pairs])


ALONE = Layout()


def layout_of(experiment: Experiment) -> Layout:
    """The layout that config.devices asks for, on the devices that there are.

    Args:
      experiment: with all sizes filled in.

    Raises:
      ConfigError: more devices than there are; fewer than all, with several processes; a batch that they cannot share.
    """
    batch, memory = experiment.train.batch_size, experiment.memory
    parts = memory.parts * memory.slices
    if experiment.devices.data == 0 and taken():
        # Nobody has asked for so many devices: as many of them as can share the batch.
        count = max(n for n in range(1, len(jax.devices()) + 1) if batch % n == 0 and batch // n % parts == 0)
    else:
        count = _asked_for(experiment.devices.data, "config.devices.data")
    if batch % count:
        raise ConfigError(
            f"config.train.batch_size = {batch} cannot be shared by {count} devices: give a multiple of {count}, or "
            "change config.devices.data"
        )
    if batch // count % parts:
        raise ConfigError(
            f"config.memory.micro_batches = {memory.micro_batches} and config.memory.slices = {memory.slices} do not "
            f"divide the {batch // count} rows that each of {count} devices has: change them, or the batch"
        )
    if count == 1:
        return ALONE
    shapes: Any = jax.eval_shape(Model(experiment.model).init, jax.random.key(0))
    table = shapes.puzzle_table
    axes: tuple[int | None, ...] = ()
    if experiment.devices.weights == "sharded":
        axes = tuple(_longest_shared(leaf.shape, count) for leaf in jax.tree.leaves(shapes.params))
    return Layout(_mesh(count), axes, table is not None and table.shape[0] % count == 0)


def mesh_layout(wanted: int) -> Layout:
    """So many devices, 0 for all, each of which has all weights and the whole puzzle table: for evaluation.

    Raises:
      ConfigError: more devices than there are; fewer than all, with several processes.
    """
    count = _asked_for(wanted, "--devices")
    return ALONE if count == 1 else Layout(_mesh(count))


def _asked_for(wanted: int, flag: str) -> int:
    """How many devices `flag` asks for."""
    available = len(jax.devices())
    count = wanted or available
    if count > available:
        raise ConfigError(f"{flag} = {wanted}, but there are {available} devices: lower it, or set it to 0 for all")
    if jax.process_count() > 1 and count != available:
        raise ConfigError(
            f"{flag} = {wanted}, but {jax.process_count()} processes have {available} devices, and "
            "none may stand idle: set it to 0"
        )
    return count


def _mesh(count: int) -> Mesh:
    return jax.make_mesh((count,), (AXIS,), axis_types=(AxisType.Auto,), devices=jax.devices()[:count])


def _placed(host: NDArray[Any], sharding: NamedSharding) -> jax.Array:
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def _longest_shared(shape: tuple[int, ...], count: int) -> int | None:
    shared = [axis for axis, length in enumerate(shape) if length % count == 0]
    return max(shared, key=lambda axis: shape[axis], default=None)


def _is_spec(value: Any) -> bool:
    return isinstance(value, PartitionSpec)
