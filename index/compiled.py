"""The best of one query's candidates in one compiled call, where Numba is installed.

Between a backend and the results, some twenty steps of NumPy take longer than the search itself.
Here they are one function, which Numba compiles once it is worth it and keeps on disk. It adds
products in the order in which NumPy adds them, so that scores are equal to the last bit; whether
they are is tried once for each number of components, and where they are not, NumPy does the steps.
Numba is never imported before, so that a command which asks one question does not wait for it.
"""

import logging
from collections import Counter
from collections.abc import Callable
from functools import cache
from importlib import import_module
from threading import Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.backend import Proposal
from index.exact import inner_products
from index.neighbours import Neighbours
from index.rescoring import FEW, LocalVectors
from index.vectors import Ids, Vectors

# Candidates beyond the results, so that a second, deeper round is seldom needed.
SPARE = 8

# NumPy adds so many numbers with eight running sums; more are halved first.
LEAF, LANES = 128, 8

# More halves of halves than any vector has.
MOST_LEAVES = 64

# A multiplier that spreads ids over a table (Knuth, The Art of Computer Programming, 6.4).
SPREAD = 0x9E3779B1

# Queries of a process to many vectors, one at a time, after which it is worth to load Numba, which
# takes as long as thousands of answers and a hundred megabytes: a command asks one question.
SEVERAL = 200

# Queries so far, and whether there is something to use, by number of components.
_asked: Counter[int] = Counter()
_ready: dict[int, bool] = {}

# An entry of a table of ids which holds none, and what is returned where results are too few.
EMPTY = -1

Leaves = NDArray[np.int64]

_log = logging.getLogger(__name__)


def prepare(dimension: int) -> bool:
    """Compile now what answers queries of D components, rather than after `SEVERAL` of them.

    Returns:
        Whether there is something to use; if not, NumPy does the steps.
    """
    if dimension not in _ready:
        _ready[dimension] = _comes_to_the_same(dimension)
    return _ready[dimension]


def is_compiled(local: LocalVectors) -> bool:
    """Return whether `put_best` can be used for one more query to some vectors."""
    dimension = local.vectors.shape[1]
    ready = _ready.get(dimension)
    if not local.vectors.flags.aligned:  # a file may be mapped at any address
        return False
    if ready is None and len(local) > FEW:
        _asked[dimension] += 1
        if _asked[dimension] == SEVERAL:  # no query waits for it
            Thread(target=prepare, args=(dimension,), name="compiling").start()
    return bool(ready)


def put_best(
    found: Neighbours,
    query: NDArray[np.float32],
    local: LocalVectors,
    candidates: Proposal,
    excluded: Ids,
) -> int | None:
    """Put the best candidates of one query where results belong, by their exact scores.

    Args:
        found: Where the results belong, `(1, K)`.
        query: Query vector, `(D,)`.
        local: Vectors of the candidates.
        candidates: `(L,)`, all of them there, in any order: `SPARE` more than K are scored exactly,
            those of the highest scores.
        excluded: Ids that must not be returned.

    Returns:
        The number of excluded candidates above the last result; None for fewer than K results.
    """
    leaves, ids = _leaves(local.vectors.shape[1]), local.rows.all_ids
    asked, hidden = (
        array if array.flags.aligned else np.require(array, requirements="A")
        for array in (query, excluded)
    )
    above = _compiled()(asked, local.vectors, *candidates, ids, hidden, leaves, *found)
    return None if above == EMPTY else int(above)


def _comes_to_the_same(dimension: int) -> bool:
    """Return whether Numba can be used, and comes to NumPy's very sums of so many components."""
    rng = np.random.default_rng(0)
    vectors: Vectors = rng.standard_normal((64, dimension)).astype(np.float32)
    local, query = LocalVectors.of(np.arange(64), vectors), vectors[0]
    found = Neighbours.none(1, 64)
    candidates = Proposal(vectors @ query, np.arange(64))
    try:
        put_best(found, query, local, candidates, np.empty(0, np.int64))
    except ImportError:
        return False
    except Exception:  # noqa: BLE001 (whatever it is: a system may forbid to make code, for one)
        _log.warning("Numba cannot be used; NumPy answers, which takes longer", exc_info=True)
        return False
    return bool((found.scores[0] == inner_products(query, vectors[found.ids[0]])).all())


