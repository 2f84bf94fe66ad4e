"""Candidates from FAISS: rows that may be the best for a query.

They are scored again, exactly, by whoever asks for them: what counts is that the best are among
them. Where vectors are of unequal length, lists of those that point the same way hold few of those
with the largest inner products. So an ivf and an ivfpq hold vectors made equally long by one more
component, which is 0 in queries: then they are one and the same. What an ivf spends its time on is
to read its lists from memory, so they hold half the bits of each component. An hnsw finds more
without the one more component: paths to the best lead over long vectors. And where queries weigh
some components more than others, nearness should: what is held is scaled by how large components of
queries are, queries by the inverse, and inner products stay what they are. How far to go is tried
on a sample: a bias, which all queries weigh alike and much, leads graphs astray.

Source: Bachrach et al., "Speeding up the Xbox recommender system using a Euclidean transformation
for inner-product spaces", RecSys 2014; Morozov and Babenko, "Non-metric similarity graphs for
maximum inner product search", NeurIPS 2018.
"""

import ctypes
import weakref
from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from index.kinds import LISTED, Effort, Kind
from index.rows import Mask
from index.vectors import LARGEST, Vectors

Scale = NDArray[np.float32]

# Lists of an ivf, for each square root of the number of vectors.
LISTS = 3.0

# Vectors of each list that its centre is learned from, and passes over them: a quarter and less of
# FAISS's own, for a tenth of the time.
SAMPLE, PASSES = 64, 10

# Neighbours of a node of an hnsw, and nodes in sight when one is added.
LINKS, ADDING = 32, 200

# Components of a code that are decoded together; where some are left over, all are slow.
LANES = 16

# Vectors that are all shorter are held as if the longest were so long: times its inverse, any that
# is added later is finite.
SHORTEST = 1 / LARGEST

# The largest number of half as many bits. They tell numbers apart that differ by a thousandth; so
# where one component is much larger than the others in all vectors, an ivf misses a few results.
MOST_OF_HALF = float(np.finfo(np.float16).max)

# Vectors, and results of each query, that scales are tried on; how hard the index then looks, and
# the powers of the size of queries' components that are tried.
TRIED, WANTED, LITTLE = 5000, 20, 8
POWERS = (0.0, 0.5, 1.0)

# No component is scaled by less than this share of the largest.
LEAST_SCALE = 1e-3

# Vectors that codes of four bits are learned from.
FEWEST = 16

# A row that no list of an ivf or ivfpq holds.
NO_LIST = -1

# What FAISS raises for a file that it does not understand, or believes.
FAISS_ERRORS = (
    RuntimeError,
    MemoryError,
    AssertionError,
    IndexError,
    OverflowError,
    SystemError,
    TypeError,
    ValueError,
)


class Proposal(NamedTuple):
    """C candidates for each of Q queries, best first as far as the kind can tell."""

    scores: NDArray[np.float32]  # (Q, C) inner products as far as the kind can tell
    rows: NDArray[np.int64]  # (Q, C), -1 where there are no more


