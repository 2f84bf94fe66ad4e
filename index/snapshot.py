"""An index as it is at one moment: candidates from one kind of FAISS index, exact scores."""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from index.candidates import Candidates, Proposal, squares
from index.exact import inner_products
from index.kinds import CODED, LISTED, MOST, Effort, Kind
from index.neighbours import NO_ID, Neighbours
from index.rows import NO_ROW, ChosenRows, Rows, Selection
from index.vectors import Ids, Vectors, checked_vectors, whole_numbers

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

# More results than this are wanted only where there are as many vectors: lists are made whole.
MOST_RESULTS = 100_000

# Scanning so many vectors takes as long as one more candidate of an approximate index.
SCANS = 10

# Of a sum in float32, for each of its terms.
ROUNDING = float(np.finfo(np.float32).eps)

# No such candidate, in places that say which.
NO_PLACE = -1

# How much harder an approximate index looks where a filter does not allow all: the best of what is
# left is farther down, where it finds less.
FILTERED = 2

# Where what must not be returned was in the way, what is left is farther down too. If so many times
# as many results as wanted had to be found, there is another look, harder by a power of that. A
# graph has few paths to what lies deep: it needs a second look sooner than lists and codes do, and
# a harder one, and beyond DEEP everything is scanned instead.
CROWDED, CROWDED_LISTS, DEEP = 1.25, 2.0, 2.5
LIST_POWER, GRAPH_POWER = 0.5, 1.5


