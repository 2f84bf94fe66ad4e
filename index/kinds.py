"""The kinds of index, and the search parameters of the approximate ones."""

from dataclasses import dataclass
from enum import StrEnum

# The most that a search parameter may be: FAISS counts in 32 bits.
LARGEST_PARAMETER = 2**30

# Components of a vector that one code of an ivfpq stands for, and the bits of a code. Two
# components a code take half the memory and time of one, and candidates are scored exactly anyway.
CODED, CODE_BITS = 2, 4


class Kind(StrEnum):
    """How candidates are found."""

    EXACT = "exact"
    IVF = "ivf"
    HNSW = "hnsw"
    IVFPQ = "ivfpq"
    SQ8 = "sq8"


@dataclass(frozen=True, kw_only=True)
class SearchParameters:
    """How far an approximate index searches: larger ones find more and take longer.

    Args:
        nprobe: Number of lists that an ivf or ivfpq visits.
        ef: Number of nodes that an hnsw keeps in sight.
        oversampling: Number of candidates that an ivfpq or sq8 scores again for each result.
    """

    nprobe: int = 32
    ef: int = 32
    oversampling: int = 4

    def __post_init__(self) -> None:
        """Refuse what finds nothing, and what cannot be counted."""
        for name in ("nprobe", "ef", "oversampling"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= LARGEST_PARAMETER:
                raise ValueError(
                    f"{name} must be a whole number from 1 to {LARGEST_PARAMETER}, "
                    f"got {value!r:.80}"
                )
