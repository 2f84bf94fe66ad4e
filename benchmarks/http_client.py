"""HTTP/1.1 as a load generator needs it: bytes out, an answer back, on a connection that stays."""

import json
import socket
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

# Seconds for an answer; whoever waits longer has failed.
PATIENCE = 30.0

END_OF_HEAD = b"\r\n\r\n"
LENGTH = b"\r\ncontent-length:"


class Answer(NamedTuple):
    """One answer."""

    status: int
    head: bytes  # status line and headers, in small letters
    body: bytes

    def header(self, name: str) -> str | None:
        """Return a header; None where there is none of this name."""
        _, found, rest = self.head.partition(f"\r\n{name.lower()}:".encode())
        return rest.partition(b"\r\n")[0].decode("latin-1").strip() if found else None

    def json(self) -> dict[str, Any]:
        """Return what the body says."""
        content: dict[str, Any] = json.loads(self.body)
        return content


def request(method: str, path: str, content: object = None, **headers: str) -> bytes:
    """Return a request as it is sent.

    Args:
        method: Method.
        path: Path with its parameters, quoted.
        content: What the body says, as JSON; None is no body.
        headers: Further headers, with underscores for hyphens.
    """
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    body = b""
    if content is not None:
        body = json.dumps(content).encode()
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Client:
    """One connection, for one thread; it is made when it is needed, and stays.

    Args:
        address: `http://HOST:PORT/` of a server.
        patience: Seconds for an answer.
    """

    def __init__(self, address: str, patience: float = PATIENCE) -> None:
        parts = urlsplit(address)
        self._place, self._patience = (parts.hostname, parts.port), patience
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, sent: bytes) -> Answer:
        """Return the answer to a request.

        Raises:
            OSError: There is no connection, it broke, or no answer came in time. The next request
                makes another connection.
        """
        try:
            if self._socket is None:
                self._socket = socket.create_connection(self._place, self._patience)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(sent)
            return self._answer(self._socket)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _answer(self, connection: socket.socket) -> Answer:
        received = b""
        while (end := received.find(END_OF_HEAD)) < 0:
            received += _some(connection)
        head = received[:end].lower()
        status = int(head[9:12])
        _, found, rest = head.partition(LENGTH)
        size = int(rest.partition(b"\r\n")[0]) if found and status != 304 else 0
        body = received[end + len(END_OF_HEAD) :]
        while len(body) < size:
            body += _some(connection)
        if b"\r\nconnection: close" in head:
            self.close()
        return Answer(status, head, body)


def _some(connection: socket.socket) -> bytes:
    """Return what has come.

    Raises:
        ConnectionError: The other side has closed.
    """
    some = connection.recv(1 << 18)
    if not some:
        raise ConnectionResetError("the other side closed before its answer was whole")
    return some
