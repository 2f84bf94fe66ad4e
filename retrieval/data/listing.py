"""From a frame of movies to the movies that people see."""

import pandas as pd

from retrieval.data import columns
from retrieval.data.catalogue import Movie


def listed(frame: pd.DataFrame) -> list[Movie]:
    """Return the movies of a frame with the columns `columns.MOVIES`."""
    years = frame[columns.YEAR].astype(object).where(frame[columns.YEAR].notna(), None)
    return [
        Movie(int(movie), str(title), year, tuple(genre for genre in genres.split("|") if genre))
        for movie, title, year, genres in zip(
            frame[columns.MOVIE_ID],
            frame[columns.TITLE],
            years,
            frame[columns.GENRES],
            strict=True,
        )
    ]
