from pathlib import Path

import numpy as np
import pytest

from retrieval.data import columns
from retrieval.data.layouts import read_folder
from retrieval.data.source import source_of, understood
from retrieval.data.synthetic import World, sample_world, write_world
from retrieval.errors import RequestError

USERS, MOVIES, RATINGS = 400, 300, 24_000


@pytest.fixture(scope="module")
def world() -> World:
    return sample_world(np.random.default_rng(1), users=USERS, movies=MOVIES, ratings=RATINGS)


def test_the_world_has_exactly_the_size_that_was_asked_for(world: World) -> None:
    assert len(world.users) == len(world.movies) == len(world.ratings) == RATINGS
    assert len(world.tastes) == USERS
    assert len(world.traits) == MOVIES


def test_nobody_rates_a_movie_twice(world: World) -> None:
    assert len(set(zip(world.users.tolist(), world.movies.tolist(), strict=True))) == RATINGS


def test_everybody_rates_at_least_twenty_movies(world: World) -> None:
    assert np.bincount(world.users, minlength=USERS).min() >= 20


def test_where_twenty_each_are_too_many_everybody_gets_the_mean() -> None:
    small = sample_world(np.random.default_rng(0), users=10, movies=20, ratings=50)
    assert np.bincount(small.users, minlength=10).min() >= 5


def test_ratings_are_whole_stars_about_the_mean_of_movielens(world: World) -> None:
    assert set(world.ratings.tolist()) == {1, 2, 3, 4, 5}
    assert 3.4 < world.ratings.mean() < 3.75


def test_ratings_follow_the_planted_truth(world: World) -> None:
    liking = (world.tastes[world.users] * world.traits[world.movies]).sum(axis=1)
    leniencies, qualities = world.leniencies[world.users], world.qualities[world.movies]
    terms = np.column_stack([np.ones(RATINGS), liking, leniencies, qualities])
    weights, *_ = np.linalg.lstsq(terms, world.ratings.astype(np.float64))
    assert (weights[1:] > 0.15).all()
    residual = world.ratings - terms @ weights
    assert residual.var() < 0.7 * world.ratings.var()
    # The planted taste tells more than bias and quality can.
    plain = terms[:, [0, 2, 3]]
    without = world.ratings - plain @ np.linalg.lstsq(plain, world.ratings.astype(np.float64))[0]
    assert residual.var() < 0.85 * without.var()


def test_the_truth_of_other_users_explains_nothing(world: World) -> None:
    strangers = np.roll(world.tastes, USERS // 2, axis=0)
    own = (world.tastes[world.users] * world.traits[world.movies]).sum(axis=1)
    other = (strangers[world.users] * world.traits[world.movies]).sum(axis=1)
    assert np.corrcoef(own, world.ratings)[0, 1] > 0.3
    assert abs(np.corrcoef(other, world.ratings)[0, 1]) < 0.2


def test_movies_of_one_genre_are_alike(world: World) -> None:
    traits = world.traits - world.traits.mean(axis=0)
    traits /= np.linalg.norm(traits, axis=1, keepdims=True)
    likeness = traits @ traits.T  # (M, M)
    same = (world.genres[:, None] == world.genres[None]).all(axis=2)
    shared = (world.genres[:, None] & world.genres[None]).any(axis=2)
    others = ~np.eye(MOVIES, dtype=bool)
    assert likeness[same & others].mean() > 0.4
    assert likeness[~shared].mean() < 0.05


def test_people_of_one_gender_and_age_have_tastes_alike(world: World) -> None:
    tastes = world.tastes - world.tastes.mean(axis=0)
    groups = world.genders * 10 + world.ages
    same = (groups[:, None] == groups[None]) & ~np.eye(USERS, dtype=bool)
    likeness = tastes @ tastes.T  # (U, U)
    assert likeness[same].mean() > 0.1 * likeness.diagonal().mean()
    assert likeness[groups[:, None] != groups[None]].mean() < 0


def test_people_watch_what_they_will_like(world: World) -> None:
    everything = world.tastes @ world.traits.T  # (U, M)
    chosen = everything[world.users, world.movies]
    assert chosen.mean() > everything.mean(axis=1)[world.users].mean() + 0.1 * everything.std()


def test_a_tenth_of_the_movies_gets_far_more_than_a_tenth_of_the_ratings() -> None:
    sparse = sample_world(np.random.default_rng(2), users=300, movies=1000, ratings=9_000)
    counts = np.sort(np.bincount(sparse.movies, minlength=1000))[::-1]
    assert counts[:100].sum() > 0.25 * counts.sum()
    assert counts[0] > 5 * np.median(counts)


def test_a_few_movies_have_no_ratings(world: World) -> None:
    unrated = MOVIES - len(np.unique(world.movies))
    assert 0 < unrated < 0.15 * MOVIES


def test_users_come_in_sessions_of_events_minutes_apart(world: World) -> None:
    order = np.lexsort((world.timestamps, world.users))
    users, times = world.users[order], world.timestamps[order]
    gaps = np.diff(times)[np.diff(users) == 0]
    assert np.median(gaps) < 120
    pauses = gaps > 3600
    assert 0.001 < pauses.mean() < 0.1
    assert np.median(gaps[pauses]) > 86_400


def test_users_arrive_over_two_and_a_half_years(world: World) -> None:
    arrivals = np.full(USERS, np.iinfo(np.int64).max)
    np.minimum.at(arrivals, world.users, world.timestamps)
    years = (arrivals - arrivals.min()) / (365 * 86_400)
    assert 2.2 < years.max() <= 2.5
    assert 0.8 < np.median(years) < 1.7


@pytest.mark.parametrize(("users", "movies", "ratings"), [(10, 10, 60), (1, 3, 3)])
def test_more_ratings_than_half_the_pairs_are_refused(
    users: int, movies: int, ratings: int
) -> None:
    with pytest.raises(RequestError, match=rf"{ratings} ratings .*{users} users.*{movies} movies"):
        sample_world(np.random.default_rng(0), users=users, movies=movies, ratings=ratings)


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("two", 3), ("other", 4)):
        write_world(tmp_path / name, users=30, movies=60, ratings=700, seed=seed)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    ratings = [(tmp_path / name / "ratings.dat").read_bytes() for name in ("one", "other")]
    assert ratings[0] != ratings[1]


