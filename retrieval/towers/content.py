"""What is known of a movie before anyone rates it: genres, year, title, people."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from retrieval import columns

TITLE_DIMENSION = 32
PEOPLE_DIMENSION = 32

# Years are described by how near they are to each of these.
YEAR_KNOTS = np.arange(1920, 2030, 5)


class Content(NamedTuple):
    """Features of M movies."""

    genres: NDArray[np.float32]  # (M, G) 1 where the movie has the genre
    years: NDArray[np.float32]  # (M,) NaN where unknown
    text: NDArray[np.float32]  # (M, T) title and people

    def matrix(self) -> NDArray[np.float32]:
        """Return all of it as one matrix `(M, F)` for a dense layer."""
        known = ~np.isnan(self.years)
        year = np.where(known, self.years, 0.0)
        step = YEAR_KNOTS[1] - YEAR_KNOTS[0]
        near = np.clip(1 - np.abs(year[:, None] - YEAR_KNOTS[None, :]) / step, 0, 1)
        return np.hstack([self.genres, near, ~known[:, None], self.text]).astype(np.float32)


def describe(movies: pd.DataFrame, seed: int) -> Content:
    """Describe movies, in the order of the frame.

    Args:
        movies: With the columns `columns.MOVIES`.
        seed: Of the randomised decomposition of title words and names.
    """
    genres = movies[columns.GENRES].str.get_dummies("|")
    words = TfidfVectorizer(min_df=2, stop_words="english", sublinear_tf=True)
    names = TfidfVectorizer(min_df=2, tokenizer=_split_names, token_pattern=None)
    people = movies[columns.DIRECTORS] + "|" + movies[columns.ACTORS]
    text = [
        _compressed(words, movies[columns.TITLE], TITLE_DIMENSION, seed),
        _compressed(names, people, PEOPLE_DIMENSION, seed),
    ]
    return Content(
        genres=np.array(genres, dtype=np.float32),
        years=movies[columns.YEAR].to_numpy(dtype=np.float32, na_value=np.nan),
        text=np.hstack(text).astype(np.float32),
    )


def _split_names(people: str) -> list[str]:
    return [name for name in people.split("|") if name]


def _compressed(
    vectorizer: TfidfVectorizer, texts: pd.Series, dimension: int, seed: int
) -> NDArray[np.float32]:
    """Return the leading directions of a bag of words, or no column where no word comes twice."""
    try:
        bags = vectorizer.fit_transform(texts)
    except ValueError:  # sklearn's word for an empty vocabulary
        return np.zeros((len(texts), 0), dtype=np.float32)
    dimension = min(dimension, bags.shape[1] - 1)
    if dimension < 1:
        return np.zeros((len(texts), 0), dtype=np.float32)
    leading = TruncatedSVD(dimension, random_state=seed).fit_transform(bags)
    return np.asarray(leading, dtype=np.float32)
