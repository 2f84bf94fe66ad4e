"""Who may ask: which names the service goes by, whose pages may write, and who has a key."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.types import Scope

from retrieval.errors import shown
from retrieval.service.http.keys import Keys
from retrieval.service.http.problems import Code, ProblemError

# What can be read without a key: whether the service lives, and pages, which hold no data.
OPEN_PATHS = frozenset({"/", "/docs", "/openapi.json", "/health/live", "/health/ready"})
OPEN_FOLDERS = ("/page/", "/docs/")

# Methods that change nothing.
READING = frozenset({"GET", "HEAD", "OPTIONS"})

BEARER = b"bearer "

Headers = Mapping[bytes, bytes]


class Guard:
    """Refuses requests before any route sees them.

    Args:
        keys: API keys; None asks for none.
        hosts: Names by which the service may be called; empty is any.
        origins: Origins whose pages may write.
    """

    def __init__(self, keys: Keys | None, hosts: tuple[str, ...], origins: tuple[str, ...]) -> None:
        self._keys = keys
        self._hosts = frozenset(host.casefold() for host in hosts)
        self._origins = frozenset(origins)

    def check(self, scope: Scope, headers: Headers) -> None:
        """Raise a `ProblemError` if a request may not be answered.

        Args:
            scope: The request.
            headers: Its headers, by their names in small letters.
        """
        if self._hosts:
            self._check_host(headers.get(b"host", b"").decode("latin-1"))
        if scope["method"] not in READING and b"origin" in headers:
            self._check_origin(headers)
        if self._keys is not None and not is_open(scope["path"].removeprefix(scope["root_path"])):
            _check_key(self._keys, headers)

    def _check_host(self, host: str) -> None:
        if _name_of(host) not in self._hosts:
            raise ProblemError(
                Code.WRONG_HOST,
                f"this service is not called '{shown(host)}' but {', '.join(sorted(self._hosts))}; "
                "to be called by any name it needs keys: rec serve --keys FILE",
            )

    def _check_origin(self, headers: Headers) -> None:
        origin = headers[b"origin"].decode("latin-1")
        host = headers.get(b"host", b"").decode("latin-1")
        if origin not in self._origins and _authority(origin) != host.casefold():
            raise ProblemError(
                Code.CROSS_ORIGIN,
                f"pages of '{shown(origin)}' may not write here; rec serve --cors ORIGIN lets them",
            )


def _check_key(keys: Keys, headers: Headers) -> None:
    given = _key_of(headers)
    if keys.holds(given):
        return
    code = Code.WRONG_KEY if given else Code.KEY_NEEDED
    what = "this key is not known here" if given else "an API key is needed"
    raise ProblemError(
        code,
        f"{what}; send one as Authorization: Bearer KEY, or as X-API-Key: KEY",
        {"www-authenticate": "Bearer"},
    )


def is_open(path: str) -> bool:
    """Return whether a path is there for those without a key too."""
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDERS)


def _key_of(headers: Headers) -> bytes:
    given = headers.get(b"authorization", b"")
    if given[: len(BEARER)].lower() == BEARER:
        return given[len(BEARER) :].strip()
    return headers.get(b"x-api-key", b"").strip()


def _name_of(host: str) -> str:
    """Return the name in a Host header: without a port, in small letters."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).casefold()


def _authority(origin: str) -> str:
    """Return the host and port of an origin; of what is none, nothing that a host could be."""
    try:
        return urlsplit(origin).netloc.casefold() or "null"
    except ValueError:
        return "null"
