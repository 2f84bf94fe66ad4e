"""Lists for files of users, made by processes of a cluster that each hold the run."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from retrieval.distributed.cluster import Cluster
from retrieval.distributed.pool import Pool
from retrieval.run.folder import Run
from retrieval.serving.blocks import ListBlock, ListJob, lists_of
from retrieval.serving.recommender import Recommender
from retrieval.serving.results import TopK
from retrieval.serving.snapshot import ServingSnapshot
from retrieval.serving.threads import configure_threads


class Answer(NamedTuple):
    """What a process makes of a block."""

    lists: TopK
    notes: list[str]  # warnings, as the process logged them


class _Notes(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one text."""
        self.texts.append(record.getMessage())


class Lister:
    """A process that answers: one version of a run, mapped into memory.

    Args:
        home: Folder of the run.
        version: Folder of the version, the same for all processes whatever is promoted meanwhile.
        job: What the lists are to be.

    Raises:
        RunError: The version is not there, or damaged.
    """

    def __init__(self, home: Path, version: Path, job: ListJob) -> None:
        configure_threads()
        self._recommender = Recommender(ServingSnapshot.of_version(version, home))
        self._job, self._notes = job, _Notes()
        logging.getLogger("retrieval").addHandler(self._notes)

    def ready(self) -> None:
        """Return when the run is open."""

    def answer(self, block: ListBlock) -> Answer:
        """Return the lists of a block."""
        self._notes.texts = []
        return Answer(lists_of(self._recommender, self._job, block), self._notes.texts)


def lists_on(
    cluster: Cluster, run: Run, job: ListJob, blocks: Iterable[ListBlock], workers: int | None
) -> Iterator[Answer]:
    """Give the lists of blocks, in their order.

    Args:
        cluster: Where they are made.
        run: Run that answers, under the same path on every machine.
        job: What the lists are to be.
        blocks: The users.
        workers: Number of processes; None is one for each CPU.

    Raises:
        RecError: See `Pool.answers`.
    """
    remote = cluster.ray.remote(num_cpus=1, max_restarts=0)(Lister)
    home, version = run.home.resolve(), run.folder.resolve()
    pool: Pool[ListBlock, Answer] = Pool(
        cluster, lambda: remote.remote(home, version, job), workers or cluster.cpus
    )
    yield from pool.answers(blocks)
