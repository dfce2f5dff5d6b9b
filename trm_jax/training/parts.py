"""Into how many parts a CPU best divides its rows of a batch: few enough rows at once for its caches to hold them."""

import math

from trm_jax.config import Experiment
from trm_jax.model.estimate import estimate

# Bytes that stay in a core's own cache while a block works: about the second level's size on today's processors.
CACHE = 1 << 20


def parts_for(experiment: Experiment, rows: int) -> int:
    """How many micro-batches of `rows` rows, where the experiment leaves it open (config.memory.micro_batches = 0).

    A block's arrays for the rows of one part shall stay in the cache. Where its weights alone do not, each part reads
    them anew from memory, which many rows have to pay for: all rows are one part. What this rule gives and what other
    numbers would is measured by `python -m benchmarks.cores`.
    """
    model = experiment.model
    if 4 * estimate(experiment).trained > CACHE:
        return 1
    per_row = 4 * math.prod(model.state_shape) * (2 + 3 * model.expansion)
    at_once = max(1, int(CACHE // per_row))
    return next(parts for parts in range(1, rows + 1) if rows % parts == 0 and rows // parts <= at_once)
