"""Movies over HTTP: found, told of, put on a map, added, hidden and removed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from web import Answer, Service, service_of

from retrieval.service.http.map import plane
from retrieval.serving.recommender import Recommender

NEW = 77_001
FACTS: dict[str, Any] = {"title": "A Film That Was Not There", "year": 1999, "genres": ["Drama"]}


@pytest.fixture(scope="module")
def steady(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that no test changes."""
    with service_of(run, tmp_path_factory.mktemp("log"), most_events=50) as service:
        yield service


@pytest.fixture
def service(run: Path, tmp_path: Path) -> Iterator[Service]:
    with service_of(run, tmp_path) as service:
        yield service


def put(service: Service, movie: object, **facts: object) -> Answer:
    answer = service.ask("PUT", f"/v1/movies/{movie}", json={**FACTS, **facts})
    assert answer.status_code == 200, answer.text
    found: Answer = answer.json()
    return found


def test_a_movie_is_found_by_part_of_its_title(steady: Service, recommender: Recommender) -> None:
    movie = recommender.run.catalogue.movies[3]
    found = steady.get("/v1/movies", params={"q": movie.title, "limit": 3})["movies"]
    assert found[0] == {
        "movie_id": movie.id,
        "title": movie.title,
        "year": movie.year,
        "genres": list(movie.genres),
    }
    assert len(found) <= 3
    assert steady.get("/v1/movies")["movies"] == []


def test_a_movie_is_told_of(steady: Service, recommender: Recommender) -> None:
    movie = recommender.run.catalogue.movies[3]
    found = steady.get(f"/v1/movies/{movie.id}")
    assert found["title"] == movie.title
    assert found["hidden"] is False
    assert found["ratings"] > 0
    assert 1 <= found["mean_rating"] <= 5


def test_movies_that_are_alike_are_those_of_the_recommender(
    steady: Service, recommender: Recommender
) -> None:
    movie = recommender.run.catalogue.movies[3].id
    found = steady.get(f"/v1/movies/{movie}/similar", params={"k": 4})["movies"]
    wanted = recommender.similar(movie, 4)
    assert [row["movie_id"] for row in found] == [row.movie.id for row in wanted]
    assert [row["cosine"] for row in found] == pytest.approx([row.cosine for row in wanted])


def test_every_movie_is_on_the_map(steady: Service, recommender: Recommender) -> None:
    found = steady.get("/v1/movies/map")["movies"]
    assert {row["movie_id"] for row in found} == set(recommender.index.ids.tolist()) or len(
        found
    ) == len(recommender.run.catalogue)
    counts = [row["ratings"] for row in found]
    assert counts == sorted(counts, reverse=True)
    assert np.var([row["x"] for row in found]) >= np.var([row["y"] for row in found]) > 0


def test_the_map_shows_what_differs_most() -> None:
    along = np.array([[0.0, 0.0, 0.0], [0.0, 4.0, 1.0], [0.0, 8.0, -1.0], [0.0, 12.0, 0.0]])
    places = plane(along)
    assert np.allclose(np.diff(places[:, 0]), 4, atol=0.3)
    assert np.allclose(plane(along[:, :1]), 0)
    assert plane(np.zeros((0, 3))).shape == (0, 2)


def test_a_movie_that_is_put_is_there_at_once(service: Service) -> None:
    assert put(service, NEW) == {"movie_id": NEW, "state": "listed"}
    found = service.get(f"/v1/movies/{NEW}")
    assert found["title"] == FACTS["title"]
    assert service.get("/v1/movies", params={"q": FACTS["title"]})["movies"][0]["movie_id"] == NEW
    put(service, NEW, title="Another Name")
    assert service.get(f"/v1/movies/{NEW}")["title"] == "Another Name"


def test_a_movie_is_hidden_shown_and_removed(service: Service) -> None:
    path = "/v1/users/4/recommendations?k=5"
    movie = service.get(path)["movies"][0]["movie_id"]

    def patched(*, hidden: bool) -> str:
        return str(
            service.ask("PATCH", f"/v1/movies/{movie}", json={"hidden": hidden}).json()["state"]
        )

    def first() -> int:
        found: int = service.get(path)["movies"][0]["movie_id"]
        return found

    assert patched(hidden=True) == "hidden"
    assert service.get(f"/v1/movies/{movie}")["hidden"] is True
    assert first() != movie
    assert patched(hidden=False) == "listed"
    assert first() == movie
    answer = service.ask("DELETE", f"/v1/movies/{movie}")
    assert answer.json() == {"movie_id": movie, "state": "removed"}
    assert first() != movie
    assert service.refused("GET", f"/v1/movies/{movie}") == (404, "unknown_movie")
    assert service.refused("DELETE", f"/v1/movies/{movie}") == (404, "unknown_movie")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/movies/4040404", None),
        ("GET", "/v1/movies/abc", None),
        ("GET", "/v1/movies/4040404/similar", None),
        ("GET", "/v1/users/4/movies/4040404", None),
        ("PATCH", "/v1/movies/4040404", {"hidden": True}),
        ("DELETE", "/v1/movies/4040404", None),
    ],
)
def test_a_movie_that_is_not_there_is_not_found(
    steady: Service, method: str, path: str, body: object
) -> None:
    assert steady.refused(method, path, json=body) == (404, "unknown_movie")


@pytest.mark.parametrize(
    "facts",
    [
        {"title": ""},
        {"title": None},
        {"title": "red \x1b[31m"},
        {"title": "\u202eeltit"},
        {"title": "x" * 501},
        {"title": 5},
        {"year": 1.5},
        {"year": 20_000},
        {"genres": "Drama"},
        {"genres": [""]},
        {"genres": ["Drama"] * 51},
        {"country": {"deep": 1}},
        {f"a{number}": 1 for number in range(101)},
    ],
)
def test_a_movie_that_cannot_be_is_refused(steady: Service, facts: dict[str, object]) -> None:
    refused = steady.refused("PUT", f"/v1/movies/{NEW}", json={**FACTS, **facts})
    assert refused == (422, "invalid_request")


def test_a_title_of_html_stays_a_text(service: Service) -> None:
    title = "<script>alert('1')</script> & \"friends\""
    put(service, NEW, title=title)
    answer = service.ask("GET", f"/v1/movies/{NEW}")
    assert answer.json()["title"] == title
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
