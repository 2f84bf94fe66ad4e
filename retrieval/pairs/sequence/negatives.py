"""Movies that answers are compared with where a catalogue is too large to be compared whole."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from retrieval.pairs.sequence.frequency import StreamingFrequency

# Of the estimate from a stream: slots for each movie, so that few share one, and hashes.
SLOTS, HASHES = 4, 3

# Whose answer a negative is that was drawn without looking at the batch.
NOBODY = -1


class Sample(NamedTuple):
    """S negatives, the same for all questions of a batch."""

    movies: Tensor  # (S,) numbers
    # (S,) logarithms of how often each is expected in such a sample; that some of a batch's answers
    # are hidden from a user whose they are changes that by the user's share of the batch.
    log_expected: Tensor
    users: Tensor  # (S,) whose answers they are, as places in the batch, or NOBODY


class Negatives:
    """Popular movies, which are hard to tell apart, and as many from all alike.

    Movies that nobody watches must be met too.

    Args:
        shares: `(M,)` how often each movie is the answer, of all answers.
        count: Number of popular ones, and of others.
        rng: Generator of the hashes with which popular ones are drawn from the batch's own answers;
            None draws them as often as movies are answers.

    Source:
        Yi et al., "Sampling-bias-corrected neural modeling for large corpus item recommendations",
        RecSys 2019, for the batch's own answers.
    """

    def __init__(self, shares: Tensor, count: int, rng: np.random.Generator | None = None) -> None:
        self._shares, self._count = shares, count
        self._stream: StreamingFrequency | None = None
        if rng is not None:
            self._stream = StreamingFrequency(SLOTS * len(shares), HASHES, rng)

    def draw(self, answers: Tensor, users: Tensor) -> Sample:
        """Return negatives for a batch with answers `(N,)` of users `(N,)`, places in the batch."""
        shares, device = self._shares, answers.device
        owners = torch.full((2 * self._count,), NOBODY, device=device)
        if self._stream is None:
            popular = torch.multinomial(shares, self._count, replacement=True)
        else:
            chosen = torch.randint(len(answers), (self._count,), device=device)
            popular, owners[: self._count] = answers[chosen], users[chosen]
        alike = torch.randint(len(shares), (self._count,), device=device)
        movies = torch.cat([popular, alike])
        if self._stream is None:
            likely = shares[movies]
        else:
            self._stream.meet(answers.cpu().numpy())
            estimated = self._stream.shares(movies.cpu().numpy())
            likely = torch.from_numpy(estimated.astype(np.float32)).to(device)
        return Sample(movies, (self._count * (likely + 1 / len(shares))).log(), owners)

    def state(self) -> dict[str, Tensor]:
        """Return what `restore` needs."""
        if self._stream is None:
            return {}
        return {name: torch.from_numpy(array) for name, array in self._stream.state().items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go back to where a state was returned."""
        if self._stream is not None:
            self._stream.restore({name: tensor.numpy() for name, tensor in state.items()})
