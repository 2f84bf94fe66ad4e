"""What is known of one request while it is answered."""

import re
import secrets
import time
from itertools import count

from starlette.requests import Request
from starlette.types import Scope

from retrieval.serving.stopwatch import StageTimes

# Names that a caller may give a request: nothing that a log or a header could be broken with.
REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")

RECORD = "retrieval.record"


class Names:
    """Names of requests: that of this process, and a number."""

    def __init__(self) -> None:
        self._process = secrets.token_hex(4)
        self._numbers = count(1)

    def name(self, given: bytes) -> str:
        """Return the name of a request.

        Args:
            given: Name that the caller gave it; one of another form is not taken.
        """
        if given and REQUEST_ID.fullmatch(given):
            return given.decode()
        return f"{self._process}-{next(self._numbers):x}"


class Record:
    """One request: its name, when it began, and where its time goes.

    Args:
        request_id: Its name in the log.
    """

    __slots__ = ("began", "request_id", "timer")

    def __init__(self, request_id: str) -> None:
        self.began = time.perf_counter()
        self.request_id = request_id
        self.timer = StageTimes()

    def elapsed(self) -> float:
        """Return the seconds since the request began."""
        return time.perf_counter() - self.began

    def timing(self) -> str:
        """Return the value of `Server-Timing`: milliseconds of each stage and of all together."""
        stages = [
            f"{stage.replace(' ', '-')};dur={seconds * 1e3:.3f}"
            for stage, seconds in self.timer.seconds.items()
        ]
        return ", ".join([*stages, f"total;dur={self.elapsed() * 1e3:.3f}"])


def record_of(request: Request) -> Record:
    """Return the record of a request."""
    record: Record = request.scope[RECORD]
    return record


def put_record(scope: Scope, record: Record) -> None:
    """Let what answers a request find its record."""
    scope[RECORD] = record
