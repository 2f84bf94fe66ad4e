"""A pool of processes that answer blocks: one that is lost is replaced, its blocks done again."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from retrieval.distributed.cluster import Cluster
from retrieval.errors import RecError, shown

Block = TypeVar("Block")
Answer = TypeVar("Answer")

# Handles of Ray, which has no types of its own where it is not installed.
Actor = Any
Reference = Any

# Blocks that a process has at once: the next one is there when it has done the first.
AT_ONCE = 2

# Blocks for each process that may be done before the one whose turn it is.
AHEAD = 8

# Processes that may be lost, for each of the pool, while no block is done.
LOST = 3


class Pool(Generic[Block, Answer]):
    """Processes of a cluster, each an actor with the methods `ready` and `answer`.

    Ray itself repeats nothing here. An actor that is restarted by Ray keeps its blocks, so where a
    machine is gone and no other has room, they would wait for ever. Here they go to whichever
    process is free.

    Args:
        cluster: Where they run.
        start: Function that starts one, and returns its handle.
        workers: Number of processes.
    """

    def __init__(self, cluster: Cluster, start: Callable[[], Actor], workers: int) -> None:
        self._ray, self._start, self._workers = cluster.ray, start, workers
        self._actors: list[Actor] = []
        self._free: list[Actor] = []  # actors, one that has room for two blocks is here twice
        self._running: dict[Reference, tuple[Actor, tuple[int, Block] | None]] = {}
        self._again: deque[tuple[int, Block]] = deque()
        self._lost = 0

    def answers(self, blocks: Iterable[Block]) -> Iterator[Answer]:
        """Give the answer to each block once, in their order.

        Raises:
            RecError: A block cannot be answered, or one process after the other is lost.
        """
        numbered = enumerate(blocks)
        done: dict[int, Answer] = {}
        given = 0  # answers
        sent = 0  # blocks
        more = True
        for _ in range(self._workers):
            self._add()
        while more or self._again or done or any(task for _, task in self._running.values()):
            while self._free and (self._again or (more and sent < given + AHEAD * self._workers)):
                if self._again:
                    task = self._again.popleft()
                else:
                    following = next(numbered, None)
                    if following is None:
                        more = False
                        continue
                    task, sent = following, sent + 1
                actor = self._free.pop()
                self._running[actor.answer.remote(task[1])] = (actor, task)
            if more or self._again or self._running:
                finished = self._finished()
                if finished is not None:
                    done[finished[0]] = finished[1]
            while given in done:
                yield done.pop(given)
                given += 1

    def _add(self) -> None:
        """Start a process; it is given blocks once it is ready."""
        actor = self._start()
        self._actors.append(actor)
        self._running[actor.ready.remote()] = (actor, None)

    def _finished(self) -> tuple[int, Answer] | None:
        """Wait for one process; return the block that it has done and the answer, if it has."""
        if not self._running:
            return None
        (reference,), _ = self._ray.wait(list(self._running), num_returns=1)
        actor, task = self._running.pop(reference)
        errors = self._ray.exceptions
        try:
            answer: Answer = self._ray.get(reference)
        except errors.RayTaskError as error:
            if isinstance(error.cause, RecError):
                raise error.cause from None
            raise
        except errors.RayError as error:
            if getattr(error, "actor_init_failed", False):
                raise RecError(
                    f"a process cannot open the run: {shown(error)}; it has to be under the same "
                    "path, with the same version of this package, on every machine"
                ) from error
            self._replace(actor, error)
            if task is not None:
                self._again.append(task)
            return None
        if task is None:
            self._free += [actor] * AT_ONCE
            return None
        self._free.append(actor)
        self._lost = 0
        return task[0], answer

    def _replace(self, actor: Actor, error: Exception) -> None:
        """Start another process in place of one that is lost."""
        self._free = [each for each in self._free if each is not actor]
        if actor not in self._actors:  # a block of one that was replaced
            return
        self._actors.remove(actor)
        self._lost += 1
        if self._lost > LOST * self._workers:
            raise RecError(
                f"{self._lost} processes in a row were lost before one of them had answered, the "
                f"last one by {type(error).__name__}: too little memory? give fewer --workers"
            )
        self._add()
