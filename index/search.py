"""The index: vectors under ids, candidates from one kind of FAISS index, exact scores."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from index.candidates import Candidates, Mask, Proposal, best_scale
from index.exact import inner_products
from index.kinds import CODED, LISTED, Effort, Kind
from index.neighbours import NO_ID, Neighbours
from index.vectors import Ids, Vectors, checked_ids, checked_vectors

# Candidates beyond what is asked, so that a second, deeper search is seldom needed.
SPARE = 8

# Queries searched together: enough to use matrix products, few enough to share one depth.
CHUNK = 256

# Candidates scored exactly together: bounds the memory for them in double precision.
SCORED = 16_384

# Of so few vectors, all scores at once and a partition take less time than FAISS, which keeps the
# best as it goes, unless a filter leaves only a small share of them.
FEW = 20_000

# Where fewer than this share of the vectors is allowed, those are scanned and no others.
SCANNED = 0.06

# Up to this share, an exact index skips what is not allowed; beyond, it is faster to let it have
# everything and to leave out afterwards.
SELECTED = 0.25

# Scanning so many vectors takes as long as one more candidate of an approximate index.
SCANS = 10

# Where the largest id is less than so many times the number of rows, a table of all ids below it
# says which row each is: looking an id up in a sorted list of a million misses the cache 20 times.
DENSE = 16

# Of a sum in float32, for each of its terms.
ROUNDING = float(np.finfo(np.float32).eps)

# No such row, in that table and of a candidate; and no such candidate, in places that say which.
NO_ROW = NO_PLACE = -1

# How much harder an approximate index looks where a filter does not allow all: the best of what is
# left is farther down, where it finds less.
FILTERED = 2

# Where what must not be returned was in the way, what is left is farther down too. If so many times
# as many results as wanted had to be found, there is another look, harder by a power of that. A
# graph has few paths to what lies deep: it needs a second look sooner than lists and codes do, and
# a harder one, and beyond DEEP everything is scanned instead.
CROWDED, CROWDED_LISTS, DEEP = 1.25, 2.0, 2.5
LIST_POWER, GRAPH_POWER = 0.5, 1.5


@dataclass
class Selection:
    """Which rows may be results."""

    rows: NDArray[np.int64]  # (S,) ascending
    mask: Mask  # (R,)
    sizes: NDArray[np.int64] | None = None  # of the lists of an ivf, once asked for


class Index:
    """An inner-product index over vectors with ids.

    Whatever its kind, scores are exact and a search returns as many results as are left: an
    approximate kind may miss a better one, no more. Removed vectors stay as rows that are never
    found, until the index is built anew.

    Args:
        ids: `(R,)`, `NO_ID` where the vector was removed.
        vectors: `(R, D)`.
        candidates: Over these.
        effort: How hard to look.
    """

    def __init__(self, ids: Ids, vectors: Vectors, candidates: Candidates, effort: Effort) -> None:
        self.effort, self.candidates = effort, candidates
        self._hold(vectors)
        self._name(ids)

    @classmethod
    def build(
        cls,
        ids: ArrayLike,
        vectors: ArrayLike,
        kind: Kind = Kind.EXACT,
        effort: Effort | None = None,
        queries: Vectors | None = None,
    ) -> "Index":
        """Index vectors.

        Args:
            ids: `(N,)` distinct ones.
            vectors: `(N, D)`.
            kind: How candidates are found.
            effort: How hard to look.
            queries: `(Q, D)` a few of those that will be asked; an approximate kind finds more if
                it knows them.
        """
        checked = checked_vectors(vectors)
        named = checked_ids(ids, len(checked))
        scale = None if queries is None else best_scale(kind, checked, queries)
        candidates = Candidates.build(kind, checked, scale)
        held = candidates.vectors() if kind is Kind.EXACT else checked
        return cls(named, held, candidates, effort or Effort())

    def _hold(self, vectors: Vectors) -> None:
        """Take the vectors of rows."""
        # A file may be mapped at any address, and sums over odd ones take ten times as long.
        self._vectors = vectors if len(vectors) > FEW else np.require(vectors, requirements="A")
        # What float32 rounds is in proportion to it.
        self._longest = float(np.linalg.norm(vectors, axis=1).max(initial=0.0))

    def _name(self, ids: Ids) -> None:
        """Take the ids of rows; everything that follows from them is worked out here."""
        self.all_ids = ids
        alive = ids != NO_ID
        self._alive = None if alive.all() else Selection(np.flatnonzero(alive), alive)
        rows = np.flatnonzero(alive)
        self._count = len(rows)
        largest = int(ids.max(initial=NO_ID))
        self._table: NDArray[np.int32] | None = None
        if largest < DENSE * len(ids):
            self._table = np.full(largest + 1, NO_ROW, np.int32)
            self._table[ids[rows]] = rows
        else:
            order = rows[np.argsort(ids[rows], kind="stable")]
            self._sorted_ids, self._sorted_rows = ids[order], order

    @property
    def kind(self) -> Kind:
        """How candidates are found."""
        return self.candidates.kind

    @property
    def dimension(self) -> int:
        """D."""
        return self.candidates.dimension

    @property
    def ids(self) -> Ids:
        """The ids of the N vectors, `(N,)`, in the order of their rows."""
        return self.all_ids if self._alive is None else self.all_ids[self._alive.rows]

    @property
    def vectors(self) -> Vectors:
        """The N vectors, `(N, D)`, in the order of `ids`."""
        return self._vectors if self._alive is None else self._vectors[self._alive.rows]

    @property
    def all_vectors(self) -> Vectors:
        """All R vectors, `(R, D)`, the removed ones too."""
        return self._vectors

    def __len__(self) -> int:
        """Return N."""
        return self._count

    def vectors_of(self, ids: Ids) -> Vectors:
        """Read vectors back: `ids` of any shape S gives `(*S, D)`.

        Raises:
            KeyError: An id is not in the index.
        """
        return self._vectors[self._rows(ids)]

    def select(self, ids: Ids) -> Selection:
        """Return what restricts searches to some ids, `(S,)`.

        Raises:
            KeyError: An id is not in the index.
        """
        mask = np.zeros(len(self.all_ids), dtype=bool)
        mask[self._rows(ids)] = True
        return Selection(np.flatnonzero(mask), mask)

    def put(self, ids: ArrayLike, vectors: ArrayLike) -> None:
        """Add vectors `(A, D)` under ids `(A,)`; those that are there are replaced.

        Raises:
            ValueError: The index is approximate and mapped from a file.
        """
        checked = checked_vectors(vectors, self.dimension)
        named = checked_ids(ids, len(checked))
        kept = np.where(np.isin(self.all_ids, named), NO_ID, self.all_ids)
        vectors = np.concatenate([self._vectors, checked])
        if self.kind is Kind.EXACT:  # anew, so that views of the old ones stay what they are
            self.candidates = Candidates.build(Kind.EXACT, vectors)
            vectors = self.candidates.vectors()
        elif not len(self.candidates):  # which have learned nothing from no vectors
            self.candidates = Candidates.build(self.kind, vectors)
        else:
            self.candidates.add(checked)
        self._hold(vectors)
        self._name(np.concatenate([kept, named]))

    def remove(self, ids: ArrayLike) -> None:
        """Take vectors out.

        Raises:
            KeyError: An id is not in the index.
        """
        named = self.all_ids.copy()
        named[self._rows(np.asarray(ids, dtype=np.int64))] = NO_ID
        self._name(named)

    def search(
        self,
        queries: ArrayLike,
        k: int,
        excluded: Sequence[Ids] | None = None,
        allowed: Selection | None = None,
    ) -> Neighbours:
        """Return min(k, what is left) results for each query.

        What may not come back never costs a result that may: few allowed vectors are scanned; of
        many, candidates are sought among the allowed, or in such number that enough are allowed;
        and where much that is excluded was in the way, an approximate index looks again, harder.

        Args:
            queries: `(Q, D)`.
            k: Results wanted for each query, at least 1.
            excluded: For each query, ids that must not be returned; others than the index has do
                not matter.
            allowed: What alone may be returned, made by `select` of the index as it is.
        """
        checked = checked_vectors(queries, self.dimension)
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        banned = [np.empty(0, np.int64)] * len(checked) if excluded is None else excluded
        chosen = self._chosen(allowed)
        found = Neighbours(
            np.full((len(checked), k), NO_ID, np.int64), np.full((len(checked), k), -np.inf)
        )
        waiting = np.arange(len(checked))
        count = len(self.all_ids)
        most = chosen is None or len(chosen.rows) > SELECTED * count
        if self.kind is Kind.EXACT and count <= FEW and most:
            waiting = np.flatnonzero(~self._at_once(found, checked, banned, chosen))
            if not len(waiting):
                return found
        counts = np.array([len(ids) for ids in banned], np.int64)
        depths = k + SPARE + counts
        waiting = waiting[np.argsort(depths[waiting], kind="stable")]
        harder = np.ones(len(checked))  # than usual, infinitely to scan
        if self.kind is Kind.SQ8:  # looks at everything: to take more from it is not to look again
            harder += counts / k
        hidden = [set(ids.tolist()) for ids in banned]
        crowded = CROWDED_LISTS if self.kind in LISTED else CROWDED
        while len(waiting):
            chunk, waiting = waiting[:CHUNK], waiting[CHUNK:]
            depth = int(depths[chunk].max())
            factor = float(harder[chunk].max())
            look = self._look(checked[chunk], k, depth, chosen, factor)
            kept = self._kept(look, k, [hidden[query] for query in chunk.tolist()], chosen)
            if look.exact:
                self._fill(found, chunk, kept.rows, checked[chunk])
                settled = self._settled(look, kept, found.scores[chunk, -1], checked[chunk])
                again = chunk[~settled]
                depths[again], harder[again] = 4 * depth, factor
            else:
                more = kept.crowding > crowded * factor
                again = chunk[more]
                harder[again] = kept.crowding[more]
                if len(again) < len(chunk):
                    rest = chunk[~more]
                    self._fill(found, rest, kept.rows[~more], checked[rest])
            waiting = np.concatenate([waiting, again])
        return found

    def _at_once(
        self, found: Neighbours, queries: Vectors, banned: Sequence[Ids], chosen: Selection | None
    ) -> NDArray[np.bool_]:
        """Search few vectors: score all, hide what may not come, score the best again, exactly.

        Args:
            found: Where results belong.
            queries: `(Q, D)`.
            banned: Q times the ids that must not be returned.
            chosen: What may be returned; None is all.

        Returns:
            `(Q,)` whether the results are surely the best.
        """
        k, count = found.ids.shape[1], len(self.all_ids)
        depth = min(k + SPARE, count)
        sure = np.full(len(queries), depth == count)
        step = max(1, min(CHUNK, SCORED // max(1, depth)))
        for start in range(0, len(queries) if depth else 0, step):
            part = slice(start, start + step)
            asked = queries[part]
            scores = asked @ self._vectors.T  # (C, R)
            owners = np.repeat(np.arange(len(asked)), [len(ids) for ids in banned[part]])
            hidden, held = self._find(np.concatenate([np.empty(0, np.int64), *banned[part]]))
            scores[owners[held], hidden[held]] = -np.inf
            if chosen is not None:
                scores[:, ~chosen.mask] = -np.inf
            rows = scores.argpartition(count - depth, axis=1)[:, count - depth :]
            rough = scores[np.arange(len(asked))[:, None], rows]
            self._fill(found, part, np.where(np.isneginf(rough), NO_ROW, rows), asked)
            worst = rough.min(axis=1)  # if infinitely bad, there are no others
            last = found.scores[part, -1]
            sure[part] |= np.isneginf(worst) | self._beyond_rounding(last, worst, asked)
        return sure

    def _look(
        self, queries: Vectors, k: int, depth: int, chosen: Selection | None, harder: float
    ) -> "_Look":
        """Return about so many candidates that are allowed, in the way that takes least time.

        Args:
            queries: `(C, D)`.
            k: Results wanted for each.
            depth: How many of each; where codes are looked at, more, to be scored exactly.
            chosen: What may be returned; None is all.
            harder: How many times as hard as usual to look; infinitely is to scan.
        """
        count = len(self.all_ids)
        left = count if chosen is None else len(chosen.rows)
        share = left / max(1, count)
        exact = self.kind is Kind.EXACT
        scan = math.isinf(harder) or (exact and count <= FEW)
        match self.kind:
            case Kind.EXACT | Kind.SQ8:
                scanned = share <= SCANNED
                selected = share <= SELECTED
            case Kind.IVF | Kind.IVFPQ:
                scanned = left <= SCANS * depth
                selected = True
            case Kind.HNSW:
                scanned = left * share <= SCANS * max(depth, self.effort.breadth)
                selected = False
                scan |= harder > DEEP
        if scan or depth >= left or (scanned and chosen is not None):
            return self._scan(queries, min(depth, left), chosen)
        mask, effort, more = None, self._effort(harder), 1
        if self.kind in CODED:
            more = effort.oversampling * (1 if chosen is None else FILTERED)
            depth += k * (more - 1)
        if chosen is not None and selected:
            mask = chosen.mask
            if self.kind in LISTED:
                if chosen.sizes is None:
                    chosen.sizes = self.candidates.sizes(chosen.rows)
                lists = self.candidates.breadth(queries, FILTERED * effort.breadth, chosen.sizes)
                effort = replace(effort, breadth=lists)
        elif chosen is not None:
            depth = math.ceil(depth / share)
            effort = replace(effort, breadth=math.ceil(FILTERED * effort.breadth / share))
        depth = min(depth, count)
        proposal = self.candidates.propose(queries, depth, effort, mask)
        return _Look(proposal, exact, complete=exact and depth >= count, oversampling=more)

    def _effort(self, harder: float) -> Effort:
        """Return the effort of a look so many times as hard as usual."""
        power = GRAPH_POWER if self.kind is Kind.HNSW else LIST_POWER
        return Effort(
            breadth=math.ceil(self.effort.breadth * harder**power),
            oversampling=math.ceil(self.effort.oversampling * harder**LIST_POWER),
        )

    def _scan(self, queries: Vectors, depth: int, chosen: Selection | None) -> "_Look":
        """Return the best candidates of all that are allowed."""
        if chosen is None:
            left = len(self.all_ids)
            vectors = self._vectors
        else:
            left = len(chosen.rows)
            vectors = self._vectors[chosen.rows]
        if not left:
            nothing = np.empty((len(queries), 0))
            proposal = Proposal(nothing.astype(np.float32), nothing.astype(np.int64))
            return _Look(proposal, exact=True, complete=True, oversampling=1)
        scores, places = faiss.knn(queries, vectors, depth, faiss.METRIC_INNER_PRODUCT)
        proposal = Proposal(scores, places if chosen is None else chosen.rows[places])
        return _Look(proposal, exact=True, complete=depth >= left, oversampling=1)

    def _kept(
        self, look: "_Look", k: int, hidden: Sequence[set[int]], chosen: Selection | None
    ) -> "_Kept":
        """Choose the candidates that are worth a second look.

        Args:
            look: What was found for C queries.
            k: Results wanted for each.
            hidden: C times the ids that must not be returned.
            chosen: What may be returned.
        """
        rows = look.proposal.rows
        if chosen is not None:
            rows = np.where(chosen.mask[rows], rows, NO_ROW)
        limit = rows.shape[1]
        if not look.complete:
            limit = min(limit, SPARE + k * look.oversampling)
        places = np.full((len(rows), limit), NO_PLACE)
        crowding = np.full(len(rows), np.inf)
        # A set of some hundreds of ids, asked about some tens, takes less time than arrays would.
        candidates = zip(rows.tolist(), self.all_ids[rows].tolist(), hidden, strict=True)
        for query, (own, ids, banned) in enumerate(candidates):
            free = (
                place for place, row in enumerate(own) if row != NO_ROW and ids[place] not in banned
            )
            kept = list(islice(free, limit))
            places[query, : len(kept)] = kept
            # Where there were fewer candidates than wanted, some were missed.
            if len(kept) >= k and look.proposal.rows[query, -1] != NO_ROW:
                crowding[query] = 1 + len(banned.intersection(ids[: kept[k - 1]])) / k
        there = places != NO_PLACE
        each = np.arange(len(rows))[:, None]
        return _Kept(np.where(there, rows[each, places], NO_ROW), places, crowding)

    def _fill(
        self,
        found: Neighbours,
        which: NDArray[np.int64] | slice,
        rows: NDArray[np.int64],
        queries: Vectors,
    ) -> None:
        """Put the best of some candidates, by their exact scores, where results belong.

        Args:
            found: Where that is.
            which: C queries that they are for.
            rows: `(C, L)` the candidates, `NO_ROW` where there are no more.
            queries: `(C, D)`.
        """
        there = rows != NO_ROW
        exact = np.empty(rows.shape)
        step = max(1, SCORED // max(1, rows.shape[1]))
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            exact[part] = inner_products(queries[part, None], self._vectors[rows[part]])
        exact[~there] = -np.inf
        ids = np.where(there, self.all_ids[rows], NO_ID)
        order = np.lexsort((ids, -exact))[:, : found.ids.shape[1]]
        each = np.arange(len(rows))[:, None]  # `np.take_along_axis` takes five times as long
        found.ids[which, : order.shape[1]] = ids[each, order]
        found.scores[which, : order.shape[1]] = exact[each, order]

    def _settled(
        self, look: "_Look", kept: "_Kept", last: NDArray[np.float64], queries: Vectors
    ) -> NDArray[np.bool_]:
        """Return whether a deeper look could not add to what an exact one found.

        FAISS ranks by float32 sums: equal or nearly equal scores may be cut off in any order.

        Args:
            look: What was found for C queries.
            kept: The candidates that had a second look.
            last: `(C,)` the scores of the last results.
            queries: `(C, D)`.
        """
        if look.complete:
            return np.ones(len(last), dtype=bool)
        worst = look.proposal.scores[np.arange(len(last)), kept.places[:, -1]]
        return self._beyond_rounding(last, worst, queries)

    def _beyond_rounding(
        self, last: NDArray[np.float64], worst: NDArray[np.float32], queries: Vectors
    ) -> NDArray[np.bool_]:
        """Return whether exact scores `(C,)` are above float32 ones `(C,)`, however these err."""
        lengths = np.sqrt(np.einsum("cd,cd->c", queries, queries)) * self._longest
        return np.asarray(last > worst + self.dimension * ROUNDING * lengths)

    def _chosen(self, allowed: Selection | None) -> Selection | None:
        """Return which rows may be results; None is all."""
        if allowed is None or self._alive is None:
            return allowed or self._alive
        rows = allowed.rows[self._alive.mask[allowed.rows]]
        return Selection(rows, allowed.mask & self._alive.mask)

    def _rows(self, ids: Ids) -> NDArray[np.int64]:
        rows, there = self._find(np.asarray(ids, dtype=np.int64))
        if not there.all():
            raise KeyError(f"not in the index: {np.asarray(ids)[~there][:5].tolist()}")
        return rows

    def _find(self, ids: Ids) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return rows of ids, and whether they are there, of the same shape."""
        if not len(self):
            return np.zeros(ids.shape, np.int64), np.zeros(ids.shape, bool)
        if self._table is not None:
            within = (ids >= 0) & (ids < len(self._table))
            rows = self._table[np.where(within, ids, 0)].astype(np.int64)
            return rows, within & (rows != NO_ROW)
        places = np.minimum(np.searchsorted(self._sorted_ids, ids), len(self) - 1)
        return self._sorted_rows[places], self._sorted_ids[places] == ids


class _Kept(NamedTuple):
    """Candidates of C queries that have a second look."""

    rows: NDArray[np.int64]  # (C, L), best first, then NO_ROW
    places: NDArray[np.int64]  # (C, L) in the proposal, then NO_PLACE, which is the last
    crowding: NDArray[np.float64]  # (C,) candidates there were for each result, by what was banned


class _Look(NamedTuple):
    """What one search for candidates gave."""

    proposal: Proposal
    exact: bool  # whether the scores are inner products, but for rounding
    complete: bool  # whether all that may be results are candidates
    oversampling: int  # candidates to score exactly for each result
