"""How often each movie is an answer, estimated from a stream whose counts nobody knows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# A prime that every hashed number is taken modulo of, and more than any movie number.
PRIME = 2**31 - 1

# Of a new gap in the moving mean: what is estimated follows the last hundreds of meetings.
RATE = 0.01


class StreamingFrequency:
    """Estimates the share of each movie among answers, in memory that does not grow with them.

    Movies are hashed to slots. A slot keeps the answer at which it was last met, and a moving mean
    of the answers between two meetings, whose inverse is its share. A movie that has not come for
    longer than that is rarer than its meetings say, so the gap that is still open counts too if it
    makes the mean longer. Movies that meet in one slot make its gaps too short; so there are
    several hashes, and the longest mean gap counts. Steps are answers, not batches, so that a movie
    may come any number of times in a batch.

    Args:
        slots: Of each hash.
        hashes: How many.
        rng: Of the hashes.

    Source:
        Yi et al., *Sampling-bias-corrected neural modeling for large corpus item recommendations*,
        RecSys 2019, algorithms 2 and 3; the mean is corrected for where it starts.
    """

    def __init__(self, slots: int, hashes: int, rng: np.random.Generator) -> None:
        self._factors = rng.integers(1, PRIME, hashes)
        self._shifts = rng.integers(0, PRIME, hashes)
        self._last = np.zeros((hashes, slots), np.int64)
        self._gaps = np.zeros((hashes, slots))
        self._met = np.zeros((hashes, slots), np.int64)
        self._step = 0

    def meet(self, movies: NDArray[np.int64]) -> None:
        """Learn from the next answers of the stream, `(N,)` numbers in their order."""
        if not len(movies):
            return
        steps = self._step + 1 + np.arange(len(movies))
        for place, slots in enumerate(self._slots(movies)):
            order = np.argsort(slots, kind="stable")
            found, starts, counts = np.unique(slots[order], return_index=True, return_counts=True)
            before = np.concatenate([[0], steps[order][:-1]])
            before[starts] = self._last[place, found]
            # Each gap counts by how many of the same slot come after it.
            later = np.repeat(starts + counts, counts) - 1 - np.arange(len(movies))
            shares = RATE * (1 - RATE) ** later * (steps[order] - before)
            kept = (1 - RATE) ** counts * self._gaps[place, found]
            self._gaps[place, found] = kept + np.add.reduceat(shares, starts)
            self._last[place, found] = steps[order][starts + counts - 1]
            self._met[place, found] += counts
        self._step += len(movies)

    def shares(self, movies: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return how likely any answer is each of some movies, `(N,)`."""
        slots = self._slots(movies)  # (H, N)
        hashes = np.arange(len(slots))[:, None]
        closed, left = self._gaps[hashes, slots], (1 - RATE) ** self._met[hashes, slots]
        means = np.zeros(slots.shape)
        np.divide(closed, 1 - left, out=means, where=left < 1)
        ends = self._step + 1 - self._last[hashes, slots]  # of the open gap, if it came next
        longer = ((1 - RATE) * closed + RATE * ends) / (1 - (1 - RATE) * left)
        return np.asarray(1 / np.maximum(means, longer).max(axis=0), dtype=np.float64)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what `restore` needs."""
        return {
            "factors": self._factors,
            "shifts": self._shifts,
            "last": self._last,
            "gaps": self._gaps,
            "met": self._met,
            "step": np.array(self._step),
        }

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Go back to where a state was returned."""
        self._factors, self._shifts = state["factors"], state["shifts"]
        self._last, self._gaps, self._met = state["last"], state["gaps"], state["met"]
        self._step = int(state["step"])

    def _slots(self, movies: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the slot of each movie by each hash, `(H, N)`."""
        hashed = (self._factors[:, None] * movies + self._shifts[:, None]) % PRIME
        return np.asarray(hashed % self._last.shape[1], dtype=np.int64)
