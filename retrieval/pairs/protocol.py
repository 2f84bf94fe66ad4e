"""What a tower pair is to queries: a user tower, asked in the same way whatever it computes.

A pair *rates*, *ranks*, or does both. How pairs are trained is in `training`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from retrieval.data.history import Histories, Windows
from retrieval.data.scale import RatingScale
from retrieval.errors import RunError
from retrieval.pairs.content import Content
from retrieval.pairs.layout import Part
from retrieval.pairs.when import When

Vectors = NDArray[np.float32]
Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

# Events that a tower may be made to read of a history; no preset comes near.
LONGEST_HISTORY = 100_000


class Questions(NamedTuple):
    """Q questions: who asks, with what history, and when."""

    stored: Numbers  # (Q,) number of a user whose history is as stored, or UNKNOWN
    # (Q,) number of a user whose id the pairs were trained on, whose attributes are as stored, and
    # whose window begins with the whole history that is stored, or UNKNOWN
    grown: Numbers
    trained: Numbers  # (Q,) number of a user whose id the pairs were trained on, or UNKNOWN
    codes: Numbers  # (Q, C) of the attributes of users, gender, age and occupation first
    histories: Histories
    windows: Windows  # Q of them, into the histories
    when: When  # the times of the windows count where it is AT


class UserVectors(NamedTuple):
    """What a user tower says of Q questions: a score is the offset plus a dot product."""

    vectors: Vectors  # (Q, W) as wide as the pair's movie vectors, 1 where those have their bias
    offsets: NDArray[np.floating]  # (Q,)
    variances: Vectors  # (Q,) that uncertainty about the user adds to scores


class UserTower(Protocol):
    """The query side of a pair."""

    def encode(self, questions: Questions) -> UserVectors:
        """Return what the tower says of Q questions."""

    def with_movies(self, content: Content) -> Self:
        """Return the tower with movies, after all others, that it knows by their content alone.

        Raises:
            RequestError: The pair knows nothing of movies that it was not trained on.
        """

    def forget(self) -> None:
        """Keep nothing in memory of what was worked out of users."""

    def movie_variances(self, numbers: Numbers) -> Floats:
        """Return what uncertainty about movies `(C,)` adds to the variance of scores, `(C,)`."""


class RunFacts(NamedTuple):
    """What a user tower is told of the run that it answers for."""

    part: Part
    settings: Mapping[str, Any]  # of the pair, as saved
    scale: RatingScale
    centre: float  # average rating in training
    attributes: tuple[int, ...]  # number of codes of each attribute of users
    histories: Histories  # of the U users, as stored
    users: int  # U
    movies: int  # M, those that were added after training included
    added: int  # movies that were added after training
    present: int  # seconds: when training knew what is popular, after all events


def history_length(settings: Mapping[str, Any]) -> int:
    """Return the length of the longest history that a tower reads, by its settings.

    Raises:
        RunError: There is none, or no history can be that long.
    """
    length = settings.get("history_length")
    if type(length) is not int or not 0 < length <= LONGEST_HISTORY:
        raise RunError("its towers read no possible history")
    return length
