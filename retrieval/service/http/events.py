"""Events: what users did is kept, and counts in the next answer."""

from functools import partial
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from retrieval.errors import RequestError, shown
from retrieval.service.admission import present
from retrieval.service.grading import foresee
from retrieval.service.http.answers import done
from retrieval.service.http.context import RECENT, Context, RecentEvent, context_of
from retrieval.service.http.documentation import IDEMPOTENCY, LONGEST_KEY, Route
from retrieval.service.http.reading import body_of
from retrieval.service.http.record import record_of
from retrieval.service.http.schemas import EventsBody, SentEvent
from retrieval.service.http.shapes import AcceptedShape
from retrieval.service.log import Appended, Kind, NewEvent
from retrieval.service.view import View, as_id
from retrieval.serving.stopwatch import StageTimes


async def events(request: Request) -> Response:
    """Keep what users did: one event, or several, which count together or not at all.

    They are kept for good when the answer comes, and the next answer knows them. Sent again with
    the same `Idempotency-Key`, they count once; then each needs a timestamp.
    """
    context, timer = context_of(request), record_of(request).timer
    key = _key(request)
    body = await body_of(request, EventsBody, context.settings.most_body)
    sent = body.events
    if len(sent) > context.settings.most_events:
        raise RequestError(
            f"there are {len(sent)} events; send at most {context.settings.most_events} at once"
        )
    if key is not None and any(event.timestamp is None for event in sent):
        raise RequestError(
            "with an Idempotency-Key each event needs a timestamp, or it would be another one "
            "when it is sent again"
        )
    return await context.slow(partial(_take_in, context, sent, key, timer))


ROUTES = (
    Route(
        method="POST",
        path="/v1/events",
        handler=events,
        body=EventsBody,
        shape=AcceptedShape,
        status=HTTPStatus.CREATED,
        tag="events",
        headers=(IDEMPOTENCY,),
    ),
)


def _key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is None or (0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        return key
    raise RequestError(
        f"malformed Idempotency-Key '{shown(key)}'; it has 1 to {LONGEST_KEY} ASCII characters"
    )


def _take_in(
    context: Context, sent: tuple[SentEvent, ...], key: str | None, timer: StageTimes
) -> Response:
    view, now = context.engine.certain_view(), present()
    new = [_new_event(view, event, now) for event in sent]
    # What was kept once is not judged again: its movies may have been removed since.
    earlier = None if key is None else context.engine.repeated(new, key)
    kept = earlier or _kept(context, view, new, key, now, timer)
    accepted = {
        "accepted": len(new),
        "first": kept.first,
        "last": kept.last,
        "repeated": kept.repeated,
    }
    return done(accepted, HTTPStatus.CREATED)


def _kept(
    context: Context, view: View, new: list[NewEvent], key: str | None, now: int, timer: StageTimes
) -> Appended:
    """Keep events, and grade by them what was foreseen."""
    foreseen = foresee(view, new, now)
    timer.lap("grading")
    recent = [_recent(view, event) for event in new[-RECENT:]]
    kept = context.engine.add_events(new, key)
    timer.lap("log")
    if not kept.repeated:
        for each in foreseen:
            context.grading.add(each)
        context.metrics.took_in(event.kind for event in new)
        context.recent.extendleft(recent)
    return kept


def _new_event(view: View, event: SentEvent, now: int) -> NewEvent:
    return NewEvent(
        kind=Kind(event.kind.value),
        user_id=str(view.user_id(event.user_id)),
        movie_id=str(as_id(event.movie_id, "movie", view.catalogue.vocabulary)),
        rating=event.rating,
        timestamp=now if event.timestamp is None else event.timestamp,
    )


def _recent(view: View, event: NewEvent) -> RecentEvent:
    movie = view.catalogue.movies[view.movie_number(event.movie_id)]
    return RecentEvent(
        event.kind, view.user_id(event.user_id), movie.id, movie.title, event.timestamp
    )
