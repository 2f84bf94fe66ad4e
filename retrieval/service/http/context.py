"""What all routes share: the engine, the threads for what takes long, and what is counted."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from starlette.requests import Request

from retrieval.data.vocabulary import Id
from retrieval.service.engine import Engine
from retrieval.service.grading import Grading
from retrieval.service.http.answers import Written
from retrieval.service.http.map import MovieMap
from retrieval.service.http.problems import Code, ProblemError
from retrieval.service.log import sqlite_path
from retrieval.service.metrics import Metrics
from retrieval.service.settings import ServiceSettings
from retrieval.service.view import Listed
from retrieval.serving.threads import search_alone

T = TypeVar("T")

logger = logging.getLogger(__name__)

# Threads for what takes longer than a list, and questions that may wait for one of them.
THREADS = 8
MOST_WAITING = 256

# Events that an operator sees.
RECENT = 50

# Seconds between two looks at what changes by itself.
REFRESH = 10.0


class RecentEvent(NamedTuple):
    """An event as an operator sees it."""

    kind: str
    user_id: Id
    movie_id: Id
    title: str
    at: int


class KeptList(NamedTuple):
    """A list as it was sent."""

    user: Id  # whom it was for
    stale: bool  # whether the log could not be asked
    written: Written


class Context:
    """What the routes of one application share.

    Args:
        engine: What answers.
        settings: How much may be asked at once.
    """

    def __init__(self, engine: Engine, settings: ServiceSettings) -> None:
        self.engine = engine
        self.settings = settings
        self.grading = Grading(time.time)
        self.metrics = Metrics(self.grading, time.time)
        self.map = MovieMap()
        self.lists = WeakKeyDictionary[Listed, KeptList]()
        self.recent: deque[RecentEvent] = deque(maxlen=RECENT)
        self.began = time.monotonic()
        self._embedded = sqlite_path(settings.database) is not None
        self._threads = ThreadPoolExecutor(
            THREADS, thread_name_prefix="slow", initializer=search_alone
        )
        self.waiting = 0  # questions for the threads, those that they answer among them

    async def quick(self, work: Callable[[], T]) -> T:
        """Do what takes a few milliseconds: here, unless it asks a database or a store far away.

        Args:
            work: What is done.
        """
        here = self._embedded and not self.engine.has_store
        return work() if here else await self.slow(work)

    async def slow(self, work: Callable[[], T]) -> T:
        """Do what takes longer, while others are answered.

        Args:
            work: What is done.

        Raises:
            ProblemError: Too many questions wait already.
        """
        if self.waiting >= THREADS + MOST_WAITING:
            raise ProblemError(
                Code.TOO_MANY_QUESTIONS, f"{MOST_WAITING} questions wait already; ask again soon"
            )
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self.waiting -= 1

    async def refresh(self) -> None:
        """Say again what changes by itself, from time to time, until this is cancelled."""
        while True:
            try:
                await self.quick(self.refresh_metrics)
            except Exception:
                logger.exception("the metrics are not up to date")
            await asyncio.sleep(REFRESH)

    def refresh_metrics(self) -> None:
        """Say again what changes by itself."""
        view = self.engine.view()
        self.metrics.refresh(
            created=datetime.fromisoformat(view.created).timestamp(),
            waiting=max(0, self.waiting - THREADS),
            stale=view.stale,
        )

    def close(self) -> None:
        """End the threads, after what they are doing."""
        self._threads.shutdown(cancel_futures=True)


def context_of(request: Request) -> Context:
    """Return what the routes of a request's application share."""
    context: Context = request.app.state.context
    return context
