"""Usual names of columns and files: what is called so is taken for it, unless told otherwise."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from retrieval.data import columns


class Usual(NamedTuple):
    """Names of one column, the likeliest first; in small letters and digits alone."""

    strong: tuple[str, ...]
    weak: tuple[str, ...] = ()  # taken where there is none of the others


def _with_ids(*words: str) -> tuple[str, ...]:
    """Return each word and the id of it."""
    return tuple(name for word in words for name in (f"{word}id", word))


COLUMNS = {
    columns.USER_ID: Usual(
        (
            *_with_ids("user", "viewer", "customer", "account", "member", "profile", "subscriber"),
            *_with_ids("visitor", "client", "person", "reviewer", "household", "listener"),
            *("uid", "useruuid"),
        ),
        ("username", "login"),
    ),
    columns.MOVIE_ID: Usual(
        (
            *_with_ids("movie", "item", "film", "video", "show", "content", "asset", "media"),
            *_with_ids("program", "programme", "product", "episode", "series"),
            *("titleid", "asin", "parentasin", "movieuuid", "itemuuid", "tconst"),
        ),
        ("imdbid", "tmdbid", "title"),
    ),
    columns.RATING: Usual(
        (
            *("rating", "stars", "star", "score", "ratingvalue", "userrating", "thumbs", "thumb"),
            *("liked", "like", "reaction", "feedback", "vote", "grade", "overall", "preference"),
        ),
        (
            *("weight", "watchedshare", "watchshare", "sharewatched", "percentwatched"),
            *("watchedpercent", "completion", "progress", "fraction"),
        ),
    ),
    columns.TIMESTAMP: Usual(
        (
            *("timestamp", "ts", "time", "datetime", "date", "startedat", "watchedat", "playedat"),
            *("viewedat", "ratedat", "createdat", "eventtime", "eventts", "eventtimestamp"),
            *("eventdate", "watchtime", "watchdate", "starttime", "startdate", "at", "when"),
            *("occurredat", "unixtime", "unixreviewtime", "reviewtime", "epoch", "day"),
        ),
        ("updatedat", "endedat", "finishedat"),
    ),
    columns.TITLE: Usual(
        ("title", "movietitle", "filmtitle", "itemtitle", "primarytitle", "name", "moviename"),
        ("itemname", "contentname", "originaltitle", "label"),
    ),
    columns.YEAR: Usual(("year", "releaseyear", "productionyear", "startyear", "yearreleased")),
    columns.GENRES: Usual(("genres", "genre", "categories"), ("category",)),
    columns.DIRECTORS: Usual(("directors", "director", "directedby")),
    columns.ACTORS: Usual(("actors", "actor", "cast", "starring")),
    columns.GENDER: Usual(("gender", "sex")),
    columns.AGE: Usual(("age", "ageyears")),
    columns.OCCUPATION: Usual(("occupation", "job", "profession")),
}

# What a table of movies or users calls its own id.
OWN_ID = ("id", "uuid", "key")

# How files are called.
EVENTS = (
    *("ratings", "rating", "events", "event", "plays", "play", "views", "view", "watches"),
    *("interactions", "history", "clicks", "streams", "likes", "thumbs", "logs", "log", "reviews"),
)
MOVIES = (
    *("movies", "movie", "items", "item", "titles", "title", "catalogue", "catalog", "content"),
    *("contents", "videos", "films", "shows", "products", "metadata", "meta"),
)
USERS = (
    *("users", "user", "viewers", "customers", "members", "accounts", "profiles", "subscribers"),
    *("people", "persons"),
)


def folded(name: str) -> str:
    """Return a name as it is compared: small letters and digits alone."""
    return re.sub(r"[\W_]+", "", name).casefold()


def usual(names: Iterable[str]) -> int:
    """Return how many of the names are usual ones of columns."""
    known = {name for usual in COLUMNS.values() for name in (*usual.strong, *usual.weak)}
    return sum(folded(name) in known or folded(name) in OWN_ID for name in names)
