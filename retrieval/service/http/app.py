"""The application: routes, what every request passes through, and the engine behind them."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from retrieval.service.engine import Engine
from retrieval.service.http import events, lists, movies, operations, people, runs
from retrieval.service.http.context import Context
from retrieval.service.http.documentation import PlainRoute, description
from retrieval.service.http.envelope import Envelope
from retrieval.service.http.guard import Guard
from retrieval.service.http.keys import read_keys
from retrieval.service.http.pages import add_pages, described
from retrieval.service.http.problems import (
    Code,
    method_not_allowed,
    problem_of,
    problem_response,
)
from retrieval.service.http.record import record_of
from retrieval.service.http.release import release
from retrieval.service.settings import ServiceSettings, database_beside

# The first one that fits a path answers, so that those asked most come first.
ROUTES = (
    *lists.ROUTES,
    *events.ROUTES,
    *people.ROUTES,
    *movies.ROUTES,
    *runs.ROUTES,
    *operations.ROUTES,
)

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")

ABOUT = (
    "Lists of movies that change with every event. An error is a problem as RFC 9457 has it, whose "
    "`code` stays the same. Every answer names its request in `X-Request-ID`, and says in "
    "`Server-Timing` where its time went. Answers to questions name in their `ETag` the version of "
    "the run that they are of."
)

TAGS = [
    {"name": "lists", "description": "What to watch next."},
    {"name": "events", "description": "What users did; it counts at once."},
    {"name": "users", "description": "One user."},
    {"name": "movies", "description": "Movies."},
    {"name": "runs", "description": "Versions of the run."},
    {"name": "operations", "description": "Whether all is well."},
]

# What a browser lets pages of other origins read.
EXPOSED = ("ETag", "X-Request-ID", "Server-Timing", "Retry-After")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
SENT = ("Authorization", "Content-Type", "Idempotency-Key", "X-API-Key", "X-Request-ID")


def create_app(
    source: Engine | ServiceSettings | Path | str, *, hosts: Sequence[str] = ()
) -> FastAPI:
    """Return an application that answers from a run; it can be mounted in another one.

    An engine that it opens itself it closes too, when the application ends. One that is mounted in
    another application is told nothing of its end: give it an `Engine`, and close that.

    Args:
        source: What answers, how it is opened, or the folder of a run, whose log is then beside it.
        hosts: Names by which the service may be called; empty is any.

    Raises:
        RecError: The run, the log or the file of keys cannot be read.
    """
    settings = _settings_of(source)
    keys = None if settings.keys_file is None else read_keys(settings.keys_file)
    engine = source if isinstance(source, Engine) else Engine.open(settings)
    context = Context(engine, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        refreshing = asyncio.create_task(context.refresh())
        yield
        refreshing.cancel()
        with suppress(asyncio.CancelledError):
            await refreshing
        context.close()
        if engine is not source:
            engine.close()

    app = FastAPI(
        title="rec",
        version=release(),
        description=ABOUT,
        openapi_tags=TAGS,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.context = context
    app.router.route_class = PlainRoute
    for route in ROUTES:
        route.add_to(app)
    app.add_route("/metrics", operations.metrics, methods=["GET"], include_in_schema=False)
    add_pages(app, described(description(app, ROUTES)))
    app.add_exception_handler(HTTPException, _refused)
    app.add_middleware(
        Envelope, guard=Guard(keys, tuple(hosts), settings.cors), metrics=context.metrics
    )
    if settings.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors,
            allow_methods=METHODS,
            allow_headers=SENT,
            expose_headers=EXPOSED,
        )
    return app


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def hosts_of(settings: ServiceSettings) -> tuple[str, ...]:
    """Return the names by which a service may be called; empty is any.

    Without keys, a page of somebody else could make its own name mean this machine, and then ask
    as if it came from here.
    """
    if settings.keys_file is not None or not is_loopback(settings.host):
        return ()
    return tuple(dict.fromkeys((*LOOPBACK_NAMES, settings.host)))


def _settings_of(source: Engine | ServiceSettings | Path | str) -> ServiceSettings:
    match source:
        case Engine():
            return source.settings
        case ServiceSettings():
            return source
        case _:
            run = Path(source)
            return ServiceSettings.model_validate({"run": run, "database": database_beside(run)})


async def _refused(request: Request, error: Exception) -> Response:
    """Answer what no route takes."""
    problem = problem_of(error)
    if problem.code is Code.METHOD_NOT_ALLOWED:
        problem = method_not_allowed(_methods(request))
    return problem_response(problem, record_of(request).request_id)


def _methods(request: Request) -> list[str]:
    """Return the methods that the path of a request takes."""
    found: set[str] = set()
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return sorted(found)
