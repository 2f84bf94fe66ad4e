"""Cold start: how much each pair counts for a user who has given only a few ratings.

Every validation row is asked about once more, as if its user had only just come.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.blending.blend import RatingBlend
from retrieval.blending.link import Link
from retrieval.blending.weights import FIRMNESS, fit_near
from retrieval.data.dataset import Dataset
from retrieval.data.history import Histories, Windows, windows_until
from retrieval.pairs.training import RatingSide

Floats = NDArray[np.float64]

# Ratings given before the question.
GIVEN = (0, 1, 3, 10, 30)

# Where the search for the halfway count starts, and the logarithm beyond which a step of it is not
# followed: nobody rates as many movies.
HALFWAY, LARGEST_LOG = 10.0, 50.0


class Trials(NamedTuple):
    """E times that a new user has given the first few ratings and nothing else."""

    histories: Histories  # of the U users
    codes: NDArray[np.int64]  # (E, 3)
    windows: Windows  # E of them
    movies: NDArray[np.int64]  # (E,) numbers
    ratings: NDArray[np.float32]  # (E,) to predict

    @property
    def given(self) -> NDArray[np.int64]:
        """How many ratings each user has given, `(E,)`."""
        return self.windows.counts


def trials(dataset: Dataset, rows: NDArray[np.bool_], held_out: NDArray[np.bool_]) -> Trials:
    """Return trials that ask about rows after ratings that came before them.

    Args:
        dataset: All rows.
        rows: `(N,)` mask of the rows to ask about, all of them held out.
        held_out: `(N,)` mask of the rows that no pair has seen and nobody gives.
    """
    histories = dataset.histories(~held_out)
    asked = np.flatnonzero(rows)
    before = windows_until(histories, dataset.users[asked], dataset.timestamps[asked])
    enough = [before.counts >= given for given in GIVEN]
    places = np.concatenate([np.flatnonzero(some) for some in enough])  # (E,)
    given = np.repeat(GIVEN, [some.sum() for some in enough])
    starts = before.starts[places]
    return Trials(
        histories=histories,
        codes=dataset.user_codes[dataset.users[asked[places]]],
        windows=Windows(starts, starts + given, before.times[places]),
        movies=dataset.movies[asked[places]],
        ratings=dataset.ratings[asked[places]],
    )


def new_user_scores(side: RatingSide, asked: Trials) -> Floats:
    """Return the scores `(E,)` that a pair gives new users."""
    users = side.new_users(asked.codes, asked.histories, asked.windows)
    products = (users.vectors * side.movies[asked.movies]).sum(axis=1)
    return np.asarray(users.offsets + products, dtype=np.float64)


def fit_cold_start(
    sides: Sequence[RatingSide], asked: Trials, blend: RatingBlend, link: Link
) -> RatingBlend:
    """Return the blend with the weights of new users under which ratings are closest.

    Args:
        sides: What the P pairs that rate say.
        asked: E trials.
        blend: Blend with the weights of known users.
        link: From scores to ratings.
    """
    scores = np.column_stack(
        [
            new_user_scores(side, asked) - origin
            for side, origin in zip(sides, blend.origins, strict=True)
        ]
    )  # (E, P)
    start = np.array([*blend.weights, 0.0, np.log(HALFWAY)])
    as_known = np.zeros(len(scores), dtype=bool)

    def at(parameters: Floats) -> RatingBlend:
        *weights, offset, halfway = parameters.tolist()
        return replace(
            blend,
            new_user_weights=tuple(weights),
            new_user_offset=offset,
            halfway=float(np.exp(min(halfway, LARGEST_LOG))),
        )

    def predicted(parameters: Floats) -> Floats:
        return link.ratings(at(parameters).scores(scores, as_known, asked.given))

    return at(fit_near(start, predicted, asked.ratings, FIRMNESS * len(GIVEN)))
