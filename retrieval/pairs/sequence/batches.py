"""Sequences to learn from: each user's recent events, every one the answer to what came before."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data.history import Histories, Windows
from retrieval.data.scale import RatingScale
from retrieval.pairs.sequence.tokens import Tokens, tokens

# Where nothing follows a token, or nothing that could be foretold.
NOTHING = -1


class SequenceBatch(NamedTuple):
    """B users with the answers to the questions after each token."""

    tokens: Tokens
    targets: NDArray[np.int64]  # (B, T) movie numbers, or NOTHING


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """The last events of U users, and who they are."""

    histories: Histories
    codes: NDArray[np.int64]  # (U, 3) codes
    scale: RatingScale
    length: int  # of the longest history

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many answers each user has, `(U,)`."""
        return np.minimum(np.diff(self.histories.offsets), self.length + 1)

    def shares(self, movie_count: int) -> NDArray[np.float32]:
        """Return how often each movie is the answer, `(M,)`, of all events."""
        counts = np.bincount(self.histories.movies, minlength=movie_count)
        return np.asarray(counts / max(1, counts.sum()), dtype=np.float32)

    def batches(
        self, size: int, unknown_time: float, earlier: float, rng: np.random.Generator
    ) -> Iterator[SequenceBatch]:
        """Give every user once, in batches of about as many tokens, padded to the same length.

        Args:
            size: Tokens in a batch.
            unknown_time: Share of the users whose times of asking are hidden.
            earlier: Share of the users whose last event is any that has as many before it as the
                longest history holds, so that older events are learned from too.
            rng: Generator of the order, of whose time is known, and of the last events.
        """
        older = np.diff(self.histories.offsets) - self.counts  # (U,) that no batch would hold
        for users in shuffled(self.counts, size, rng):
            back = (rng.random(len(users)) * (older[users] + 1)).astype(np.int64)
            back[rng.random(len(users)) >= earlier] = 0
            yield self.batch(users, rng.random(len(users)) >= unknown_time, back)

    def batch(
        self, users: NDArray[np.int64], timed: NDArray[np.bool_], back: NDArray[np.int64]
    ) -> SequenceBatch:
        """Return users `(B,)` with the answers to the questions after each token.

        Args:
            users: Numbers.
            timed: `(B,)` whether the time of asking is known.
            back: `(B,)` latest events that are left out.
        """
        starts, ends = self.histories.offsets[users], self.histories.offsets[users + 1] - back
        before = np.maximum(starts, ends - 1 - self.length)
        windows = Windows(before, ends - 1, self.histories.timestamps[ends - 1])
        made = tokens(self.codes[users], self.histories, windows, timed, self.scale, self.length)
        places = np.arange(made.movies.shape[1])
        answers = np.minimum(before[:, None] + places, ends[:, None] - 1)
        targets = self.histories.movies[answers].astype(np.int64)
        # What comes first in the middle of a history cannot be foretold.
        first = (places == 0) & (before > starts)[:, None]
        return SequenceBatch(
            made, np.where((places > made.last[:, None]) | first, NOTHING, targets)
        )


def shuffled(
    counts: NDArray[np.int64], size: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Return users `(U,)` with events in random batches of similar lengths.

    Args:
        counts: `(U,)` events of each.
        size: Tokens in a batch, padding included; a longer user is a batch alone.
        rng: Of the order.
    """
    users = np.flatnonzero(counts)
    noisy = counts[users] * (1 + 0.1 * rng.random(len(users)))
    users = users[np.argsort(-noisy, kind="stable")]
    batches, start = [], 0
    while start < len(users):
        longest = int(counts[users[start : start + size]].max())
        end = start + max(1, size // longest)
        batches.append(users[start:end])
        start = end
    return [batches[place] for place in rng.permutation(len(batches))]
