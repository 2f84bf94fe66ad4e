"""Real shards on loopback: processes that hold a part of an index each, and who asks all of them.

A message is an array of bytes with its length before it; nothing is pickled.
"""

import os
import select
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from index.neighbours import Neighbours
from index.store import load_index
from index.vectors import Ids, Vectors

# What the parts of an index are saved as made by.
SOURCE = "cluster"

LOOPBACK = "127.0.0.1"

# Seconds that a shard may take to start, and to answer.
PATIENCE = 60.0

# Bytes of the seconds that come before ids and scores in an answer, and of an id with its score.
HEAD, EACH = 8, 16


class Answered(NamedTuple):
    """What N questions took, in seconds."""

    taken: NDArray[np.float64]  # (N,) from when each was due until its lists were merged
    late: NDArray[np.float64]  # (N,) from when each was due until it was sent
    search: NDArray[np.float64]  # (N, S) in each shard, as the shard measures it
    encode: NDArray[np.float64]  # (N,) of sending it to all shards
    merge: NDArray[np.float64]  # (N,)
    found: list[Neighbours]  # N times the one list, (1, K)

    @property
    def network(self) -> NDArray[np.float64]:
        """`(N,)` of a message, one way; only of questions that did not wait for each other."""
        inside = self.search.max(axis=1) + self.encode + self.merge + self.late
        return np.asarray(np.maximum(self.taken - inside, 0.0) / 2)


def merge(parts: Sequence[Neighbours], k: int) -> Neighbours:
    """Return the best k of what shards found, in the order of one index.

    Scores are exact, and ties go to the smaller id, so this is what one index would return.

    Args:
        parts: Results of each shard for the same Q queries.
        k: Number of results for each query.
    """
    ids = np.concatenate([part.ids for part in parts], axis=1)  # (Q, S * K)
    scores = np.concatenate([part.scores for part in parts], axis=1)
    order = np.lexsort((ids, -scores))[:, :k]
    return Neighbours(
        np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1)
    )


def question_bytes(query: Vectors, k: int, excluded: Ids) -> bytes:
    """Return what a shard is asked: k, the width of the query `(D,)`, the query, and ids."""
    return np.array([k, len(query)], np.int64).tobytes() + query.tobytes() + excluded.tobytes()


def question_of(message: bytes) -> tuple[Vectors, int, Ids]:
    """Return the query `(1, D)`, k, and the excluded ids that `question_bytes` wrote."""
    k, width = np.frombuffer(message, np.int64, 2).tolist()
    query = np.frombuffer(message, np.float32, width, 16)
    # The ids may lie at an odd place, which FAISS must not be handed.
    excluded = np.frombuffer(message[16 + 4 * width :], np.int64)
    return query.reshape(1, width), k, excluded


def answer_bytes(seconds: float, found: Neighbours) -> bytes:
    """Return what a shard answers: the seconds of its search, ids and scores `(1, K)`."""
    return np.float64(seconds).tobytes() + found.ids.tobytes() + found.scores.tobytes()


def answer_of(message: bytes) -> tuple[float, Neighbours]:
    """Return what `answer_bytes` wrote."""
    k = (len(message) - HEAD) // EACH
    seconds = float(np.frombuffer(message, np.float64, 1)[0])
    ids = np.frombuffer(message, np.int64, k, HEAD).reshape(1, k)
    return seconds, Neighbours(ids, np.frombuffer(message, np.float64, k, HEAD + 8 * k)[None, :])


def serve(folder: Path, ready: Connection) -> None:
    """Answer from a saved index until the other side closes; one question at a time.

    Args:
        folder: Folder of the index.
        ready: Connection to which the port is written.
    """
    faiss.omp_set_num_threads(1)
    index = load_index(folder, SOURCE).snapshot
    with Listener((LOOPBACK, 0)) as listener:
        ready.send_bytes(str(listener.address[1]).encode())
        with listener.accept() as connection:
            send_at_once(connection)
            while True:
                try:
                    message = connection.recv_bytes()
                except EOFError:
                    return
                began = time.perf_counter()
                query, k, excluded = question_of(message)
                found = index.search(query, k, [excluded])
                connection.send_bytes(answer_bytes(time.perf_counter() - began, found))


def send_at_once(connection: Connection) -> None:
    """Let no message wait until the one before was acknowledged, which takes up to 40 ms."""
    with socket.socket(fileno=os.dup(connection.fileno())) as same:
        same.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@contextmanager
def shards(folders: Sequence[Path]) -> Iterator[list[Connection]]:
    """Give connections to one process for each folder of an index; the processes end with it.

    Raises:
        SystemExit: A shard does not start.
    """
    context = get_context("spawn")
    with ExitStack() as stack:
        connections: list[Connection] = []
        for folder in folders:
            here, there = context.Pipe()
            process = context.Process(target=serve, args=(folder, there), daemon=True)
            process.start()
            stack.callback(process.join, PATIENCE)
            if not here.poll(PATIENCE):
                process.kill()
                raise SystemExit(f"the shard of {folder.name} did not start")
            connection = Client((LOOPBACK, int(here.recv_bytes())))
            send_at_once(connection)
            stack.callback(connection.close)
            connections.append(connection)
        yield connections


def drive(
    connections: Sequence[Connection],
    queries: Vectors,
    excluded: Sequence[Ids],
    k: int,
    due: NDArray[np.float64] | None = None,
) -> Answered:
    """Ask all shards each question, and merge.

    Args:
        connections: Connections to the S shards.
        queries: Queries, `(N, D)`.
        excluded: N times the ids that must not be found.
        k: Number of results.
        due: Seconds from the start at which questions are sent, `(N,)`, whether earlier ones were
            answered or not; None sends each when the one before was answered.
    """
    count = len(queries)
    numbers = {connection: shard for shard, connection in enumerate(connections)}
    received = dict.fromkeys(connections, 0)
    parts: list[list[Neighbours]] = [[] for _ in range(count)]
    search = np.zeros((count, len(connections)))
    sent_at, sending, merging, done = (np.zeros(count) for _ in range(4))
    found: list[Neighbours] = []
    began, sent = time.perf_counter(), 0
    moments = None if due is None else due + began
    while len(found) < count:
        now = time.perf_counter()
        wait = PATIENCE
        if sent < count:
            wait = 0.0 if sent == len(found) else PATIENCE
            if moments is not None:
                wait = moments[sent] - now
            if wait <= 0:
                message = question_bytes(queries[sent], k, excluded[sent])
                for connection in connections:
                    connection.send_bytes(message)
                sent_at[sent], sending[sent] = now, time.perf_counter() - now
                sent += 1
                continue
        # It waits for microseconds, where polling waits for whole milliseconds.
        ready, _, _ = select.select(connections, [], [], wait)
        for connection in ready:
            arrived = time.perf_counter()
            place, shard = received[connection], numbers[connection]
            search[place, shard], part = answer_of(connection.recv_bytes())
            received[connection] += 1
            parts[place].append(part)
            if len(parts[place]) == len(connections):
                found.append(merge(parts[place], k))
                done[place] = time.perf_counter()
            merging[place] += time.perf_counter() - arrived
    if moments is None:
        moments = sent_at
    return Answered(done - moments, sent_at - moments, search, sending, merging, found)
