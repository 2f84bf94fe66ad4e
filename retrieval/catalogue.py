"""The movies as people know them: titles, years, genres, and finding one by its name."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rapidfuzz import fuzz, process, utils

from retrieval.errors import RequestError
from retrieval.vocabulary import UNKNOWN, Vocabulary

# Of 100: below this a title is too far from what was typed to be offered.
SIMILAR = 60.0

# A title typed by hand is taken without asking when it is this near and nothing else is as near.
CERTAIN = 90.0


class Movie(NamedTuple):
    """One movie."""

    id: int
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
    """

    def __init__(self, movies: Sequence[Movie], added: int = 0) -> None:
        self.movies, self.added = tuple(movies), added
        ids = [movie.id for movie in movies]
        self.vocabulary = Vocabulary(ids[: len(ids) - added], ids[len(ids) - added :])
        self._names = [utils.default_process(_natural(str(movie))) for movie in movies]
        self._titles = [_bare(movie.title) for movie in movies]

    def __len__(self) -> int:
        """Return M."""
        return len(self.movies)

    def number(self, movie_id: int) -> int:
        """Return the number of a movie.

        Raises:
            RequestError: There is no such movie.
        """
        number = int(self.vocabulary.numbers(movie_id))
        if number == UNKNOWN:
            low, high = self.vocabulary.range
            raise RequestError(
                f"unknown movie {movie_id}: ids run from {low} to {high} with gaps; "
                'try rec movies "toy story"'
            )
        return number

    def search(self, text: str, limit: int) -> list[Movie]:
        """Return movies whose titles resemble the text, nearest first."""
        wanted = utils.default_process(text)
        found = process.extract(
            wanted, self._names, scorer=fuzz.WRatio, limit=None, score_cutoff=SIMILAR
        )
        # Words typed whole rank before words that only look alike.
        found.sort(key=lambda row: (wanted not in row[0], -row[1]))
        return [self.movies[number] for _, _, number in found[:limit]]

    def named(self, text: str) -> Movie:
        """Return the movie that the text, an id or a title, names.

        Raises:
            RequestError: No movie or more than one is meant; the message offers the nearest.
        """
        if text.strip().isdecimal():
            return self.movies[self.number(int(text))]
        if not _bare(text):
            raise RequestError(f"movie {text!r} names nothing; give an id or a title")
        wanted = _bare(text)
        exact = [
            movie
            for movie, name, title in zip(self.movies, self._names, self._titles, strict=True)
            if wanted == title or utils.default_process(text) == name
        ]
        if len(exact) == 1:
            return exact[0]
        near = exact or self.search(text, 5)
        if not near:
            raise RequestError(f"no movie is called anything like {text!r}; try rec movies TEXT")
        if not exact and self._certain(wanted):
            return near[0]
        offers = ", ".join(f"{movie} [{movie.id}]" for movie in near)
        asked = "which one is meant" if exact else "did you mean"
        raise RequestError(f"{text!r} names no single movie; {asked}: {offers}?")

    def _certain(self, wanted: str) -> bool:
        scores = sorted(process.cdist([wanted], self._titles, scorer=fuzz.ratio)[0])
        return scores[-1] >= CERTAIN and (len(scores) == 1 or scores[-2] < scores[-1])


ARTICLE = re.compile(r"^(.*), (the|an?|les?|la|il|das|der|die|el)\b(.*)$", re.IGNORECASE)


def _natural(title: str) -> str:
    """Return `The Matrix (1999)` for `Matrix, The (1999)`, as MovieLens writes it."""
    return ARTICLE.sub(r"\2 \1\3", title)


def _bare(title: str) -> str:
    """Return a title as it is compared: small letters and digits, without the first article."""
    words: str = utils.default_process(_natural(title))
    return re.sub(r"^(the|an?) (?=.)", "", words)


def write_catalogue(path: Path, catalogue: Catalogue) -> None:
    """Write movies as a JSON list, one a line."""
    lines = [json.dumps(movie._asdict(), ensure_ascii=False) for movie in catalogue.movies]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def read_catalogue(path: Path, added: int) -> Catalogue:
    """Read what `write_catalogue` wrote; the last movies were added after training."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    return Catalogue(
        [Movie(row["id"], row["title"], row["year"], tuple(row["genres"])) for row in rows], added
    )
