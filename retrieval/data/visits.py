"""Visits: sittings of users who came back, held out to see what lists are worth to them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data.dataset import Dataset
from retrieval.data.history import first_times, spans, time_order
from retrieval.data.sittings import sittings


class Visits(NamedTuple):
    """The last sitting of V users who had others before, with E movies they had not seen."""

    users: NDArray[np.int64]  # (V,) numbers
    asked: NDArray[np.int64]  # (V,) seconds: any moment since the event before
    back: NDArray[np.int64]  # (V,) seconds: of the first event
    owners: NDArray[np.int64]  # (E,) which of the visits
    movies: NDArray[np.int64]  # (E,) numbers
    liked: NDArray[np.bool_]  # (E,) whether the movie was liked

    def all_movies(self, part: slice, movies: int) -> NDArray[np.bool_]:
        """Return which of so many movies were watched in some of the visits, `(B, M)`."""
        return self._movies(np.ones_like(self.liked), part, movies)

    def liked_movies(self, part: slice, movies: int) -> NDArray[np.bool_]:
        """Return which of so many movies were liked in some of the visits, `(B, M)`."""
        return self._movies(self.liked, part, movies)

    def _movies(self, events: NDArray[np.bool_], part: slice, movies: int) -> NDArray[np.bool_]:
        first, end, _ = part.indices(len(self.users))
        kept = events & (self.owners >= first) & (self.owners < end)
        found = np.zeros((max(0, end - first), movies), dtype=bool)
        found[self.owners[kept] - first, self.movies[kept]] = True
        return found


def last_visits(
    dataset: Dataset, share: float, most: int, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], Visits]:
    """Return the last sittings of random users who had one before, and the mask `(N,)` of them.

    Args:
        dataset: All rows.
        share: Share of the users who came back.
        most: Number of users, at most.
        rng: Generator of who is chosen, and of the moments of asking.
    """
    order = time_order(dataset.users, dataset.timestamps)
    histories = dataset.histories(np.ones(len(order), dtype=bool))
    parts = sittings(histories)
    ends = histories.offsets[1:][np.diff(histories.offsets) > 0]
    fresh = first_times(histories)
    until = np.append(0, np.cumsum(fresh))
    last = parts.of(ends - 1)
    came_back = last.later & (until[ends] > until[last.starts])
    ends = ends[came_back]  # (R,) after the last event of each user who came back to another movie
    count = min(most, int(len(ends) * share))
    ends = np.sort(rng.choice(ends, count, replace=False))
    starts = parts.of(ends - 1).starts
    sizes = ends - starts
    rows = order[spans(starts, sizes)]
    mask = np.zeros(len(order), dtype=bool)
    mask[rows] = True
    fresh = fresh[spans(starts, sizes)]
    left, back = histories.timestamps[starts - 1], histories.timestamps[starts]
    visits = Visits(
        users=dataset.users[order[starts]],
        asked=left + (rng.random(count) * (back - left)).astype(np.int64),
        back=back,
        owners=np.repeat(np.arange(count), sizes)[fresh],
        movies=dataset.movies[rows[fresh]],
        liked=dataset.liked(rows[fresh]),
    )
    return mask, visits