def test_tables_say_the_same_as_the_layout_of_movielens(tmp_path: Path) -> None:
    for name, tables in (("plain", False), ("tables", True)):
        write_world(tmp_path / name, users=30, movies=60, ratings=700, seed=0, tables=tables)
    plain, made = (understood(source_of(tmp_path / name)) for name in ("plain", "tables"))
    assert made.data.ratings[columns.USER_ID][0] == "v-00001"
    for column in (columns.RATING, columns.TIMESTAMP):
        assert made.data.ratings[column].tolist() == plain.data.ratings[column].tolist()
    for column in (columns.TITLE, columns.YEAR, columns.GENRES):
        assert made.data.movies[column].tolist() == plain.data.movies[column].tolist()
    assert made.data.users["age"].notna().all()


def test_what_is_written_reads_as_movielens_does(tmp_path: Path) -> None:
    folder = tmp_path / "world"
    write_world(folder, users=40, movies=1500, ratings=2_000, seed=0)
    data = read_folder(folder)
    assert (len(data.ratings), len(data.movies), len(data.users)) == (2_000, 1500, 40)
    assert data.users["user_id"].tolist() == list(range(1, 41))
    assert set(data.users["gender"]) == {"F", "M"}
    ids = data.movies["movie_id"]
    assert ids.min() == 1
    assert ids.max() > 1500
    assert 1193 in ids.tolist()
    assert data.movies["title"].is_unique
    assert data.movies["year"].between(1900, 2000).all()
    assert (data.movies["genres"] != "").all()
    told = sample_world(np.random.default_rng(0), users=40, movies=1500, ratings=2_000)
    assert data.ratings["rating"].astype(int).tolist() == told.ratings.tolist()
    assert (data.ratings["user_id"] - 1).tolist() == told.users.tolist()
    assert (ids.searchsorted(data.ratings["movie_id"]) == told.movies).all()


def test_a_folder_that_holds_something_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep", encoding="utf-8")
    for folder in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(RequestError, match=r"empty.*name a new"):
            write_world(folder, users=30, movies=60, ratings=700, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    write_world(tmp_path, users=30, movies=60, ratings=700, seed=0)
    assert (tmp_path / "ratings.dat").read_text(encoding="latin-1").count("\n") == 700


def test_a_world_of_one_movie_is_written_and_read(tmp_path: Path) -> None:
    write_world(tmp_path / "world", users=30, movies=1, ratings=30, seed=0)
    assert len(read_folder(tmp_path / "world").movies) == 1


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MemoryError()])
def test_what_the_system_refuses_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(RequestError, match=r"No space left|memory"):
        write_world(tmp_path / "world", users=30, movies=60, ratings=700, seed=0)
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "world").symlink_to("elsewhere")
    with pytest.raises(RequestError, match="empty"):
        write_world(tmp_path / "world", users=30, movies=60, ratings=700, seed=0)
    assert (tmp_path / "world").is_symlink()
