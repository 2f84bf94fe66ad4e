"""What is known of a movie before anyone rates it: genres, year, title, people, attributes."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import safe_open
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from retrieval.data import columns
from retrieval.data.attributes import Attribute, AttributeKind
from retrieval.pairs.facts import FactEncoder, fit_facts
from retrieval.storage.arrays import save_arrays
from retrieval.storage.damage import readable

TITLE_DIMENSION = 32
PEOPLE_DIMENSION = 32
TEXT_DIMENSION = 64

# Bags of words that a movie is described by.
BAGS = ("titles", "people", "texts")

# Years are described by how near they are to each of these.
YEAR_KNOTS = np.arange(1920, 2030, 5)


class Content(NamedTuple):
    """Features of M movies."""

    genres: NDArray[np.float32]  # (M, G) 1 where the movie has the genre
    years: NDArray[np.float32]  # (M,) NaN where unknown
    text: NDArray[np.float32]  # (M, T) title, people and texts
    facts: NDArray[np.float32]  # (M, A) further attributes

    def matrix(self) -> NDArray[np.float32]:
        """Return all of it as one matrix `(M, F)` for a dense layer."""
        known = ~np.isnan(self.years)
        year = np.where(known, self.years, 0.0)
        step = YEAR_KNOTS[1] - YEAR_KNOTS[0]
        near = np.clip(1 - np.abs(year[:, None] - YEAR_KNOTS[None, :]) / step, 0, 1)
        parts = [self.genres, near, ~known[:, None], self.text, self.facts]
        return np.hstack(parts).astype(np.float32)


class Words(NamedTuple):
    """The leading directions of a weighted bag of W words."""

    words: tuple[str, ...]
    weights: NDArray[np.float64]  # (W,) inverse document frequencies
    directions: NDArray[np.float64]  # (T, W)


@dataclass(frozen=True, kw_only=True)
class ContentEncoder:
    """Describes movies as those it was made from, and later ones in the same terms."""

    genres: tuple[str, ...]
    titles: Words
    people: Words
    texts: Words  # of all attributes that are texts
    text_names: tuple[str, ...]  # of these
    facts: tuple[FactEncoder, ...]  # one for each other attribute

    def describe(self, movies: pd.DataFrame) -> Content:
        """Describe movies, in the order of the frame, which has the columns `columns.MOVIES`."""
        dummies = movies[columns.GENRES].str.get_dummies("|")
        genres = dummies.reindex(columns=list(self.genres), fill_value=0)
        text = [
            _compressed(_title_bags, movies[columns.TITLE], self.titles),
            _compressed(_name_bags, _named(movies), self.people),
            _compressed(_title_bags, _joined(movies, self.text_names), self.texts),
        ]
        nothing = np.zeros((len(movies), 0), np.float32)
        return Content(
            genres=np.array(genres, dtype=np.float32),
            years=movies[columns.YEAR].to_numpy(dtype=np.float32, na_value=np.nan),
            text=np.hstack(text).astype(np.float32),
            facts=np.hstack([nothing, *(each.describe(movies) for each in self.facts)]),
        )


def fit_content(
    movies: pd.DataFrame, seed: int, attributes: Sequence[Attribute] = ()
) -> ContentEncoder:
    """Return what describes movies.

    Args:
        movies: With the columns `columns.MOVIES`, and those of the further attributes.
        seed: Of the randomised decomposition of words and names.
        attributes: What else is known of movies.
    """
    texts = tuple(each.name for each in attributes if each.kind is AttributeKind.TEXT)
    genres = sorted({genre for row in movies[columns.GENRES] for genre in row.split("|") if genre})
    return ContentEncoder(
        genres=tuple(genres),
        titles=_words(_title_bags, movies[columns.TITLE], TITLE_DIMENSION, seed),
        people=_words(_name_bags, _named(movies), PEOPLE_DIMENSION, seed),
        texts=_words(_title_bags, _joined(movies, texts), TEXT_DIMENSION, seed),
        text_names=texts,
        facts=fit_facts(movies, attributes),
    )


def save_content(path: Path, encoder: ContentEncoder) -> None:
    """Write one file."""
    bags = {name: getattr(encoder, name) for name in BAGS}
    arrays = {
        f"{name}_{part}": getattr(words, part)
        for name, words in bags.items()
        for part in ("weights", "directions")
    }
    lists = {name: json.dumps(words.words) for name, words in bags.items()}
    lists |= {
        name: json.dumps(getattr(encoder, name)) for name in ("genres", "text_names", "facts")
    }
    save_arrays(path, arrays, lists)


def load_content(path: Path) -> ContentEncoder:
    """Read back what `save_content` wrote.

    Raises:
        RunError: The file is damaged.
    """
    with readable(path), safe_open(path, framework="np") as file:
        lists = file.metadata()
        bags = {
            name: Words(
                tuple(json.loads(lists[name])),
                file.get_tensor(f"{name}_weights"),
                file.get_tensor(f"{name}_directions"),
            )
            for name in BAGS
        }
        return ContentEncoder(
            genres=tuple(json.loads(lists["genres"])),
            **bags,
            text_names=tuple(json.loads(lists["text_names"])),
            facts=tuple(
                FactEncoder(name, AttributeKind(kind), tuple(names), mean, deviation)
                for name, kind, names, mean, deviation in json.loads(lists["facts"])
            ),
        )


def _title_bags(words: tuple[str, ...] | None) -> TfidfVectorizer:
    return TfidfVectorizer(
        min_df=1 if words else 2, stop_words="english", sublinear_tf=True, vocabulary=words
    )


def _name_bags(words: tuple[str, ...] | None) -> TfidfVectorizer:
    return TfidfVectorizer(
        min_df=1 if words else 2, tokenizer=_split_names, token_pattern=None, vocabulary=words
    )


def _named(movies: pd.DataFrame) -> pd.Series:
    return movies[columns.DIRECTORS] + "|" + movies[columns.ACTORS]


def _joined(movies: pd.DataFrame, texts: Sequence[str]) -> pd.Series:
    """Return all texts of each movie as one; a column that is not there is empty."""
    joined = pd.Series([""] * len(movies), index=movies.index, dtype=str)
    for name in texts:
        if name in movies:
            joined = joined + " " + movies[name]
    return joined


def _split_names(people: str) -> list[str]:
    return [name for name in people.split("|") if name]


def _words(
    bags: Callable[[tuple[str, ...] | None], TfidfVectorizer],
    texts: pd.Series,
    dimension: int,
    seed: int,
) -> Words:
    """Return the leading directions of a bag of words; none where no word comes twice."""
    nothing = Words((), np.zeros(0), np.zeros((0, 0)))
    vectorizer = bags(None)
    try:
        counted = vectorizer.fit_transform(texts)
    except ValueError:  # sklearn's word for an empty vocabulary
        return nothing
    dimension = min(dimension, counted.shape[1] - 1)
    if dimension < 1:
        return nothing
    with np.errstate(invalid="ignore"):  # equal texts have no variance to be explained
        found = TruncatedSVD(dimension, random_state=seed).fit(counted)
    words = tuple(vectorizer.get_feature_names_out().tolist())
    return Words(words, vectorizer.idf_, found.components_)


def _compressed(
    bags: Callable[[tuple[str, ...] | None], TfidfVectorizer], texts: pd.Series, words: Words
) -> NDArray[np.float32]:
    if not words.words:
        return np.zeros((len(texts), 0), dtype=np.float32)
    vectorizer = bags(words.words)
    vectorizer.idf_ = words.weights
    return np.asarray(vectorizer.transform(texts) @ words.directions.T, dtype=np.float32)
