"""Ids as the network brings them: texts in paths, numbers or texts in JSON."""

import re
from typing import Annotated
from urllib.parse import unquote_to_bytes

from pydantic import BeforeValidator, WithJsonSchema

from retrieval.data.vocabulary import Id
from retrieval.errors import CONTROLS, RequestError, shown
from retrieval.serving.arguments import LARGEST

LONGEST = 200
HIDDEN = re.compile(rf"[{CONTROLS}]")

REMEDY = f"an id is a whole number, or a text of 1 to {LONGEST} letters without control characters"


def _checked(value: object) -> Id:
    """Return an id that can be kept, of either kind."""
    match value:
        case int() if not isinstance(value, bool) and abs(value) <= LARGEST:
            return value
        case str() if 0 < len(value.strip()) <= LONGEST and not HIDDEN.search(value):
            return value.strip()
        case _:
            raise ValueError(REMEDY)


# An id in JSON or in a query string.
GivenId = Annotated[
    int | str,
    BeforeValidator(_checked),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": -LARGEST, "maximum": LARGEST},
                {"type": "string", "minLength": 1, "maxLength": LONGEST},
            ],
        }
    ),
]


def id_in_path(text: str) -> str:
    """Return the id in one part of a path, which may hold any sign, a slash as %2F.

    Raises:
        RequestError: It is no id.
    """
    if text.isascii() and text.isalnum() and len(text) <= LONGEST:
        return text
    try:
        return str(_checked(unquote_to_bytes(text).decode()))
    except ValueError as error:
        raise RequestError(f"malformed id '{shown(text)}' in the path; {REMEDY}") from error
