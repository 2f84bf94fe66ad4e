"""Lists: for one user, for many, and for a person whom the service need not know."""

from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from retrieval.data.vocabulary import Id
from retrieval.errors import RequestError
from retrieval.service.http.answers import answer, sent, written
from retrieval.service.http.context import Context, KeptList, context_of
from retrieval.service.http.documentation import Route
from retrieval.service.http.ids import id_in_path
from retrieval.service.http.reading import body_of, parameters_of
from retrieval.service.http.record import record_of
from retrieval.service.http.schemas import ListOptions, Question
from retrieval.service.http.shapes import ListShape, ListsShape
from retrieval.service.view import MOST_QUICK, USUAL_MOVIES, Listed, View, as_id
from retrieval.serving.events import Event
from retrieval.serving.filters import Filter, parse_years
from retrieval.serving.stopwatch import StageTimes
from retrieval.serving.users import Person

# Events that a movie is in a list because of.
REASONS = 3

# Movies of all lists of one question, and users where each list takes many times as long.
MOST_LISTED = 20_000
MOST_SLOW_USERS = 16


async def recommendations(request: Request) -> Response:
    """What to watch next.

    A user who is not known gets the list of a new user. Without a time the list is asked now.
    """
    record = record_of(request)
    record.timer.lap("routing")
    context = context_of(request)
    user_id = id_in_path(request.path_params["user_id"])
    options = parameters_of(request, ListOptions)
    work = partial(_one_user, request, context, user_id, options, record.timer)
    slow = _takes_long(options) or (options.k or 0) > MOST_QUICK
    return await (context.slow(work) if slow else context.quick(work))


async def lists(request: Request) -> Response:
    """Lists for many users, or one for a person by history and attributes.

    Users who are not known get the list of a new user. Events without a timestamp happened just
    before the question.
    """
    context, timer = context_of(request), record_of(request).timer
    question = await body_of(request, Question, context.settings.most_body)
    settings = context.settings
    _check_size(question, settings.most_users)
    if len(question.history or ()) > settings.most_history:
        raise RequestError(
            f"the history has {len(question.history or ())} events; give at most "
            f"{settings.most_history}"
        )
    return await context.slow(partial(_asked, request, context, question, timer))


ROUTES = (
    Route(
        method="GET",
        path="/v1/users/{user_id}/recommendations",
        handler=recommendations,
        query=ListOptions,
        shape=ListShape,
        tag="lists",
    ),
    Route(
        method="POST",
        path="/v1/recommendations",
        handler=lists,
        body=Question,
        shape=ListsShape,
        tag="lists",
    ),
)


def _takes_long(options: ListOptions) -> bool:
    """Return whether a list takes many times as long as others."""
    return options.explain or options.diversity > 0


def _check_size(question: Question, most_users: int) -> None:
    users, k = len(question.users or ()), question.k or USUAL_MOVIES
    if users > most_users:
        raise RequestError(f"there are {users} users; ask for at most {most_users} at once")
    if users * k > MOST_LISTED:
        raise RequestError(
            f"{users} lists of {k} movies have {users * k:,} together; ask for at most "
            f"{MOST_LISTED:,} at once"
        )
    if users > MOST_SLOW_USERS and _takes_long(question):
        raise RequestError(
            f"there are {users} users; with explain or diversity ask for at most "
            f"{MOST_SLOW_USERS} at once"
        )


def _one_user(
    request: Request, context: Context, user_id: str, options: ListOptions, timer: StageTimes
) -> Response:
    view = context.engine.view()
    timer.lap("view")
    user = view.user_id(user_id)
    listed = _listed(context, view, user, options, _filter(view, options), timer)
    # A list that the view keeps is written once; users who are not known share one.
    kept = context.lists.get(listed)
    if kept is None or kept.user != user or kept.stale != view.stale:
        content = _content(view, user, listed)
        kept = KeptList(user, view.stale, written(content, view.version))
        context.lists[listed] = kept
    timer.lap("writing")
    return sent(request, kept.written)


def _asked(request: Request, context: Context, question: Question, timer: StageTimes) -> Response:
    view = context.engine.view()
    filters = _filter(view, question)
    if question.users is None:
        history = [
            Event(_movie(view, event.movie_id), event.rating, event.timestamp)
            for event in question.history or ()
        ]
        person = Person(history=history, attributes=question.attributes or {})
        found = _list(context, view, person, None, question, filters, timer)
        return answer(request, found, view.version)
    users = [view.user_id(user) for user in question.users]
    made = [_list(context, view, user, user, question, filters, timer) for user in users]
    return answer(request, {"lists": made}, view.version)


def _movie(view: View, movie_id: Id) -> Id:
    return as_id(movie_id, "movie", view.catalogue.vocabulary)


def _list(
    context: Context,
    view: View,
    user: Id | Person,
    user_id: Id | None,
    options: ListOptions,
    filters: Filter | None,
    timer: StageTimes,
) -> dict[str, Any]:
    """Return the list of one user or person, and count it."""
    content = _content(view, user_id, _listed(context, view, user, options, filters, timer))
    timer.lap("writing")
    return content


def _listed(
    context: Context,
    view: View,
    user: Id | Person,
    options: ListOptions,
    filters: Filter | None,
    timer: StageTimes,
) -> Listed:
    """Make the list of one user or person, and count it."""
    k = options.k
    if k is None:
        k = min(USUAL_MOVIES, len(view.catalogue))
    elif k > context.settings.most_k:
        raise RequestError(f"k is {k}; it must be from 1 to {context.settings.most_k}")
    listed = view.recommend(
        user,
        k,
        at=options.at,
        when=options.when,
        rank_by=options.rank_by,
        filters=filters,
        diversity=options.diversity,
        include_seen=options.include_seen,
        reasons=REASONS if options.explain else 0,
        timer=timer,
    )
    context.metrics.listed(listed.movies, k, known=listed.known)
    return listed


def _content(view: View, user_id: Id | None, listed: Listed) -> dict[str, Any]:
    """Return what is told of a list."""
    return {
        "user_id": user_id,
        "known": listed.known,
        "run": view.version,
        "at": listed.at,
        "rank_by": listed.rank_by,
        "stale": view.stale,
        "movies": [
            {
                "rank": row.rank,
                "movie_id": row.movie.id,
                "title": row.movie.title,
                "year": row.movie.year,
                "genres": row.movie.genres,
                "score": row.score,
                "rating": row.rating,
                "deviation": row.deviation,
                "because": [
                    {
                        "movie_id": reason.movie.id,
                        "title": reason.movie.title,
                        "rating": reason.rating,
                        "effect": reason.effect,
                    }
                    for reason in row.reasons
                ],
            }
            for row in listed.rows
        ],
    }


def _filter(view: View, options: ListOptions) -> Filter | None:
    """Return which movies may be listed; None is all."""
    if not (options.where or options.genre or options.year is not None or options.deny):
        return None
    return Filter(
        genres=options.genre or None,
        years=None if options.year is None else parse_years(options.year),
        deny=[_movie(view, each) for each in options.deny] or None,
        where=options.where or None,
    )
