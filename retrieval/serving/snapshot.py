"""The serving snapshot: everything that answers, of one version of a run."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.snapshot import Snapshot
from index.vectors import Vectors
from retrieval.errors import RequestError
from retrieval.run.folder import Run, open_index, open_version
from retrieval.run.versions import current, read
from retrieval.serving.encoder import Encoder
from retrieval.serving.history import HistoryStore, StoredHistories

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

    @classmethod
    def load(
        cls, folder: Path | str, *, open_store: OpenStore = StoredHistories
    ) -> "ServingSnapshot":
        """Load the version of a run that answers.

        Args:
            folder: Folder of the run.
            open_store: Function that gives the source of histories for a run.

        Raises:
            RunError: The run or its index is missing, damaged or stale.
        """
        home = Path(folder)

        def whole(version: Path) -> "ServingSnapshot":
            run = open_version(version, home)
            return cls(
                run=run,
                encoder=Encoder(run),
                index=open_index(run).snapshot,
                histories=open_store(run),
                open_store=open_store,
            )

        return read(home, whole)

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
            index: Vectors under ids of the catalogue, of the same components as before.
        """
        return replace(self, index=index)

    def vectors_of(self, movies: NDArray[np.int64]) -> Vectors:
        """Return the vectors `(Q, D)` of movies of the catalogue, given by id, `(Q,)`.

        Raises:
            RequestError: One of them is not in the index.
        """
        try:
            return self.index.vectors_of(movies)
        except KeyError as error:
            raise RequestError(
                f"movies are {error.args[0]}; ask about others, or build the index again"
            ) from error
