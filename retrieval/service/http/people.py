"""One user: how a movie would be rated, what happened, and being forgotten."""

from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from retrieval.errors import RequestError
from retrieval.options import RankBy
from retrieval.service.http.answers import answer, done, movie_json
from retrieval.service.http.context import Context, context_of
from retrieval.service.http.documentation import Route
from retrieval.service.http.ids import id_in_path
from retrieval.service.http.movies import known_movie
from retrieval.service.http.problems import Code, ProblemError
from retrieval.service.http.reading import parameters_of
from retrieval.service.http.record import record_of
from retrieval.service.http.schemas import HistoryOptions, NoParameters, RatingOptions
from retrieval.service.http.shapes import ForgottenShape, HistoryShape, RatingShape


async def rating(request: Request) -> Response:
    """How a user would rate a movie, and which events carry the answer."""
    record_of(request).timer.lap("routing")
    context = context_of(request)
    user_id, movie_id = (id_in_path(request.path_params[name]) for name in ("user_id", "movie_id"))
    options = parameters_of(request, RatingOptions)
    work = partial(_rating, request, context, user_id, movie_id, options)
    return await (context.slow(work) if options.explain else context.quick(work))


async def history(request: Request) -> Response:
    """What a user did, newest first: what the run knows, and what was told since."""
    context = context_of(request)
    user_id = id_in_path(request.path_params["user_id"])
    options = parameters_of(request, HistoryOptions)
    return await context.quick(partial(_history, request, context, user_id, options))


async def forget(request: Request) -> Response:
    """Forget a user: every event, at once and in every run that is trained from here on."""
    context = context_of(request)
    user_id = id_in_path(request.path_params["user_id"])
    parameters_of(request, NoParameters)
    return await context.slow(partial(_forget, context, user_id))


ROUTES = (
    Route(
        method="GET",
        path="/v1/users/{user_id}/movies/{movie_id}",
        handler=rating,
        query=RatingOptions,
        shape=RatingShape,
        tag="users",
    ),
    Route(
        method="GET",
        path="/v1/users/{user_id}/history",
        handler=history,
        query=HistoryOptions,
        shape=HistoryShape,
        tag="users",
    ),
    Route(
        method="DELETE",
        path="/v1/users/{user_id}",
        handler=forget,
        shape=ForgottenShape,
        tag="users",
    ),
)


def _rating(
    request: Request, context: Context, user_id: str, movie_id: str, options: RatingOptions
) -> Response:
    view = context.engine.view()
    user = view.user_id(user_id)
    movie = known_movie(view, movie_id)
    made = view.rate(user, movie.id, at=options.at) if view.snapshot.encoder.rates else None
    found: dict[str, Any] = {
        "user_id": user,
        "known": view.known(user),
        "run": view.version,
        "movie": movie_json(movie),
        "rating": None if made is None else made.rating,
        "deviation": None if made is None else made.deviation,
    }
    if options.explain:
        by = RankBy.RATING if options.by is None and made is not None else options.by
        why = view.explain(user, movie.id, by=by, at=options.at)
        found["explanation"] = {
            "by": why.by,
            "answer": why.answer,
            "baseline": why.baseline,
            "unknown_user": why.unknown_user,
            "influences": [
                {
                    "movie_id": row.movie.id,
                    "title": row.movie.title,
                    "rating": row.rating,
                    "timestamp": row.timestamp,
                    "effect": row.effect,
                    "share": row.share,
                }
                for row in why.influences
            ],
        }
    return answer(request, found, view.version)


def _history(request: Request, context: Context, user_id: str, options: HistoryOptions) -> Response:
    view = context.engine.view()
    user = view.user_id(user_id)
    rows = view.history(user)[: options.limit]
    found = {
        "user_id": user,
        "known": view.known(user),
        "events": [
            {
                "movie_id": row.movie.id,
                "title": row.movie.title,
                "kind": row.kind,
                "rating": row.rating,
                "timestamp": row.timestamp,
            }
            for row in rows
        ],
    }
    return answer(request, found, view.version)


def _forget(context: Context, user_id: str) -> Response:
    user = context.engine.view().user_id(user_id)
    try:
        forgotten = context.engine.forget(user)
    except RequestError as error:
        raise ProblemError(Code.UNKNOWN_USER, str(error)) from error
    of_both = {"forgotten_events": forgotten.events, "events_in_run": forgotten.in_run}
    return done({"user_id": user, **of_both})
