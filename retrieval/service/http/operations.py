"""What operators ask: whether the service is well, what it counts, and what it is about."""

import time
from functools import partial

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from retrieval.data import columns
from retrieval.service.http.answers import done
from retrieval.service.http.context import Context, context_of
from retrieval.service.http.documentation import Route
from retrieval.service.http.problems import Code, ProblemError
from retrieval.service.http.reading import parameters_of
from retrieval.service.http.release import release
from retrieval.service.http.schemas import NoParameters
from retrieval.service.http.shapes import HealthShape, ServiceShape, StatsShape

NAME = "rec"


async def live(request: Request) -> Response:
    """Whether the process lives."""
    parameters_of(request, NoParameters)
    return done({"status": "live"})


async def ready(request: Request) -> Response:
    """Whether it can answer, from which version, and whether the latest events are missing."""
    context = context_of(request)
    parameters_of(request, NoParameters)
    return await context.quick(partial(_ready, context))


async def metrics(request: Request) -> Response:
    """What is counted, for Prometheus."""
    context = context_of(request)
    return await context.slow(partial(_metrics, context))


async def about(request: Request) -> Response:
    """What the service is about: its run, the scale of ratings, what can be filtered by."""
    context = context_of(request)
    parameters_of(request, NoParameters)
    return await context.slow(partial(_about, context))


async def stats(request: Request) -> Response:
    """How the service does: latencies, events, and how good its predictions were lately."""
    context = context_of(request)
    parameters_of(request, NoParameters)
    return await context.slow(partial(_stats, context))


ROUTES = (
    Route(method="GET", path="/health/live", handler=live, shape=HealthShape, tag="operations"),
    Route(method="GET", path="/health/ready", handler=ready, shape=HealthShape, tag="operations"),
    Route(method="GET", path="/v1/service", handler=about, shape=ServiceShape, tag="operations"),
    Route(method="GET", path="/v1/stats", handler=stats, shape=StatsShape, tag="operations"),
)


def _ready(context: Context) -> Response:
    if not context.engine.ready:
        raise ProblemError(
            Code.NOT_READY, "the service does not answer; it starts or ends just now"
        )
    view = context.engine.view()
    return done(
        {
            "status": "ready",
            "run": view.version,
            "stale": view.stale,
            "store_away": view.store_away,
        }
    )


def _metrics(context: Context) -> Response:
    context.refresh_metrics()
    return Response(context.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


def _about(context: Context) -> Response:
    view = context.engine.view()
    snapshot = view.snapshot
    run, scale = snapshot.run, snapshot.run.config.scale
    kinds = run.attributes.columns
    return done(
        {
            "name": NAME,
            "version": release(),
            "run": view.version,
            "stale": view.stale,
            "store_away": view.store_away,
            "scale": {
                "lowest": scale.lowest,
                "highest": scale.highest,
                "levels": scale.classes,
                "ratings": scale.tells_taste,
            },
            "rankings": snapshot.encoder.rankings,
            "attributes": [{"name": name, "kind": column.kind} for name, column in kinds.items()],
            "genres": kinds[columns.GENRES].names if columns.GENRES in kinds else (),
            "users": len(run.users),
            "movies": len(snapshot.index),
            "needs_key": context.settings.keys_file is not None,
        }
    )


def _stats(context: Context) -> Response:
    context.refresh_metrics()
    view = context.engine.view()
    uptime = {"uptime": time.monotonic() - context.began}
    # Events come meanwhile, and those of a user who was forgotten are gone.
    recent = [
        each._asdict()
        for each in list(context.recent)
        if view.has_event(each.user_id, each.movie_id, each.at)
    ]
    return done(uptime | context.metrics.stats() | {"recent": recent})
