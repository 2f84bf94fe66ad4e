"""The description of the service, as OpenAPI has it, for routes that read requests themselves.

FastAPI would check parameters and bodies one by one, which takes longer than a list does; here a
route reads its request with one model, and says with it what may be sent.
"""

import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from starlette.requests import Request
from starlette.responses import Response

from retrieval.service.http.problems import PROBLEM_JSON
from retrieval.service.http.schemas import NoParameters
from retrieval.service.http.shapes import ProblemShape

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

SCHEMAS = "#/components/schemas/"
TEMPLATE = SCHEMAS + "{model}"

# What a name in a path stands for.
NAMED: Mapping[str, tuple[str, str]] = {
    "user_id": ("id of a user, percent-encoded", "42"),
    "movie_id": ("id of a movie, percent-encoded", "1193"),
    "name": ("name of a version of the run", "v000001-ab12cd34"),
}

LONGEST_KEY = 200

IDEMPOTENCY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "sent again with the same key, the same events count once",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY},
}


class PlainRoute(APIRoute):
    """A route whose handler reads the request itself: nothing is looked up for it first."""

    def get_route_handler(self) -> Handler:
        """Return what answers a request."""
        handler: Handler = self.endpoint
        return handler


@dataclass(frozen=True, kw_only=True)
class Route:
    """One route and what is said of it.

    Args:
        method: Method of its requests.
        path: Template of its path.
        handler: What answers; its docstring is the description.
        shape: Shape of its answer.
        query: Model of its parameters.
        body: Model of its body; None takes none.
        status: Status of its answer.
        tag: What it is about.
        headers: Headers that it reads, as OpenAPI describes parameters.
    """

    method: str
    path: str
    handler: Handler
    shape: type[BaseModel]
    tag: str
    query: type[BaseModel] = NoParameters
    body: type[BaseModel] | None = None
    status: HTTPStatus = HTTPStatus.OK
    headers: tuple[Mapping[str, Any], ...] = ()

    def add_to(self, app: FastAPI) -> None:
        """Let an application answer it."""
        summary, _, _ = (self.handler.__doc__ or "").partition("\n")
        extra: dict[str, Any] = {"parameters": [*self._in_path(), *self._in_query(), *self.headers]}
        if self.body is not None:
            schema = {"$ref": SCHEMAS + self.body.__name__}
            extra["requestBody"] = {
                "required": True,
                "content": {"application/json": {"schema": schema}},
            }
        problem = {"schema": {"$ref": SCHEMAS + ProblemShape.__name__}}
        app.add_api_route(
            self.path,
            self.handler,
            methods=[self.method],
            summary=summary,
            description="\n\n".join(
                part.strip() for part in (self.handler.__doc__ or "").split("\n\n")[1:]
            ),
            tags=[self.tag],
            status_code=self.status,
            response_class=Response,
            response_model=None,
            responses={
                self.status.value: {"model": self.shape, "description": self.status.phrase},
                "default": {
                    "description": "a problem, as RFC 9457 has it",
                    "content": {PROBLEM_JSON: problem},
                },
            },
            openapi_extra=extra,
        )

    def _in_path(self) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": NAMED[name][0],
                "schema": {"type": "string", "minLength": 1},
                "example": NAMED[name][1],
            }
            for name in re.findall(r"\{(\w+)\}", self.path)
        ]

    def _in_query(self) -> list[dict[str, Any]]:
        described = self.query.model_json_schema(ref_template=TEMPLATE)
        required = described.get("required", [])
        return (
            [
                {"name": name, "in": "query", "required": name in required, "schema": schema}
                | ({"description": schema["description"]} if "description" in schema else {})
                for name, schema in described["properties"].items()
            ]
            if "properties" in described
            else []
        )


def description(app: FastAPI, routes: Sequence[Route]) -> dict[str, Any]:
    """Return the description of an application, with the models that its routes read.

    Args:
        app: The application.
        routes: Its routes.
    """
    made = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    read = {model for route in routes for model in (route.body, route.query) if model is not None}
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (model, "validation") for model in sorted(read, key=lambda model: model.__name__)
    ]
    _, further = models_json_schema([*models, (ProblemShape, "validation")], ref_template=TEMPLATE)
    components = made.setdefault("components", {})
    components["schemas"] = components.get("schemas", {}) | further.get("$defs", {})
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    made["security"] = [{"bearer": []}, {"header": []}, {}]
    return made
