"""The training data as numbers: what the towers are fed from."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retrieval.data import columns
from retrieval.data.demographics import Demographics
from retrieval.data.frames import MovieData
from retrieval.data.history import Histories, build_histories
from retrieval.data.scale import RatingScale
from retrieval.data.vocabulary import Vocabulary

# A rating this far up the scale says that the movie was liked: 4 of 1 to 5.
LIKED = 0.75


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """U users and M movies, whether they have ratings or not, and N ratings in file order."""

    user_vocabulary: Vocabulary
    movie_vocabulary: Vocabulary
    scale: RatingScale
    demographics: Demographics
    user_codes: NDArray[np.int64]  # (U, 3)
    movie_frame: pd.DataFrame  # one row for each movie, in the order of the vocabulary
    users: NDArray[np.int64]  # (N,) numbers
    movies: NDArray[np.int64]  # (N,) numbers
    ratings: NDArray[np.float32]  # (N,)
    timestamps: NDArray[np.int64]  # (N,) seconds

    def histories(self, rows: NDArray[np.bool_]) -> Histories:
        """Return the histories of all users, of the rows of a mask `(N,)` alone."""
        return build_histories(
            self.users[rows],
            self.movies[rows],
            self.ratings[rows],
            self.timestamps[rows],
            len(self.user_vocabulary),
        )

    def liked(self, rows: NDArray[np.generic]) -> NDArray[np.bool_]:
        """Return whether the ratings of rows say that a movie was liked, `(R,)`."""
        return self.likes(self.ratings[rows])

    def likes(self, ratings: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return whether ratings, of any shape, say that a movie was liked."""
        low, high = self.scale.lowest, self.scale.highest
        return np.asarray(ratings >= low + LIKED * (high - low))


def encode(data: MovieData) -> Dataset:
    """Turn checked frames into numbers."""
    ratings, people = data.ratings, data.users
    user_ids = np.concatenate([ratings[columns.USER_ID], people[columns.USER_ID]])
    user_vocabulary = Vocabulary(user_ids)
    movie_vocabulary = Vocabulary(data.movies[columns.MOVIE_ID])
    demographics = Demographics(
        genders=_named(people[columns.GENDER]), occupations=_named(people[columns.OCCUPATION])
    )
    user_codes = np.zeros((len(user_vocabulary), 3), dtype=np.int64)
    user_codes[user_vocabulary.numbers(people[columns.USER_ID])] = _codes(people, demographics)
    movie_order = np.argsort(data.movies[columns.MOVIE_ID].to_numpy(), kind="stable")
    return Dataset(
        user_vocabulary=user_vocabulary,
        movie_vocabulary=movie_vocabulary,
        scale=data.scale,
        demographics=demographics,
        user_codes=user_codes,
        movie_frame=data.movies.iloc[movie_order].reset_index(drop=True),
        users=user_vocabulary.numbers(ratings[columns.USER_ID]),
        movies=movie_vocabulary.numbers(ratings[columns.MOVIE_ID]),
        ratings=ratings[columns.RATING].to_numpy(dtype=np.float32),
        timestamps=ratings[columns.TIMESTAMP].to_numpy(dtype=np.int64),
    )


def _named(values: pd.Series) -> tuple[str, ...]:
    names = {str(value) for value in values.unique() if value}
    return tuple(
        sorted(names, key=lambda name: (len(name), name) if name.isdigit() else (99, name))
    )


def _codes(people: pd.DataFrame, demographics: Demographics) -> NDArray[np.int64]:
    """Return the codes of each person `(P, 3)`, looked up once for each distinct combination."""
    facts = people[[columns.GENDER, columns.AGE, columns.OCCUPATION]]
    groups = facts.groupby(list(facts.columns), sort=False, dropna=False).ngroup().to_numpy()
    _, first, place = np.unique(groups, return_index=True, return_inverse=True)
    rows = [
        demographics.codes(str(gender), float(age), str(occupation))
        for gender, age, occupation in facts.iloc[first].itertuples(index=False)
    ]
    return np.array(rows, dtype=np.int64).reshape(-1, 3)[place]
