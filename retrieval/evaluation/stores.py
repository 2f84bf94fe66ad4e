"""Vector stores beside FAISS: recall and time of the same questions, in one process."""

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from index.kinds import Kind, SearchParameters
from index.search import Index
from index.store import fingerprint
from index.stores.address import StoreAddress
from index.stores.backend import Connection
from index.stores.errors import StoreError
from index.stores.loading import connect, load, unload
from index.stores.store import KINDS
from index.stores.trials import StoreTrial, trials
from index.tuning import Questions
from index.vectors import Ids, Vectors
from retrieval.errors import RunError
from retrieval.evaluation.latency import larger
from retrieval.pipeline.indexing import questions
from retrieval.run.stores import behind
from retrieval.serving.recommender import Recommender

FAISS = "faiss"


class Compared(NamedTuple):
    """What one engine is worth in a catalogue of a size."""

    movies: int
    trial: StoreTrial
    load_seconds: float

    def as_dict(self) -> dict[str, object]:
        """Return the row of a table."""
        facts = {"movies": self.movies, **self.trial.as_dict()}
        return facts | {"load_seconds": round(self.load_seconds, 2)}


def beside_faiss(
    recommender: Recommender,
    stores: Sequence[StoreAddress],
    sizes: Sequence[int],
    target: float,
    seed: int,
) -> Iterator[Compared]:
    """Measure stores and FAISS in catalogues that look like the run's, for its users' questions.

    What is loaded into a store is removed again.

    Args:
        recommender: What holds the run and its index.
        stores: Addresses of the stores.
        sizes: Numbers of movies in the catalogues.
        target: Recall that is wanted.
        seed: Seed of the draws.

    Raises:
        RunError: A store cannot be used.
    """
    sample = questions(recommender.run)
    for size in sizes:
        vectors, asked = larger(recommender.index, sample, size, seed)
        yield from compared(vectors, asked, stores, target)


def compared(
    vectors: Vectors, asked: Questions, stores: Sequence[StoreAddress], target: float
) -> Iterator[Compared]:
    """Yield what FAISS and each store are worth for questions about vectors.

    Args:
        vectors: Vectors, `(M, D)`.
        asked: Questions about them.
        stores: Addresses of the stores.
        target: Recall that is wanted.

    Raises:
        RunError: A store cannot be used.
    """
    ids = np.arange(len(vectors))
    exact = Index.build(ids, vectors)
    truth = exact.search(asked.queries, asked.k, asked.excluded).ids
    for kind in KINDS:
        began = time.perf_counter()
        index = Index.build(ids, vectors, kind, SearchParameters())
        spent = time.perf_counter() - began
        yield Compared(len(ids), _last(FAISS, index, asked, truth, target), spent)
    for address in stores:
        for kind in KINDS:
            with loaded(address, exact, kind) as (connection, spent):
                index = Index(behind(connection, exact))
                trial = _last(address.engine, index, asked, truth, target)
                if connection.away:
                    raise RunError(f"{address.kept} went away while it was measured; try again")
            yield Compared(len(ids), trial, spent)


@contextmanager
def loaded(address: StoreAddress, index: Index, kind: Kind) -> Iterator[tuple[Connection, float]]:
    """Load an index into a store for as long as the block lasts; give the seconds that it took.

    Raises:
        RunError: The store cannot be used.
    """
    alias = f"rec_bench_{secrets.token_hex(4)}"
    connection = Connection(address, alias, fingerprint(index, kind), kind)
    began = time.perf_counter()
    try:
        store = connect(address)
        try:
            load(store, alias, connection.fingerprint, index.vectors, kind)
            connection.open()
            yield connection, time.perf_counter() - began
        finally:
            unload(store, alias)
            store.close()
    except StoreError as error:
        raise RunError(str(error)) from error


def _last(engine: str, index: Index, asked: Questions, truth: Ids, target: float) -> StoreTrial:
    """Return the trial that finds enough, or the one with the largest parameters."""
    return list(trials(engine, index, asked, truth, target))[-1]
