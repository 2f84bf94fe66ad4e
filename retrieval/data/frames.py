"""What a data folder comes to: three checked frames and the rating scale."""

from dataclasses import dataclass

import pandas as pd

from retrieval.data.attributes import Attribute
from retrieval.data.scale import RatingScale


@dataclass(frozen=True, kw_only=True)
class MovieData:
    """Ratings, movies and people, with the columns named in `columns`.

    Args:
        ratings: `columns.RATINGS`, in the order of the file, or in random order (always the same)
            where the file lists them by movie; timestamps int64, ratings float32. Ids are int64,
            or texts where they are not whole numbers.
        movies: `columns.MOVIES`; year is a nullable Int64, genres, directors and actors are joined
            by | and empty where not given.
        users: `columns.USERS`; gender and occupation are empty and age NaN where not given. It may
            have no rows, or users without ratings; users with ratings need not be in it.
        scale: Of the ratings.
        movie_attributes: Further columns of the movies.
        user_attributes: Further columns of the users.
        notes: Sentences to be said once: what was taken for what, and what was left out.
    """

    ratings: pd.DataFrame
    movies: pd.DataFrame
    users: pd.DataFrame
    scale: RatingScale
    movie_attributes: tuple[Attribute, ...] = ()
    user_attributes: tuple[Attribute, ...] = ()
    notes: tuple[str, ...] = ()
