"""What a request says: parameters and bodies, bounded and checked."""

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import ClientDisconnect, Request

from retrieval.errors import RequestError, shown, unknown
from retrieval.service.http.problems import Code, ProblemError

Model = TypeVar("Model", bound=BaseModel)

# Parameters of one question.
MOST_PARAMETERS = 500

# Query strings whose parameters are kept, and bytes of one.
MOST_KEPT, LONGEST_KEPT = 1024, 200

# Seconds in which a body has to arrive.
PATIENCE = 30.0

JSON = "application/json"

MESSAGES = {"extra_forbidden": "there is no such field", "missing": "this field is missing"}

# Findings that a message tells; of more, only the number is told.
MOST_FINDINGS = 5


def parameters_of(request: Request, model: type[Model]) -> Model:
    """Return the parameters of a question.

    Args:
        request: The question.
        model: What they are; those that are lists may come more than once.

    Raises:
        RequestError: One is unknown, malformed, or comes twice.
    """
    query: bytes = request.scope["query_string"]
    if len(query) > LONGEST_KEPT:
        return _parameters(query, model)
    kept: Model = _kept_parameters(query, model)
    return kept


def _parameters(query: bytes, model: type[Model]) -> Model:
    """Return the parameters that a query string says."""
    try:
        pairs = parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MOST_PARAMETERS,
        )
    except ValueError as error:
        raise RequestError(
            f"malformed parameters '{shown(query.decode('latin-1'))}': give at most "
            f"{MOST_PARAMETERS}, as NAME=VALUE&NAME=VALUE in UTF-8"
        ) from error
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    given: dict[str, str | list[str]] = {}
    for name, several in values.items():
        field = model.model_fields.get(name)
        if field is None:
            raise unknown("parameter", name, model.model_fields)
        repeated = isinstance(field.default, tuple)
        if len(several) > 1 and not repeated:
            raise RequestError(f"parameter '{shown(name)}' comes twice; give it once")
        given[name] = several if repeated else several[0]
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise RequestError(_in_words(_findings(error))) from error


# Most questions are asked with the same few parameters, which never change.
_kept_parameters = lru_cache(maxsize=MOST_KEPT)(_parameters)


async def body_of(request: Request, model: type[Model], largest: int) -> Model:
    """Return the body of a request.

    Args:
        request: The request.
        model: What the body is.
        largest: Number of bytes that it may have.

    Raises:
        RequestError: A field is missing, unknown or malformed.
        ProblemError: It is no JSON, too large or too slow.
    """
    kind, _, _ = request.headers.get("content-type", "").partition(";")
    if kind.strip().lower() != JSON:
        raise ProblemError(
            Code.NOT_JSON, f"the body is '{shown(kind)}'; send JSON, as Content-Type: {JSON}"
        )
    content = await _content(request, largest)
    try:
        return model.model_validate_json(content, strict=True)
    except ValidationError as error:
        found = _findings(error)
        if any(each["type"] == "json_invalid" for each in found):
            raise ProblemError(Code.MALFORMED_JSON, _in_words(found)) from error
        raise RequestError(_in_words(found)) from error


async def _content(request: Request, largest: int) -> bytes:
    """Read a body, no further than it may go."""
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > largest:
        raise _too_large(largest)
    parts, size, more = [], 0, True
    try:
        async with asyncio.timeout(PATIENCE):
            while more:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                part = message.get("body", b"")
                size += len(part)
                if size > largest:
                    raise _too_large(largest)
                parts.append(part)
                more = message.get("more_body", False)
    except TimeoutError as error:
        raise ProblemError(
            Code.BODY_TOO_SLOW, f"the body did not arrive in {PATIENCE:g} seconds; send it again"
        ) from error
    return b"".join(parts)


def _too_large(largest: int) -> ProblemError:
    return ProblemError(
        Code.BODY_TOO_LARGE, f"a body has at most {largest:,} bytes; send less at once"
    )


def _findings(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_context=False)


def _in_words(found: Sequence[ErrorDetails]) -> str:
    """Return what is wrong with a body or with parameters, and where."""
    said = []
    for each in found[:MOST_FINDINGS]:
        place = ".".join(map(str, each["loc"]))
        message = MESSAGES.get(each["type"]) or each["msg"].removeprefix("Value error, ")
        value = "" if isinstance(each["input"], (dict, list)) else f" '{shown(each['input'])}'"
        said.append(f"{shown(place)}{value}: {message}" if place else message)
    more = len(found) - len(said)
    return "; ".join([*said, *([f"and {more} more"] if more else [])])
