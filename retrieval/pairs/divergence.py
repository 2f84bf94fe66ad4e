"""Training that no longer comes to numbers: noticed where it begins."""

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from retrieval.errors import RecError


def check_number(value: float, what: str, pair: str, epoch: int, step: int) -> None:
    """Raise a `RecError` if a loss or an error, named by `what`, is no finite number.

    Args:
        value: The loss or the error.
        what: Its name.
        pair: The name of the pair in training.
        epoch: Its number, from 1.
        step: The last one made in it, from 1.
    """
    if not math.isfinite(value):
        raise RecError(
            f"training of the {pair} pair has diverged: the {what} is {value} in step {step} of "
            f"epoch {epoch}; look at the ratings with rec data check, try another --seed, or leave "
            "the pair out with --towers"
        )


def largest_weight(parameters: Iterable[nn.Parameter]) -> float:
    """Return the largest size of a weight; not a number if a weight is none."""
    with torch.no_grad():
        sizes = [float(part.abs().max()) for part in parameters if part.numel()]
    return float(np.max(sizes, initial=0.0))  # unlike max(), which may overlook a NaN
