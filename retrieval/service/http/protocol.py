"""HTTP/1.1 as uvicorn speaks it, with a bound on what comes before a body.

The bound is on bytes and on seconds; uvicorn has neither, and would keep a header for as long as
somebody goes on sending it.
"""

import asyncio
from asyncio.events import TimerHandle
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from retrieval.service.http.problems import STATUS, Code, ProblemError, problem_response

# Bytes of a request line and its headers, and seconds in which they have to be there.
LARGEST_HEAD = 64 * 1024
PATIENCE = 30.0


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._head = 0  # bytes of it so far
        self._in_head = True
        self._patience: TimerHandle | None = None
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take in what has come."""
        if self._in_head:
            self._head += len(data)
        super().data_received(data)  # which finds where the head ends
        if not self._in_head or not self._head or self.transport.is_closing():
            return
        if self._head > LARGEST_HEAD:
            detail = f"a request has at most {LARGEST_HEAD:,} bytes before its body"
            self._refuse(ProblemError(Code.HEAD_TOO_LARGE, detail))
        else:
            self._wait()

    def on_headers_complete(self) -> None:
        """Begin to answer."""
        self._in_head, self._head = False, 0
        self._done_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Be ready for the next request."""
        self._in_head = True
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._done_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._refuse(ProblemError(Code.MALFORMED_REQUEST, msg))

    def _wait(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(PATIENCE, self._give_up)

    def _give_up(self) -> None:
        self.transport.close()

    def _done_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _refuse(self, problem: ProblemError) -> None:
        """Answer with a problem, and close the connection."""
        answer = problem_response(problem, "")
        status = STATUS[problem.code]
        head = [f"HTTP/1.1 {status.value} {status.phrase}".encode(), b"connection: close"]
        head += [b"%s: %s" % header for header in answer.raw_headers]
        self.transport.write(b"\r\n".join([*head, b"", bytes(answer.body)]))
        self.transport.close()
