"""How answers are written: movies, lists and events as JSON, with the version that they are of."""

import zlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

import orjson
from starlette.requests import Request
from starlette.responses import Response

from retrieval.data.catalogue import Movie

JSON = "application/json"

# Arrays of numbers may be in answers; NaN and infinity become null.
OPTIONS = orjson.OPT_SERIALIZE_NUMPY

# Answers change with every event: a cache asks whether they still hold.
REVALIDATE = "private, no-cache"


def movie_json(movie: Movie) -> dict[str, object]:
    """Return a movie."""
    return {
        "movie_id": movie.id,
        "title": movie.title,
        "year": movie.year,
        "genres": movie.genres,
    }


class Written(NamedTuple):
    """An answer as it is sent."""

    body: bytes
    tag: str  # ETag: names the version of the run, and the body


def written(content: Mapping[str, object], version: str) -> Written:
    """Return an answer of a version as it is sent.

    Args:
        content: What is told.
        version: Name of the version of the run that answers.
    """
    body = orjson.dumps(content, option=OPTIONS)
    return Written(body, f'"{version}.{zlib.crc32(body):08x}"')


def answer(request: Request, content: Mapping[str, object], version: str) -> Response:
    """Return an answer of a version, named by its ETag; who has it already is told so.

    Args:
        request: The question.
        content: What is told.
        version: Name of the version of the run that answers.
    """
    return sent(request, written(content, version))


def sent(request: Request, found: Written) -> Response:
    """Return an answer that is written already, as `answer` does."""
    headers = {"etag": found.tag, "cache-control": REVALIDATE}
    if found.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(found.body, headers=headers, media_type=JSON)


def done(content: Mapping[str, object], status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Return an answer that nobody may keep: that something was done, or how things are just now.

    Args:
        content: What is told.
        status: Status of the answer.
    """
    body = orjson.dumps(content, option=OPTIONS)
    return Response(body, status, {"cache-control": "no-store"}, JSON)
