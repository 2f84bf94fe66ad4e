"""A server that speaks TLS, and passes on what it reads to one that does not."""

import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import NamedTuple


class Certificate(NamedTuple):
    """A certificate that is signed by itself, and its key."""

    certificate: Path
    key: Path


def certificate(folder: Path) -> Certificate:
    """Make a certificate for `localhost` in a new folder."""
    folder.mkdir()
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    names = ("-addext", "subjectAltName=DNS:localhost")
    files = ("-keyout", str(made.key), "-out", str(made.certificate))
    subprocess.run([*words.split(), *names, *files], check=True, capture_output=True)
    return made


@contextmanager
def tls_proxy(port: int, server: Certificate, client: Certificate) -> Iterator[int]:
    """Pass connections with a client's certificate on to a port of this machine; yield the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*server)
    context.load_verify_locations(client.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])  # gRPC's
    with socket.create_server(("127.0.0.1", 0)) as listening:
        Thread(target=_accept, args=(listening, context, port), daemon=True).start()
        yield listening.getsockname()[1]


def _accept(listening: socket.socket, context: ssl.SSLContext, port: int) -> None:
    with suppress(OSError):  # closed
        while True:
            connection, _ = listening.accept()
            Thread(target=_serve, args=(connection, context, port), daemon=True).start()


def _serve(connection: socket.socket, context: ssl.SSLContext, port: int) -> None:
    """Pass on both ways until either side ends; who shows no certificate is not served."""
    with (
        suppress(OSError),
        context.wrap_socket(connection, server_side=True) as near,
        socket.create_connection(("127.0.0.1", port)) as far,
    ):
        back = Thread(target=_pass_on, args=(far, near), daemon=True)
        back.start()
        _pass_on(near, far)
        back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while some := source.recv(65536):
            target.sendall(some)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