class Candidates:
    """A FAISS index over R vectors, known by their rows. It never changes, so threads share it.

    Args:
        kind: Which.
        index: Made by `build` or read from a file.
        scale: `(D,)` what components of vectors are multiplied by, and of queries divided by.
        fixed: Whether no other can be made from it that holds more.
    """

    def __init__(
        self, kind: Kind, index: faiss.Index, scale: Scale, *, fixed: bool = False
    ) -> None:
        self.kind, self.scale = kind, scale
        self._index, self._fixed = index, fixed

    @classmethod
    def build(cls, kind: Kind, vectors: Vectors, scale: Scale | None = None) -> "Candidates":
        """Index vectors, the same way for the same vectors and number of threads.

        Args:
            kind: Which.
            vectors: `(R, D)`.
            scale: `(D,)` as `best_scale` returns it; None takes components as they are.
        """
        count, dimension = vectors.shape
        scale = np.ones(dimension, np.float32) if scale is None else scale
        if kind in LISTED:  # the longest becomes 1, and so do the others with one more component
            longest = np.sqrt(squares(vectors * scale).max(initial=0.0))
            scale = scale / np.float32(max(longest, SHORTEST))
        index = _empty(kind, count, dimension + _extra(kind, dimension))
        made = cls(kind, index, scale)
        held = made._held(vectors)
        if count:
            index.train(np.resize(held, (max(count, FEWEST), held.shape[1])))
            index.add(held)
        return made

    @classmethod
    def read(cls, path: Path, kind: Kind, scale: Scale, *, mapped: bool) -> "Candidates":
        """Read what `write` wrote.

        Args:
            path: The file.
            kind: What it was written by.
            scale: Likewise, `(D,)`.
            mapped: Whether to map the file instead of loading it; then nothing can be added.

        Raises:
            ValueError: The file holds nothing of the kind, or its parts contradict each other.
        """
        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC if mapped else 0)
        except FAISS_ERRORS as error:
            raise ValueError(f"{path} cannot be read by FAISS") from error
        dimension = len(scale)
        if not _is_like(index, _empty(kind, 1, dimension + _extra(kind, dimension))):
            raise ValueError(f"{path} is not an index of kind {kind} in {dimension} dimensions")
        read = cls(kind, index, scale, fixed=mapped)
        if not read._is_whole():
            raise ValueError(f"{path} holds an index whose parts do not fit together")
        return read

    @property
    def dimension(self) -> int:
        """D; the FAISS index may have more."""
        return len(self.scale)

    def write(self, path: Path) -> None:
        """Write one file, readable by FAISS alone.

        Raises:
            OSError: It cannot be written.
        """
        # Through Python, which notices a full disk; FAISS's own writer does not when it closes.
        with path.open("wb") as file:
            self._write(file.write)

    def __len__(self) -> int:
        """Return R."""
        return int(self._index.ntotal)

    @property
    def size(self) -> int:
        """Bytes that the index takes."""
        counted = 0

        def count(part: bytes) -> None:
            nonlocal counted
            counted += len(part)

        self._write(count)
        return counted

    def _write(self, take: Callable[[bytes], object]) -> None:
        faiss.write_index(self._index, faiss.PyCallbackIOWriter(take))

    def vectors(self) -> Vectors:
        """Return a view, `(R, D)`, of what an exact index holds, and which keeps it alive."""
        count, dimension = len(self), self.dimension
        if not count:
            return np.zeros((0, dimension), np.float32)
        buffer = (ctypes.c_float * (count * dimension)).from_address(int(self._index.get_xb()))
        # It would be gone with the last other reference to it; this one lasts as long as the view.
        weakref.finalize(buffer, lambda _: None, self._index)
        return np.ctypeslib.as_array(buffer).reshape(count, dimension)

    def with_more(self, vectors: Vectors) -> "Candidates":
        """Return a copy that holds vectors `(A, D)` as its next rows.

        FAISS adds in place, which may not happen beside a search: so all R vectors are copied.

        Raises:
            ValueError: The index is mapped from a file.
        """
        if self._fixed:
            raise ValueError("the index is mapped from a file; load it with mapped=False to add")
        index = faiss.clone_index(self._index)
        index.add(self._held(vectors))
        return Candidates(self.kind, index, self.scale)

    def propose(
        self, queries: Vectors, count: int, effort: Effort, allowed: Mask | None = None
    ) -> Proposal:
        """Return candidates.

        Args:
            queries: `(Q, D)`.
            count: How many for each query, at most R.
            effort: How hard to look.
            allowed: `(R,)` the rows that may be candidates; None is all.
        """
        selector = None
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")  # which the selector does not keep
            selector = faiss.IDSelectorBitmap(bits)
        match self.kind:
            case Kind.IVF | Kind.IVFPQ:
                lists = min(effort.breadth, self._index.nlist)
                if selector is None:
                    parameters = _visiting(lists)
                else:
                    parameters = faiss.SearchParametersIVF(nprobe=lists, sel=selector)
            case Kind.HNSW:
                nodes = max(effort.breadth, count)
                parameters = faiss.SearchParametersHNSW(efSearch=nodes, sel=selector)
            case Kind.EXACT | Kind.SQ8:
                parameters = None if selector is None else faiss.SearchParameters(sel=selector)
        return Proposal(*self._index.search(self._asked(queries), count, params=parameters))

    def sizes(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many of some rows, `(S,)`, are in each list of an ivf or ivfpq."""
        return np.bincount(self._lists[rows], minlength=self._index.nlist)

    def breadth(self, queries: Vectors, breadth: int, sizes: NDArray[np.int64]) -> int:
        """Return the lists to visit so that enough of what is allowed is looked at.

        That is as many vectors as the breadth would look at if all were allowed. What is allowed
        may lie anywhere but near a query.

        Args:
            queries: `(Q, D)`.
            breadth: Lists to visit if all were allowed.
            sizes: How much of what is allowed each list holds, as `sizes` returns it.
        """
        lists = int(self._index.nlist)
        _, nearest = self._index.quantizer.search(self._asked(queries), lists)  # (Q, lists)
        usual = self._sizes[nearest[:, :breadth]].sum(axis=1)
        reached = np.cumsum(sizes[nearest], axis=1) < usual[:, None]
        return min(lists, 1 + int(reached.sum(axis=1).max(initial=0)))

    def _is_whole(self) -> bool:
        """Return whether the parts that FAISS does not hold against each other fit."""
        match self.kind:
            case Kind.IVF | Kind.IVFPQ:
                return self._lists_are_whole()
            case Kind.HNSW:
                return self._graph_is_whole()
            case Kind.EXACT | Kind.SQ8:  # codes, which FAISS counts
                return True

    def _lists_are_whole(self) -> bool:
        """Return whether each row is in one list, and each list has a centre."""
        index = self._index
        sizes = [index.invlists.list_size(place) for place in range(index.nlist)]
        if not index.is_trained or sum(sizes) != len(self) or index.quantizer.ntotal != index.nlist:
            return False
        try:
            return index.quantizer.d == index.d and bool((self._lists != NO_LIST).all())
        except IndexError:
            return False

    def _graph_is_whole(self) -> bool:
        """Return whether searches begin at a node of the highest level."""
        graph = self._index.hnsw
        levels = faiss.vector_to_array(graph.levels)  # (R,) from 1
        if not len(levels):
            return bool(graph.entry_point == -1)
        start = graph.entry_point
        return start >= 0 and bool(levels[start] == levels.max() == graph.max_level + 1)

    @cached_property
    def _sizes(self) -> NDArray[np.int64]:
        """How many rows each list holds."""
        return np.bincount(self._lists, minlength=self._index.nlist)

    @cached_property
    def _lists(self) -> NDArray[np.int64]:
        """The list that each row is in, `(R,)`, `NO_LIST` where it is in none."""
        lists = np.full(len(self), NO_LIST)
        for place in range(self._index.nlist):
            size = self._index.invlists.list_size(place)
            if size:
                rows = faiss.rev_swig_ptr(self._index.invlists.get_ids(place), size)
                lists[rows] = place
        return lists

    def _asked(self, queries: Vectors) -> Vectors:
        """Return what the index is asked for queries `(Q, D)`."""
        if self.kind is Kind.EXACT:
            return queries
        return _widened(queries / self.scale, _extra(self.kind, self.dimension))

    def _held(self, vectors: Vectors) -> Vectors:
        """Return what the index holds of vectors `(A, D)`."""
        if self.kind is Kind.EXACT:
            return vectors
        held = _widened(vectors * self.scale, _extra(self.kind, self.dimension))
        if self.kind in LISTED:
            held[:, -1] = np.sqrt(np.maximum(1.0 - squares(held), 0.0))
        if self.kind is Kind.IVF:  # one that is added may be longer than all that were there
            largest = np.maximum(held.max(axis=1), -held.min(axis=1))  # without a copy of all
            held /= np.maximum(largest / MOST_OF_HALF, 1.0)[:, None]
        return held


@cache
def _visiting(lists: int) -> faiss.SearchParametersIVF:
    """Return the parameters of a search of so many lists: to make them takes longer than to ask."""
    return faiss.SearchParametersIVF(nprobe=lists)


def _extra(kind: Kind, dimension: int) -> int:
    """Return how many components the index has more, to make vectors equally long or codes full."""
    match kind:
        case Kind.IVF:
            return 1 + -(dimension + 1) % LANES
        case Kind.IVFPQ:
            return 1
        case Kind.SQ8:
            return -dimension % LANES
        case Kind.EXACT | Kind.HNSW:
            return 0


def _widened(vectors: Vectors, extra: int) -> Vectors:
    """Return vectors `(R, D)` with so many more components, which are 0: `np.pad` takes longer."""
    if not extra:
        return vectors
    wide = np.zeros((len(vectors), vectors.shape[1] + extra), np.float32)
    wide[:, : vectors.shape[1]] = vectors
    return wide


def best_scale(kind: Kind, vectors: Vectors, queries: Vectors) -> Scale | None:
    """Return the scale with which an index that looks at little finds most; None for no scale.

    Args:
        kind: Of the index.
        vectors: `(R, D)`, of which a sample is tried.
        queries: `(Q, D)` a few of those that will be asked.
    """
    if kind is Kind.EXACT or len(vectors) < TRIED:
        return None
    sample = vectors[:: len(vectors) // TRIED]
    sizes = np.sqrt((queries**2).mean(axis=0))
    sizes = np.maximum(sizes, LEAST_SCALE * sizes.max())
    best = np.argpartition(queries @ sample.T, -WANTED, axis=1)[:, -WANTED:]
    found = []
    for power in POWERS:
        index = Candidates.build(kind, sample, sizes**power)
        rows = index.propose(queries, WANTED, Effort(breadth=LITTLE)).rows
        found.append(sum(np.isin(*both).sum() for both in zip(best, rows, strict=True)))
    return np.asarray(sizes ** POWERS[int(np.argmax(found))])


def _empty(kind: Kind, count: int, dimension: int) -> faiss.Index:
    """Return an index for about so many vectors of a dimension."""
    lists = max(1, min(round(LISTS * count**0.5), count // 4))
    metric = faiss.METRIC_INNER_PRODUCT
    centres = faiss.IndexFlatIP(dimension)
    match kind:
        case Kind.EXACT:
            return faiss.IndexFlatIP(dimension)
        case Kind.IVF:
            code = faiss.ScalarQuantizer.QT_fp16
            index = faiss.IndexIVFScalarQuantizer(centres, dimension, lists, code, metric)
            index.by_residual = False
            return _quick(index)
        case Kind.HNSW:
            index = faiss.IndexHNSWFlat(dimension, LINKS, metric)
            index.hnsw.efConstruction = ADDING
            return index
        case Kind.IVFPQ:
            # Four bits for each component.
            index = faiss.IndexIVFPQFastScan(centres, dimension, lists, dimension, 4, metric)
            index.by_residual = True
            index.pq.cp.min_points_per_centroid = 1  # likewise
            return _quick(index)
        case Kind.SQ8:
            code = faiss.ScalarQuantizer.QT_8bit_uniform
            return faiss.IndexScalarQuantizer(dimension, code, metric)


def _is_like(index: faiss.Index, wanted: faiss.Index) -> bool:
    """Return whether an index is of the class, the dimension and the codes of another."""
    same = ("d", "metric_type", "code_size", "by_residual")
    return (
        type(index) is type(wanted)
        and all(getattr(index, fact, None) == getattr(wanted, fact, None) for fact in same)
        and (not hasattr(index, "sq") or index.sq.qtype == wanted.sq.qtype)
    )


def _quick(index: faiss.IndexIVF) -> faiss.IndexIVF:
    """Return an index that learns its centres from few vectors in few passes."""
    index.cp.max_points_per_centroid, index.cp.niter = SAMPLE, PASSES
    index.cp.min_points_per_centroid = 1  # and says nothing when there are fewer than it likes
    return index


def squares(vectors: Vectors) -> NDArray[np.float64]:
    """Return squared lengths `(R,)`, those of the shortest vectors too."""
    return np.asarray(np.einsum("rd,rd->r", vectors, vectors, dtype=np.float64))
