"""The versions of the run: which there are, which one answers, and answering from another."""

from dataclasses import asdict
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from retrieval.errors import RunError, shown
from retrieval.service.http.answers import done
from retrieval.service.http.context import Context, context_of
from retrieval.service.http.documentation import Route
from retrieval.service.http.ids import id_in_path
from retrieval.service.http.problems import Code, ProblemError
from retrieval.service.http.reading import parameters_of
from retrieval.service.http.schemas import NoParameters
from retrieval.service.http.shapes import AnsweringShape, RunsShape


async def runs(request: Request) -> Response:
    """The versions that are kept, newest first, and which one answers."""
    context = context_of(request)
    parameters_of(request, NoParameters)
    return await context.slow(partial(_runs, context))


async def promote(request: Request) -> Response:
    """Answer from a version that is kept, without a request that fails."""
    context, name = context_of(request), id_in_path(request.path_params["name"])
    parameters_of(request, NoParameters)
    return await context.slow(partial(_promote, context, name))


async def rollback(request: Request) -> Response:
    """Answer from the version that answered before."""
    context = context_of(request)
    parameters_of(request, NoParameters)
    return await context.slow(partial(_rollback, context))


ROUTES = (
    Route(method="GET", path="/v1/runs", handler=runs, shape=RunsShape, tag="runs"),
    Route(
        method="POST",
        path="/v1/runs/rollback",
        handler=rollback,
        shape=AnsweringShape,
        tag="runs",
    ),
    Route(
        method="POST",
        path="/v1/runs/{name}/promote",
        handler=promote,
        shape=AnsweringShape,
        tag="runs",
    ),
)


def _runs(context: Context) -> Response:
    kept = [
        {
            "name": version.name,
            "created": version.created,
            "preset": version.preset,
            "answering": version.answering,
            "answered": version.answered,
            "promotable": version.promotable,
            "state": version.state,
            "validation_rmse": version.validation_rmse,
            "validation_ndcg": version.validation_ndcg,
            "validation_visits": version.validation_visits,
            "validation_visit_ndcg": version.validation_visit_ndcg,
            "validation_coverage": version.validation_coverage,
            "calibration": [asdict(group) for group in version.calibration],
            "events": version.events,
            "movies": version.movies,
            "users": version.users,
        }
        for version in context.engine.versions()
    ]
    return done({"answering": context.engine.view().version, "runs": kept})


def _promote(context: Context, name: str) -> Response:
    names = [version.name for version in context.engine.versions()]
    if name not in names:
        raise ProblemError(
            Code.UNKNOWN_RUN, f"unknown version '{shown(name)}'; there are: {', '.join(names)}"
        )
    try:
        return done({"answering": context.engine.promote(name)})
    except RunError as error:
        raise ProblemError(Code.NOT_PROMOTED, str(error)) from error


def _rollback(context: Context) -> Response:
    try:
        return done({"answering": context.engine.rollback()})
    except RunError as error:
        raise ProblemError(Code.NOT_PROMOTED, str(error)) from error
