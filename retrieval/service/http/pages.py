"""Pages: files that are read once and served as they are."""

import hashlib
import mimetypes
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from importlib.resources import files
from importlib.resources.abc import Traversable

import orjson
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from retrieval.service.http.envelope import PAGE_POLICY
from retrieval.service.http.problems import Code, ProblemError

INDEX = "index.html"

# What the tables of some systems lack.
TYPES = {".js": "text/javascript", ".woff2": "font/woff2", ".svg": "image/svg+xml"}

POLICY = {
    "content-security-policy": PAGE_POLICY,
    "cache-control": "no-cache",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
}


@dataclass(frozen=True)
class File:
    """A file as it is served."""

    content: bytes
    kind: str
    tag: str

    @classmethod
    def of(cls, name: str, content: bytes) -> "File":
        """Return a file by its name, whose end says of what kind it is."""
        end = "." + name.rpartition(".")[2]
        kind = TYPES.get(end) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        return cls(content, kind, f'"{hashlib.sha256(content).hexdigest()[:16]}"')

    def answer(self, request: Request) -> Response:
        """Return the file, or that whoever asks has it already."""
        headers = {"etag": self.tag, **POLICY}
        if self.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(self.content, headers=headers, media_type=self.kind)


class Folder:
    """The files of a folder of this package, and of those in it.

    Args:
        package: Package that the folder lies in.
        name: Its name.
    """

    def __init__(self, package: str, name: str) -> None:
        folder = files(package) / name
        self._files = {path: File.of(path, content) for path, content in _contents(folder)}

    async def index(self, request: Request) -> Response:
        """Answer with the page."""
        return self._file(INDEX).answer(request)

    async def file(self, request: Request) -> Response:
        """Answer with a file."""
        return self._file(request.path_params["path"]).answer(request)

    def _file(self, path: str) -> File:
        found = self._files.get(path)
        if found is None:
            raise ProblemError(Code.NO_SUCH_PATH, "there is no such file")
        return found


def add_pages(app: FastAPI, described: bytes) -> None:
    """Let an application serve its page and its documentation.

    Args:
        app: The application.
        described: Its description, as OpenAPI has it.
    """
    page, docs = Folder("retrieval.service", "page"), Folder("retrieval.service.http", "docs")
    description = File.of("openapi.json", described)

    async def openapi(request: Request) -> Response:
        return description.answer(request)

    for path, handler in (
        ("/", page.index),
        ("/page/{path:path}", page.file),
        ("/openapi.json", openapi),
        ("/docs", docs.index),
        ("/docs/{path:path}", docs.file),
    ):
        app.add_route(path, handler, methods=["GET"], include_in_schema=False)


def described(content: object) -> bytes:
    """Return a description as JSON."""
    return orjson.dumps(content, option=orjson.OPT_INDENT_2)


def _contents(folder: Traversable, before: str = "") -> Iterator[tuple[str, bytes]]:
    if not folder.is_dir():
        return
    for each in folder.iterdir():
        if each.is_dir():
            yield from _contents(each, f"{before}{each.name}/")
        else:
            yield before + each.name, each.read_bytes()
