"""Loops as machine code, and threads to run them."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from typing import TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., object])
T = TypeVar("T")

# Parts that work is cut into. Fixed, because sums over parts must not depend on the machine.
PARTS = 16

# Rows of a part, at most: what a part needs does not grow with the work.
MOST_OF_A_PART = 2**16

# So few rows are done before threads have started.
FEW = 256


def compiled(function: F) -> F:
    """Compile a function of arrays at its first call; sums may be reordered, infinities are not.

    The machine code is kept for later processes beside the module, or in the home folder, or where
    `NUMBA_CACHE_DIR` says. Where none of them can be written, each process compiles anew.
    """
    made = numba.njit(nogil=True, fastmath={"reassoc", "contract", "nsz"})(function)
    with suppress(RuntimeError):  # numba's word for finding no folder
        made.enable_caching()
    return cast("F", made)


def in_parts(work: Callable[[int, int], T], cuts: NDArray[np.int64]) -> list[T]:
    """Call `work(begin, end)` for each part between two cuts, on all cores; return in order."""
    if cuts[-1] < FEW:
        return [work(*part) for part in pairwise(cuts.tolist())]
    with ThreadPoolExecutor(cores()) as threads:
        return list(threads.map(work, cuts[:-1].tolist(), cuts[1:].tolist()))


def cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def equal_cuts(count: int) -> NDArray[np.int64]:
    """Return where to cut rows that are equal work into parts, `(P + 1,)`."""
    parts = max(PARTS, -(-count // MOST_OF_A_PART))
    return np.linspace(0, count, parts + 1).astype(np.int64)


def even_cuts(work: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return where to cut rows into parts of about equal work, `(P + 1,)`.

    Args:
        work: `(R + 1,)` work before each row, and in all.
    """
    rows = len(work) - 1
    inside = np.searchsorted(work, np.linspace(0, work[-1], PARTS + 1)[1:-1])
    return np.unique(np.concatenate([[0], inside, [rows]])).astype(np.int64)
