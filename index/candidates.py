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
from functools import cache
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from index.kinds import LISTED, Effort, Kind
from index.vectors import LARGEST, Vectors

Mask = NDArray[np.bool_]
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


class Proposal(NamedTuple):
    """C candidates for each of Q queries, best first as far as the kind can tell."""

    scores: NDArray[np.float32]  # (Q, C) inner products as far as the kind can tell
    rows: NDArray[np.int64]  # (Q, C), -1 where there are no more


class Candidates:
    """A FAISS index over R vectors, known by their rows.

    Args:
        kind: Which.
        index: Made by `build` or read from a file.
        scale: `(D,)` what components of vectors are multiplied by, and of queries divided by.
        fixed: Whether nothing can be added.
    """

    def __init__(
        self, kind: Kind, index: faiss.Index, scale: Scale, *, fixed: bool = False
    ) -> None:
        self.kind, self.scale = kind, scale
        self._index, self._fixed = index, fixed
        # Once asked for: the lists that rows are in, (R,), and how many rows each of them has.
        self._lists: NDArray[np.int64] | None = None
        self._sizes: NDArray[np.int64] | None = None

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
            longest = np.sqrt(_squares(vectors * scale).max(initial=0.0))
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
            ValueError: The file holds nothing of the kind.
        """
        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC if mapped else 0)
        except RuntimeError as error:
            raise ValueError(f"{path} cannot be read by FAISS") from error
        held = len(scale) + _extra(kind, len(scale))
        if not isinstance(index, type(_empty(kind, 1, held))) or index.d != held:
            raise ValueError(f"{path} is not an index of kind {kind} in {len(scale)} dimensions")
        return cls(kind, index, scale, fixed=mapped)

    @property
    def dimension(self) -> int:
        """D; the FAISS index may have more."""
        return len(self.scale)

    def write(self, path: Path) -> None:
        """Write one file, readable by FAISS alone."""
        faiss.write_index(self._index, str(path))

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

        faiss.write_index(self._index, faiss.PyCallbackIOWriter(count))
        return counted

    def vectors(self) -> Vectors:
        """Return a view, `(R, D)`, of what an exact index holds, and which keeps it alive."""
        count, dimension = len(self), self.dimension
        if not count:
            return np.zeros((0, dimension), np.float32)
        buffer = (ctypes.c_float * (count * dimension)).from_address(int(self._index.get_xb()))
        # It would be gone with the last other reference to it; this one lasts as long as the view.
        weakref.finalize(buffer, lambda _: None, self._index)
        return np.ctypeslib.as_array(buffer).reshape(count, dimension)

    def add(self, vectors: Vectors) -> None:
        """Add vectors `(A, D)` as the next rows.

        Raises:
            ValueError: The index is mapped from a file.
        """
        if self._fixed:
            raise ValueError("the index is mapped from a file; load it with mapped=False to add")
        self._index.add(self._held(vectors))
        self._lists, self._sizes = None, None

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

    def sizes(self, rows: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Return how many of some rows, `(S,)`, or of all are in each list of an ivf or ivfpq."""
        if self._lists is None:
            self._lists = self._lists_of_rows()
        lists = self._lists if rows is None else self._lists[rows]
        return np.bincount(lists, minlength=self._index.nlist)

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
        if self._sizes is None:
            self._sizes = self.sizes()
        usual = self._sizes[nearest[:, :breadth]].sum(axis=1)
        reached = np.cumsum(sizes[nearest], axis=1) < usual[:, None]
        return min(lists, 1 + int(reached.sum(axis=1).max(initial=0)))

    def _lists_of_rows(self) -> NDArray[np.int64]:
        lists = np.zeros(len(self), np.int64)
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
            held[:, -1] = np.sqrt(np.maximum(1.0 - _squares(held), 0.0))
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
            return _quick(index)
        case Kind.SQ8:
            code = faiss.ScalarQuantizer.QT_8bit_uniform
            return faiss.IndexScalarQuantizer(dimension, code, metric)


def _quick(index: faiss.IndexIVF) -> faiss.IndexIVF:
    """Return an index that learns its centres from few vectors in few passes."""
    index.cp.max_points_per_centroid, index.cp.niter = SAMPLE, PASSES
    index.cp.min_points_per_centroid = 1  # and says nothing when there are fewer than it likes
    return index


def _squares(vectors: Vectors) -> NDArray[np.float64]:
    """Return squared lengths `(R,)`, those of the shortest vectors too."""
    return np.asarray(np.einsum("rd,rd->r", vectors, vectors, dtype=np.float64))
