"""The rounds of a search: candidates from a backend, again and deeper until they are enough.

What may not come back never costs a result that may: few allowed vectors are scanned; of many,
candidates are sought among the allowed, or in such number that enough are allowed; and where much
that is excluded was in the way, there is another round, which searches further.

A round has an expansion, the factor by which it searches further than the search parameters say.
The exclusion ratio of a round is the number of results that had to be found for each that may come
back: where it is above what the expansion covers, what is left lies deeper, where the backend finds
less.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.backend import Backend, Proposal
from index.choices import own_index
from index.compiled import SPARE, is_compiled, put_best
from index.kinds import LARGEST_PARAMETER, SearchParameters
from index.neighbours import Neighbours
from index.policies import Policy, Structure
from index.rescoring import FEW, LocalVectors
from index.rows import NO_ROW, ChosenRows
from index.scanning import (
    CHUNK,
    MOST_KEPT,
    in_order,
    is_copied,
    scan,
    scan_alone,
    scan_at_once,
    scores_of,
)
from index.vectors import Ids, Vectors

# The place of a candidate that is missing; as an index, it means the last place.
NO_PLACE = -1

# How much deeper an exact round goes where rounding could hide a result.
DEEPER = 4

# How much further an approximate backend searches where a filter does not allow all: the best of
# what is left lies deeper, where it finds less.
FILTERED = 2

# The power of the expansion by which oversampling grows.
OVERSAMPLING_GROWTH = 0.7


class Round(NamedTuple):
    """What one round found."""

    proposal: Proposal
    exact: bool  # whether the scores are inner products, but for rounding
    complete: bool  # whether all that may be results are candidates


class Kept(NamedTuple):
    """Candidates of C queries that are scored exactly."""

    rows: NDArray[np.int64]  # (C, L), best first, then NO_ROW
    places: NDArray[np.int64]  # (C, L) in the proposal, then NO_PLACE
    exclusion_ratios: NDArray[np.float64]  # (C,), infinite where too few candidates were found


@dataclass(frozen=True)
class Search:
    """One search, of one or many rounds.

    Args:
        local: Vectors that results come from.
        backend: Backend that proposes candidates of them.
        parameters: Search parameters of a round that is not expanded.
        k: Number of results for each query.
        chosen: Rows that alone may be results; None is all.
    """

    local: LocalVectors
    backend: Backend
    parameters: SearchParameters
    k: int
    chosen: ChosenRows | None

    def results(self, queries: Vectors, excluded: Sequence[Ids]) -> Neighbours:
        """Return the results.

        Args:
            queries: Query vectors, `(Q, D)`.
            excluded: Ids that must not be returned, one array for each query.
        """
        found = Neighbours.none(len(queries), self.k)
        first = [self._first_expansion(len(ids)) for ids in excluded]
        if len(queries) == 1 and is_compiled(self.local):
            exact = self._alone(found, queries, excluded[0], first[0])
            if exact is None:
                return found
            found, first = Neighbours.none(1, self.k), [exact]
        waiting = np.arange(len(queries))
        if self._scores_all:
            sure = scan_at_once(self.local, found, queries, excluded, self.chosen)
            waiting = np.flatnonzero(~sure)
            if not len(waiting):
                return found
        counts = np.array([len(ids) for ids in excluded], np.int64)
        depths = self.k + SPARE + counts
        waiting = waiting[np.argsort(depths[waiting], kind="stable")]
        expansions = np.array(first)  # infinite to scan
        hidden = [set(ids.tolist()) for ids in excluded]
        while len(waiting):
            chunk, waiting = waiting[:CHUNK], waiting[CHUNK:]
            depth = int(depths[chunk].max())
            expansion = float(expansions[chunk].max())
            outcome = self._round(queries[chunk], depth, expansion)
            kept = self._kept(outcome, [hidden[query] for query in chunk.tolist()])
            if outcome.exact:
                self.local.rescore(found, chunk, kept.rows, queries[chunk])
                again = chunk[
                    ~self._settled(outcome, kept, found.scores[chunk, -1], queries[chunk])
                ]
                depths[again], expansions[again] = DEEPER * depth, expansion
            else:
                more = kept.exclusion_ratios > self._policy.exclusion_ratio * expansion
                again, done = chunk[more], chunk[~more]
                expansions[again] = kept.exclusion_ratios[more]
                if len(done):
                    self.local.rescore(found, done, kept.rows[~more], queries[done])
            waiting = np.concatenate([waiting, again])
        return found

    def _first_expansion(self, excluded: int) -> float:
        """Return the expansion of the first round of a query that excludes so many ids."""
        if self._policy.structure is Structure.FLAT:  # visits all: its first round takes enough
            return 1 + excluded / self.k
        return 1.0

    def _alone(
        self, found: Neighbours, query: Vectors, excluded: Ids, expansion: float
    ) -> float | None:
        """Answer one query, the candidates of each round by one compiled call.

        Args:
            found: Where the results belong, `(1, K)`.
            query: Query vector, `(1, D)`.
            excluded: Ids that must not be returned.
            expansion: That of the first round.

        Returns:
            The expansion of the round that has to be exact instead; None where the results are
            there.
        """
        if self._scores_all and scan_alone(self.local, found, query, excluded, self.chosen):
            return None
        if self._policy.exact:
            return expansion
        depth = self.k + SPARE + len(excluded)
        while not self._scans(depth, expansion):
            scores, rows = self._asked(query, depth, expansion)
            ratio = math.inf  # where there were fewer candidates than wanted, some were missed
            if rows[0, -1] != NO_ROW:
                candidates = Proposal(scores[0], rows[0])
                if self.chosen is not None:
                    kept = self.chosen.mask[rows[0]]
                    candidates = Proposal(scores[0, kept], rows[0, kept])
                hidden = put_best(found, query[0], self.local, candidates, excluded)
                ratio = math.inf if hidden is None else 1 + hidden / self.k
            if ratio <= self._policy.exclusion_ratio * expansion:
                return None
            expansion = ratio
        return None if self._scanned_alone(found, query, excluded) else expansion

    def _scanned_alone(self, found: Neighbours, query: Vectors, excluded: Ids) -> bool:
        """Scan the allowed vectors for one query; return whether the results are surely the best.

        Args:
            found: Where the results belong, `(1, K)`.
            query: Query vector, `(1, D)`.
            excluded: Ids that must not be returned.
        """
        depth = min(self.k + SPARE + len(excluded), self._left)
        scores, rows = scan(self.local, query, depth, self.chosen)
        hidden = put_best(found, query[0], self.local, Proposal(scores[0], rows[0]), excluded)
        if hidden is None:
            return False
        # Candidates that were not scored exactly come after this one, if there are any.
        last = self.k + SPARE - 1 + hidden
        if last >= depth == self._left:
            return True
        worst = scores[:, min(last, depth - 1)]
        return bool(self.local.surely_above(found.scores[:, -1], worst, query)[0])

    @property
    def _policy(self) -> Policy:
        return self.backend.policy

    @property
    def _is_small(self) -> bool:
        """Whether all scores take less time than to ask the backend."""
        return self._policy.exact and not self._policy.remote and len(self.local) <= FEW

    @property
    def _scores_all(self) -> bool:
        """Whether to score all vectors at once: there are few, and most of them are allowed."""
        most = self.chosen is None or self._share > self._policy.selected_share
        return self._is_small and most

    @property
    def _left(self) -> int:
        """The number of rows that may be results."""
        return len(self.local) if self.chosen is None else len(self.chosen.rows)

    @property
    def _share(self) -> float:
        """The share of the rows that may be results."""
        return self._left / max(1, len(self.local))

    def _round(self, queries: Vectors, depth: int, expansion: float) -> Round:
        """Return about `depth` candidates that are allowed, in the way that takes least time.

        Args:
            queries: Query vectors, `(C, D)`.
            depth: Number of candidates for each; where these come in no reliable order, more.
            expansion: Factor by which to search further, infinite to scan.
        """
        if self._scans(depth, expansion):
            proposal = scan(self.local, queries, min(depth, self._left), self.chosen)
            return Round(proposal, exact=True, complete=depth >= self._left)
        proposal = self._asked(queries, depth, expansion)
        if not self._policy.ordered:
            proposal = in_order(proposal)
        exact, all_rows = self._policy.exact, proposal.rows.shape[1] == len(self.local)
        return Round(proposal, exact, complete=exact and all_rows)

    def _asked(self, queries: Vectors, depth: int, expansion: float) -> Proposal:
        """Return about `depth` candidates that the backend proposes.

        Where these come in no reliable order, they still do, with scores in single precision.

        Args:
            queries: Query vectors, `(C, D)`.
            depth: Number of candidates for each; where these come in no reliable order, more.
            expansion: Factor by which to search further.
        """
        parameters = self._expanded(expansion)
        if not self._policy.ordered:
            depth += self.k * (parameters.oversampling - 1)
        proposal = self._proposed(queries, depth, parameters)
        if self._policy.ordered:
            return proposal
        return Proposal(scores_of(self.local, queries, proposal.rows), proposal.rows)

    def _proposed(self, queries: Vectors, depth: int, parameters: SearchParameters) -> Proposal:
        """Return candidates of the backend, or of the own index of what is chosen.

        Args:
            queries: Query vectors, `(C, D)`.
            depth: Number of candidates for each, if all were allowed.
            parameters: Search parameters, if all were allowed.
        """
        chosen, policy, share = self.chosen, self._policy, self._share
        if chosen is None:
            return self.backend.propose(queries, min(depth, len(self.local)), parameters, None)
        if not policy.ordered:
            depth += (FILTERED - 1) * self.k * parameters.oversampling
        own = own_index(self.backend, self.local, chosen, len(queries))
        if own is not None:
            places = own.propose(queries, min(depth, self._left), parameters, None)
            return Proposal(places.scores, chosen.at(places.rows))
        selected = share <= policy.selected_share
        reach = 1.0 if selected else share  # share of the candidates that will be allowed
        further = SearchParameters(
            nprobe=_capped(FILTERED * parameters.nprobe / reach),
            ef=_capped(FILTERED * parameters.ef / reach),
            oversampling=parameters.oversampling,
        )
        depth = min(math.ceil(depth / reach), len(self.local))
        return self.backend.propose(queries, depth, further, chosen if selected else None)

    def _scans(self, depth: int, expansion: float) -> bool:
        """Return whether a round scans the allowed vectors instead of asking the backend.

        Args:
            depth: Number of candidates for each query.
            expansion: Factor by which to search further.
        """
        policy, share = self._policy, self._share
        if depth >= self._left or self._is_small:
            return True
        if math.isinf(expansion) or expansion > policy.largest_expansion:
            return True
        if self.chosen is None:
            return False
        graph = policy.structure is Structure.GRAPH
        visited = max(depth, self.parameters.ef) if graph else depth
        scanned = self._left * (1.0 if share <= policy.selected_share else share)
        few = share <= policy.scanned_share
        if policy.keeps_choices and share <= MOST_KEPT:
            few = few or is_copied(self.local, self.chosen)
        return few or scanned <= policy.scans_per_candidate * visited

    def _expanded(self, expansion: float) -> SearchParameters:
        """Return the search parameters of a round that searches further by some factor."""
        if expansion == 1:
            return self.parameters
        growth = expansion**self._policy.growth
        return SearchParameters(
            nprobe=_capped(self.parameters.nprobe * growth),
            ef=_capped(self.parameters.ef * growth),
            oversampling=_capped(self.parameters.oversampling * expansion**OVERSAMPLING_GROWTH),
        )

    def _kept(self, outcome: Round, hidden: Sequence[set[int]]) -> Kept:
        """Choose the candidates that are scored exactly.

        Args:
            outcome: Round of C queries.
            hidden: Ids that must not be returned, one set for each query.
        """
        rows, local = outcome.proposal.rows, self.local
        if self.chosen is not None:
            rows = np.where(self.chosen.mask[rows], rows, NO_ROW)
        limit = rows.shape[1]
        if not outcome.complete:
            limit = min(limit, SPARE + self.k)
        places = np.full((len(rows), limit), NO_PLACE)
        ratios = np.full(len(rows), np.inf)
        # A set of some hundreds of ids, asked about some tens, takes less time than arrays would.
        candidates = zip(rows.tolist(), local.rows.all_ids[rows].tolist(), hidden, strict=True)
        for query, (own, ids, banned) in enumerate(candidates):
            free = (
                place for place, row in enumerate(own) if row != NO_ROW and ids[place] not in banned
            )
            kept = list(islice(free, limit))
            places[query, : len(kept)] = kept
            # Where there were fewer candidates than wanted, some were missed.
            if len(kept) >= self.k and outcome.proposal.rows[query, -1] != NO_ROW:
                found = ids[: kept[self.k - 1]]
                ratios[query] = 1 + len(banned.intersection(found)) / self.k
        there = places != NO_PLACE
        each = np.arange(len(rows))[:, None]
        return Kept(np.where(there, rows[each, places], NO_ROW), places, ratios)

    def _settled(
        self, outcome: Round, kept: Kept, last: NDArray[np.float64], queries: Vectors
    ) -> NDArray[np.bool_]:
        """Return whether a deeper round could not add to what an exact one found.

        Candidates are ranked by sums in single precision: equal or nearly equal scores may be cut
        off in any order.

        Args:
            outcome: Round of C queries.
            kept: Candidates that were scored exactly.
            last: Scores of the last results, `(C,)`.
            queries: Query vectors, `(C, D)`.
        """
        if outcome.complete:
            return np.ones(len(last), dtype=bool)
        worst = outcome.proposal.scores[np.arange(len(last)), kept.places[:, -1]]
        return self.local.surely_above(last, worst, queries)


def _capped(parameter: float) -> int:
    """Return a search parameter, rounded up, that is not too large."""
    return min(LARGEST_PARAMETER, math.ceil(parameter))
