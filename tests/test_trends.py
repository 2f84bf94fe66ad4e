import numpy as np
import pytest

from retrieval.data.history import Histories, build_histories
from retrieval.data.sittings import sittings
from retrieval.pairs.sequence import trends as module
from retrieval.pairs.sequence.trends import (
    HALF_LIVES,
    RELEASE_YEARS,
    RETURN_HALF_LIVES,
    TREND_WIDTH,
    Trends,
    movie_trends,
    release_features,
    unwatched_trends,
)

DAY, YEAR = 86_400, 365.25 * 86_400
START = 30 * int(YEAR)  # 2000
MOVIES = 6
YEARS = np.array([1999, 1999, 1950, np.nan, 2000, 1999], np.float32)

# Of the features: the logarithm of the share of all events, then of what it was lately beside that,
# by half-life, then of openings, then arrivals, then the release.
POPULAR = slice(0, 1)
LATELY = slice(1, len(HALF_LIVES))
OPENED = slice(len(HALF_LIVES), len(HALF_LIVES) + len(RETURN_HALF_LIVES))
ARRIVED = slice(OPENED.stop, TREND_WIDTH - len(RELEASE_YEARS))
RELEASED = slice(TREND_WIDTH - len(RELEASE_YEARS), TREND_WIDTH)


def histories(users: np.ndarray, movies: np.ndarray, times: np.ndarray) -> Histories:
    return build_histories(
        users, movies, np.full(len(users), 3.0, np.float32), times, int(users.max()) + 1
    )