@dataclass(frozen=True)
class Snapshot:
    """An index at one moment. It never changes, so that any number of threads may search it.

    What is worked out when it is first asked for comes out the same in every thread.
    """

    rows: Rows
    all_vectors: Vectors  # (R, D), the removed ones too
    longest: float  # the largest norm of these, which what float32 rounds is in proportion to
    candidates: Candidates  # over these
    effort: Effort

    @classmethod
    def of(cls, ids: Ids, vectors: Vectors, candidates: Candidates, effort: Effort) -> "Snapshot":
        """Return a snapshot.

        Args:
            ids: `(R,)`, `NO_ID` where the vector was removed.
            vectors: `(R, D)`, which are kept and may not be written to any more.
            candidates: Over these.
            effort: How hard to look.
        """
        # A file may be mapped at any address, and sums over odd ones take ten times as long.
        held = vectors if len(vectors) > FEW else np.require(vectors, requirements="A")
        longest = float(np.sqrt(squares(held).max(initial=0.0)))
        return cls(Rows(ids), held, longest, candidates, effort)

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
        return self.rows.ids

    @cached_property
    def vectors(self) -> Vectors:
        """The N vectors, `(N, D)`, in the order of `ids`; copied once where some were removed."""
        alive = self.rows.alive
        return self.all_vectors if alive is None else self.all_vectors[alive.rows]

    def __len__(self) -> int:
        """Return N."""
        return self.rows.count

    def vectors_of(self, ids: ArrayLike) -> Vectors:
        """Read vectors back: `ids` of any shape S gives `(*S, D)`.

        Raises:
            KeyError: An id is not in the index.
            ValueError: The ids are not whole numbers of 64 bits.
        """
        return self.all_vectors[self.rows.of(ids)]

    def select(self, ids: ArrayLike) -> Selection:
        """Return what restricts searches to some ids, `(S,)`.

        Raises:
            KeyError: An id is not in the index.
            ValueError: The ids are not whole numbers of 64 bits.
        """
        named = whole_numbers(ids).copy()
        return Selection(named, self.rows, self.rows.choose(self.rows.of(named)))

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
            allowed: What alone may be returned, made by `select`; ids that were removed since then
                are not found.

        Raises:
            ValueError: The queries are no matrix of D columns, k is impossible, or what is excluded
                are not whole numbers for each query.
        """
        checked = checked_vectors(queries, self.dimension)
        k = _checked_k(k, len(self.rows))
        banned = _checked_lists(excluded, len(checked))
        chosen = self.rows.alive if allowed is None else allowed.within(self.rows)
        found = Neighbours(
            np.full((len(checked), k), NO_ID, np.int64), np.full((len(checked), k), -np.inf)
        )
        waiting = np.arange(len(checked))
        count = len(self.rows)
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
        self, found: Neighbours, queries: Vectors, banned: Sequence[Ids], chosen: ChosenRows | None
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
        k, count = found.ids.shape[1], len(self.rows)
        depth = min(k + SPARE, count)
        sure = np.full(len(queries), depth == count)
        step = max(1, min(CHUNK, SCORED // max(1, depth)))
        for start in range(0, len(queries) if depth else 0, step):
            part = slice(start, start + step)
            asked = queries[part]
            scores = asked @ self.all_vectors.T  # (C, R)
            owners = np.repeat(np.arange(len(asked)), [len(ids) for ids in banned[part]])
            hidden, held = self.rows.find(np.concatenate([np.empty(0, np.int64), *banned[part]]))
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
        self, queries: Vectors, k: int, depth: int, chosen: ChosenRows | None, harder: float
    ) -> "_Look":
        """Return about so many candidates that are allowed, in the way that takes least time.

        Args:
            queries: `(C, D)`.
            k: Results wanted for each.
            depth: How many of each; where codes are looked at, more, to be scored exactly.
            chosen: What may be returned; None is all.
            harder: How many times as hard as usual to look; infinitely is to scan.
        """
        count = len(self.rows)
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
            breadth = min(MOST, math.ceil(FILTERED * effort.breadth / share))
            effort = replace(effort, breadth=breadth)
        depth = min(depth, count)
        proposal = self.candidates.propose(queries, depth, effort, mask)
        return _Look(proposal, exact, complete=exact and depth >= count, oversampling=more)

    def _effort(self, harder: float) -> Effort:
        """Return the effort of a look so many times as hard as usual."""
        power = GRAPH_POWER if self.kind is Kind.HNSW else LIST_POWER
        return Effort(
            breadth=min(MOST, math.ceil(self.effort.breadth * harder**power)),
            oversampling=min(MOST, math.ceil(self.effort.oversampling * harder**LIST_POWER)),
        )

    def _scan(self, queries: Vectors, depth: int, chosen: ChosenRows | None) -> "_Look":
        """Return the best candidates of all that are allowed."""
        if chosen is None:
            left = len(self.rows)
            vectors = self.all_vectors
        else:
            left = len(chosen.rows)
            vectors = self.all_vectors[chosen.rows]
        if not left:
            nothing = np.empty((len(queries), 0))
            proposal = Proposal(nothing.astype(np.float32), nothing.astype(np.int64))
            return _Look(proposal, exact=True, complete=True, oversampling=1)
        scores, places = faiss.knn(queries, vectors, depth, faiss.METRIC_INNER_PRODUCT)
        proposal = Proposal(scores, places if chosen is None else chosen.rows[places])
        return _Look(proposal, exact=True, complete=depth >= left, oversampling=1)

    def _kept(
        self, look: "_Look", k: int, hidden: Sequence[set[int]], chosen: ChosenRows | None
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
        candidates = zip(rows.tolist(), self.rows.all_ids[rows].tolist(), hidden, strict=True)
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
            exact[part] = inner_products(queries[part, None], self.all_vectors[rows[part]])
        exact[~there] = -np.inf
        ids = np.where(there, self.rows.all_ids[rows], NO_ID)
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
        lengths = np.sqrt(squares(queries)) * self.longest
        return np.asarray(last > worst + self.dimension * ROUNDING * lengths)


def _checked_k(k: int, count: int) -> int:
    """Return how many results are wanted of so many rows.

    Raises:
        ValueError: No whole number, or more than a list could be made of.
    """
    try:
        wanted = operator.index(k)
    except TypeError as error:
        raise ValueError(f"k must be a whole number, got {k!r:.80}") from error
    most = max(MOST_RESULTS, count)
    if not 1 <= wanted <= most:
        raise ValueError(f"k must be at least 1 and at most {most}, got {wanted!s:.80}")
    return wanted


def _checked_lists(excluded: Sequence[Ids] | None, queries: int) -> list[Ids]:
    """Return the ids that each query must not find.

    Raises:
        ValueError: There is not one list of whole numbers for each query.
    """
    if excluded is None:
        return [np.empty(0, np.int64)] * queries
    if len(excluded) != queries:
        raise ValueError(f"expected what {queries} queries exclude, got {len(excluded)} lists")
    lists = [whole_numbers(ids) for ids in excluded]
    for ids in lists:
        if ids.ndim != 1:
            raise ValueError(f"what a query excludes must be a list of ids, not {ids.shape}")
    return lists


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
