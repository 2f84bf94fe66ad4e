"""The command that serves a run over HTTP."""

import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from retrieval.cli.display import complain, note
from retrieval.cli.options import RunOption, choice, run_or_newest
from retrieval.errors import RequestError, shown
from retrieval.options import LogLevel

if TYPE_CHECKING:
    from retrieval.service.settings import ServiceSettings

# Groups of options in the help.
WHERE, SAFETY = "Where", "Who may ask"

# Connections that wait to be taken in.
BACKLOG = 2048

# Open files that a service may want: a connection is one.
FILES = 65_536


def serve(
    run: RunOption = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at.", rich_help_panel=WHERE)
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(min=0, max=65_535, help="Port; 0 is any free one.", rich_help_panel=WHERE),
    ] = 8000,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Processes that answer.", rich_help_panel=WHERE)
    ] = 1,
    database: Annotated[
        str | None,
        typer.Option(
            metavar="URL|PATH",
            help="Log of events: a SQLite file, by default beside the run, or postgresql://...",
            rich_help_panel=WHERE,
        ),
    ] = None,
    open_page: Annotated[
        bool, typer.Option("--open", help="Open the page in a browser.", rich_help_panel=WHERE)
    ] = False,
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File of API keys, one a line, plain or as sha256:HEX.",
            rich_help_panel=SAFETY,
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure", help="Answer other machines without a key.", rich_help_panel=SAFETY
        ),
    ] = False,
    cors: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="Origin whose pages may ask too; may be repeated.",
            rich_help_panel=SAFETY,
        ),
    ] = None,
    log_level: Annotated[
        LogLevel,
        choice(
            "level", LogLevel, "--log-level", words="Least that is logged; debug has each request."
        ),
    ] = LogLevel.INFO,
) -> None:
    """Serve a run over HTTP: lists, ratings and events, and a page to look at them.

    Events count at once, and are kept. SIGTERM or Ctrl-C ends it in order.
    """
    from retrieval.service.http.app import is_loopback
    from retrieval.service.http.keys import read_keys
    from retrieval.service.settings import ServiceSettings, database_beside

    folder = run_or_newest(run)
    given: dict[str, Any] = {
        "run": folder,
        "database": database_beside(folder) if database is None else database,
        "host": host,
        "port": port,
        "workers": workers,
        "keys_file": keys,
        "cors": [_origin(each) for each in cors or []],
        "log_level": log_level,
    }
    settings = ServiceSettings.model_validate(given)
    if keys is not None:
        read_keys(keys)
    elif not is_loopback(host):
        if not insecure:
            raise RequestError(
                f"{shown(host)} can be reached from other machines: give --keys FILE, with keys "
                "from openssl rand -hex 32, or --insecure to let anybody read and change everything"
            )
        complain(
            f"WARNING: anybody who reaches {shown(host)}:{port} can read and change everything; "
            "give --keys FILE"
        )
    listener = _listener(host, port)
    address = _address(listener)
    _raise_file_limit()
    if open_page:
        import webbrowser

        webbrowser.open(address)
    if sys.stderr.isatty():
        note(f"the page is {address} and the description {address}docs; Ctrl-C ends it")
    with listener:
        if workers == 1:
            _serve_here(settings, listener, address)
        else:
            _serve_with_workers(settings, listener, address)


def _serve_here(settings: "ServiceSettings", listener: socket.socket, address: str) -> None:
    """Answer in this process."""
    import uvicorn

    from retrieval.service.http.worker import application

    app = application(settings)
    _announce(settings, address)
    with _ending_in_order():
        uvicorn.Server(uvicorn.Config(app, **_UVICORN)).run(sockets=[listener])


def _serve_with_workers(settings: "ServiceSettings", listener: socket.socket, address: str) -> None:
    """Look after processes that answer: one that dies is replaced."""
    import os
    import tempfile

    import uvicorn
    from uvicorn.supervisors import Multiprocess

    from retrieval.run.folder import open_run
    from retrieval.service.http.worker import SETTINGS
    from retrieval.service.log import open_log
    from retrieval.service.logs import configure_logs
    from retrieval.service.metrics import FOLDER

    # What is wrong with either is said once, and not by each worker.
    open_run(settings.run)
    open_log(settings.database).close()
    configure_logs(settings.log_level)
    _announce(settings, address)
    with tempfile.TemporaryDirectory(prefix="rec-metrics-") as folder:
        os.environ |= {FOLDER: folder, SETTINGS: settings.model_dump_json()}
        config = uvicorn.Config(
            "retrieval.service.http.worker:worker",
            factory=True,
            workers=settings.workers,
            timeout_worker_healthcheck=30,
            **_UVICORN,
        )
        Multiprocess(config, sockets=[listener]).run()


# How a process answers; the log and the metrics of the service take the place of uvicorn's lines.
_UVICORN: dict[str, Any] = {
    "http": "retrieval.service.http.protocol:BoundedProtocol",
    "ws": "none",
    "lifespan": "on",
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "proxy_headers": False,
    "backlog": BACKLOG,
    "timeout_keep_alive": 75,
    "timeout_graceful_shutdown": 10,
}


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Let a signal, which ends the server in order and comes again afterwards, do nothing more."""
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    for each in before:
        signal.signal(each, lambda *_: None)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _announce(settings: "ServiceSettings", address: str) -> None:
    import logging

    facts = {"address": address, "run": str(settings.run), "workers": settings.workers}
    logging.getLogger("retrieval.service").info("listening", extra=facts)


def _origin(text: str) -> str:
    """Return an origin as browsers send it.

    Raises:
        RequestError: It is none.
    """
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text.strip().rstrip("/").lower())
    except ValueError:
        parts = urlsplit("")
    if (
        parts.scheme not in {"http", "https"}
        or parts.geturl() != f"{parts.scheme}://{parts.netloc}"
    ):
        raise RequestError(
            f"'{shown(text)}' is no origin; write it as https://example.org, with a port if any"
        )
    return parts.geturl()


def _listener(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        RequestError: It cannot, as there is no such address here, or the port is taken.
    """
    try:
        family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise RequestError(f"there is no address {shown(host)}: {error.strerror}") from error
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(place)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise RequestError(
            f"cannot listen at {shown(host)}:{port}: {error.strerror}; "
            "give another --port, or --port 0 for any"
        ) from error
    listener.set_inheritable(True)
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _raise_file_limit() -> None:
    """Allow as many open files as this process may have: a connection is one."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
