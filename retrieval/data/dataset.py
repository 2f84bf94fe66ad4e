"""The training data as numbers: what the towers are fed from."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retrieval.data import columns
from retrieval.data.attributes import Attribute
from retrieval.data.frames import MovieData
from retrieval.data.history import Histories, build_histories
from retrieval.data.scale import RatingScale
from retrieval.data.user_attributes import UserAttributes, coded_attributes
from retrieval.data.vocabulary import Vocabulary

# A rating this far up the scale says that the movie was liked: 4 of 1 to 5.
LIKED = 0.75


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """U users and M movies, whether they have ratings or not, and N ratings in file order."""

    user_vocabulary: Vocabulary
    movie_vocabulary: Vocabulary
    scale: RatingScale
    user_attributes: UserAttributes
    user_codes: NDArray[np.int64]  # (U, C)
    movie_frame: pd.DataFrame  # one row for each movie, in the order of the vocabulary
    movie_attributes: tuple[Attribute, ...]  # its further columns
    users: NDArray[np.int64]  # (N,) numbers
    movies: NDArray[np.int64]  # (N,) numbers
    ratings: NDArray[np.float32]  # (N,)
    timestamps: NDArray[np.int64]  # (N,) seconds

    def histories(self, rows: NDArray[np.bool_]) -> Histories:
        """Return the histories of all users, of the rows of a mask `(N,)` alone."""
        kept = slice(None) if rows.all() else rows  # a slice copies nothing
        return build_histories(
            self.users[kept],
            self.movies[kept],
            self.ratings[kept],
            self.timestamps[kept],
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
    raters, their_ids = pd.factorize(ratings[columns.USER_ID])
    rated, movie_ids = pd.factorize(ratings[columns.MOVIE_ID])
    user_vocabulary = Vocabulary(np.concatenate([their_ids, people[columns.USER_ID]]))
    movie_vocabulary = Vocabulary(data.movies[columns.MOVIE_ID])
    attributes = coded_attributes(people, data.user_attributes)
    user_codes = np.zeros((len(user_vocabulary), len(attributes.coded)), dtype=np.int64)
    user_codes[user_vocabulary.numbers(people[columns.USER_ID])] = attributes.codes_of(people)
    movie_order = np.argsort(data.movies[columns.MOVIE_ID].to_numpy(), kind="stable")
    return Dataset(
        user_vocabulary=user_vocabulary,
        movie_vocabulary=movie_vocabulary,
        scale=data.scale,
        user_attributes=attributes,
        movie_attributes=data.movie_attributes,
        user_codes=user_codes,
        movie_frame=data.movies.iloc[movie_order].reset_index(drop=True),
        users=user_vocabulary.numbers(their_ids)[raters],
        movies=movie_vocabulary.numbers(movie_ids)[rated],
        ratings=ratings[columns.RATING].to_numpy(dtype=np.float32),
        timestamps=ratings[columns.TIMESTAMP].to_numpy(dtype=np.int64),
    )
