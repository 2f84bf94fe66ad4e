"""Movies that were removed: nothing shows them but histories, whatever comes after."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_worlds import everybody_watches, tiny_settings

from retrieval.data.frames import MovieData
from retrieval.errors import RequestError
from retrieval.pipeline.hiding import hide_movies, remove_movies, show_movies
from retrieval.pipeline.training import train
from retrieval.run.folder import open_run, open_version
from retrieval.run.promotion import rollback
from retrieval.run.shelves import HIDDEN, REMOVED, read_ids, read_moves
from retrieval.run.versions import current
from retrieval.serving.recommender import Recommender

USERS, MOVIES, EACH, GONE = 30, 40, 12, 5


@pytest.fixture(scope="module")
def data() -> MovieData:
    return everybody_watches(USERS, MOVIES, EACH)


@pytest.fixture(scope="module")
def trained(data: MovieData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(data, tiny_settings(["bayesian"]), folder)
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def watcher(of: Recommender) -> int:
    """A user who has watched the movie that goes."""
    number = of.run.catalogue.number(GONE)
    rows = np.flatnonzero(of.run.histories.movies == number)
    user = np.searchsorted(of.run.histories.offsets, rows[0], side="right") - 1
    return int(of.run.users.ids[user])


def listed(of: Recommender) -> set[int]:
    users = of.run.users.ids
    return set(of.topk_many(users, MOVIES, include_seen=True).movie_ids.ravel().tolist())


def test_nothing_shows_a_removed_movie_but_histories(folder: Path) -> None:
    before = Recommender.load(folder)
    title, user = before.run.catalogue.named(GONE).title, watcher(before)
    assert GONE in listed(before)
    assert GONE in [movie.id for movie in before.run.search(title, 3)]
    assert remove_movies(folder, [GONE]) == 1
    of = Recommender.load(folder)
    assert GONE not in listed(of)
    assert GONE not in [movie.id for movie in of.run.search(title, 3)]
    assert len(of.run.search(title, 3)) == 3
    assert GONE not in [row.movie.id for row in of.similar(1, MOVIES - 2)]
    questions: list[Callable[[], object]] = [
        lambda: of.rate(user, GONE),
        lambda: of.rate(user, title),
        lambda: of.explain(user, GONE),
        lambda: of.similar(GONE),
        lambda: of.rate_many([user, user], [1, GONE]),
    ]
    for ask in questions:
        with pytest.raises(RequestError, match=f"movie {GONE}, .* was removed; rec show-movies"):
            ask()
    assert of.rate(user, 1) == before.rate(user, 1)  # what it taught of taste stays
    assert GONE in [each.movie.id for each in of.explain(user, 1).influences]


def test_it_stays_removed_when_the_run_is_trained_again_or_goes_back(
    folder: Path, data: MovieData
) -> None:
    remove_movies(folder, [GONE])
    hide_movies(folder, [7])
    train(data, tiny_settings(["bayesian"]), folder)
    for change in (lambda: None, lambda: rollback(folder)):
        change()
        run = open_run(folder)
        assert run.catalogue.vocabulary.ids[run.removed].tolist() == [GONE]
        assert run.catalogue.vocabulary.ids[run.hidden].tolist() == [GONE, 7]
        assert len(run.histories.movies) == USERS * EACH  # its events are learned from


def test_a_run_whose_lists_of_movies_are_damaged_is_trained_again(
    folder: Path, data: MovieData
) -> None:
    remove_movies(folder, [GONE])
    (current(folder) / HIDDEN).write_text("[")
    train(data, tiny_settings(["bayesian"]), folder)
    assert not open_run(folder).hidden.any()


def test_movies_are_hidden_removed_and_shown_again(folder: Path) -> None:
    assert hide_movies(folder, [3, GONE]) == 2
    assert remove_movies(folder, [GONE, 8]) == 2
    version = current(folder)
    assert (read_ids(version / HIDDEN), read_ids(version / REMOVED)) == ([3], [5, 8])
    said = read_moves(version)
    assert hide_movies(folder, [GONE]) == 0  # what was removed stays so
    assert remove_movies(folder, [GONE]) == 0
    assert read_moves(current(folder))["5"] > said["5"]  # and was said anew
    version = current(folder)
    assert (read_ids(version / HIDDEN), read_ids(version / REMOVED)) == ([3], [5, 8])
    assert remove_movies(folder, where=["year<1800"]) == 0
    assert current(folder) == version
    assert remove_movies(folder, where=["genres=Drama"]) > 0
    run = open_run(folder)
    assert all(
        run.removed[run.catalogue.number(movie.id)]
        for movie in run.catalogue.movies
        if "Drama" in movie.genres
    )
    ids = run.catalogue.vocabulary.ids[run.hidden].tolist()
    assert show_movies(folder, ids) == len(ids)
    assert not open_run(folder).hidden.any()
    assert GONE in listed(Recommender.load(folder))


def test_kept_versions_know_it_too(folder: Path, data: MovieData) -> None:
    train(data, tiny_settings(["bayesian"]), folder)
    remove_movies(folder, [GONE])
    versions = [path for path in folder.glob("v*") if path.is_dir()]
    assert len(versions) == 2
    for version in versions:
        assert open_version(version, folder).removed.sum() == 1
