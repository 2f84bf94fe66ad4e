"""Splits: which ratings are held out, as a mask. Nothing here looks at what is predicted."""

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold

from retrieval.data.history import first_of_pairs, time_order
from retrieval.options import Split


def held_out(
    split: Split,
    users: NDArray[np.int64],
    movies: NDArray[np.int64],
    timestamps: NDArray[np.int64],
    seed: int,
) -> NDArray[np.bool_]:
    """Return the mask `(N,)` of the ratings that are asked about and must not be trained on.

    Folds are those of scikit-learn's shuffled `KFold`, as published results use them.
    """
    rng = np.random.default_rng(seed)
    match split:
        case Split.RATING:
            return _first_fold(len(users), 10, seed)
        case Split.RATING80:
            return _first_fold(len(users), 5, seed)
        case Split.LEAVE_ONE:
            last = last_of_each(users, timestamps) & (np.bincount(users)[users] > 1)
            return last & first_of_each(users, movies, timestamps)
        case Split.TIME:
            early = before_cut(timestamps)
            return ~early & np.isin(users, users[early])
        case Split.NEW_USERS:
            return _all_of(users, 0.1, rng)
        case Split.NEW_MOVIES:
            return _all_of(movies, 0.05, rng)


def before_cut(timestamps: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return the mask `(N,)` of what is known when the cut in time is made, at the 80 % point."""
    return np.asarray(timestamps <= np.quantile(timestamps, 0.8))


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


def first_of_each(
    users: NDArray[np.int64], movies: NDArray[np.int64], timestamps: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return the mask of each user's first event of a movie, ties in time by place in the file."""
    order = time_order(users, timestamps)
    mask = np.empty(len(users), dtype=bool)
    mask[order] = first_of_pairs(users[order], movies[order])
    return mask


def _first_fold(count: int, folds: int, seed: int) -> NDArray[np.bool_]:
    """Return the mask `(count,)` of a fold; it is empty where there are more folds than rows."""
    mask = np.zeros(count, dtype=bool)
    if count < folds:
        return mask
    _, test = next(KFold(folds, shuffle=True, random_state=seed).split(np.arange(count)))
    mask[test] = True
    return mask


def _all_of(groups: NDArray[np.int64], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    _, first = np.unique(groups, return_index=True)
    distinct = groups[np.sort(first)]  # in the order of the file
    chosen = rng.choice(distinct, max(1, int(len(distinct) * share)), replace=False)
    return np.isin(groups, chosen)
