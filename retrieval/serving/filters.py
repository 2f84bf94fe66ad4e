"""Filters: which movies of the catalogue may be listed."""

import logging
import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.data import columns
from retrieval.data.catalogue import COMPARED, Catalogue, rapidfuzz
from retrieval.data.vocabulary import UNKNOWN, Id, Ids
from retrieval.errors import RequestError, shown
from retrieval.serving.arguments import checked_ids, checked_whole
from retrieval.serving.conditions import Comparison, Condition, parse_condition
from retrieval.serving.masks import Masks

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
        where: Conditions on what is known of the movie, all of which it meets, such as
            `country=FR`, `minutes<100` or `kids`; see `serving.conditions`.
    """

    genres: Sequence[str] | None = None
    years: tuple[int, int] | None = None
    allow: Sequence[Id] | None = None
    deny: Sequence[Id] | None = None
    where: Sequence[str] | None = None

    @property
    def names_movies(self) -> bool:
        """Whether it names movies, rather than what is known of them alone."""
        return self.allow is not None or self.deny is not None

    def conditions(self, masks: Masks) -> tuple[Condition, ...]:
        """Return what it asks of what is known of a movie.

        Args:
            masks: What is known of the movies of a catalogue.

        Raises:
            RequestError: A genre that no movie has, no genre at all, years that end before they
                begin, or a condition that cannot be read.
        """
        conditions = _conditions(self.where)
        if self.genres is not None:
            genres = _genres(self.genres, masks.columns.columns[columns.GENRES].names)
            conditions.append(Condition(columns.GENRES, Comparison.IS, genres))
        if self.years is not None:
            first, last = _years(self.years)
            conditions.append(Condition(columns.YEAR, Comparison.IS, (f"{first}-{last}",)))
        return tuple(conditions)

    def keeps(self, catalogue: Catalogue, masks: Masks) -> NDArray[np.bool_]:
        """Return the mask `(M,)` of the movies that may be listed.

        Args:
            catalogue: The M movies.
            masks: What is known of them, year and genres among it.

        Raises:
            RequestError: A genre that no movie has, no genre at all, years that end before they
                begin, none of the allowed ids is a movie's, or a condition on what is not known.
        """
        kept = np.ones(len(catalogue), dtype=bool)
        conditions = self.conditions(masks)
        if conditions:
            kept &= masks.kept(conditions)
        if self.allow is not None:
            kept &= _allowed(self.allow, catalogue)
        if self.deny is not None:
            kept &= ~np.isin(catalogue.vocabulary.ids, _ids(self.deny, catalogue))
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
        first, last = checked_whole(list(both), "year").tolist()
    except (TypeError, ValueError, RequestError) as error:
        raise RequestError(
            f"years are '{shown(years)}'; give the first and the last, as in (1990, 1999)"
        ) from error
    if last < first:
        raise RequestError(f"years {first}-{last} end before they begin; write {last}-{first}")
    return first, last


def _conditions(where: Sequence[str] | None) -> list[Condition]:
    if where is None:
        return []
    try:
        return [parse_condition(text) for text in ([where] if isinstance(where, str) else where)]
    except TypeError as error:
        raise RequestError(
            f"where is '{shown(where)}'; give a list of conditions such as country=FR"
        ) from error


def _genres(names: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    try:
        listed = [] if isinstance(names, str) else list(names)
    except TypeError as error:
        raise RequestError(f"genres are '{shown(names)}'; give a list of names") from error
    genres = tuple(_genre(name, known) for name in listed)
    if not genres:
        raise RequestError(
            f"genres are '{shown(names)}', which allows nothing; give a list, or none for all"
        )
    return genres


def _genre(name: str, genres: Sequence[str]) -> str:
    if not isinstance(name, str):
        raise RequestError(f"genre '{shown(name)}' is no text")
    for genre in genres:
        if genre.casefold() == name.strip().casefold():
            return genre
    fuzzy = rapidfuzz()
    near = fuzzy.process.extractOne(
        name[:COMPARED], genres, processor=fuzzy.utils.default_process, score_cutoff=60
    )
    meant = f"did you mean {near[0]}?" if near else f"there are: {', '.join(genres) or 'none'}"
    raise RequestError(f"unknown genre '{shown(name)}'; {meant}")


def _allowed(ids: Sequence[Id], catalogue: Catalogue) -> NDArray[np.bool_]:
    allowed = _ids(ids, catalogue)
    numbers = catalogue.vocabulary.numbers(allowed)
    there = numbers != UNKNOWN
    if len(allowed) and not there.any():
        raise RequestError(
            f"none of the {len(allowed):,} allowed ids is a movie's, {shown(allowed[0])} the "
            f"first; {catalogue.vocabulary.described()}"
        )
    if not there.all():
        _log.warning("of the allowed ids, %s are no movie's", f"{(~there).sum():,}")
    mask = np.zeros(len(catalogue), dtype=bool)
    mask[numbers[there]] = True
    return mask


def _ids(ids: Sequence[Id], catalogue: Catalogue) -> Ids:
    listed = list(ids) if isinstance(ids, AbstractSet) else ids
    return checked_ids(listed, "movie", catalogue.vocabulary)
