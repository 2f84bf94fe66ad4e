"""What further attributes tell of a movie, as numbers for a dense layer."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from retrieval.data import columns
from retrieval.data.attributes import (
    MISSING,
    Attribute,
    AttributeKind,
    column_of,
)
from retrieval.data.times import NO_TIME

if TYPE_CHECKING:  # what answers does without pandas
    import pandas as pd

# Columns of movies by their names, with cells as those of `MovieData`.
Table: TypeAlias = "pd.DataFrame | Mapping[str, Sequence[Any]]"

# Names of one attribute that are features, the most frequent ones, and movies that must have one.
MOST_NAMES, FEWEST_MOVIES = 256, 2

# Standard deviations of a number beyond which it says no more.
FARTHEST = 3.0

NAMED = {AttributeKind.CATEGORY, AttributeKind.LIST}
MEASURED = {AttributeKind.NUMBER, AttributeKind.DATE}


class FactEncoder(NamedTuple):
    """How one attribute is described: by its names, or by how far it lies from the mean."""

    name: str
    kind: AttributeKind
    names: tuple[str, ...]  # of a category or list
    mean: float  # of a number or date; 0 of others
    deviation: float

    def describe(self, movies: Table) -> NDArray[np.float32]:
        """Return the features of movies, `(M, F)`; movies of which it is not known have zeros."""
        count = len(movies[columns.TITLE])
        if self.name not in movies:
            return np.zeros((count, self._width), np.float32)
        column = column_of(self.kind, np.asarray(movies[self.name]))
        if self.kind is AttributeKind.YES_NO:
            return np.stack([column.data == 1, column.data == 0], axis=1).astype(np.float32)
        if self.kind in MEASURED:
            numbers = column.data.astype(np.float64)
            known = np.isfinite(numbers) & (column.data != NO_TIME)
            far = np.clip((numbers - self.mean) / self.deviation, -FARTHEST, FARTHEST)
            return np.stack([np.where(known, far, 0), known], axis=1).astype(np.float32)
        owners = np.arange(count)
        if self.kind is AttributeKind.LIST:
            owners = np.repeat(owners, np.diff(column.offsets))
        places = {name: place for place, name in enumerate(self.names)}
        table = np.array([*(places.get(name, MISSING) for name in column.names), MISSING])
        features = table[column.data]  # `MISSING` is the last place
        found = np.zeros((count, self._width), np.float32)
        found[owners[features != MISSING], features[features != MISSING]] = 1.0
        return found

    @property
    def _width(self) -> int:
        return len(self.names) if self.kind in NAMED else 2


def fit_facts(movies: Table, attributes: Sequence[Attribute]) -> tuple[FactEncoder, ...]:
    """Return how attributes of movies are described; those that tell nothing are left out."""
    kinds = NAMED | MEASURED | {AttributeKind.YES_NO}
    found = [_fitted(movies, each) for each in attributes if each.kind in kinds]
    return tuple(each for each in found if each is not None)


def _fitted(movies: Table, attribute: Attribute) -> FactEncoder | None:
    name, kind = attribute
    column = column_of(kind, np.asarray(movies[name]))
    if kind is AttributeKind.YES_NO:
        return FactEncoder(name, kind, (), 0.0, 1.0)
    if kind in MEASURED:
        numbers = column.data.astype(np.float64)
        numbers = numbers[np.isfinite(numbers) & (column.data != NO_TIME)]
        if len(numbers) < FEWEST_MOVIES or numbers.std() == 0:
            return None
        return FactEncoder(name, kind, (), float(numbers.mean()), float(numbers.std()))
    counts = np.bincount(column.data[column.data != MISSING], minlength=len(column.names))
    often = np.argsort(-counts, kind="stable")[:MOST_NAMES]
    kept = sorted(column.names[code] for code in often if counts[code] >= FEWEST_MOVIES)
    return FactEncoder(name, kind, tuple(kept), 0.0, 1.0) if kept else None
