"""Codes of how much time lies between: one for each doubling of seconds."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Ages of events, in seconds, are told apart by powers of two: 32 covers more than a century.
AGE_BUCKETS = 33

# Seconds of the first bucket and of the last one, and the exponent of the first, as it is stored.
SHORTEST, LONGEST, LEAST = np.float32(0.5), np.float32(2.0 ** (AGE_BUCKETS - 2)), 126


def doublings(seconds: NDArray[np.integer], first: ArrayLike = 0) -> NDArray[np.int32]:
    """Return a first code for less than a second, then one for each doubling, of any shape.

    Args:
        seconds: Of any shape.
        first: That seconds can be broadcast with.
    """
    # The exponent of a float says it, at a tenth of the cost of a logarithm.
    floats = seconds.astype(np.float32)
    np.minimum(np.maximum(floats, SHORTEST, out=floats), LONGEST, out=floats)
    exponents: NDArray[np.int32] = floats.view(np.int32) >> 23
    exponents += np.asarray(first, np.int32) - np.int32(LEAST)
    return exponents
