"""Filters: which movies of the catalogue may be listed."""

import logging
import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.data.catalogue import COMPARED, Catalogue, rapidfuzz
from retrieval.data.vocabulary import UNKNOWN
from retrieval.errors import RequestError, shown
from retrieval.serving.arguments import checked_id, checked_ids

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Condition on the movies of a list. A movie has to meet every part that is not None.

    Args:
        genres: Names of genres, at least one, of which the movie has one.
        years: First and last year in which the movie came out, both included.
        allow: Ids of which the movie's is one; ids that no movie has are left out, unless they are
            all.
        deny: Ids of which the movie's is none, whether movies have them or not.
    """

    genres: Sequence[str] | None = None
    years: tuple[int, int] | None = None
    allow: Sequence[int] | None = None
    deny: Sequence[int] | None = None

    def keeps(self, catalogue: Catalogue) -> NDArray[np.bool_]:
        """Return the mask `(M,)` of the movies that may be listed.

        Raises:
            RequestError: A genre that no movie has, no genre at all, years that end before they
                begin, or none of the allowed ids is a movie's.
        """
        kept = np.ones(len(catalogue), dtype=bool)
        if self.genres is not None:
            genres = _genres(self.genres, catalogue)
            kept &= [not genres.isdisjoint(movie.genres) for movie in catalogue.movies]
        if self.years is not None:
            first, last = _years(self.years)
            kept &= [
                movie.year is not None and first <= movie.year <= last for movie in catalogue.movies
            ]
        if self.allow is not None:
            kept &= _allowed(self.allow, catalogue)
        if self.deny is not None:
            kept &= ~np.isin(catalogue.vocabulary.ids, _ids(self.deny))
        return kept


def parse_years(text: str) -> tuple[int, int]:
    """Read `1994` or `1990-1999`.

    Raises:
        RequestError: It is neither, or ends before it begins.
    """
    found = re.fullmatch(r"\s*([0-9]{4})(?:\s*-\s*([0-9]{4}))?\s*", text)
    if found is None:
        raise RequestError(f"malformed years '{shown(text)}'; write 1994 or 1990-1999")
    return _years((int(found[1]), int(found[2] or found[1])))


def _years(years: tuple[int, int]) -> tuple[int, int]:
    try:
        both = () if isinstance(years, (str, bytes)) else years
        first, last = (checked_id(year, "year") for year in both)
    except (TypeError, ValueError, RequestError) as error:
        raise RequestError(
            f"years are '{shown(years)}'; give the first and the last, as in (1990, 1999)"
        ) from error
    if last < first:
        raise RequestError(f"years {first}-{last} end before they begin; write {last}-{first}")
    return first, last


def _genres(names: Sequence[str], catalogue: Catalogue) -> set[str]:
    try:
        listed = [] if isinstance(names, str) else list(names)
    except TypeError as error:
        raise RequestError(f"genres are '{shown(names)}'; give a list of names") from error
    genres = {_genre(name, catalogue) for name in listed}
    if not genres:
        raise RequestError(
            f"genres are '{shown(names)}', which allows nothing; give a list, or none for all"
        )
    return genres


def _genre(name: str, catalogue: Catalogue) -> str:
    if not isinstance(name, str):
        raise RequestError(f"genre '{shown(name)}' is no text")
    genres = sorted({genre for movie in catalogue.movies for genre in movie.genres})
    for genre in genres:
        if genre.casefold() == name.strip().casefold():
            return genre
    fuzzy = rapidfuzz()
    near = fuzzy.process.extractOne(
        name[:COMPARED], genres, processor=fuzzy.utils.default_process, score_cutoff=60
    )
    meant = f"did you mean {near[0]}?" if near else f"there are: {', '.join(genres) or 'none'}"
    raise RequestError(f"unknown genre '{shown(name)}'; {meant}")


def _allowed(ids: Sequence[int], catalogue: Catalogue) -> NDArray[np.bool_]:
    allowed = _ids(ids)
    numbers = catalogue.vocabulary.numbers(allowed)
    there = numbers != UNKNOWN
    if len(allowed) and not there.any():
        low, high = catalogue.vocabulary.range
        raise RequestError(
            f"none of the {len(allowed):,} allowed ids is a movie's, {allowed[0]} the first; "
            f"ids run from {low} to {high} with gaps"
        )
    if not there.all():
        _log.warning("of the allowed ids, %s are no movie's", f"{(~there).sum():,}")
    mask = np.zeros(len(catalogue), dtype=bool)
    mask[numbers[there]] = True
    return mask


def _ids(ids: Sequence[int]) -> NDArray[np.int64]:
    return checked_ids(list(ids) if isinstance(ids, AbstractSet) else ids, "movie")
