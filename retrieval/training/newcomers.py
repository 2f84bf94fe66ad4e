"""Newcomers: users kept from both pairs, to see how much each counts after how few ratings."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from retrieval.blend import Blend
from retrieval.data.dataset import Dataset
from retrieval.data.history import Histories, Windows, build_histories
from retrieval.link import Link
from retrieval.towers.bayesian import Bayesian, BayesianTower, Questions
from retrieval.vocabulary import UNKNOWN

Floats = NDArray[np.float64]

# Ratings told before asking; every later rating of the user is asked about.
TOLD = (0, 1, 2, 5, 10, 20, 50)

# Where the search for the halfway count starts.
HALFWAY = 10.0

# Known users' weights are held to as by this many ratings; a rating is asked about many times.
FIRMNESS = 50.0


class Trials(NamedTuple):
    """Q times that one of A newcomers has told a few ratings, and E later ratings to predict."""

    histories: Histories  # of A
    codes: NDArray[np.int64]  # (A, 3)
    people: NDArray[np.int64]  # (Q,) which of A
    windows: Windows  # Q of them
    questions: NDArray[np.int64]  # (E,) which of Q
    movies: NDArray[np.int64]  # (E,) numbers
    ratings: NDArray[np.float32]  # (E,)

    @property
    def told(self) -> NDArray[np.int64]:
        """How many ratings were told, `(E,)`."""
        return (self.windows.ends - self.windows.starts)[self.questions]


def choose_newcomers(
    users: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Return the mask `(N,)` of the rows of random users, together about `count` rows."""
    owners, sizes = np.unique(users, return_counts=True)
    chosen, left = [], count
    for place in rng.permutation(len(owners)).tolist():
        if sizes[place] <= left:
            chosen.append(owners[place])
            left -= sizes[place]
    return np.isin(users, chosen)


def trials(dataset: Dataset, rows: NDArray[np.bool_]) -> Trials:
    """Return the trials of the newcomers whose rows these are, a mask `(N,)`."""
    owners, compact = np.unique(dataset.users[rows], return_inverse=True)
    histories = build_histories(
        compact,
        dataset.movies[rows],
        dataset.ratings[rows],
        dataset.timestamps[rows],
        len(owners),
    )
    starts, sizes = histories.offsets[:-1], np.diff(histories.offsets)
    people = np.concatenate([np.flatnonzero(sizes > told) for told in TOLD])
    told = np.repeat(TOLD, [(sizes > told).sum() for told in TOLD])
    ends = starts[people] + told
    times = histories.timestamps[np.minimum(ends, len(histories.movies) - 1)]
    left = sizes[people] - told  # (Q,)
    questions = np.repeat(np.arange(len(people)), left)
    first = np.repeat(np.cumsum(left) - left, left)
    asked = np.repeat(ends, left) + np.arange(len(questions)) - first
    return Trials(
        histories=histories,
        codes=dataset.user_codes[owners],
        people=people,
        windows=Windows(starts[people], ends, times),
        questions=questions,
        movies=histories.movies[asked].astype(np.int64),
        ratings=histories.ratings[asked],
    )


def bayesian_scores(pair: Bayesian, asked: Trials, dataset: Dataset) -> Floats:
    """Return the scores `(E,)` that a Bayesian pair which has not seen them gives newcomers."""
    tower = BayesianTower(
        pair,
        np.zeros((2, 0), np.float32),
        asked.histories,
        dataset.demographics.sizes(),
        dataset.scale,
    )
    strangers = np.full(len(asked.people), UNKNOWN)
    codes = asked.codes[asked.people]
    users = tower.encode(Questions(strangers, codes, asked.histories, asked.windows, timed=False))
    products = (users.vectors[asked.questions] * pair.movies[asked.movies]).sum(axis=1)
    return np.asarray(users.offsets[asked.questions] + products, dtype=np.float64)


def fit_newcomers(
    scores: Floats, told: NDArray[np.int64], ratings: NDArray[np.float32], blend: Blend, link: Link
) -> Blend:
    """Return the blend with the newcomers' weights under which ratings are closest.

    Args:
        scores: `(E, P)` of the pairs.
        told: `(E,)` ratings told before.
        ratings: `(E,)`.
        blend: With the weights of known users.
        link: From scores to ratings.
    """
    start = np.array([*blend.weights, np.log(HALFWAY)])
    unknown = np.zeros(len(told), dtype=bool)

    def at(parameters: Floats) -> Blend:
        *weights, halfway = parameters.tolist()
        return replace(blend, newcomer_weights=tuple(weights), halfway=float(np.exp(halfway)))

    def cost(parameters: Floats) -> float:
        score = (scores * at(parameters).of(unknown, told)).sum(axis=1)
        squares = ((link.ratings(score) - ratings) ** 2).sum()
        away = ((parameters - start) ** 2).sum()
        return float(squares / len(TOLD) + FIRMNESS * away) / max(1, len(ratings))

    return at(minimize(cost, start, method="BFGS").x)
