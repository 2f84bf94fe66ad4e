"""Cuts: which ratings are held out, as a mask. Nothing here looks at what is predicted."""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from retrieval.data.history import time_order


class Cut(StrEnum):
    """How ratings are held out for an evaluation."""

    RATING = "rating"  # one of 10 random folds
    RATING80 = "rating80"  # one of 5 random folds
    LEAVE_ONE = "leave-one"  # each user's last movie
    TIME = "time"  # ratings after the 80 % point of time, of users known before it
    NEW_USERS = "new-users"  # every rating of 10 % of the users
    NEW_MOVIES = "new-movies"  # every rating of 5 % of the rated movies


def held_out(
    cut: Cut,
    users: NDArray[np.int64],
    movies: NDArray[np.int64],
    timestamps: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Return the mask `(N,)` of the ratings that are asked about and must not be trained on."""
    match cut:
        case Cut.RATING:
            return random_rows(len(users), len(users) // 10, rng)
        case Cut.RATING80:
            return random_rows(len(users), len(users) // 5, rng)
        case Cut.LEAVE_ONE:
            return last_of_each(users, timestamps)
        case Cut.TIME:
            early = timestamps <= np.quantile(timestamps, 0.8)
            return ~early & np.isin(users, users[early])
        case Cut.NEW_USERS:
            return _all_of(users, 0.1, rng)
        case Cut.NEW_MOVIES:
            return _all_of(movies, 0.05, rng)


def random_rows(count: int, chosen: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return a mask `(count,)` with `chosen` rows set."""
    mask = np.zeros(count, dtype=bool)
    mask[rng.choice(count, chosen, replace=False)] = True
    return mask


def last_of_each(users: NDArray[np.int64], timestamps: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return the mask of each user's last event, ties in time by place in the file."""
    order = time_order(users, timestamps)
    last = np.diff(users[order], append=-1) != 0
    mask = np.zeros(len(users), dtype=bool)
    mask[order[last]] = True
    return mask


def _all_of(groups: NDArray[np.int64], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    distinct = np.unique(groups)
    chosen = rng.choice(distinct, max(1, int(len(distinct) * share)), replace=False)
    return np.isin(groups, chosen)
