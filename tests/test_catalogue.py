from pathlib import Path

import pytest

from retrieval.catalogue import Catalogue, Movie, read_catalogue, write_catalogue
from retrieval.errors import RequestError

MOVIES = [
    Movie(1, "Toy Story", 1995, ("Animation", "Comedy")),
    Movie(3114, "Toy Story 2", 1999, ("Animation",)),
    Movie(2571, "Matrix, The", 1999, ("Action",)),
    Movie(858, "Godfather, The", 1972, ()),
    Movie(1347, "Nightmare on Elm Street, A", 1984, ()),
    Movie(10, "Sabrina", 1954, ()),
    Movie(7, "Sabrina", 1995, ()),
    Movie(99, "Amélie", None, ()),
]


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue(sorted(MOVIES))


@pytest.mark.parametrize(
    ("text", "movie"),
    [
        ("1", 1),
        ("toy story", 1),
        ("Toy Story (1995)", 1),
        ("toy storry", 1),
        ("matrix", 2571),
        ("The Matrix", 2571),
        ("Matrix, The", 2571),
        ("a nightmare on elm street", 1347),
        ("the godfathr", 858),
        ("sabrina (1954)", 10),
        ("amélie", 99),
    ],
)
def test_a_title_is_understood_as_people_type_it(
    catalogue: Catalogue, text: str, movie: int
) -> None:
    assert catalogue.named(text).id == movie


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sabrina", r"which one is meant: .*Sabrina \(1995\) \[7\]"),
        ("toy", r"did you mean: Toy Story \(1995\) \[1\]"),
        ("xyzzyq", "no movie is called anything like 'xyzzyq'"),
        ("5000", "unknown movie 5000: ids run from 1 to 3114"),
        (" ", "names nothing"),
    ],
)
def test_an_unclear_title_gets_an_offer(catalogue: Catalogue, text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        catalogue.named(text)


def test_whole_words_come_before_lookalikes(catalogue: Catalogue) -> None:
    assert [movie.id for movie in catalogue.search("toy", 2)] == [1, 3114]


def test_a_catalogue_comes_back_from_disk(catalogue: Catalogue, tmp_path: Path) -> None:
    write_catalogue(tmp_path / "movies.json", catalogue)
    assert read_catalogue(tmp_path / "movies.json", 0).movies == catalogue.movies


def test_movies_added_later_come_last_whatever_their_ids(catalogue: Catalogue) -> None:
    low, high = Movie(0, "Early Id", 2020, ()), Movie(9_999, "Late Id", None, ("Drama",))
    more = Catalogue([*catalogue.movies, high, low], added=2)
    assert [more.number(movie.id) for movie in more.movies] == list(range(len(more)))
    assert more.named("early id") == low
    with pytest.raises(RequestError, match="ids run from 0 to 9999"):
        more.number(12_345)
