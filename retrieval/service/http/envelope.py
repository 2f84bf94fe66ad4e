"""What every request passes through: its name, its time, who may ask, and how errors end."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from retrieval.service.http.guard import Guard
from retrieval.service.http.problems import Code, problem_of, problem_response
from retrieval.service.http.record import Names, Record, put_record
from retrieval.service.metrics import Metrics

_log = logging.getLogger(__name__)

JSON_POLICY = "default-src 'none'; frame-ancestors 'none'"
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)

# Of every answer.
SECURE = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
POLICY = b"content-security-policy"
JSON_HEADERS = (*SECURE, (POLICY, JSON_POLICY.encode()))

# The custom of nginx for who asked and did not wait.
GONE = 499

# A request that took longer is worth a line in the log.
SLOW = 1.0

# As labels of metrics: whoever asks may make up others.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"


class Envelope:
    """Puts each request into an envelope, as a pure ASGI middleware.

    Whatever the application raises becomes a problem; what it does not expect is logged.

    Args:
        app: What answers.
        guard: Who may ask.
        metrics: Where requests are counted.
    """

    def __init__(self, app: ASGIApp, guard: Guard, metrics: Metrics) -> None:
        self._app = app
        self._guard = guard
        self._metrics = metrics
        self._names = Names()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        record = Record(self._names.name(headers.get(b"x-request-id", b"")))
        put_record(scope, record)
        status = 0

        async def reply(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _with(message["headers"], record)
            await send(message)

        try:
            # Routes are found by the path as it was sent, where %2F in an id is no slash yet.
            if b"%" in (sent := scope.get("raw_path", b"")):
                scope["path"] = sent.decode("ascii")
            self._guard.check(scope, headers)
            await self._app(scope, receive, reply)
        except ClientDisconnect:
            status = status or GONE
        except asyncio.CancelledError:
            status = status or GONE
            raise
        except Exception as error:
            problem = problem_of(error)
            if problem.code is Code.INTERNAL_ERROR:
                _log.exception("request failed", extra={"request_id": record.request_id})
            if status:  # what has begun cannot be taken back; the connection is closed
                raise
            await problem_response(problem, record.request_id)(scope, receive, reply)
        finally:
            self._count(scope, status, record)

    def _count(self, scope: Scope, status: int, record: Record) -> None:
        route = getattr(scope.get("route"), "path", OTHER)
        method = scope["method"] if scope["method"] in METHODS else OTHER
        seconds = record.elapsed()
        self._metrics.answered(route, method, status, seconds, record.timer.seconds)
        level = logging.DEBUG
        if status >= 500:
            level = logging.ERROR
        elif seconds > SLOW:
            level = logging.WARNING
        if _log.isEnabledFor(level):
            facts: dict[str, Any] = {
                "request_id": record.request_id,
                "method": method,
                "route": route,
                "status": status,
                "ms": round(seconds * 1e3, 3),
            }
            _log.log(level, "request", extra=facts)


def _with(headers: Iterable[tuple[bytes, bytes]], record: Record) -> list[tuple[bytes, bytes]]:
    """Return headers of an answer with those that every answer has."""
    own = list(headers)
    own += SECURE if any(name == POLICY for name, _ in own) else JSON_HEADERS
    own.append((b"x-request-id", record.request_id.encode()))
    own.append((b"server-timing", record.timing().encode()))
    return own
