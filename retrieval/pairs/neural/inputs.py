"""What a user tower is given: made by one function for training and for queries."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data.history import Histories, Windows, recent
from retrieval.data.scale import RatingScale
from retrieval.data.statistics import running_sums, user_statistics
from retrieval.pairs.lookup import EmbeddingTable
from retrieval.pairs.onnx_tower import Columns
from retrieval.pairs.time_codes import doublings

# The number that an id embedding keeps for users it has not been trained on.
UNKNOWN_USER = 0


class UserInputs(NamedTuple):
    """B users with their recent history, latest event first."""

    users: NDArray[np.int64]  # (B,) number + 1, or UNKNOWN_USER
    attributes: NDArray[np.int64]  # (B, C) codes
    statistics: NDArray[np.float32]  # (B, 3)
    events: NDArray[np.int64]  # (B, L) movie number * classes + rating class
    present: NDArray[np.bool_]  # (B, L)
    ages: NDArray[np.int64]  # (B, L) bucket of the time since the event

    def part(self, rows: slice) -> "UserInputs":
        """Return some of the users."""
        return UserInputs(
            self.users[rows],
            self.attributes[rows],
            self.statistics[rows],
            self.events[rows],
            self.present[rows],
            self.ages[rows],
        )

    def padded(self, events: int) -> "UserInputs":
        """Return the users with room for at least so many events."""
        width = ((0, 0), (0, max(0, events - self.events.shape[1])))
        return self._replace(
            events=np.pad(self.events, width),
            present=np.pad(self.present, width),
            ages=np.pad(self.ages, width),
        )


class Tables(NamedTuple):
    """The embeddings of users, and of the events that they are described by."""

    user_ids: EmbeddingTable  # by number + 1; the first is that of `UNKNOWN_USER`
    events: EmbeddingTable  # of event codes, or of movies
    codes_per_row: int  # event codes that share a row of `events`: 1, or all classes of a movie

    def columns(self, inputs: UserInputs) -> Columns:
        """Return what a user tower is given: the inputs, ids and events as their embeddings.

        These are `users` `(B, I)` and `events` `(B, L, E)`.
        """
        return inputs._asdict() | {
            "users": self.user_ids.rows(inputs.users),
            "events": self.events.rows(inputs.events // self.codes_per_row),
        }


def user_inputs(
    users: NDArray[np.int64],
    attributes: NDArray[np.int64],
    histories: Histories,
    windows: Windows,
    scale: RatingScale,
    centre: float,
    length: int,
) -> UserInputs:
    """Describe users by the last `length` events of their windows.

    Args:
        users: `(B,)` number + 1, or `UNKNOWN_USER`.
        attributes: `(B, C)` codes.
        histories: The events that the windows point into.
        windows: B of them.
        scale: Of the ratings.
        centre: The average rating in training.
        length: The longest history.
    """
    return event_inputs(
        users,
        attributes,
        user_statistics(running_sums(scale.deviations(histories.ratings, centre)), windows),
        event_codes(histories, scale),
        histories.timestamps,
        windows,
        length,
    )


def event_codes(histories: Histories, scale: RatingScale) -> NDArray[np.int64]:
    """Return movie number * classes + rating class of every event, `(N,)`."""
    return histories.movies.astype(np.int64) * scale.classes + scale.class_of(histories.ratings)


def event_inputs(
    users: NDArray[np.int64],
    attributes: NDArray[np.int64],
    statistics: NDArray[np.float32],
    codes: NDArray[np.integer],
    timestamps: NDArray[np.int64],
    windows: Windows,
    length: int,
) -> UserInputs:
    """Describe users as `user_inputs` does, from statistics and codes already made."""
    positions, present = recent(windows, length)
    if not len(codes):
        codes, timestamps = np.zeros(1, np.int64), np.zeros(1, np.int64)
    seconds = np.where(present, windows.times[:, None] - timestamps[positions], 0)
    return UserInputs(
        users=users,
        attributes=attributes,
        statistics=statistics,
        events=np.where(present, codes[positions].astype(np.int64), 0),
        present=present,
        ages=doublings(seconds).astype(np.int64),
    )
