"""The movies as people know them: titles, years, genres, and finding one by its name."""

import json
import re
from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from retrieval.data.vocabulary import IDS, UNKNOWN, Id, Vocabulary
from retrieval.errors import RequestError, RunError, shown

# Of 100: below this a title is too far from what was typed to be offered.
SIMILAR = 60.0

# What a title counts of which only a part is like what was typed.
PART = 0.9

# A title typed by hand is taken without asking when it is this near and nothing else is as near.
CERTAIN = 90.0


# Movies that a message offers.
OFFERED = 5

# Of a text, what is compared with titles: no title is as long.
COMPARED = 200


class Movie(NamedTuple):
    """One movie."""

    id: Id
    title: str
    year: int | None
    genres: tuple[str, ...]

    def __str__(self) -> str:
        """Return title and year."""
        return self.title if self.year is None else f"{self.title} ({self.year})"


class Catalogue:
    """Movies in the order of their vocabulary.

    Args:
        movies: Those that were there at training, by ascending id, then those added since.
        added: How many were added.

    Raises:
        ValueError: The movies do not come so, or an id comes twice.
    """

    def __init__(self, movies: Sequence[Movie], added: int = 0) -> None:
        self.movies, self.added = tuple(movies), added
        if added > len(movies):
            raise ValueError(f"{added} of {len(movies)} movies cannot have been added")
        ids = [movie.id for movie in movies]
        self.vocabulary = Vocabulary(ids[: len(ids) - added], ids[len(ids) - added :])
        if self.vocabulary.ids.tolist() != ids:
            raise ValueError("movies must come by ascending id, each once, and added ones last")

    @cached_property
    def _names(self) -> list[str]:
        process = rapidfuzz().utils.default_process
        return [process(_natural(str(movie))) for movie in self.movies]

    @cached_property
    def _titles(self) -> list[str]:
        return [_bare(movie.title) for movie in self.movies]

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        return np.array([len(title) for title in self._titles], np.int64)

    def __len__(self) -> int:
        """Return M."""
        return len(self.movies)

    def number(self, movie_id: Id) -> int:
        """Return the number of a movie.

        Raises:
            RequestError: There is no such movie.
        """
        number = self._find(movie_id)
        if number == UNKNOWN:
            raise self.unknown(movie_id)
        return number

    def unknown(self, movie_id: Id) -> RequestError:
        """Return the error of an id that is no movie's."""
        return RequestError(
            f"unknown movie {shown(movie_id)}: {self.vocabulary.described()}; "
            'try rec movies "toy story"'
        )

    def _find(self, movie_id: Id) -> int:
        """Return the number of a movie, or `UNKNOWN`."""
        if self.vocabulary.texts:
            return self.vocabulary.number(str(movie_id).strip())
        is_id = isinstance(movie_id, int) and abs(movie_id) < IDS
        return self.vocabulary.number(movie_id) if is_id else UNKNOWN

    def search(self, text: str, limit: int) -> list[Movie]:
        """Return movies whose titles resemble the text.

        The movie of that title comes first, then, if the text holds signs such as brackets, titles
        that hold it sign by sign, then titles that begin with the text, then those that hold it
        whole, then those that only look alike; of each, the nearest first.
        """
        written = text[:COMPARED].strip().casefold()
        text = _natural(text[:COMPARED])
        fuzzy = rapidfuzz()
        wanted, bare = fuzzy.utils.default_process(text), _bare(text)
        scorer, cdist = fuzzy.fuzz, fuzzy.process.cdist
        titles = cdist([bare], self._titles, scorer=scorer.ratio)[0]
        names = cdist([wanted], self._names, scorer=scorer.ratio)[0]  # with the year
        parts = cdist([bare], self._titles, scorer=scorer.partial_ratio)[0]
        # That a short title is within what was typed says little.
        parts = np.where(self._lengths > len(bare), PART * parts, 0.0)
        nearness = np.maximum(np.maximum(titles, names), parts)
        near = np.flatnonzero(nearness >= SIMILAR).tolist() if bare else []
        found = [(self._names[number], float(nearness[number]), number) for number in near]
        held: set[int] = set()
        if written != wanted:
            held = {
                number
                for number, movie in enumerate(self.movies)
                if written and written in str(movie).casefold()
            }
            found += [(self._names[number], 0.0, number) for number in held.difference(near)]

        def order(row: tuple[str, float, int]) -> tuple[bool, bool, bool, bool, float]:
            name, nearness, number = row
            exact = wanted == name or bare == self._titles[number]
            begins = name.startswith(wanted) or self._titles[number].startswith(bare)
            return not exact, number not in held, not begins, wanted not in name, -nearness

        found.sort(key=order)
        return [self.movies[number] for _, _, number in found[:limit]]

    def named(self, movie: Id) -> Movie:
        """Return the movie that an id or a title names.

        Where ids are texts, an id goes before a title.

        Raises:
            RequestError: No movie or more than one is meant; the message offers the nearest.
        """
        if isinstance(movie, (int, np.integer)) and not isinstance(movie, bool):
            return self.movies[self.number(int(movie))]
        if not isinstance(movie, str):
            raise RequestError(f"movie '{shown(movie)}' is neither an id nor a title")
        if self.vocabulary.texts and (number := self._find(movie)) != UNKNOWN:
            return self.movies[number]
        text, wanted = movie, _bare(movie)
        written, processed = text.strip().casefold(), rapidfuzz().utils.default_process(text)
        exact = [
            movie
            for movie, name, title in zip(self.movies, self._names, self._titles, strict=True)
            if (wanted and (wanted == title or processed == name))
            or written in {movie.title.casefold(), str(movie).casefold()}
        ]
        if not wanted and not exact:
            raise RequestError(f"movie '{shown(text)}' names nothing; give an id or a title")
        if text.strip().isdecimal() and not self.vocabulary.texts:
            return self._numbered(text.strip(), exact)
        if len(exact) == 1:
            return exact[0]
        near = exact or self.search(text, OFFERED)
        if not near:
            raise RequestError(
                f"no movie is called anything like '{shown(text)}'; try rec movies TEXT"
            )
        if not exact and self._certain(wanted[:COMPARED]):
            return near[0]
        offers = ", ".join(f"{shown(movie)} [{shown(movie.id)}]" for movie in near[:OFFERED])
        asked = "which one is meant" if exact else "did you mean"
        raise RequestError(f"'{shown(text)}' names no single movie; {asked}: {offers}?")

    def _numbered(self, digits: str, called: Sequence[Movie]) -> Movie:
        """Return the movie of that id, or the only one that is called so: 1984 or 300."""
        movie_id = int(digits[:COMPARED])  # which is more than any id has
        if len(called) == 1 and self._find(movie_id) == UNKNOWN:
            return called[0]
        return self.movies[self.number(movie_id)]

    def _certain(self, wanted: str) -> bool:
        fuzzy = rapidfuzz()
        scores = sorted(fuzzy.process.cdist([wanted], self._titles, scorer=fuzzy.fuzz.ratio)[0])
        return scores[-1] >= CERTAIN and (len(scores) == 1 or scores[-2] < scores[-1])


