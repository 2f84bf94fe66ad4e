"""A stopwatch: where the time of answers goes, stage by stage."""

import threading
import time
from collections import defaultdict


class Stopwatch(threading.local):
    """Adds up seconds by stage; stopped, it costs next to nothing.

    Each thread has a stopwatch of its own under the same name, and hears nothing of the others.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._last: float | None = None

    def start(self) -> None:
        """Forget what was measured, and start to measure."""
        self.seconds.clear()
        self._last = time.perf_counter()

    def stop(self) -> None:
        """Measure no more."""
        self._last = None

    def lap(self, stage: str) -> None:
        """Say what the time since the last lap was for."""
        if self._last is None:
            return
        moment = time.perf_counter()
        self.seconds[stage] += moment - self._last
        self._last = moment
