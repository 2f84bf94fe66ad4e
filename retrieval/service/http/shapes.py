"""What answers look like, for their description alone: nothing is checked against these."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from retrieval.data.vocabulary import Id
from retrieval.options import RankBy
from retrieval.service.http.problems import Code

MOVIE: dict[str, Any] = {
    "movie_id": 1193,
    "title": "One Flew Over the Cuckoo's Nest",
    "year": 1975,
    "genres": ["Drama"],
}


def _like(**fields: JsonValue) -> ConfigDict:
    """Return the configuration of a shape with an example."""
    return ConfigDict(json_schema_extra={"example": fields})


class ProblemShape(BaseModel):
    """Why a request is not answered, as RFC 9457 has it."""

    model_config = _like(
        type="about:blank",
        title="Not Found",
        status=404,
        detail="unknown movie 5000: ids run from 1 to 3952 with gaps",
        code="unknown_movie",
        request_id="9f86d081884c7d65",
    )

    type: str
    title: str
    status: int
    detail: str = Field(description="what was wrong, the value, what is allowed, the remedy")
    code: Code = Field(description="the same for the same matter, always")
    request_id: str = Field(description="name of the request in the log")


class MovieShape(BaseModel):
    """A movie."""

    model_config = _like(**MOVIE)

    movie_id: Id
    title: str
    year: int | None
    genres: list[str]


class ReasonShape(BaseModel):
    """An event that raises the score of a movie."""

    movie_id: Id
    title: str
    rating: float | None
    effect: float


class ListedShape(MovieShape):
    """A movie in a list."""

    rank: int
    score: float
    rating: float | None = Field(description="predicted rating")
    deviation: float | None = Field(description="standard deviation of the true rating around it")
    because: list[ReasonShape] = Field(description="empty where nobody asked to explain")


class ListShape(BaseModel):
    """A list for one user."""

    model_config = _like(
        user_id=42,
        known=True,
        run="v000001-ab12cd34",
        at=1_790_000_000,
        rank_by="blend",
        stale=False,
        movies=[
            {
                "rank": 1,
                **MOVIE,
                "score": 1.23,
                "rating": 4.4,
                "deviation": 0.7,
                "because": [{"movie_id": 1, "title": "Toy Story", "rating": 5.0, "effect": 0.21}],
            }
        ],
    )

    user_id: Id | None
    known: bool = Field(description="whether anything is known of the user")
    run: str = Field(description="version that answers")
    at: int | None = Field(description="time of asking, in seconds since 1970")
    rank_by: RankBy
    stale: bool = Field(description="whether the latest events could not be read")
    movies: list[ListedShape]


class ListsShape(BaseModel):
    """Lists for several users."""

    lists: list[ListShape]


class InfluenceShape(BaseModel):
    """What one event does to an answer."""

    movie_id: Id
    title: str
    rating: float | None
    timestamp: int
    effect: float
    share: float


class ExplanationShape(BaseModel):
    """An answer and the events that carry it: the baseline and all effects add up to it."""

    by: RankBy
    answer: float
    baseline: float
    unknown_user: float
    influences: list[InfluenceShape]


class RatingShape(BaseModel):
    """How a user would rate a movie."""

    model_config = _like(
        user_id=42,
        known=True,
        run="v000001-ab12cd34",
        movie=MOVIE,
        rating=4.4,
        deviation=0.7,
    )

    user_id: Id
    known: bool
    run: str
    movie: MovieShape
    rating: float | None
    deviation: float | None
    explanation: ExplanationShape | None = None


class EventShape(BaseModel):
    """Something that a user did."""

    movie_id: Id
    title: str
    kind: str
    rating: float | None
    timestamp: int


class HistoryShape(BaseModel):
    """What a user did, newest first."""

    user_id: Id
    known: bool
    events: list[EventShape]


class ForgottenShape(BaseModel):
    """That a user is forgotten."""

    model_config = _like(user_id=42, forgotten_events=120, events_in_run=118)

    user_id: Id
    forgotten_events: int
    events_in_run: int  # of these, those that the files of the run hold until the next training


class MoviesShape(BaseModel):
    """Movies that were found."""

    movies: list[MovieShape]


class FactsShape(MovieShape):
    """All that is known of a movie."""

    attributes: dict[str, Any]
    hidden: bool
    ratings: int
    mean_rating: float | None


class SimilarShape(MovieShape):
    """A movie that is like another one."""

    rank: int
    cosine: float


class SimilarsShape(BaseModel):
    """Movies that are like another one, nearest first."""

    movies: list[SimilarShape]


class PlaceShape(BaseModel):
    """A movie on the map."""

    movie_id: Id
    title: str
    genre: str | None
    x: float
    y: float
    ratings: int


class MapShape(BaseModel):
    """Movies as points: what is alike lies together."""

    movies: list[PlaceShape]


class StateShape(BaseModel):
    """What has become of a movie."""

    model_config = _like(movie_id=1193, state="hidden")

    movie_id: Id
    state: str = Field(description="listed, hidden or removed")


class AcceptedShape(BaseModel):
    """That events are kept: they count, and survive whatever happens to the service."""

    model_config = _like(accepted=1, first=120, last=120, repeated=False)

    accepted: int
    first: int = Field(description="place of the first one in the log")
    last: int
    repeated: bool = Field(description="whether they had been kept before, under the same key")


class CalibratedShape(BaseModel):
    """Ratings held out in training for which about the same was predicted by the others."""

    predicted: float = Field(description="mean of what was predicted")
    true: float = Field(description="mean of what they were")
    ratings: int = Field(description="how many there are")


class RunShape(BaseModel):
    """One version of the run."""

    name: str
    state: str = Field(description="whole, or what is the matter with it")
    created: str | None
    preset: str | None
    answering: bool
    answered: bool = Field(description="whether it answered before, and rollback may come back")
    promotable: bool
    validation_rmse: float | None
    validation_ndcg: float | None = Field(
        description="NDCG@10 of last events, the time of asking known"
    )
    validation_visits: int | None = Field(description="next visits of users held out")
    validation_visit_ndcg: float | None = Field(
        description="NDCG@10 of what was liked in them, which chose the weight of the rating"
    )
    validation_coverage: float | None = Field(
        description="share of all movies in the lists of ten for these visits"
    )
    calibration: list[CalibratedShape]
    events: int | None
    movies: int | None
    users: int | None


class RunsShape(BaseModel):
    """The versions of the run, and which one answers."""

    answering: str
    runs: list[RunShape]


class AnsweringShape(BaseModel):
    """Which version answers."""

    model_config = _like(answering="v000002-0123abcd")

    answering: str


class ServiceShape(BaseModel):
    """What this service is about."""

    name: str
    version: str
    run: str
    stale: bool
    store_away: bool = Field(description="whether vectors here answer, as the store is away")
    scale: dict[str, Any]
    rankings: list[RankBy]
    attributes: list[dict[str, str]]
    genres: list[str]
    users: int
    movies: int
    needs_key: bool


class StatsShape(BaseModel):
    """How the service does."""

    uptime: float
    requests: int
    requests_per_second: float
    by_route: list[dict[str, Any]]
    stages: list[dict[str, Any]]
    events: dict[str, int]
    errors: int
    cold_users: int
    empty_lists: int
    short_lists: int
    coverage: int
    grading: dict[str, Any]
    recent: list[dict[str, Any]]


class HealthShape(BaseModel):
    """Whether the service is well."""

    model_config = _like(status="ready", run="v000001-ab12cd34", stale=False, store_away=False)

    status: str
    run: str | None = None
    stale: bool | None = None
    store_away: bool | None = None
