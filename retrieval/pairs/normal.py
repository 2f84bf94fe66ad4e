"""The normal distribution, without scipy: its import takes a third of a cold start."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def normal_distribution(values: Floats) -> Floats:
    """Return how likely a standard normal number is at most each value, of the same shape."""
    scaled = (values * -math.sqrt(0.5)).ravel().tolist()
    below = np.fromiter(map(math.erfc, scaled), np.float64, len(scaled))
    return 0.5 * below.reshape(values.shape)
