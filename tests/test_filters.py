from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from index.neighbours import NO_ID
from retrieval.data.attributes import Attribute, AttributeKind, columns_of
from retrieval.data.catalogue import Catalogue, Movie
from retrieval.data.vocabulary import Id
from retrieval.errors import RequestError
from retrieval.serving.filters import Filter, parse_years
from retrieval.serving.masks import Masks
from retrieval.serving.recommender import Recommender

CATALOGUE = Catalogue(
    [
        Movie(1, "One", 1990, ("Comedy", "Drama")),
        Movie(2, "Two", 1999, ("Drama",)),
        Movie(4, "Four", None, ("Film-Noir",)),
        Movie(7, "Seven", 2000, ()),
    ]
)


MASKS = Masks(
    columns_of(
        pd.DataFrame(
            {
                "year": [movie.year for movie in CATALOGUE.movies],
                "genres": ["|".join(movie.genres) for movie in CATALOGUE.movies],
                "country": ["FR", "DE", "FR", ""],
            }
        ),
        [
            Attribute("year", AttributeKind.NUMBER),
            Attribute("genres", AttributeKind.LIST),
            Attribute("country", AttributeKind.CATEGORY),
        ],
    )
)


def kept(wanted: Filter) -> list[Id]:
    mask = wanted.keeps(CATALOGUE, MASKS)
    return [movie.id for movie, keep in zip(CATALOGUE.movies, mask, strict=True) if keep]


def test_each_part_of_a_filter_leaves_what_it_says() -> None:
    assert kept(Filter()) == [1, 2, 4, 7]
    assert kept(Filter(genres=["comedy", " Film-noir"])) == [1, 4]
    assert kept(Filter(years=(1990, 1999))) == [1, 2]
    assert kept(Filter(allow=[7, 1])) == [1, 7]
    assert kept(Filter(deny=[7, 1])) == [2, 4]
    assert kept(Filter(genres=["Drama"], years=(1999, 1999), deny=[1])) == [2]
    assert kept(Filter(allow=[])) == []
    assert kept(Filter(where=["country=FR"])) == [1, 4]
    assert kept(Filter(where="country=fr, de")) == [1, 2, 4]
    assert kept(Filter(where=["country=FR", "year<1999"], deny=[4])) == [1]
    assert kept(Filter(where=["genres!=Drama"], years=(1990, 2000))) == [7]


def test_unknown_genres_and_movies_are_named() -> None:
    with pytest.raises(RequestError, match="unknown genre 'comdy'; did you mean Comedy"):
        kept(Filter(genres=["comdy"]))
    with pytest.raises(RequestError, match="unknown genre 'xyz'; there are: Comedy, Drama"):
        kept(Filter(genres=["xyz"]))


def test_denied_ids_need_not_be_movies_but_some_allowed_ones_must(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert kept(Filter(deny=[3])) == [1, 2, 4, 7]
    assert kept(Filter(deny=[3, 7, 10**18])) == [1, 2, 4]
    assert not caplog.records
    assert kept(Filter(allow=[3, 7])) == [7]
    assert "of the allowed ids, 1 are no movie's" in caplog.text
    with pytest.raises(RequestError, match="none of the 2 allowed ids is a movie's, 3 the first"):
        kept(Filter(allow=[3, 5]))


def filter_(**given: Any) -> Filter:  # noqa: ANN401 (whatever a caller may give)
    return Filter(**given)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (filter_(genres=[]), "which allows nothing"),
        (filter_(genres="Drama"), "give a list"),
        (filter_(genres=5), "give a list"),
        (filter_(genres=[5]), "genre '5' is no text"),
        (filter_(genres=["x" * 100_000]), "unknown genre"),
        (filter_(years=(1999, 1990)), "years 1999-1990 end before they begin"),
        (filter_(years=(1990,)), "give the first and the last"),
        (filter_(years=1990), "give the first and the last"),
        (filter_(years=(float("nan"), 1990)), r"years are '\(nan, 1990\)'; give the first"),
        (filter_(years="42"), "give the first and the last"),
        (filter_(allow=[10**30]), "is no id"),
        (filter_(allow="12"), "must be one list"),
        (filter_(deny=[1.5]), "movie '1.5' is no id"),
        (filter_(deny=[[1]]), "must be one list"),
    ],
)
def test_impossible_filters_are_named(wanted: Filter, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        kept(wanted)


def test_years_are_one_or_a_range() -> None:
    assert parse_years("1994") == (1994, 1994)
    assert parse_years(" 1990 - 1999") == (1990, 1999)
    with pytest.raises(RequestError, match="malformed years '90s'; write 1994 or 1990-1999"):
        parse_years("90s")
    with pytest.raises(RequestError, match="write 1990-1999"):
        parse_years("1999-1990")


@pytest.mark.parametrize("count", [1, 7, 60, 199])
def test_lists_are_as_long_as_what_is_allowed_and_the_best_of_it(
    recommender: Recommender, count: int
) -> None:
    ids = np.random.default_rng(count).permutation(recommender.run.catalogue.vocabulary.ids)[:count]
    wanted = Filter(allow=ids.tolist())
    every = recommender.topk_many([5, 6], len(recommender.run.catalogue), include_seen=True)
    for depth in (3, count):
        found = recommender.topk_many([5, 6], depth, filters=wanted, include_seen=True)
        for row, whole in zip(found.movie_ids, every.movie_ids, strict=True):
            assert row.tolist()[:count] == [m for m in whole.tolist() if m in ids][:depth]
            assert (row != NO_ID).sum() == min(depth, count)


def test_seen_movies_stay_out_of_what_is_allowed(recommender: Recommender) -> None:
    run = recommender.run
    start, end = run.histories.offsets[4:6]
    seen = run.catalogue.vocabulary.ids[run.histories.movies[start:end]].tolist()
    user = int(run.users.ids[4])
    assert len(recommender.topk(user, 5, filters=Filter(allow=seen))) == 0


def test_what_the_same_conditions_select_is_kept(recommender: Recommender) -> None:
    snapshot = recommender.snapshot
    drama = snapshot.allowed(Filter(genres=["Drama"]))
    assert drama is snapshot.allowed(Filter(genres=["drama"], where=[]))
    assert drama is not snapshot.allowed(Filter(genres=["Comedy"]))
    assert drama is not None
    movies = snapshot.run.catalogue.movies
    assert {movies[number].id for number in drama.ids.tolist()} == {
        movie.id for movie in movies if "Drama" in movie.genres
    }
    # What names movies is of one user, and is not kept.
    one = Filter(genres=["Drama"], deny=[movies[int(drama.ids[0])].id])
    fewer = snapshot.allowed(one)
    assert fewer is not snapshot.allowed(one)
    assert fewer is not None
    assert fewer.ids.tolist() == drama.ids.tolist()[1:]
    hidden = snapshot.run.hidden.copy()
    hidden[drama.ids[0]] = True
    hiding = replace(snapshot, run=replace(snapshot.run, hidden=hidden))
    left = hiding.allowed(Filter(genres=["Drama"]))
    assert left is not None
    assert left.ids.tolist() == drama.ids.tolist()[1:]
