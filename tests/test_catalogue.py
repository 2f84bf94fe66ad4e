from pathlib import Path

import pytest

from retrieval.data.catalogue import Catalogue, Movie, read_catalogue, write_catalogue
from retrieval.errors import RequestError, RunError

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


TITLED = [
    Movie(1, "Bigger Than Life", 1956, ()),
    Movie(2, "Big", 1988, ()),
    Movie(3, "The Big Sleep", 1946, ()),
    Movie(4, "Big Lebowski, The", 1998, ()),
    Movie(5, "Mummy Returns, The", 2001, ()),
    Movie(6, "Mummy, The", 1999, ()),
    Movie(7, "Abbott and Costello Meet the Mummy", 1955, ()),
    Movie(8, "1984", 1984, ()),
    Movie(9, "300", 2006, ()),
    Movie(300, "Sparta", 2006, ()),
]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Big", [2, 1, 3, 4]),
        ("big (1988)", [2]),
        ("Mummy, The", [6, 5, 7]),
        ("the mummy", [6, 5, 7]),
        ("mummy", [6, 5, 7]),
        ("The Mummy (1999)", [6]),
    ],
)
def test_a_title_typed_whole_comes_first_then_what_begins_so(text: str, first: list[int]) -> None:
    found = [movie.id for movie in Catalogue(TITLED).search(text, 10)]
    assert found[0] == first[0]
    assert set(found[: len(first)]) == set(first)


def test_a_number_is_an_id_and_else_a_title() -> None:
    catalogue = Catalogue(TITLED)
    assert catalogue.named("1984").id == 8
    assert catalogue.named("300").id == 300
    assert catalogue.named(9).id == 9
    with pytest.raises(RequestError, match="unknown movie 99999999999999999999"):
        catalogue.named("9" * 20)
    with pytest.raises(RequestError, match="unknown movie 9"):
        catalogue.named("9" * 10_000)
    with pytest.raises(RequestError, match="unknown movie 1000000000000000000000"):
        catalogue.named(10**21)


def test_signs_in_a_title_are_searched_for_as_they_are() -> None:
    titles = ["Bold", "Crash [/b] Again", "$", "$ (Dollars)", "Blue"]
    catalogue = Catalogue([Movie(place, title, 1971, ()) for place, title in enumerate(titles)])
    assert [movie.id for movie in catalogue.search("[/B]", 1)] == [1]
    assert [movie.id for movie in catalogue.search("$", 9)] == [2, 3]
    assert catalogue.search("(?)", 9) == []
    assert catalogue.named("$").id == catalogue.named("$ (1971)").id == 2
    with pytest.raises(RequestError, match="names nothing"):
        catalogue.named("?")


def test_any_text_is_searched_for() -> None:
    catalogue = Catalogue(TITLED)
    for text in ("", "[/b]", "!!!", "\x1b[31m", "\udcff", "big" * 100_000, "\0"):
        catalogue.search(text, 3)
        with pytest.raises(RequestError) as caught:
            catalogue.named(text)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 500


def test_movies_that_come_in_another_order_are_refused() -> None:
    for movies in ([MOVIES[1], MOVIES[0]], [MOVIES[0], MOVIES[0]]):
        with pytest.raises(ValueError, match="ascending id"):
            Catalogue(movies)


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[", "[1]", '[{"id": 1}]', "[" * 100_000,
        '[{"id": 1.5, "title": "a", "year": null, "genres": []}]',
        '[{"id": 99999999999999999999, "title": "a", "year": null, "genres": []}]',
        '[{"id": 1, "title": 5, "year": null, "genres": []}]',
        '[{"id":2,"title":"","year":null,"genres":[]},{"id":1,"title":"","year":null,"genres":[]}]',
    ],
)  # fmt: skip
def test_a_file_that_is_no_catalogue_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "movies.json").write_text(text)
    with pytest.raises(RunError, match=r"movies.json is no catalogue: .*; train again"):
        read_catalogue(tmp_path / "movies.json", 0)
    with pytest.raises(RunError, match="is no catalogue"):
        read_catalogue(tmp_path / "none.json", 0)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("silense of the lambs", "Silence of the Lambs, The"),
        ("the matrx", "Matrix, The"),
        ("star wrs", "Star Wars: Episode IV - A New Hope"),
        ("matrx 1999", "Matrix, The"),
        ("it happned one nite", "It Happened One Night"),
    ],
)
def test_little_words_that_titles_share_do_not_make_them_alike(typed: str, meant: str) -> None:
    titles = [
        "Father of the Bride Part II",
        "City of Lost Children, The",
        "It Happened One Night",
        "Matrix, The",
        "Silence of the Lambs, The",
        "Star Maker, The (Uomo delle stelle, L')",
        "Star Wars: Episode IV - A New Hope",
        "What's Love Got to Do with It?",
    ]
    movies = [Movie(number, title, 1999, ()) for number, title in enumerate(titles)]
    assert Catalogue(movies).search(typed, 3)[0].title == meant
