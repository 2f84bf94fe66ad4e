"""Filters: which movies of the catalogue may be listed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process, utils

from retrieval.catalogue import Catalogue
from retrieval.errors import RequestError


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What a movie must be to be listed: all that is given, each None leaves open.

    Args:
        genres: It has one of these.
        years: It came out in these years, both ends included.
        allow: It is one of these ids.
        deny: It is none of these ids.
    """

    genres: Sequence[str] | None = None
    years: tuple[int, int] | None = None
    allow: Sequence[int] | None = None
    deny: Sequence[int] | None = None

    def keeps(self, catalogue: Catalogue) -> NDArray[np.bool_]:
        """Return the mask `(M,)` of the movies that may be listed.

        Raises:
            RequestError: A genre that no movie has, or an id that no movie has.
        """
        kept = np.ones(len(catalogue), dtype=bool)
        if self.genres is not None:
            wanted = {_genre(name, catalogue) for name in self.genres}
            kept &= [not wanted.isdisjoint(movie.genres) for movie in catalogue.movies]
        if self.years is not None:
            first, last = self.years
            kept &= [
                movie.year is not None and first <= movie.year <= last for movie in catalogue.movies
            ]
        if self.allow is not None:
            kept &= _among(self.allow, catalogue)
        if self.deny is not None:
            kept &= ~_among(self.deny, catalogue)
        return kept


def parse_years(text: str) -> tuple[int, int]:
    """Read `1994` or `1990-1999`.

    Raises:
        RequestError: It is neither, or ends before it begins.
    """
    found = re.fullmatch(r"\s*(\d{4})(?:\s*-\s*(\d{4}))?\s*", text)
    if found is None:
        raise RequestError(f"malformed years {text!r}; write 1994 or 1990-1999")
    first, last = int(found[1]), int(found[2] or found[1])
    if last < first:
        raise RequestError(f"years {text!r} end before they begin; write {last}-{first}")
    return first, last


def _genre(name: str, catalogue: Catalogue) -> str:
    genres = sorted({genre for movie in catalogue.movies for genre in movie.genres})
    for genre in genres:
        if genre.casefold() == name.strip().casefold():
            return genre
    near = process.extractOne(name, genres, processor=utils.default_process, score_cutoff=60)
    meant = f"did you mean {near[0]}?" if near else f"there are: {', '.join(genres)}"
    raise RequestError(f"unknown genre {name!r}; {meant}")


def _among(ids: Sequence[int], catalogue: Catalogue) -> NDArray[np.bool_]:
    mask = np.zeros(len(catalogue), dtype=bool)
    mask[[catalogue.number(movie) for movie in ids]] = True
    return mask
