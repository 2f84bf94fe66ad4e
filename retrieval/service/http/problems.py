"""What goes wrong, as RFC 9457 has it: problem+json with a code that stays the same."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from http import HTTPStatus

import orjson
from starlette.exceptions import HTTPException
from starlette.responses import Response

from retrieval.errors import RecError, RequestError, RunError, shown
from retrieval.service.log import KeyConflictError, LogError

PROBLEM_JSON = "application/problem+json"

# Seconds after which it makes sense to ask again.
SOON = "1"

INTERNAL = "something went wrong here; the log has it under this request_id"


class Code(StrEnum):
    """What is the matter, for programs. A code never changes its meaning."""

    MALFORMED_REQUEST = "malformed_request"
    HEAD_TOO_LARGE = "head_too_large"
    MALFORMED_JSON = "malformed_json"
    KEY_NEEDED = "key_needed"
    WRONG_KEY = "wrong_key"
    CROSS_ORIGIN = "cross_origin"
    NO_SUCH_PATH = "no_such_path"
    UNKNOWN_MOVIE = "unknown_movie"
    UNKNOWN_RUN = "unknown_run"
    UNKNOWN_USER = "unknown_user"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    BODY_TOO_SLOW = "body_too_slow"
    KEY_CONFLICT = "idempotency_key_conflict"
    NOT_PROMOTED = "not_promoted"
    BODY_TOO_LARGE = "body_too_large"
    NOT_JSON = "not_json"
    WRONG_HOST = "wrong_host"
    INVALID_REQUEST = "invalid_request"
    TOO_MANY_QUESTIONS = "too_many_questions"
    INTERNAL_ERROR = "internal_error"
    NOT_READY = "not_ready"
    LOG_UNAVAILABLE = "log_unavailable"
    RUN_UNAVAILABLE = "run_unavailable"
    OUT_OF_MEMORY = "out_of_memory"


STATUS: Mapping[Code, HTTPStatus] = {
    Code.MALFORMED_REQUEST: HTTPStatus.BAD_REQUEST,
    Code.HEAD_TOO_LARGE: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    Code.MALFORMED_JSON: HTTPStatus.BAD_REQUEST,
    Code.KEY_NEEDED: HTTPStatus.UNAUTHORIZED,
    Code.WRONG_KEY: HTTPStatus.UNAUTHORIZED,
    Code.CROSS_ORIGIN: HTTPStatus.FORBIDDEN,
    Code.NO_SUCH_PATH: HTTPStatus.NOT_FOUND,
    Code.UNKNOWN_MOVIE: HTTPStatus.NOT_FOUND,
    Code.UNKNOWN_RUN: HTTPStatus.NOT_FOUND,
    Code.UNKNOWN_USER: HTTPStatus.NOT_FOUND,
    Code.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    Code.BODY_TOO_SLOW: HTTPStatus.REQUEST_TIMEOUT,
    Code.KEY_CONFLICT: HTTPStatus.CONFLICT,
    Code.NOT_PROMOTED: HTTPStatus.CONFLICT,
    Code.BODY_TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Code.NOT_JSON: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Code.WRONG_HOST: HTTPStatus.MISDIRECTED_REQUEST,
    Code.INVALID_REQUEST: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.TOO_MANY_QUESTIONS: HTTPStatus.TOO_MANY_REQUESTS,
    Code.INTERNAL_ERROR: HTTPStatus.INTERNAL_SERVER_ERROR,
    Code.NOT_READY: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.LOG_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.RUN_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.OUT_OF_MEMORY: HTTPStatus.SERVICE_UNAVAILABLE,
}

# What another attempt can mend.
TEMPORARY = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}


class ProblemError(RecError):
    """A request that is not answered as asked.

    Args:
        code: What is the matter.
        detail: Sentence with the value and the remedy.
        headers: Further headers of the answer.
    """

    def __init__(self, code: Code, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.headers = dict(headers or {})


# Errors by what they are, the nearest kind first, whose message is for the one who asked.
TOLD: tuple[tuple[type[RecError], Code], ...] = (
    (KeyConflictError, Code.KEY_CONFLICT),
    (LogError, Code.LOG_UNAVAILABLE),
    (RequestError, Code.INVALID_REQUEST),
    (RunError, Code.RUN_UNAVAILABLE),
)


def problem_of(error: Exception) -> ProblemError:
    """Return any error as the problem that the one who asked is told.

    The message of an error that is none of the user's stays in the log.
    """
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, HTTPException):
        return _of_router(error)
    for kind, code in TOLD:
        if isinstance(error, kind):
            return ProblemError(code, str(error))
    if isinstance(error, MemoryError):
        return ProblemError(
            Code.OUT_OF_MEMORY, "there is not enough memory; ask about less at once"
        )
    return ProblemError(Code.INTERNAL_ERROR, INTERNAL)


def problem_response(problem: ProblemError, request_id: str) -> Response:
    """Return a problem as an answer.

    Args:
        problem: What is the matter.
        request_id: Name of the request in the log.
    """
    status = STATUS[problem.code]
    headers = problem.headers | ({"retry-after": SOON} if status in TEMPORARY else {})
    content = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": str(problem),
        "code": problem.code.value,
        "request_id": request_id,
    }
    return Response(
        orjson.dumps(content),
        status,
        {"cache-control": "no-store", **headers},
        media_type=PROBLEM_JSON,
    )


def _of_router(error: HTTPException) -> ProblemError:
    """Return what the router has to say."""
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            return ProblemError(Code.NO_SUCH_PATH, "there is nothing at this path; see /docs")
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return method_not_allowed(())
        case _:
            return ProblemError(Code.INVALID_REQUEST, shown(error.detail))


def method_not_allowed(methods: Sequence[str]) -> ProblemError:
    """Return that a path takes other methods.

    Args:
        methods: Those that it takes.
    """
    allowed = ", ".join(methods)
    detail = f"this path takes {allowed or 'other methods'}; see /docs"
    return ProblemError(Code.METHOD_NOT_ALLOWED, detail, {"allow": allowed})
