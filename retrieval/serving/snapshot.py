"""The serving snapshot: everything that answers, of one version of a run."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.rows import Selection
from index.snapshot import Snapshot
from index.vectors import Vectors
from retrieval.errors import RequestError, shown
from retrieval.pairs.lru_cache import LruCache
from retrieval.run.folder import Run, open_index, open_version
from retrieval.run.stores import behind_store
from retrieval.run.versions import current, read
from retrieval.serving.conditions import Condition
from retrieval.serving.encoder import Encoder
from retrieval.serving.filters import Filter
from retrieval.serving.history import HistoryStore, StoredHistories
from retrieval.serving.masks import Masks

# Bytes of selections by conditions that are kept, and how few are kept whatever they take. A search
# keeps vectors, or an index, of so many bytes at most for one of them.
SELECTED, FEWEST, OWN = 2**28, 8, 2**25

# Rows whose lengths are worked out together.
TOGETHER = 2**16

# Movies that a message names.
NAMED = 5

OpenStore = Callable[[Run], HistoryStore]


@dataclass(frozen=True, kw_only=True)
class ServingSnapshot:
    """One version of a run, with its user towers, its index and a source of histories.

    It never changes, so any number of threads may answer from it while another one is loaded. An
    answer comes from one snapshot.
    """

    run: Run
    encoder: Encoder
    index: Snapshot
    histories: HistoryStore
    open_store: OpenStore  # what gave `histories`, and gives those of the next version

    @cached_property
    def masks(self) -> Masks:
        """Which movies meet conditions on what is known of them."""
        return Masks(self.run.attributes)

    def allowed(self, filters: Filter | None) -> Selection | None:
        """Return the movies that a list may show, without those that are hidden; None is all.

        What was selected by conditions lately is kept: to select takes longer than to search.

        Raises:
            RequestError: The filter is none for this catalogue.
        """
        if filters is None:
            return self._shown
        if filters.names_movies:
            kept = filters.keeps(self.run.catalogue, self.masks)
            return _selection(self.index, kept & ~self.run.hidden)
        asked = filters.conditions(self.masks)
        found = self._selections.get(asked)
        if found is None:
            found = _selection(self.index, self.masks.kept(asked) & ~self.run.hidden)
            self._selections.put(asked, found)
        return found

    @cached_property
    def _shown(self) -> Selection | None:
        hidden = self.run.hidden
        return _selection(self.index, ~hidden) if hidden.any() else None

    @cached_property
    def _selections(self) -> LruCache[tuple[Condition, ...], Selection]:
        rows, width = len(self.index), self.index.vectors.itemsize * self.index.dimension

        def size(selection: Selection) -> int:
            count = len(selection.ids)  # each with its row; and which of all rows it is, a byte
            return rows + 16 * count + min(OWN, width * count)

        return LruCache(size, SELECTED, FEWEST)

    @cached_property
    def taste_norms(self) -> NDArray[np.float32]:
        """Lengths of what the vectors of the index say of taste, `(N,)`."""
        vectors = self.index.vectors
        parts = [
            np.linalg.norm(self.encoder.directions(vectors[start : start + TOGETHER]), axis=1)
            for start in range(0, len(vectors), TOGETHER)
        ]
        return np.concatenate(parts or [np.zeros(0)]).astype(np.float32)

    @classmethod
    def load(
        cls,
        folder: Path | str,
        *,
        open_store: OpenStore = StoredHistories,
        vector_store: bool = True,
    ) -> "ServingSnapshot":
        """Load the version of a run that answers.

        Args:
            folder: Folder of the run.
            open_store: Function that gives the source of histories for a run.
            vector_store: Whether the vector store of the run is asked, if it has one.

        Raises:
            RunError: The run or its index is missing, damaged or stale.
        """
        home = Path(folder)
        return read(
            home,
            lambda version: cls.of_version(
                version, home, open_store=open_store, vector_store=vector_store
            ),
        )

    @classmethod
    def of_version(
        cls,
        version: Path,
        home: Path,
        *,
        open_store: OpenStore = StoredHistories,
        vector_store: bool = True,
    ) -> "ServingSnapshot":
        """Load one version of a run, whether it is the one that answers or not.

        Args:
            version: Folder of the version.
            home: Folder of the run.
            open_store: Function that gives the source of histories for a run.
            vector_store: Whether the vector store of the run is asked, if it has one.

        Raises:
            RunError: The version or its index is missing, damaged or stale.
        """
        run = open_version(version, home)
        index = open_index(run)
        return cls(
            run=run,
            encoder=Encoder(run),
            index=behind_store(run, index) if vector_store else index.snapshot,
            histories=open_store(run),
            open_store=open_store,
        )

    def newest(self) -> "ServingSnapshot":
        """Return the snapshot of the version that answers by now, this one if it still does.

        Raises:
            RunError: The run or its index is missing, damaged or stale.
        """
        if current(self.run.home) == self.run.folder:
            return self
        return ServingSnapshot.load(self.run.home, open_store=self.open_store)

    def with_index(self, index: Snapshot) -> "ServingSnapshot":
        """Return a snapshot that answers from another index.

        Args:
            index: Vectors under numbers of the catalogue, of the same components as before.
        """
        return replace(self, index=index)

    def vectors_of(self, movies: NDArray[np.int64]) -> Vectors:
        """Return the vectors `(Q, D)` of movies of the catalogue, given by number, `(Q,)`.

        Raises:
            RequestError: One of them is not in the index.
        """
        try:
            return self.index.vectors_of(movies)
        except KeyError as error:
            missing = movies[~np.isin(movies, self.index.ids)]
            ids = self.run.catalogue.vocabulary.ids[missing[:NAMED]].tolist()
            raise RequestError(
                f"movies are not in the index: {shown(ids)}; ask about others, or build it again"
            ) from error


def _selection(index: Snapshot, kept: NDArray[np.bool_]) -> Selection:
    """Return what restricts a search to movies that are kept, `(M,)`."""
    numbers = np.flatnonzero(kept)
    if len(index) < len(kept):
        numbers = numbers[np.isin(numbers, index.ids)]
    return index.select(numbers)
