"""One policy for each kind of index: how a search uses what the index is good at."""

import math
from dataclasses import dataclass
from enum import StrEnum

from index.kinds import Kind


class Structure(StrEnum):
    """How an index is laid out."""

    FLAT = "flat"  # one array, which every search visits whole
    LISTS = "lists"  # lists around centres, of which a search visits `nprobe`
    GRAPH = "graph"  # a graph, in which a search keeps `ef` nodes in sight


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How a search uses an index of one kind.

    Args:
        kind: Kind of index.
        structure: Layout of the index.
        exact: Whether the scores of candidates are inner products, but for rounding.
        remote: Whether it is asked over a connection, even where there are few vectors.
        ordered: Whether candidates come in a reliable order; if not, `oversampling` candidates for
            each result are brought into their order.
        keeps_choices: Whether something is kept of allowed vectors: a copy, which is scanned
            directly, or an index of their own.
        scanned_share: Largest share of allowed vectors that is scanned directly, without the index.
        scans_per_candidate: Number of vectors that are scanned directly in the time of one more
            candidate of the index.
        selected_share: Largest share of allowed vectors among which the index itself searches;
            beyond, it proposes so many more that enough of them are allowed.
        exclusion_ratio: Largest exclusion ratio that asks for no further round.
        growth: Power of the expansion by which `nprobe` and `ef` grow in a further round.
        largest_expansion: Largest expansion of a round; beyond, everything is scanned.
    """

    kind: Kind
    structure: Structure
    exact: bool = False
    remote: bool = False
    ordered: bool = True
    keeps_choices: bool = False
    scanned_share: float = 0.0
    scans_per_candidate: int = 0
    selected_share: float = 0.0
    exclusion_ratio: float = 1.25
    growth: float = 0.5
    largest_expansion: float = math.inf


POLICIES = {
    Kind.EXACT: Policy(
        kind=Kind.EXACT,
        structure=Structure.FLAT,
        exact=True,
        # A copy of few allowed vectors is scanned faster than FAISS skips the others; up to the
        # second share it is faster to skip them than to rank all and to leave out afterwards.
        scanned_share=0.06,
        selected_share=0.25,
    ),
    Kind.IVF: Policy(
        kind=Kind.IVF,
        structure=Structure.LISTS,
        keeps_choices=True,  # to scan a copy takes at most half a millisecond
        scans_per_candidate=10,
        # More lists are visited instead, whatever share is allowed.
        selected_share=1.0,
        # What is excluded costs lists little until it is much: with the ratio of a graph, three of
        # five questions to a million movies took a second round and more than twice the time, for a
        # recall that one round nearly has. Without a second round, leaving out the five hundred
        # best of each query cost seven points of recall.
        exclusion_ratio=2.0,
    ),
    Kind.HNSW: Policy(
        kind=Kind.HNSW,
        structure=Structure.GRAPH,
        scans_per_candidate=10,
        # A graph has few paths to what lies deep: leaving out the twenty best of each query cost
        # six points of recall. So it needs a second round sooner than lists do, and a larger one.
        exclusion_ratio=1.25,
        growth=1.5,
        largest_expansion=2.5,
    ),
    Kind.IVFPQ: Policy(
        kind=Kind.IVFPQ,
        structure=Structure.LISTS,
        ordered=False,  # two bits a component
        keeps_choices=True,  # all as for an ivf
        scans_per_candidate=10,
        selected_share=1.0,
        exclusion_ratio=2.0,
    ),
    Kind.SQ8: Policy(
        kind=Kind.SQ8,
        structure=Structure.FLAT,
        ordered=False,  # a byte a component
        scanned_share=0.06,  # both as for an exact index
        selected_share=0.25,
    ),
}
