import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.data import history as module
from retrieval.data.history import (
    Histories,
    Windows,
    build_histories,
    first_times,
    recent,
    shortened,
    spans,
    whole_windows,
    windows_until,
)

# Two users; user 0 has two events in one second, in file order 7 before 5.
USERS = np.array([1, 0, 0, 0, 1])
MOVIES = np.array([9, 7, 5, 3, 8])
RATINGS = np.array([1, 2, 3, 4, 5], np.float32)
TIMES = np.array([50, 20, 20, 10, 40])


def histories() -> Histories:
    return build_histories(USERS, MOVIES, RATINGS, TIMES, 3)


def test_events_are_sorted_by_time_and_ties_by_place_in_the_file() -> None:
    assert histories().offsets.tolist() == [0, 3, 5, 5]
    assert histories().movies.tolist() == [3, 7, 5, 8, 9]
    assert histories().ratings.tolist() == [4, 2, 3, 5, 1]


def test_only_the_last_events_are_kept_latest_first() -> None:
    windows = whole_windows(histories(), np.array([0, 1, 2]))
    found = recent(windows, 2)
    movies = np.where(found.present, histories().movies[found.positions], -1)
    assert movies.tolist() == [[5, 7], [9, 8], [-1, -1]]
    assert windows.times.tolist() == [20, 50, 0]


def test_a_user_without_events_has_an_empty_window() -> None:
    windows = windows_until(histories(), np.array([2]), np.array([100]))
    assert windows.ends - windows.starts == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 5)), min_size=1, max_size=40
    ),
    st.integers(0, 3),
    st.integers(-1, 6),
)
def test_windows_until_hold_what_a_loop_finds(
    rows: list[tuple[int, int, int]], user: int, time: int
) -> None:
    users, movies, times = (np.array(column) for column in zip(*rows, strict=True))
    built = build_histories(users, movies, np.ones(len(rows), np.float32), times, 4)
    window = windows_until(built, np.array([user]), np.array([time]))
    found = built.movies[window.starts[0] : window.ends[0]].tolist()
    own = [row for row in rows if row[0] == user and row[2] <= time]
    assert found == [movie for _, movie, _ in sorted(own, key=lambda row: row[2])]


def test_shortened_windows_keep_some_events_in_every_order_of_magnitude() -> None:
    windows = Windows(np.full(20_000, 7), np.full(20_000, 107), np.arange(20_000))
    found = shortened(windows, np.random.default_rng(0))
    kept = found.ends - found.starts
    assert found.starts.min() == 7
    assert found.ends.max() == 107
    assert len(np.unique(found.starts[kept == 1])) == 100
    assert (found.times == windows.times).all()
    assert kept.min() == 0
    whole = (kept == 100).mean()
    assert 0.31 < whole < 0.36
    # log(1 + n) is uniform over the others: a tenth each for n below 1.6 and n above 62.
    others = np.log1p(kept[kept < 100]) / np.log(101)
    assert 0.4 < np.median(others) < 0.55
    empty = np.zeros(5, int)
    assert (shortened(Windows(empty, empty, empty), np.random.default_rng(0)).ends == 0).all()


def test_spans_are_the_positions_from_each_start() -> None:
    found = spans(np.array([5, 9, 2]), np.array([2, 0, 3]))
    assert found.tolist() == [5, 6, 2, 3, 4]
    assert spans(np.zeros(0, np.int64), np.zeros(0, np.int64)).tolist() == []


@pytest.mark.parametrize("together", [3, 2**20])
def test_the_first_time_of_a_movie_is_found_for_users_a_few_at_a_time(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOGETHER", together)
    rng = np.random.default_rng(0)
    users, movies = rng.integers(0, 6, 60), rng.integers(0, 5, 60)
    made = build_histories(users, movies, np.ones(60, np.float32), rng.integers(0, 40, 60), 8)
    expected, met = [], set()
    for user in range(8):
        for movie in made.movies[made.offsets[user] : made.offsets[user + 1]].tolist():
            expected.append((user, movie) not in met)
            met.add((user, movie))
    assert first_times(made).tolist() == expected
