"""Whether weights are numbers: of what is NaN or infinite nothing that a model says means anything."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def not_finite(arrays: Mapping[str, Any]) -> list[str]:
    """Of arrays of floats by name, a clause for each that holds NaN or infinity."""
    faults = []
    for name, array in arrays.items():
        values = np.asarray(array)
        # Extremes need no second array as large as the first, and NaN is one.
        if values.size and not (np.isfinite(values.min()) and np.isfinite(values.max())):
            count = int((~np.isfinite(values)).sum())
            faults.append(f"{name} holds {count:,} of {values.size:,} values that are NaN or infinite")
    return faults