def rapidfuzz() -> ModuleType:
    """Return RapidFuzz, imported where a name is looked for: a list for a user needs none."""
    return import_module("rapidfuzz")


ARTICLE = re.compile(r"^(.*), (the|an?|les?|la|il|das|der|die|el)\b(.*)$", re.IGNORECASE)


def _natural(title: str) -> str:
    """Return `The Matrix (1999)` for `Matrix, The (1999)`, as MovieLens writes it."""
    return ARTICLE.sub(r"\2 \1\3", title)


def _bare(title: str) -> str:
    """Return a title as it is compared: small letters and digits, without the first article."""
    words: str = rapidfuzz().utils.default_process(_natural(title))
    return re.sub(r"^(the|an?) (?=.)", "", words)


def write_catalogue(path: Path, catalogue: Catalogue) -> None:
    """Write movies as a JSON list, one a line."""
    lines = [json.dumps(movie._asdict(), ensure_ascii=False) for movie in catalogue.movies]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def read_catalogue(path: Path, added: int) -> Catalogue:
    """Read what `write_catalogue` wrote; the last movies were added after training.

    Raises:
        RunError: The file is no catalogue, or not one of so many added movies.
    """
    try:
        movies = TypeAdapter(list[Movie]).validate_json(path.read_bytes())
        return Catalogue(movies, added)
    except (OSError, ValueError, OverflowError) as error:
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise RunError(f"{path} is no catalogue: {shown(first)}; train again") from error
