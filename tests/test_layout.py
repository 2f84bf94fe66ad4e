import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval.pairs.layout import Part, Role, VectorLayout

RATES, RANKS = (Role.RATES,), (Role.RANKS,)

# As joined: a0 a1 bias offset, b0 offset, c0 bias offset, d0 d1.
FIRST = Part(name="first", roles=RATES, width=3, biased=True)
PLAIN = Part(name="plain", roles=RATES, width=1)
BOTH = Part(name="both", roles=(Role.RATES, Role.RANKS), width=2, biased=True)
WATCH = Part(name="watch", roles=RANKS, width=2)
LAYOUT = VectorLayout((FIRST, PLAIN, BOTH, WATCH))

RANKING_ALONE = VectorLayout((WATCH, Part(name="second", roles=RANKS, width=2, biased=True)))


def rows(*values: list[float]) -> NDArray[np.float32]:
    """Vectors, one a list."""
    return np.array(values, np.float32)


def floats(*values: float) -> NDArray[np.float64]:
    return np.array(values)


def test_parts_are_told_apart_by_their_roles() -> None:
    assert LAYOUT.names == ("first", "plain", "both", "watch")
    assert LAYOUT.rating == (FIRST, PLAIN, BOTH)
    assert LAYOUT.ranking == (BOTH, WATCH)
    assert RANKING_ALONE.rating == ()
    assert RANKING_ALONE.ranking == RANKING_ALONE.parts


def test_a_pair_that_rates_has_a_component_more_which_is_not_its_own() -> None:
    assert LAYOUT.dimension == (3 + 1) + (1 + 1) + (2 + 1) + 2
    columns = [LAYOUT.columns(part) for part in LAYOUT.parts]
    assert columns == [slice(0, 3), slice(4, 5), slice(6, 8), slice(9, 11)]
    assert RANKING_ALONE.dimension == 4
    assert RANKING_ALONE.columns(RANKING_ALONE.parts[1]) == slice(2, 4)


def test_movies_are_joined_with_nothing_where_offsets_are_met() -> None:
    joined = LAYOUT.join_movies([rows([1, 2, 3]), rows([4]), rows([5, 6]), rows([7, 8])])
    assert joined.dtype == np.float32
    assert joined.tolist() == [[1, 2, 3, 0, 4, 0, 5, 6, 0, 7, 8]]
    alone = RANKING_ALONE.join_movies([rows([1, 2], [3, 4]), rows([5, 6], [7, 8])])
    assert alone.tolist() == [[1, 2, 5, 6], [3, 4, 7, 8]]


def test_parts_that_are_missing_or_too_many_are_not_joined() -> None:
    with pytest.raises(ValueError, match="zip"):
        LAYOUT.join_movies([rows([1, 2, 3]), rows([4])])
    with pytest.raises(ValueError, match="zip"):
        RANKING_ALONE.join_users(1, [rows([1, 2])], [floats(1)])


def test_users_meet_what_rates_and_their_offsets() -> None:
    vectors = [rows([1, 2, 1], [3, 4, 1]), rows([5], [6]), rows([7, 1], [8, 1])]
    offsets = [floats(0.5, 1.5), floats(-1, -2), floats(0.25, 0)]
    joined = LAYOUT.join_users(2, vectors, offsets)
    assert joined.dtype == np.float32
    assert joined.tolist() == [
        [1, 2, 1, 0.5, 5, -1, 7, 1, 0.25, 0, 0],
        [3, 4, 1, 1.5, 6, -2, 8, 1, 0, 0, 0],
    ]


def test_where_nothing_rates_joined_users_are_nothing() -> None:
    assert RANKING_ALONE.join_users(2, [], []).tolist() == [[0] * 4] * 2


def test_an_offset_counts_once_for_rated_movies_by_the_sum_alone() -> None:
    users = LAYOUT.join_users(1, [rows([1, 2, 1]), rows([5]), rows([7, 1])], [floats(9)] * 3)
    movies = LAYOUT.join_movies([rows([1, 1, 4]), rows([2]), rows([3, 0.5]), rows([100, 100])])
    # What a query's dot product is: without offsets, and without what only ranks.
    assert (users @ movies.T).tolist() == [[(1 + 2 + 4) + 5 * 2 + (7 * 3 + 0.5)]]


def test_unrated_movies_count_by_factors_and_a_shift_of_the_last_bias() -> None:
    movies = LAYOUT.join_movies([rows([1, 2, 3]), rows([4]), rows([5, 6]), rows([7, 8])])
    found = LAYOUT.as_unrated(movies, (0.5, 2, 10), (0.25, 1, 3), 0.125)
    assert found.dtype == np.float32
    assert found.tolist() == [[0.5, 1, 1.5, -0.75, 8, 0, 50, 60 + 0.125, 2, 7, 8]]
    assert movies[0, :4].tolist() == [1, 2, 3, 0]  # what was given is left as it was


def test_the_shift_is_of_the_last_rating_part_that_has_a_bias() -> None:
    layout = VectorLayout((FIRST, PLAIN, WATCH))
    movies = layout.join_movies([rows([1, 2, 3]), rows([4]), rows([7, 8])])
    found = layout.as_unrated(movies, (1, 1), (1, 1), 0.5)
    assert found.tolist() == [[1, 2, 3.5, 0, 4, 0, 7, 8]]


def test_without_a_bias_the_shift_goes_nowhere() -> None:
    layout = VectorLayout((PLAIN, WATCH))
    movies = layout.join_movies([rows([4]), rows([7, 8])])
    assert layout.as_unrated(movies, (2,), (1.5,), 9.0).tolist() == [[8, 0.5, 7, 8]]
    # The bias of a part that only ranks is none of a rating.
    alone = RANKING_ALONE.join_movies([rows([1, 2]), rows([5, 6])])
    assert RANKING_ALONE.as_unrated(alone, (), (), 9.0).tolist() == alone.tolist()


def test_an_offset_counts_its_factor_for_unrated_movies() -> None:
    layout = VectorLayout((FIRST,))
    users = layout.join_users(1, [rows([0, 0, 1])], [floats(8)])
    movies = layout.join_movies([rows([1, 2, 0])])
    found = layout.as_unrated(movies, (1,), (0.25,), 0)
    # The offset is added once outside of the vectors.
    assert 8 + (users @ found.T).item() == 0.25 * 8


def test_directions_hold_taste_as_much_as_pairs_that_rate_count() -> None:
    movies = rows([1, 2, 3, 9, 4, 9, 5, 6, 9, 7, 8], [0] * 11)
    found = LAYOUT.directions(movies, (2, 10, -1))
    assert found.dtype == np.float64
    # What only ranks is left out beside what rates.
    assert found.tolist() == [[2, 4, 40, -5], [0] * 4]


def test_trends_say_nothing_of_taste() -> None:
    part = Part(name="trendy", roles=(Role.RANKS,), width=3, trends=2)
    assert VectorLayout((part,)).directions(rows([7, 8, 9]), ()).tolist() == [[7]]


def test_where_nothing_rates_directions_hold_all_that_ranks_alike() -> None:
    assert RANKING_ALONE.directions(rows([1, 2, 5, 6]), ()).tolist() == [[1, 2, 5]]
