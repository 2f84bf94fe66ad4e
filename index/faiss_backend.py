"""Candidates from FAISS, an index library that runs in the process itself."""

import ctypes
import weakref
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from threading import local
from weakref import WeakKeyDictionary

import faiss
import numpy as np

from index.backend import Backend, Proposal
from index.faiss_kinds import FEWEST_TRAINED, empty_index, is_like
from index.faiss_lists import InvertedLists
from index.kinds import Kind, SearchParameters
from index.policies import POLICIES, Structure
from index.rows import ChosenRows
from index.transform import Matrix, Transform
from index.vectors import Vectors

# What each thread keeps of its own for FAISS, and the bitmaps of choices of rows.
_own = local()
_bitmaps: WeakKeyDictionary[ChosenRows, faiss.IDSelectorBitmap] = WeakKeyDictionary()

# An index of a part of the vectors has as many lists as one of so many times fewer.
FEWER = 8

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


class FaissBackend:
    """A FAISS index over R vectors, known by their rows. It never changes, so threads share it.

    Args:
        transform: What the index holds of vectors.
        index: FAISS index that holds it.
        fixed: Whether the index cannot be copied and added to.
    """

    def __init__(self, transform: Transform, index: faiss.Index, *, fixed: bool = False) -> None:
        self.policy = POLICIES[transform.kind]
        self._transform, self._index, self._fixed = transform, index, fixed

    @classmethod
    def build(cls, kind: Kind, vectors: Vectors, emphasis: Matrix | None = None) -> "FaissBackend":
        """Index vectors, the same way for the same vectors and number of threads.

        Args:
            kind: Kind of index.
            vectors: Vectors to index, `(R, D)`.
            emphasis: Emphasis of the queries, `(D, D)`, as `best_emphasis` returns it; None is the
                same for all directions.
        """
        return cls._of(Transform.fitted(kind, vectors, emphasis), vectors, len(vectors))

    @classmethod
    def _of(cls, transform: Transform, vectors: Vectors, count: int) -> "FaissBackend":
        """Return an index of vectors, laid out for so many."""
        held, width = transform.of_vectors(vectors), transform.width
        index = empty_index(transform.kind, count, width, transform.coded)
        if len(held):
            index.train(np.resize(held, (max(len(held), FEWEST_TRAINED), width)))
            index.add(held)
        return cls(transform, index)

    @classmethod
    def read(cls, path: Path, kind: Kind, matrix: Matrix, *, mapped: bool) -> "FaissBackend":
        """Read what `write` wrote.

        Args:
            path: File to read.
            kind: Kind of the index that was written.
            matrix: Matrix of the index that was written, `(D, D)`.
            mapped: Whether to map the file instead of loading it; then nothing can be added.

        Raises:
            ValueError: The file holds nothing of the kind, or its parts contradict each other.
        """
        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC if mapped else 0)
        except FAISS_ERRORS as error:
            raise ValueError(f"{path} cannot be read by FAISS") from error
        transform = Transform(kind, matrix)
        if kind is Kind.IVFPQ and index.d == transform.dimension + 1:
            transform = Transform(kind, matrix, coded=1)  # as the previous format has it
        if not is_like(index, empty_index(kind, 1, transform.width, transform.coded)):
            raise ValueError(
                f"{path} is not an index of kind {kind} in {transform.dimension} dimensions"
            )
        read = cls(transform, index, fixed=mapped)
        if not read._is_whole():
            raise ValueError(f"{path} holds an index whose parts do not fit together")
        return read

    @property
    def fixed(self) -> bool:
        """Whether no vectors can be added to it: an exact one is made anew from its vectors."""
        return self._fixed and not self.policy.exact

    @property
    def matrix(self) -> Matrix:
        """What vectors are multiplied by before the index holds them, `(D, D)`."""
        return self._transform.matrix

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

    def write(self, path: Path) -> None:
        """Write one file, readable by FAISS alone.

        Raises:
            OSError: It cannot be written.
        """
        # Through Python, which notices a full disk; FAISS's own writer does not when it closes.
        with path.open("wb") as file:
            self._write(file.write)

    def vectors(self) -> Vectors:
        """Return a view, `(R, D)`, of what an exact index holds, and which keeps it alive."""
        count, dimension = len(self), self._transform.dimension
        if not count:
            return np.zeros((0, dimension), np.float32)
        buffer = (ctypes.c_float * (count * dimension)).from_address(int(self._index.get_xb()))
        # It would be gone with the last other reference to it; this one lasts as long as the view.
        weakref.finalize(buffer, lambda _: None, self._index)
        return np.ctypeslib.as_array(buffer).reshape(count, dimension)

    def with_more(self, vectors: Vectors) -> "FaissBackend":
        """Return a copy that holds vectors `(A, D)` as its next rows.

        FAISS adds in place, which may not happen beside a search: so all R vectors are copied.

        Raises:
            ValueError: The index is mapped from a file.
        """
        if not len(self):  # an index of no vectors has learned nothing
            return FaissBackend.build(self._transform.kind, vectors)
        if self._fixed:
            raise ValueError("the index is mapped from a file; load it with mapped=False to add")
        index = faiss.clone_index(self._index)
        index.add(self._transform.of_vectors(vectors))
        return FaissBackend(self._transform, index)

    def of_few(self, vectors: Vectors) -> "FaissBackend":
        """Return an index of a part of the vectors, `(S, D)`, that is made in little time.

        They are rotated and emphasised as here. There are fewer lists than if it were built from
        these vectors alone: searches that were tuned for the larger index visit more of them.
        """
        return self._of(self._transform, vectors, len(vectors) // FEWER)

    @property
    def bytes_of_a_row(self) -> int:
        """Bytes that the index takes for one more row."""
        return int(self._index.code_size) + np.dtype(np.int64).itemsize

    def propose(
        self, queries: Vectors, count: int, parameters: SearchParameters, allowed: ChosenRows | None
    ) -> Proposal:
        """Return candidates, as `Backend.propose` says."""
        asked = self._transform.of_queries(queries)
        selector = None if allowed is None else _bitmap(allowed)
        match self.policy.structure:
            case Structure.LISTS:
                nprobe = min(parameters.nprobe, len(self._lists))
                if allowed is not None:
                    nprobe = self._lists.to_visit(asked, parameters.nprobe, allowed)
                visited = _visiting(nprobe, selector)
            case Structure.GRAPH:
                ef = max(parameters.ef, count)
                visited = faiss.SearchParametersHNSW(efSearch=ef, sel=selector)
            case Structure.FLAT:
                visited = None if selector is None else faiss.SearchParameters(sel=selector)
        return Proposal(*self._index.search(asked, count, params=visited))

    @cached_property
    def _lists(self) -> InvertedLists:
        return InvertedLists(self._index)

    def _write(self, take: Callable[[bytes], object]) -> None:
        faiss.write_index(self._index, faiss.PyCallbackIOWriter(take))

    def _is_whole(self) -> bool:
        """Return whether the parts that FAISS does not hold against each other fit."""
        match self.policy.structure:
            case Structure.LISTS:
                return self._lists.are_whole()
            case Structure.GRAPH:
                return self._starts_at_the_top()
            case Structure.FLAT:  # codes, which FAISS counts
                return True

    def _starts_at_the_top(self) -> bool:
        """Return whether searches of the graph begin at a node of the highest level."""
        graph = self._index.hnsw
        levels = faiss.vector_to_array(graph.levels)  # (R,) from 1
        if not len(levels):
            return bool(graph.entry_point == -1)
        start = graph.entry_point
        return start >= 0 and bool(levels[start] == levels.max() == graph.max_level + 1)


def embedded(backend: Backend) -> FaissBackend:
    """Return a backend as the embedded one, which alone can be added to, measured and written.

    Raises:
        TypeError: It is another.
    """
    if not isinstance(backend, FaissBackend):
        raise TypeError(f"only an index of FAISS can do this, not one of {type(backend).__name__}")
    return backend


def _bitmap(allowed: ChosenRows) -> faiss.IDSelectorBitmap:
    """Return what selects some rows, which takes time for each row of all: it is kept with them."""
    if (kept := _bitmaps.get(allowed)) is None:
        bits = np.packbits(allowed.mask, bitorder="little")
        kept = _bitmaps[allowed] = faiss.IDSelectorBitmap(bits)  # which keeps the bits
    return kept


def _visiting(nprobe: int, selector: faiss.IDSelector | None) -> faiss.SearchParametersIVF:
    """Return the parameters of a search of lists, which last until the thread asks for others."""
    parameters = getattr(_own, "parameters", None)
    if parameters is None:  # to make them takes longer than to change them
        parameters = _own.parameters = faiss.SearchParametersIVF()
    parameters.nprobe, parameters.sel = nprobe, selector
    return parameters
