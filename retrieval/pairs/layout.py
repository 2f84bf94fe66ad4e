"""The layout of joined vectors: which components are whose, a bias, or meet users' offsets.

Every pair has a part. That of a pair that rates ends in one component more, which meets the user's
offset: it is 0 for rated movies and says how much more, or less, the offset counts for others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Floats = NDArray[np.float64]


class Role(StrEnum):
    """What a pair is asked."""

    RATES = "rates"  # how a user would rate a movie
    RANKS = "ranks"  # what a user watches next


@dataclass(frozen=True, kw_only=True)
class Part:
    """The part of one pair."""

    name: str  # of the pair
    roles: tuple[Role, ...]
    width: int  # components of the pair's own vectors
    biased: bool = False  # whether the last of them is the movie's bias
    temperature: float = 1.0  # a logit is the dot product over this, where the pair ranks
    trends: int = 0  # last components that are what is popular, and say nothing of taste

    @property
    def rates(self) -> bool:
        """Whether the pair predicts ratings."""
        return Role.RATES in self.roles

    @property
    def ranks(self) -> bool:
        """Whether the pair predicts what is watched next."""
        return Role.RANKS in self.roles


@dataclass(frozen=True)
class VectorLayout:
    """The parts of joined vectors in their order."""

    parts: tuple[Part, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the pairs."""
        return tuple(part.name for part in self.parts)

    @cached_property
    def dimension(self) -> int:
        """Components of a joined vector, D."""
        return sum(map(_width, self.parts))

    @cached_property
    def rating(self) -> tuple[Part, ...]:
        """Parts of the pairs that rate."""
        return tuple(part for part in self.parts if part.rates)

    @cached_property
    def ranking(self) -> tuple[Part, ...]:
        """Parts of the pairs that rank."""
        return tuple(part for part in self.parts if part.ranks)

    def columns(self, part: Part) -> slice:
        """Return which components of a joined vector are a pair's own."""
        return self._columns[part.name]

    @cached_property
    def _columns(self) -> dict[str, slice]:
        starts = accumulate(map(_width, self.parts), initial=0)
        placed = zip(self.parts, starts, strict=False)
        return {part.name: slice(start, start + part.width) for part, start in placed}

    def join_movies(self, vectors: Sequence[Vectors]) -> Vectors:
        """Return joined movie vectors `(M, D)` from those `(M, W)` of each pair."""
        offsets = [((0, 0), (0, int(part.rates))) for part in self.parts]
        return np.hstack([np.pad(own, pad) for own, pad in zip(vectors, offsets, strict=True)])

    def join_users(
        self, count: int, vectors: Sequence[Floats | Vectors], offsets: Sequence[Floats]
    ) -> Vectors:
        """Return joined user vectors `(Q, D)` that rate.

        Args:
            count: Number of questions, Q.
            vectors: Vectors `(Q, W)` of each pair that rates.
            offsets: Offsets `(Q,)` of each pair that rates.
        """
        joined = np.zeros((count, self.dimension), np.float32)
        for part, own, offset in zip(self.rating, vectors, offsets, strict=True):
            columns = self.columns(part)
            joined[:, columns] = own
            joined[:, columns.stop] = offset
        return joined

    def as_unrated(
        self,
        vectors: Vectors,
        factors: Sequence[float],
        offset_factors: Sequence[float],
        shift: float,
    ) -> Vectors:
        """Return joined vectors `(A, D)` of movies without ratings, with what their parts count.

        Args:
            vectors: Joined vectors `(A, D)`.
            factors: Factor of each pair that rates.
            offset_factors: Factor of the user's offset for each pair that rates.
            shift: Number added to the bias of the last pair that rates and has one.
        """
        scaled = vectors.copy()
        shifted = self._last_biased()
        for part, factor, offset in zip(self.rating, factors, offset_factors, strict=True):
            columns = self.columns(part)
            scaled[:, columns] *= np.float32(factor)
            scaled[:, columns.stop] = offset - 1
            if part is shifted:
                scaled[:, columns.stop - 1] += np.float32(shift)
        return scaled

    def directions(self, vectors: Vectors, weights: Sequence[float]) -> Floats:
        """Return what joined movie vectors `(C, D)` say of taste, `(C, T)`: no biases, no trends.

        Args:
            vectors: Joined vectors `(C, D)`.
            weights: Weight of each pair that rates; where none does, those that rank count alike.
        """
        taste = self.taste(weights)
        there = taste != 0
        return np.asarray(vectors[:, there].astype(np.float64) * taste[there])

    def taste(self, weights: Sequence[float]) -> Floats:
        """Return what each component of movie vectors counts for taste, `(D,)`; biases are at 0.

        Args:
            weights: As `directions` takes them.
        """
        of_rating = dict(zip((part.name for part in self.rating), weights, strict=True))
        others = 0.0 if of_rating else 1.0
        taste = np.zeros(self.dimension)
        for part in self.parts:
            columns = self.columns(part)
            end = columns.stop - part.biased - part.trends
            taste[columns.start : end] = of_rating.get(part.name, others)
        return taste

    def _last_biased(self) -> Part | None:
        return next((part for part in reversed(self.rating) if part.biased), None)


def _width(part: Part) -> int:
    """Return how many components a part has, that for users' offsets included."""
    return part.width + part.rates
