"""What is known of a movie before anyone rates it: genres, year, title, people, attributes.

Describing needs numpy alone; `content_training` fits what describes.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from retrieval.data import columns
from retrieval.data.attributes import SEPARATOR, AttributeKind
from retrieval.pairs.facts import FactEncoder, Table
from retrieval.pairs.words import Bag, Words
from retrieval.storage.arrays import save_arrays
from retrieval.storage.damage import readable

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


@dataclass(frozen=True, kw_only=True)
class ContentEncoder:
    """Describes movies as those it was made from, and later ones in the same terms."""

    genres: tuple[str, ...]
    titles: Words
    people: Words
    texts: Words  # of all attributes that are texts
    text_names: tuple[str, ...]  # of these
    facts: tuple[FactEncoder, ...]  # one for each other attribute

    def describe(self, movies: Table) -> Content:
        """Describe movies, in the order of a table that has the columns `columns.MOVIES`."""
        count = len(movies[columns.TITLE])
        nothing = np.zeros((count, 0), np.float32)
        text = [
            self.titles.describe(list(movies[columns.TITLE]), Bag.WORDS),
            self.people.describe(people_of(movies), Bag.NAMES),
            self.texts.describe(texts_of(movies, self.text_names), Bag.WORDS),
        ]
        return Content(
            genres=self._genres(list(movies[columns.GENRES])),
            years=np.asarray(movies[columns.YEAR], np.float32),
            text=np.hstack(text),
            facts=np.hstack([nothing, *(each.describe(movies) for each in self.facts)]),
        )

    def _genres(self, joined: Sequence[str]) -> NDArray[np.float32]:
        places = {genre: place for place, genre in enumerate(self.genres)}
        found = np.zeros((len(joined), len(places)), np.float32)
        for row, genres in enumerate(joined):
            found[row, [places[each] for each in genres.split(SEPARATOR) if each in places]] = 1.0
        return found


def people_of(movies: Table) -> list[str]:
    """Return the names of the people of each movie, as one list each."""
    of_roles = zip(movies[columns.DIRECTORS], movies[columns.ACTORS], strict=True)
    return [SEPARATOR.join(names) for names in of_roles]


def texts_of(movies: Table, names: Sequence[str]) -> list[str]:
    """Return all texts of each movie as one; a column that is not there is empty."""
    there = [movies[name] for name in names if name in movies]
    if not there:
        return [""] * len(movies[columns.TITLE])
    return [" ".join(texts) for texts in zip(*there, strict=True)]


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
