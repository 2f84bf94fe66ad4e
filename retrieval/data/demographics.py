"""What is known of a person, as codes. Code 0 is unknown, in every column."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import RequestError, shown

# Lower edges of the brackets of MovieLens-1M, which writes an age as the edge of its bracket.
AGE_EDGES = (18, 25, 35, 45, 50, 56)
AGE_CODES = 2 + len(AGE_EDGES)

GENDER_COLUMN, AGE_COLUMN, OCCUPATION_COLUMN = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class Demographics:
    """The genders and occupations that the training data names."""

    genders: tuple[str, ...]
    occupations: tuple[str, ...]

    def codes(
        self, gender: str | None = None, age: float | None = None, occupation: str | None = None
    ) -> NDArray[np.int64]:
        """Return `(3,)` codes of one person.

        Raises:
            RequestError: A value that the training data does not name.
        """
        return np.array(
            [
                _code("gender", gender, self.genders),
                0 if age is None or math.isnan(age) else age_code(age),
                _code("occupation", occupation, self.occupations),
            ],
            dtype=np.int64,
        )

    def sizes(self) -> tuple[int, int, int]:
        """Return the number of codes in each column."""
        return 1 + len(self.genders), AGE_CODES, 1 + len(self.occupations)


def age_code(age: float) -> int:
    """Return the code of an age in years, from 1.

    Raises:
        RequestError: The age is not between 0 and 130.
    """
    if not 0 <= age <= 130:
        raise RequestError(
            f"age {shown(age)} is not between 0 and 130 years; leave it out if unknown"
        )
    return 1 + int(np.searchsorted(AGE_EDGES, age, side="right"))


def _code(column: str, value: str | None, known: tuple[str, ...]) -> int:
    if value is None or not value:
        return 0
    if value not in known:
        allowed = ", ".join(known) if known else "none, as the data has no such column"
        raise RequestError(f"unknown {column} '{shown(value)}'; known from training: {allowed}")
    return 1 + known.index(value)
