"""Sequences to learn from: each user's recent events, every one the answer to what came before.

Where a user went and came back, two questions more are asked of the events before: what the next
sitting holds, asked at any moment in between, and the same when it is known that the user is back.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data.history import Histories, Windows, first_times
from retrieval.data.scale import RatingScale
from retrieval.data.sittings import NO_SITTING, Sittings, sittings
from retrieval.pairs.sequence.tokens import NOT_KNOWN, Tokens, return_codes, tokens
from retrieval.pairs.sequence.trends import Trends
from retrieval.pairs.training import ALONE, Ranks, share_of

# Where nothing follows a token, or nothing that could be foretold.
NOTHING = -1

# Questions of users who come back: their answer opens the sitting so often, else it is any of the
# first events of it; for each asked at the end of a sitting, so many are asked in the middle of
# one; and there are at most so many in a batch.
OPENING_SHARE, EARLY_EVENTS, IN_THE_MIDDLE, MOST_RETURNS = 0.5, 10, 2.0, 600


class Returns(NamedTuple):
    """N questions of users who come back, and what they then watch."""

    rows: NDArray[np.int64]  # (N,) which user of the batch
    places: NDArray[np.int64]  # (N,) after which token
    asked: NDArray[np.int64]  # (N, 2) codes, as in `Tokens`
    moments: NDArray[np.int64]  # (N,) places in `Trends`
    targets: NDArray[np.int64]  # (N,) movie numbers


class SequenceBatch(NamedTuple):
    """B users with the answers to the questions after each token."""

    tokens: Tokens
    targets: NDArray[np.int64]  # (B, T) movie numbers, or NOTHING
    # (B, T) of tokens in the histories, that of the first event also for the start; else NOTHING
    positions: NDArray[np.int64]
    timed: NDArray[np.bool_]  # (B,) whether the time of asking is known


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """The last events of U users, and who they are."""

    histories: Histories
    codes: NDArray[np.int64]  # (U, C) codes of attributes
    scale: RatingScale
    length: int  # of the longest history
    trends: Trends | None = None  # of movies; None where nobody comes back

    @cached_property
    def sittings(self) -> Sittings:
        """The sittings of all events."""
        return sittings(self.histories)

    @cached_property
    def first_times(self) -> NDArray[np.bool_]:
        """Which events are the first of their user and movie, `(N,)`: no others are answers."""
        return first_times(self.histories)

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many answers each user has, `(U,)`."""
        return np.minimum(np.diff(self.histories.offsets), self.length + 1)

    def shares(self, movie_count: int) -> NDArray[np.float32]:
        """Return how often each movie is the answer, `(M,)`, of all events."""
        counts = np.bincount(self.histories.movies, minlength=movie_count)
        return np.asarray(counts / max(1, counts.sum()), dtype=np.float32)

    def batches(
        self,
        size: int,
        unknown_time: float,
        earlier: float,
        rng: np.random.Generator,
        ranks: Ranks = ALONE,
    ) -> Iterator[SequenceBatch]:
        """Give every user once, in batches of about as many tokens, padded to the same length.

        Args:
            size: Tokens in a batch.
            unknown_time: Share of the users whose times of asking are hidden.
            earlier: Share of the users whose last event is any that has as many before it as the
                longest history holds, so that older events are learned from too.
            rng: Generator of the order, of whose time is known, and of the last events.
            ranks: Processes that share each batch; the draws are the same for all of them.
        """
        older = np.diff(self.histories.offsets) - self.counts  # (U,) that no batch would hold
        for users in shuffled(self.counts, size, rng):
            back = (rng.random(len(users)) * (older[users] + 1)).astype(np.int64)
            back[rng.random(len(users)) >= earlier] = 0
            timed = rng.random(len(users)) >= unknown_time
            own = share_of(np.arange(len(users)), ranks)
            yield self.batch(users[own], timed[own], back[own])

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
        after = places > made.last[:, None]
        return SequenceBatch(
            tokens=made,
            targets=np.where(after | first | ~self.first_times[answers], NOTHING, targets),
            positions=np.where(
                after | (made.last == 0)[:, None],
                NOTHING,
                before[:, None] + np.maximum(places - 1, 0),
            ),
            timed=timed,
        )

    def returns(self, batch: SequenceBatch, rng: np.random.Generator) -> Returns:
        """Return questions of users of a batch who come back; none where nobody does.

        Users whose time of asking is known are asked when they are back. The others are asked at
        any moment until then, also in the middle of a sitting, as if it had ended there, and after
        the start, as somebody of whom nothing is known.

        Args:
            batch: The users.
            rng: Generator of what is asked, when, and of the answer among the next sitting.
        """
        times = self.histories.timestamps
        positions = np.maximum(batch.positions, 0)
        following = self.sittings.of(positions).following
        goes_on = (batch.positions != NOTHING) & (following != NO_SITTING)
        last = goes_on & (following == positions + 1)
        last[:, 0] = False
        middle = goes_on & ~last & ~batch.timed[:, None]
        share = IN_THE_MIDDLE * last.sum() / max(1, middle.sum())
        rows, places = np.nonzero(last | (middle & (rng.random(middle.shape) < share)))
        if len(rows) > MOST_RETURNS:
            kept = rng.choice(len(rows), MOST_RETURNS, replace=False)
            rows, places = rows[kept], places[kept]
        asking = positions[rows, places]
        opening = following[rows, places]
        early = np.minimum(self.sittings.of(opening).ends - opening, EARLY_EVENTS)
        within = (rng.random(len(rows)) * early).astype(np.int64)
        answers = opening + np.where(rng.random(len(rows)) < OPENING_SHARE, 0, within)
        fresh = self.first_times[answers]
        if not fresh.all():
            rows, places, asking, opening, answers = (
                column[fresh] for column in (rows, places, asking, opening, answers)
            )
        until = times[opening] - times[asking]
        since = (rng.random(len(rows)) * until).astype(np.int64)
        known = np.where(batch.timed[rows], until, NOT_KNOWN)
        moments = np.zeros(len(rows), np.int64)
        if self.trends is not None:
            moments = self.trends.places(times[asking] + since)
        since[places == 0] = 0
        return Returns(
            rows=rows,
            places=places,
            asked=return_codes(since, known),
            moments=moments,
            targets=self.histories.movies[answers].astype(np.int64),
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
