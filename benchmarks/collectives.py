"""What crosses between devices in one training step: read from the compiled program, nothing is run or allocated.

    python -m benchmarks.collectives --config=experiments/arc1.py [--config.devices.weights=sharded] [--devices 8]

The devices are fakes of the CPU. A step on more devices does more of the same work, so that these bytes are what weak
scaling costs. Sizes that the experiment leaves to the data are those of --puzzles.
"""

import argparse
import os
from dataclasses import replace
from typing import Any


def main() -> None:
    """Prints the table, and what it comes to for a puzzle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=8)
    parser.add_argument("--puzzles", type=int, default=900_096, help="rows of the puzzle table (900,096)")
    args, rest = parser.parse_known_args()
    # Before JAX is imported, which reads it once.
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={args.devices} " + os.environ.get(
        "XLA_FLAGS", ""
    )
    os.environ["JAX_PLATFORMS"] = "cpu"

    import jax
    import numpy as np

    from benchmarks.hlo import collectives_of, table
    from trm_jax.commands.arguments import load_experiment
    from trm_jax.data.order import Order, Position
    from trm_jax.devices.sharding import EVERYWHERE, layout_of
    from trm_jax.model.estimate import estimate
    from trm_jax.sizes import si
    from trm_jax.training.feed import Resident
    from trm_jax.training.program import advance, like

    def whole(shape: tuple[int, ...], dtype: Any) -> Any:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=layout.shardings(EVERYWHERE))

    experiment = load_experiment(rest)
    model = replace(experiment.model, num_puzzles=experiment.model.num_puzzles or args.puzzles)
    experiment = replace(experiment, model=model, data=replace(experiment.data, augment=False))
    layout = layout_of(experiment)
    tokens, starts = whole((args.puzzles, model.seq_len), np.uint8), whole((args.puzzles + 1,), np.int32)
    order = Order(starts, starts, experiment.train.seed, single=True)
    source = Resident(tokens, tokens, whole((args.puzzles,), np.int32), order)
    position = Position(*(whole((), np.int32) for _ in range(3)))
    state, totals = like(experiment, layout)
    compiled = advance.lower(experiment, layout, 1, state, totals, position, source, None).compile()
    print(f"{experiment.name}: batch {experiment.train.batch_size} on {layout.count} devices, {args.puzzles:,} puzzles")
    print(table(collectives_of(compiled)))
    print(f"a device computes {si(estimate(experiment).flops_per_step / layout.count)} in this step")


if __name__ == "__main__":
    main()
