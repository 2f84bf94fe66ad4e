"""Newcomers: how much each pair counts for someone who has told only a few ratings.

Every validation row is asked about once more, as if its user had only just come.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.blending.blend import Blend
from retrieval.blending.link import Link
from retrieval.blending.weights import FIRMNESS, fit_near
from retrieval.data.dataset import Dataset
from retrieval.data.history import Histories, Windows, windows_until
from retrieval.data.vocabulary import UNKNOWN
from retrieval.pairs.bayesian.tower import Bayesian, BayesianTower, Questions

Floats = NDArray[np.float64]

# Ratings told before asking.
TOLD = (0, 1, 3, 10, 30)

# Where the search for the halfway count starts.
HALFWAY = 10.0


class Trials(NamedTuple):
    """E times that a user has told the first few ratings and nothing else."""

    histories: Histories  # of the U users
    codes: NDArray[np.int64]  # (E, 3)
    windows: Windows  # E of them
    movies: NDArray[np.int64]  # (E,) numbers
    ratings: NDArray[np.float32]  # (E,) to predict

    @property
    def told(self) -> NDArray[np.int64]:
        """How many ratings were told, `(E,)`."""
        return self.windows.ends - self.windows.starts


def trials(dataset: Dataset, rows: NDArray[np.bool_], held_out: NDArray[np.bool_]) -> Trials:
    """Return trials that ask about rows after ratings that came before them.

    Args:
        dataset: All rows.
        rows: `(N,)` mask of the rows to ask about, all of them held out.
        held_out: `(N,)` mask of the rows that no pair has seen, and that are not told.
    """
    histories = dataset.histories(~held_out)
    asked = np.flatnonzero(rows)
    before = windows_until(histories, dataset.users[asked], dataset.timestamps[asked])
    enough = [before.ends - before.starts >= told for told in TOLD]
    places = np.concatenate([np.flatnonzero(some) for some in enough])  # (E,)
    told = np.repeat(TOLD, [some.sum() for some in enough])
    starts = before.starts[places]
    return Trials(
        histories=histories,
        codes=dataset.user_codes[dataset.users[asked[places]]],
        windows=Windows(starts, starts + told, before.times[places]),
        movies=dataset.movies[asked[places]],
        ratings=dataset.ratings[asked[places]],
    )


def bayesian_scores(pair: Bayesian, asked: Trials, dataset: Dataset) -> Floats:
    """Return the scores `(E,)` that a Bayesian pair gives strangers who tell as much."""
    tower = BayesianTower(
        pair,
        np.zeros((2, 0), np.float32),
        asked.histories,
        dataset.demographics.sizes(),
        dataset.scale,
    )
    strangers = np.full(len(asked.movies), UNKNOWN)
    users = tower.encode(
        Questions(strangers, asked.codes, asked.histories, asked.windows, timed=False)
    )
    products = (users.vectors * pair.movies[asked.movies]).sum(axis=1)
    return np.asarray(users.offsets + products, dtype=np.float64)


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
    start = np.array([*blend.weights, 0.0, np.log(HALFWAY)])
    unknown = np.zeros(len(told), dtype=bool)

    def at(parameters: Floats) -> Blend:
        *weights, offset, halfway = parameters.tolist()
        return replace(
            blend,
            newcomer_weights=tuple(weights),
            newcomer_offset=offset,
            halfway=float(np.exp(halfway)),
        )

    def predicted(parameters: Floats) -> Floats:
        return link.ratings(at(parameters).scores(scores, unknown, told))

    return at(fit_near(start, predicted, ratings, FIRMNESS * len(TOLD)))
