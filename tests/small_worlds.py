"""Worlds of a hundred ratings or so, and settings that train on them in a second."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retrieval.data import columns
from retrieval.data.dataset import Dataset
from retrieval.data.frames import MovieData
from retrieval.data.scale import RatingScale
from retrieval.data.visits import Visits
from retrieval.options import Preset
from retrieval.pairs.content import Content
from retrieval.pairs.training import TrainingData
from retrieval.pipeline.settings import Settings, preset_settings

STARS = RatingScale(lowest=1, highest=5, step=1)

NOTHING = np.zeros(0, np.int64)
NO_VISITS = Visits(NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING > 0)

TINY = {
    "neural.dimension": 4,
    "neural.hidden": 8,
    "neural.heads": 2,
    "neural.history_length": 3,
    "neural.epochs": 1,
    "neural.batch_size": 256,
    "bayesian.dimension": 2,
    "bayesian.compressed": 4,
    "bayesian.burn_in_windows": 1,
    "bayesian.draws": 3,
    "bayesian.spacing": 1,
    "sequence.dimension": 8,
    "sequence.blocks": 1,
    "sequence.heads": 2,
    "sequence.hidden": 8,
    "sequence.history_length": 5,
    "sequence.epochs": 1,
    "sequence.batch_tokens": 256,
}


def tiny_settings(pairs: Sequence[str] = ()) -> Settings:
    """Return settings of pairs by name, of those of a preset if there are none."""
    settings = preset_settings(Preset.QUICK, pairs)
    own = {name: value for name, value in TINY.items() if name.split(".")[0] in settings.pairs}
    return settings.changed(own)


def without_visits(
    dataset: Dataset, content: Content, validation: NDArray[np.bool_], last: NDArray[np.bool_]
) -> TrainingData:
    """Return training data of which these rows, and no visits, are held out."""
    return TrainingData(dataset, content, validation, last, np.zeros_like(last), NO_VISITS)


def everybody_watches(users: int, movies: int, each: int) -> MovieData:
    """Return a world in which everybody has watched as many movies, drawn at random."""
    rng = np.random.default_rng(0)
    return small_world(
        [
            (user, int(movie))
            for user in range(1, users + 1)
            for movie in 1 + rng.permutation(movies)[:each]
        ]
    )


def everybody_rates(users: int, movies: int) -> list[tuple[int, int]]:
    """Pairs of user and movie ids."""
    return [(user, movie) for user in range(1, users + 1) for movie in range(1, movies + 1)]


def small_world(
    pairs: Sequence[tuple[int, int]],
    ratings: Sequence[float] = (1, 2, 3, 4, 5),
    *,
    scale: RatingScale = STARS,
    movies: Sequence[int] = (),
    users: Sequence[int] = (),
    title: str = "A story of {}",
    genres: str = "Drama",
    time: int | None = None,
) -> MovieData:
    """Return ratings of pairs, drawn from some, as a data folder would give them.

    Args:
        pairs: Ids of user and movie.
        ratings: To draw from; if there are as many as pairs, theirs.
        scale: Of the ratings.
        movies: Further ids, without ratings.
        users: Ids in the table of users, with ratings or without.
        title: Of every movie, with its id in place of braces.
        genres: Of every movie.
        time: Of every rating; otherwise each is later than the one before.
    """
    rng, count = np.random.default_rng(0), len(pairs)
    drawn = np.array(ratings) if len(ratings) == count else rng.choice(ratings, count)
    asked = np.array(pairs, np.int64)
    ids = np.union1d(asked[:, 1], movies).astype(np.int64)
    return MovieData(
        ratings=pd.DataFrame(
            {
                columns.USER_ID: asked[:, 0],
                columns.MOVIE_ID: asked[:, 1],
                columns.RATING: drawn.astype(np.float32),
                columns.TIMESTAMP: np.arange(count) * 60 + 10**9
                if time is None
                else np.full(count, time),
            }
        ),
        movies=pd.DataFrame(
            {
                columns.MOVIE_ID: ids,
                columns.TITLE: [title.format(movie) for movie in ids],
                columns.YEAR: pd.Series([1990] * len(ids)).astype("Int64"),
                columns.GENRES: genres,
                columns.DIRECTORS: "",
                columns.ACTORS: "",
            }
        ),
        users=pd.DataFrame(
            {
                columns.USER_ID: np.array(users, np.int64),
                columns.GENDER: pd.Series(["F"] * len(users), dtype=str),
                columns.AGE: np.full(len(users), 30.0),
                columns.OCCUPATION: pd.Series([""] * len(users), dtype=str),
            }
        ),
        scale=scale,
    )
