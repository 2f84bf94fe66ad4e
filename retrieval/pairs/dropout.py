"""Dropout that costs little without a GPU."""

import torch
from torch import Tensor, nn

# A share of the values is dropped in steps of this many.
STEPS = 256


class Dropout(nn.Module):
    """As `torch.nn.Dropout`, with shares rounded to 256ths.

    On the CPU torch draws the mask from a generator that runs on one core, with four bytes a value;
    here it is one byte a value. In the sequence pair that is an eighth of an epoch.

    Args:
        share: Of the values that training drops, from 0 to 1, 1 excluded.

    Raises:
        ValueError: All of them would be dropped, or fewer than none.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.dropped = round(share * STEPS)
        if not 0 <= self.dropped < STEPS:
            raise ValueError(f"cannot drop a share of {share:g}: from 0 to 0.998 can be dropped")

    def forward(self, x: Tensor) -> Tensor:
        """Return values of the same shape and mean, some of them 0."""
        if not self.training or not self.dropped:
            return x
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device)
        words.random_(-(2**63), None)
        drawn = words.view(torch.uint8)[: x.numel()].view(x.shape)
        return x * ((drawn >= self.dropped) * (STEPS / (STEPS - self.dropped)))
