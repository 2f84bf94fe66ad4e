"""Which events a log takes in: those that the data of the next training can have."""

import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data.scale import RatingScale, fits
from retrieval.data.times import EARLIEST
from retrieval.data.vocabulary import MISSING
from retrieval.errors import RequestError, shown
from retrieval.run.config import RunConfig


def present() -> int:
    """Return what the clock says, in seconds; one that lies before 1990 is wrong."""
    return max(int(time.time()), EARLIEST)


class Admission(NamedTuple):
    """What the tables of a training would be refused for."""

    scale: RatingScale
    any_year: bool  # whether events may lie before 1990

    def fits_times(self, timestamps: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which may be times of events, `(N,)` in seconds."""
        return (timestamps >= EARLIEST) | self.any_year

    def fits_ratings(self, ratings: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which may be ratings of events, `(N,)`; where nothing is rated, any may."""
        return fits(ratings, self.scale) if self.scale.tells_taste else np.ones(len(ratings), bool)


def admission_of(config: RunConfig) -> Admission:
    """Return what counts for the events of a run."""
    source = config.source or {}
    return Admission(config.scale, bool(source.get("any_year", False)))


def is_missing(text: str) -> bool:
    """Return whether a table that has this for an id is taken to have none."""
    return text.strip().casefold() in MISSING


def check_present(text: str, what: str) -> None:
    """Raise a `RequestError` for an id that tables have where there is none.

    Args:
        text: The id.
        what: Word for what has such ids.
    """
    if is_missing(text):
        raise RequestError(f"{what} '{shown(text)}' is what tables have where an id is missing")
