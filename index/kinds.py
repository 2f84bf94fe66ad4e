"""The kinds of index there are, and how hard an approximate one looks."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How candidates are found."""

    EXACT = "exact"
    IVF = "ivf"
    HNSW = "hnsw"
    IVFPQ = "ivfpq"
    SQ8 = "sq8"


# Kinds that keep vectors in lists around centres.
LISTED = (Kind.IVF, Kind.IVFPQ)

# Of breadth and oversampling: FAISS counts in 32 bits.
MOST = 2**30

# Kinds whose candidates are in no reliable order: their codes have a byte or less a component.
CODED = (Kind.IVFPQ, Kind.SQ8)


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How hard an index looks: more finds more, and takes longer. An exact one has no use for it.

    Args:
        breadth: Lists that an ivf or ivfpq visits, or nodes that an hnsw keeps in sight.
        oversampling: Candidates that an ivfpq or sq8 scores exactly for each that is wanted.
    """

    breadth: int = 32
    oversampling: int = 1

    def __post_init__(self) -> None:
        """Refuse what finds nothing, and what cannot be counted."""
        for name, value in (("breadth", self.breadth), ("oversampling", self.oversampling)):
            if type(value) is not int or not 1 <= value <= MOST:
                raise ValueError(
                    f"{name} must be a whole number from 1 to {MOST}, got {value!r:.80}"
                )