def random_events(count: int = 200, days: int = 100) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users, movies and times of events; movie 5 is never watched."""
    rng = np.random.default_rng(0)
    times = START + rng.integers(0, days * DAY, count)
    return rng.integers(0, 10, count), rng.integers(0, MOVIES - 1, count), times


def trends_of(users: np.ndarray, movies: np.ndarray, times: np.ndarray) -> Trends:
    made = histories(users, movies, times)
    return movie_trends(made, sittings(made), YEARS)


@pytest.fixture(scope="module")
def trends() -> Trends:
    return trends_of(*random_events())


def test_moments_ascend_from_the_first_event_to_after_the_last(trends: Trends) -> None:
    _, _, times = random_events()
    assert (np.diff(trends.times) > 0).all()
    assert trends.times[0] == times.min()
    assert trends.times[-1] == trends.present == times.max() + 1
    assert trends.features.shape == (len(trends.times), MOVIES, TREND_WIDTH)
    assert np.isfinite(trends.features).all()


def test_what_happens_at_a_moment_or_after_it_counts_for_nothing(trends: Trends) -> None:
    users, movies, times = random_events()
    place = len(trends.times) // 2
    moment = trends.times[place]
    later = times >= moment
    assert later.any()
    assert (times == moment).any()  # moments are those of events too
    # From then on everybody watches the movie that nobody watched.
    planted = trends_of(users, np.where(later, 5, movies), times)
    np.testing.assert_array_equal(planted.times, trends.times)
    np.testing.assert_array_equal(planted.features[: place + 1], trends.features[: place + 1])
    assert not np.allclose(planted.features[place + 1], trends.features[place + 1])
    assert (planted.features[-1, 5, LATELY] > planted.features[-1, 1, LATELY]).all()


def test_the_last_event_counts_at_the_present(trends: Trends) -> None:
    users, movies, times = random_events()
    last = times == times.max()
    planted = trends_of(users, np.where(last, 5, movies), times)
    assert not np.allclose(planted.features[-1, 5, LATELY], trends.features[-1, 5, LATELY])


def decayed(moment: int, half_life: float, *, opening: bool) -> np.ndarray:
    """Count events before a moment with a plain double loop, faded by half every so many days."""
    users, movies, times = random_events()
    order = np.lexsort((times, users))
    counts = np.zeros(MOVIES)
    for movie in range(MOVIES):
        last: dict[int, int] = {}  # by user, likewise the others
        sitting: dict[int, int] = {}
        place: dict[int, int] = {}
        for event in order:
            user, time = int(users[event]), int(times[event])
            new = user not in last or time - last[user] > 3600
            sitting[user] = sitting.get(user, 0) + new
            place[user] = 0 if new else place[user] + 1
            last[user] = time
            counted = (sitting[user] > 1 and place[user] < 5) or not opening
            if movies[event] == movie and time < moment and counted:
                counts[movie] += 0.5 ** ((moment - time) / DAY / half_life)
    return counts


@pytest.mark.parametrize("place", [1, 40, -1])
def test_faded_counts_are_those_of_a_double_loop(trends: Trends, place: int) -> None:
    moment = int(trends.times[place])
    found = trends.features[place].astype(np.float64)
    ever = decayed(moment, np.inf, opening=False)
    share = (ever + 0.5) / (ever.sum() + 0.5 * MOVIES)
    np.testing.assert_allclose(found[:, 0], np.log(share * MOVIES), atol=1e-5)
    for column, half_life in enumerate(HALF_LIVES[:-1], LATELY.start):
        counts = decayed(moment, half_life, opening=False)
        prior = 5 + 0.02 * counts.sum()
        lately = (counts + prior * share) / (counts.sum() + prior)
        np.testing.assert_allclose(found[:, column], np.log(lately / share), atol=1e-5)
    for column, half_life in enumerate(RETURN_HALF_LIVES, OPENED.start):
        counts = decayed(moment, half_life, opening=True)
        opened = (counts + 30 * share) / (counts.sum() + 30)
        np.testing.assert_allclose(found[:, column], np.log(opened / share), atol=1e-5)


def test_what_was_watched_lately_is_above_what_was_watched_long_ago_where_counts_fade() -> None:
    # Movies 0 and 1 are watched as often, the second one within the last day; movie 2 all along.
    times = START + np.concatenate([np.arange(20), np.arange(20) + 99 * DAY, np.arange(40) * DAY])
    movies = np.repeat([0, 1, 2], [20, 20, 40])
    last = trends_of(np.arange(80) % 7, movies, times).features[-1]
    assert last[0, POPULAR] == last[1, POPULAR]
    assert (last[1, LATELY] > last[0, LATELY] + 0.1).all()
    above = last[1, LATELY] - last[0, LATELY]
    assert above[0] > above[-1] + 1  # the shorter, the more so
    assert (last[1, ARRIVED] > last[0, ARRIVED] + 0.1).all()


def test_movies_that_open_sittings_of_those_who_come_back_are_told_from_others() -> None:
    # Each user watches movie 0 in a first sitting, and comes back to movie 1, then five others.
    users = np.repeat(np.arange(40), 7)
    movies = np.tile([0, 1, 2, 2, 2, 2, 3], 40)
    seconds = np.tile([0, 9000, 9001, 9002, 9003, 9004, 9005], 40)
    made = histories(users, movies, START + seconds + users)
    last = movie_trends(made, sittings(made), YEARS).features[-1]
    assert (last[1, OPENED] > 0).all()
    assert (last[0, OPENED] < 0).all()
    # The last event comes too late in its sitting to open it.
    assert (last[3, OPENED] < 0).all()


def test_a_movie_has_arrived_at_its_first_event(trends: Trends) -> None:
    _, movies, times = random_events()
    first = times[movies == 3].min()
    before = trends.times <= first
    assert not trends.features[before, 3, ARRIVED].any()
    assert not trends.features[:, 5, ARRIVED].any()  # never
    age = (trends.times[-1] - first) / DAY
    expected = np.exp(-age / np.array(module.ARRIVAL_DAYS))
    np.testing.assert_allclose(trends.features[-1, 3, ARRIVED], expected, rtol=1e-5)


def test_release_fades_over_years_and_is_nothing_where_it_is_unknown() -> None:
    found = release_features(YEARS, START + YEAR / 2)
    newest = np.exp(-0.5 / np.array(RELEASE_YEARS))
    np.testing.assert_allclose(found[4], newest, atol=1e-9)
    assert (found[4] > found[0]).all()
    assert (found[0] > found[2]).all()
    assert not found[3].any()
    ahead = release_features(np.array([2010.0]), START)  # before it is released it is new
    np.testing.assert_allclose(ahead, 1.0)


def test_a_movie_that_nobody_watched_has_the_trends_of_one_that_is_added(trends: Trends) -> None:
    added = unwatched_trends(trends.unwatched, YEARS[[5, 3]], trends.present)
    np.testing.assert_allclose(added[0], trends.features[-1, 5], atol=1e-6)
    assert not added[1, RELEASED].any()
    np.testing.assert_array_equal(added[1, : RELEASED.start], added[0, : RELEASED.start])


def test_a_place_is_the_latest_moment_that_is_not_after_the_time(trends: Trends) -> None:
    rng = np.random.default_rng(1)
    asked = rng.integers(trends.times[0], trends.present + 10 * DAY, 1000)
    asked = np.concatenate([asked, trends.times, trends.times[1:] - 1])
    places = trends.places(asked)
    assert (trends.times[places] <= asked).all()
    following = np.append(trends.times[1:], np.iinfo(np.int64).max)
    assert (following[places] > asked).all()
    # Before the first event nothing is known, and nothing counts at the first moment.
    assert trends.places(np.array([trends.times[0] - 1])).tolist() == [0]
    assert not trends.features[0, :, ARRIVED].any()
    assert len(np.unique(trends.features[0, :, : ARRIVED.start], axis=0)) == 1


def test_large_catalogues_have_fewer_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = len(trends_of(*random_events()).times)
    monkeypatch.setattr(module, "MOST_NUMBERS", 40 * MOVIES * TREND_WIDTH)
    some = trends_of(*random_events())
    monkeypatch.setattr(module, "MOST_NUMBERS", 1)
    fewest = trends_of(*random_events())
    assert everything > 200
    assert 30 < len(some.times) <= 41  # and the present
    assert len(fewest.times) - 1 <= module.FEWEST_MOMENTS
    assert fewest.present == some.present
    np.testing.assert_allclose(fewest.features[-1], some.features[-1], atol=1e-5)
