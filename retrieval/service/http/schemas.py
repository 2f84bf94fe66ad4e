"""What may be sent: parameters and bodies, with what each may be."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    RootModel,
    StringConstraints,
    Tag,
    model_validator,
)

from retrieval.data.times import LATEST, iso_seconds
from retrieval.errors import CONTROLS
from retrieval.options import RankBy
from retrieval.service.http.ids import GivenId
from retrieval.service.settings import MOST_SENT
from retrieval.service.view import USUAL_MOVIES, Moment

# Where nobody says how many.
USUAL_SIMILAR = 10
USUAL_EVENTS = 100

MOST_CONDITIONS = 50
MOST_DENIED = 10_000
MOST_ATTRIBUTES = 100
MOST_GENRES = 50
MOST_FOUND = 1000

# A text that hides nothing.
Text = Annotated[str, StringConstraints(max_length=500, pattern=rf"^[^{CONTROLS}]*$")]
Name = Annotated[Text, Field(min_length=1)]


def _seconds(value: object) -> object:
    """Return a date or time as ISO 8601 writes it in seconds, of UTC where it names no zone."""
    if not isinstance(value, str) or value.lstrip("-").isdecimal():
        return value
    seconds = iso_seconds(value)
    if seconds is None:
        raise ValueError("give whole seconds since 1970, or a time such as 2026-11-28T20:15:00Z")
    if not 0 <= seconds < LATEST:
        raise ValueError("give a time from 1970 on, before 2100")
    return seconds


Seconds = Annotated[
    int,
    Field(ge=0, lt=LATEST),
    BeforeValidator(_seconds, json_schema_input_type=int | datetime),
]


class EventKind(StrEnum):
    """What a user did."""

    RATING = "rating"
    PLAY = "play"
    LIKE = "like"


class Sent(BaseModel):
    """What a caller sends. Nothing unknown is in it, and no number that is none."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NoParameters(Sent):
    """No parameters at all."""


class ListOptions(Sent):
    """What a list is to be."""

    k: int | None = Field(
        None, ge=1, description=f"length of the list; {USUAL_MOVIES}, or all there are"
    )
    rank_by: RankBy | None = Field(None, description="what ranks; by default what validation chose")
    at: Seconds | None = Field(None, description="time of asking: seconds since 1970, or ISO 8601")
    when: Moment = Field(Moment.NOW, description="when a list without a time is asked")
    where: tuple[Text, ...] = Field(
        (), max_length=MOST_CONDITIONS, fail_fast=True, description="conditions, such as year>=1990"
    )
    genre: tuple[Text, ...] = Field(
        (), max_length=MOST_GENRES, fail_fast=True, description="genres, of which a movie has one"
    )
    year: Text | None = Field(None, description="a year, or several", examples=["1990-1999"])
    deny: tuple[GivenId, ...] = Field(
        (), max_length=MOST_DENIED, fail_fast=True, description="movies that are not listed"
    )
    diversity: float = Field(0.0, ge=0, le=1, description="weight of unlikeness")
    include_seen: bool = Field(
        default=False, description="whether movies of the history may come back"
    )
    explain: bool = Field(default=False, description="whether each movie says because of what")


class GivenEvent(Sent):
    """An event of a person whom the service need not know."""

    movie_id: GivenId = Field(examples=[1193])
    rating: float | None = Field(None, examples=[5])
    timestamp: Seconds | None = Field(None, description="none: just before the question")


class Question(ListOptions):
    """Whose lists: many users, or one person by history and attributes."""

    users: tuple[GivenId, ...] | None = Field(
        None, min_length=1, max_length=MOST_SENT, fail_fast=True, examples=[[42, 43]]
    )
    history: tuple[GivenEvent, ...] | None = Field(None, max_length=MOST_SENT, fail_fast=True)
    attributes: dict[Name, Text | float | bool] | None = Field(
        None, max_length=MOST_ATTRIBUTES, examples=[{"age": 25, "gender": "F"}]
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        person = self.history is not None or self.attributes is not None
        if person == (self.users is not None):
            raise ValueError("give either users, or history and attributes of one person")
        return self


class RatingOptions(Sent):
    """What is told of a user and a movie."""

    at: Seconds | None = Field(None, description="time of asking: seconds since 1970, or ISO 8601")
    explain: bool = Field(
        default=False, description="whether to tell which events carry the answer"
    )
    by: RankBy | None = Field(
        None, description="what is explained; by default the rating, or what ranks where none is"
    )


class HistoryOptions(Sent):
    """How much of a history."""

    limit: int = Field(USUAL_EVENTS, ge=1, description="most events, newest first")


class SearchOptions(Sent):
    """What is looked for."""

    q: Text = Field("", description="part of a title; typing errors are allowed")
    limit: int = Field(USUAL_MOVIES, ge=1, le=MOST_FOUND, description="most movies")


class SimilarOptions(Sent):
    """How many are alike."""

    k: int | None = Field(
        None, ge=1, description=f"length of the list; {USUAL_SIMILAR}, or all there are"
    )


class SentEvent(Sent):
    """Something that a user did."""

    user_id: GivenId = Field(examples=[42])
    movie_id: GivenId = Field(examples=[1193])
    kind: EventKind = EventKind.RATING
    rating: float | None = Field(None, description="of a rating, on the scale of the run")
    timestamp: Seconds | None = Field(None, description="when it happened; none: now")

    @model_validator(mode="after")
    def _rated(self) -> Self:
        if self.kind is EventKind.RATING and self.rating is None:
            raise ValueError("a rating has a field rating; kinds without one are play and like")
        if self.kind is not EventKind.RATING and self.rating is not None:
            raise ValueError(f"a {self.kind} has no rating; leave it out, or make it a rating")
        return self


class SentEvents(Sent):
    """Several events, which count together or not at all."""

    events: tuple[SentEvent, ...] = Field(min_length=1, max_length=MOST_SENT, fail_fast=True)


def _shape(value: object) -> str:
    return "events" if isinstance(value, dict) and "events" in value else "event"


class EventsBody(RootModel[Any]):
    """One event, or several."""

    root: Annotated[
        Annotated[SentEvents, Tag("events")] | Annotated[SentEvent, Tag("event")],
        Discriminator(_shape),
    ]

    @property
    def events(self) -> tuple[SentEvent, ...]:
        """All of them."""
        return self.root.events if isinstance(self.root, SentEvents) else (self.root,)


class MovieBody(BaseModel):
    """What is known of a movie; further fields are attributes of the run's movies."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)
    __pydantic_extra__: dict[Name, Text | float | bool | tuple[Text, ...] | None]

    title: Name = Field(examples=["Toy Story"])
    year: int | None = Field(None, ge=1800, le=2200, examples=[1995])
    genres: tuple[Name, ...] = Field((), max_length=MOST_GENRES, examples=[["Animation", "Comedy"]])


class MovieState(Sent):
    """Whether a movie is hidden."""

    hidden: bool