@cache
def _compiled() -> Callable[..., int]:
    """Return the function, compiled, and kept where that can be written."""
    numba: Any = import_module("numba")

    def read(of: Any, dimensions: int) -> Any:  # noqa: ANN401 (types of Numba)
        return numba.types.Array(of, dimensions, "C", readonly=True)

    ids, scores = numba.int64, numba.float64
    given = (read(numba.float32, 1), read(numba.float32, 2), read(numba.float32, 1))
    rows = (read(ids, 1), read(ids, 1), read(ids, 1), read(ids, 2))
    # One signature, which arrays that may be written to fit too: no query waits for another.
    signature = ids(*given, *rows, ids[:, ::1], scores[:, ::1])
    try:
        made: Callable[..., int] = numba.njit(signature, cache=True, nogil=True)(_put_best)
    except (RuntimeError, OSError):  # there is no folder to keep it in, or no room
        made = numba.njit(signature, nogil=True)(_put_best)
    return made


@cache
def _leaves(dimension: int) -> Leaves:
    """Return in what order NumPy adds so many numbers.

    Returns:
        Rows of leaves `(L, 2)`: where each ends, and how many sums are then added to those before.
    """
    leaves: list[list[int]] = []

    def halve(start: int, count: int) -> None:
        if count <= LEAF:
            leaves.append([start + count, 0])
            return
        first = count // 2
        first -= first % LANES
        halve(start, first)
        halve(start + first, count - first)
        leaves[-1][1] += 1

    halve(0, dimension)
    return np.array(leaves)


def _put_best(  # noqa: C901, PLR0912, PLR0915 (one compiled call is the point)
    query: NDArray[np.float32],
    vectors: Vectors,
    scores: NDArray[np.float32],
    rows: Ids,
    all_ids: Ids,
    excluded: Ids,
    leaves: Leaves,
    found_ids: NDArray[np.int64],
    found_scores: NDArray[np.float64],
) -> int:
    """Do as `put_best`; Numba compiles this.

    Args:
        query: `(D,)`
        vectors: `(R, D)`
        scores: `(L,)`
        rows: `(L,)`
        all_ids: `(R,)`
        excluded: `(X,)`
        leaves: Of D components, as `_leaves` returns them.
        found_ids: `(1, K)`
        found_scores: `(1, K)`
    """
    size = 1
    while size <= 2 * len(excluded):
        size *= 2
    table = np.full(size, EMPTY, np.int64)
    for hidden in excluded:
        place = (hidden * SPREAD) & (size - 1)
        while table[place] not in (EMPTY, hidden):
            place = (place + 1) & (size - 1)
        table[place] = hidden
    wanted = found_ids.shape[1]
    taken, above = 0, 0
    sums = np.empty(MOST_LEAVES)
    for candidate in np.argsort(-scores):
        row = rows[candidate]
        own = all_ids[row]
        place = (own * SPREAD) & (size - 1)
        while table[place] not in (EMPTY, own):
            place = (place + 1) & (size - 1)
        if table[place] == own:
            above += taken < wanted
            continue
        start = height = 0
        for leaf in range(len(leaves)):
            end, merged = leaves[leaf]
            whole, total = start, 0.0
            if end - start >= LANES:
                whole = end - (end - start) % LANES
                a = b = c = d = e = f = g = h = 0.0
                for at in range(start, whole, LANES):
                    a += np.float64(query[at]) * np.float64(vectors[row, at])
                    b += np.float64(query[at + 1]) * np.float64(vectors[row, at + 1])
                    c += np.float64(query[at + 2]) * np.float64(vectors[row, at + 2])
                    d += np.float64(query[at + 3]) * np.float64(vectors[row, at + 3])
                    e += np.float64(query[at + 4]) * np.float64(vectors[row, at + 4])
                    f += np.float64(query[at + 5]) * np.float64(vectors[row, at + 5])
                    g += np.float64(query[at + 6]) * np.float64(vectors[row, at + 6])
                    h += np.float64(query[at + 7]) * np.float64(vectors[row, at + 7])
                total = ((a + b) + (c + d)) + ((e + f) + (g + h))
            for at in range(whole, end):
                total += np.float64(query[at]) * np.float64(vectors[row, at])
            sums[height] = total
            height += 1
            for _ in range(merged):
                height -= 1
                sums[height - 1] += sums[height]
            start = end
        score = sums[0]
        place = min(taken, wanted)  # the highest first, equal ones by ascending id
        while place and (
            found_scores[0, place - 1] < score
            or (found_scores[0, place - 1] == score and found_ids[0, place - 1] > own)
        ):
            if place < wanted:
                found_ids[0, place] = found_ids[0, place - 1]
                found_scores[0, place] = found_scores[0, place - 1]
            place -= 1
        if place < wanted:
            found_ids[0, place], found_scores[0, place] = own, score
        taken += 1
        if taken == wanted + SPARE:
            break
    return above if taken >= wanted else EMPTY
