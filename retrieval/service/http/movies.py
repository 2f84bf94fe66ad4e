"""Movies: finding them, what is known of one, what is like it, and changing what there is."""

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from retrieval.data.catalogue import Movie
from retrieval.errors import RequestError
from retrieval.service.catalogue import Shelf
from retrieval.service.http.answers import answer, done, movie_json
from retrieval.service.http.context import Context, context_of
from retrieval.service.http.documentation import Route
from retrieval.service.http.ids import id_in_path
from retrieval.service.http.problems import Code, ProblemError
from retrieval.service.http.reading import body_of, parameters_of
from retrieval.service.http.schemas import (
    MOST_ATTRIBUTES,
    USUAL_SIMILAR,
    MovieBody,
    MovieState,
    NoParameters,
    SearchOptions,
    SimilarOptions,
)
from retrieval.service.http.shapes import (
    FactsShape,
    MapShape,
    MoviesShape,
    SimilarsShape,
    StateShape,
)
from retrieval.service.view import View, as_id


def known_movie(view: View, movie_id: str) -> Movie:
    """Return the movie of an id.

    Raises:
        ProblemError: There is no such movie.
    """
    try:
        return view.catalogue.movies[view.movie_number(movie_id)]
    except RequestError as error:
        raise ProblemError(Code.UNKNOWN_MOVIE, str(error)) from error


async def search(request: Request) -> Response:
    """Movies whose titles resemble a text; typing errors are allowed."""
    context, options = context_of(request), parameters_of(request, SearchOptions)
    return await context.slow(partial(_search, request, context, options))


async def map_movies(request: Request) -> Response:
    """Movies as points in a plane, where what the same people like lies together."""
    context = context_of(request)
    parameters_of(request, NoParameters)
    return await context.slow(partial(_map, request, context))


async def facts(request: Request) -> Response:
    """What is known of a movie."""
    context, movie_id = context_of(request), id_in_path(request.path_params["movie_id"])
    parameters_of(request, NoParameters)
    return await context.quick(partial(_facts, request, context, movie_id))


async def similar(request: Request) -> Response:
    """Movies that the same people like, nearest first."""
    context, movie_id = context_of(request), id_in_path(request.path_params["movie_id"])
    options = parameters_of(request, SimilarOptions)
    return await context.slow(partial(_similar, request, context, movie_id, options))


async def put(request: Request) -> Response:
    """Add a movie, or say what is known of one; lists have it at once."""
    context, movie_id = context_of(request), id_in_path(request.path_params["movie_id"])
    body = await body_of(request, MovieBody, context.settings.most_body)
    further = body.model_extra or {}
    if len(further) > MOST_ATTRIBUTES:
        raise RequestError(
            f"the movie has {len(further)} attributes; give at most {MOST_ATTRIBUTES}"
        )
    return await context.slow(partial(_put, context, movie_id, body))


async def patch(request: Request) -> Response:
    """Hide a movie from all lists, or show it again; at once, and kept over a training."""
    context, movie_id = context_of(request), id_in_path(request.path_params["movie_id"])
    body = await body_of(request, MovieState, context.settings.most_body)
    return await context.slow(partial(_patch, context, movie_id, hidden=body.hidden))


async def remove(request: Request) -> Response:
    """Remove a movie: at once, and kept over a training."""
    context, movie_id = context_of(request), id_in_path(request.path_params["movie_id"])
    parameters_of(request, NoParameters)
    return await context.slow(partial(_remove, context, movie_id))


ROUTES = (
    Route(
        method="GET",
        path="/v1/movies",
        handler=search,
        query=SearchOptions,
        shape=MoviesShape,
        tag="movies",
    ),
    # Before the route of one movie, for which `map` would be an id.
    Route(method="GET", path="/v1/movies/map", handler=map_movies, shape=MapShape, tag="movies"),
    Route(
        method="GET", path="/v1/movies/{movie_id}", handler=facts, shape=FactsShape, tag="movies"
    ),
    Route(
        method="GET",
        path="/v1/movies/{movie_id}/similar",
        handler=similar,
        query=SimilarOptions,
        shape=SimilarsShape,
        tag="movies",
    ),
    Route(
        method="PUT",
        path="/v1/movies/{movie_id}",
        handler=put,
        body=MovieBody,
        shape=StateShape,
        tag="movies",
    ),
    Route(
        method="PATCH",
        path="/v1/movies/{movie_id}",
        handler=patch,
        body=MovieState,
        shape=StateShape,
        tag="movies",
    ),
    Route(
        method="DELETE",
        path="/v1/movies/{movie_id}",
        handler=remove,
        shape=StateShape,
        tag="movies",
    ),
)


def _search(request: Request, context: Context, options: SearchOptions) -> Response:
    view = context.engine.view()
    found = view.search(options.q, options.limit) if options.q.strip() else []
    return answer(request, {"movies": list(map(movie_json, found))}, view.version)


def _map(request: Request, context: Context) -> Response:
    view = context.engine.view()
    return answer(request, {"movies": context.map.of(view)}, view.version)


def _facts(request: Request, context: Context, movie_id: str) -> Response:
    view = context.engine.view()
    found = view.movie(known_movie(view, movie_id).id)
    content = {
        **movie_json(found.movie),
        "attributes": found.attributes,
        "hidden": found.shelf is Shelf.HIDDEN,
        "ratings": found.ratings,
        "mean_rating": found.mean,
    }
    return answer(request, content, view.version)


def _similar(
    request: Request, context: Context, movie_id: str, options: SimilarOptions
) -> Response:
    view = context.engine.view()
    k = min(USUAL_SIMILAR, len(view.catalogue)) if options.k is None else options.k
    if k > context.settings.most_k:
        raise RequestError(f"k is {k}; it must be from 1 to {context.settings.most_k}")
    rows = view.similar(known_movie(view, movie_id).id, k)
    listed = [{"rank": row.rank, **movie_json(row.movie), "cosine": row.cosine} for row in rows]
    return answer(request, {"movies": listed}, view.version)


def _put(context: Context, movie_id: str, body: MovieBody) -> Response:
    movie = as_id(movie_id, "movie", context.engine.view().catalogue.vocabulary)
    shelf = context.engine.set_movie(movie, body.model_dump(mode="json"))
    return done({"movie_id": movie, "state": shelf})


def _patch(context: Context, movie_id: str, *, hidden: bool) -> Response:
    movie = known_movie(context.engine.view(), movie_id).id
    shelf = context.engine.hide(movie) if hidden else context.engine.show(movie)
    return done({"movie_id": movie, "state": shelf})


def _remove(context: Context, movie_id: str) -> Response:
    movie = known_movie(context.engine.view(), movie_id).id
    return done({"movie_id": movie, "state": context.engine.remove(movie)})
