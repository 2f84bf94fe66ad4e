import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from index.kinds import Kind
from index.store import CARD_FILE
from index.tuning import recall
from retrieval.data.frames import MovieData
from retrieval.data.layouts import read_movies
from retrieval.errors import DataError, RequestError, RunError
from retrieval.options import Preset
from retrieval.pairs.bayesian.tower import ARRAYS_FILE, load_bayesian, unrated_vectors
from retrieval.pairs.content import load_content
from retrieval.pairs.neural.new_movies import new_movie_vectors
from retrieval.pipeline.indexing import add_movies, build_index, questions
from retrieval.pipeline.settings import preset_settings
from retrieval.pipeline.training import train
from retrieval.run.folder import CONTENT, open_run
from retrieval.run.manifest import INDEX
from retrieval.run.versions import current
from retrieval.serving.recommender import Recommender


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def later(tmp_path: Path) -> pd.DataFrame:
    (tmp_path / "movies.csv").write_text(
        "movie_id,title,genres\n0,The First Comedy (2003),Comedy\n7,There Already (1999),Drama\n"
        "9001,A Late Drama (2004),Drama|War\n"
    )
    return read_movies(tmp_path / "movies.csv")


@pytest.mark.parametrize("damage", ["removed", "damaged", "linked"])
def test_an_index_that_is_lost_is_built_again(copy: Path, damage: str, tmp_path: Path) -> None:
    folder = current(copy) / INDEX
    match damage:
        case "removed":
            shutil.rmtree(folder)
        case "damaged":
            (folder / CARD_FILE).write_text("{")
        case "linked":
            shutil.rmtree(folder)
            folder.symlink_to(tmp_path)
    remedy = "with rec build-index" if damage != "linked" else "no file of a run"
    with pytest.raises(RunError, match=remedy):
        Recommender.load(copy)
    there = sorted(tmp_path.iterdir())
    build_index(copy)
    assert len(Recommender.load(copy).topk(1, 3)) == 3
    assert sorted(tmp_path.iterdir()) == there


def test_added_movies_are_rated_and_listed_and_leave_the_others_alone(
    copy: Path, later: pd.DataFrame, recommender: Recommender
) -> None:
    assert add_movies(copy, later) == 2
    more = Recommender.load(copy)
    users, movies = recommender.run.users.ids[:30], recommender.run.catalogue.vocabulary.ids[:30]
    before, after = (each.rate_many(users, movies) for each in (recommender, more))
    np.testing.assert_array_equal(before.ratings, after.ratings)
    for user in users[:5].tolist():
        listed = {row.movie.id: row.rating for row in more.topk(user, len(more.run.catalogue))}
        assert {0, 9001} <= listed.keys()
        answer = more.rate(user, "a late drama")
        assert (answer.movie.id, answer.rating) == (9001, listed[9001])
        assert answer.deviation is not None
    assert add_movies(copy, later) == 0


def test_an_added_movie_is_as_one_of_its_kind_that_was_there_unrated(
    copy: Path, data: MovieData, tmp_path: Path, later: pd.DataFrame
) -> None:
    # Train with the movies in the catalogue, unrated, and without: nearly the same vectors.
    whole = pd.concat([data.movies, later[later["movie_id"] != 7]], ignore_index=True)
    folder = tmp_path / "whole"
    train(replace(data, movies=whole), preset_settings(Preset.QUICK, ["bayesian"]), folder)
    there, users = Recommender.load(folder), open_run(copy).users.ids
    add_movies(copy, later)
    added = Recommender.load(copy)
    for movie in (0, 9001):
        one, other = (
            each.rate_many(users, np.full(len(users), movie)).ratings for each in (there, added)
        )
        assert np.corrcoef(one, other)[0, 1] > 0.6
        assert abs(one.mean() - other.mean()) < 0.4


def test_bad_movies_are_all_reported(tmp_path: Path) -> None:
    (tmp_path / "movies.csv").write_text("movie_id,title,year\nx,A,1999\n2,B,19\n2,C,1990\n")
    with pytest.raises(DataError) as error:
        read_movies(tmp_path / "movies.csv")
    assert len(error.value.problems) >= 2
    with pytest.raises(DataError, match="no such file"):
        read_movies(tmp_path / "nothing.csv")


def test_movies_without_ratings_count_as_validation_wants(copy: Path, later: pd.DataFrame) -> None:
    before = open_run(copy)
    blend, layout = before.config.blend, before.config.layout
    assert blend.unrated_factors != (1.0, 1.0)
    content = load_content(before.folder / CONTENT).describe(later[later["movie_id"] > 200])
    coefficients = load_bayesian(before.folder / ARRAYS_FILE).movie_coefficients
    inferred = unrated_vectors(coefficients, content.matrix())
    neural, bayesian = layout.rating
    unrated = new_movie_vectors(before.folder, before.facts(neural), content)
    add_movies(copy, later)
    after = Recommender.load(copy)
    found = after.index.vectors_of(np.array([after.run.catalogue.number(9001)]))[0]
    for place, (part, vector) in enumerate(((neural, unrated[0]), (bayesian, inferred[0]))):
        wanted = blend.unrated_factors[place] * vector
        if part is bayesian:
            wanted[-1] += blend.unrated_shift
        columns = layout.columns(part)
        np.testing.assert_allclose(found[columns], wanted, atol=1e-5)
        offset = blend.unrated_offset_factors[place] - 1
        assert found[columns.stop] == pytest.approx(offset, abs=1e-5)


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.EXACT])
def test_an_approximate_index_answers_like_the_exact_one(
    copy: Path, later: pd.DataFrame, recommender: Recommender, kind: Kind
) -> None:
    built = build_index(copy, kind, target=0.95)
    assert built.card.kind is kind
    assert {trial.kind for trial in built.trials} == {kind}
    assert built.trials[0].recall >= 0.95
    approximate, users = Recommender.load(copy), recommender.run.users.ids[:20]
    exact, found = (each.topk_many(users, 10) for each in (recommender, approximate))
    assert recall(found.movie_ids, exact.movie_ids) > 0.9
    pairs = np.repeat(users, 10)
    rated = approximate.rate_many(pairs, found.movie_ids.ravel()).ratings
    np.testing.assert_array_equal(found.ratings.ravel(), rated)
    add_movies(copy, later)
    assert Recommender.load(copy).index.kind is kind
    assert len(Recommender.load(copy).topk(1, 202, include_seen=True)) == 202


def test_small_catalogues_are_searched_exactly_without_measuring(copy: Path) -> None:
    built = build_index(copy, None)
    assert built.card.kind is Kind.EXACT
    assert built.trials == []


def test_an_impossible_target_is_refused(copy: Path) -> None:
    with pytest.raises(RequestError, match=r"target recall is 1\.5"):
        build_index(copy, Kind.IVF, target=1.5)


def test_questions_ask_for_every_ranking_in_both_halves(recommender: Recommender) -> None:
    width = recommender.run.config.parts[-1].width
    asked = questions(recommender.run, 60).queries
    for half in (asked[::2], asked[1::2]):
        watch, rating = np.abs(half[:, -width:]).sum(axis=1), np.abs(half[:, :-width]).sum(axis=1)
        assert (watch == 0).any()  # by rating
        assert (rating == 0).any()  # by watch
        assert ((watch > 0) & (rating > 0)).any()  # by both


def test_movies_and_their_index_come_at_once_or_not_at_all(
    copy: Path, later: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_index(copy, Kind.IVF)
    before = len(open_run(copy).catalogue)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("retrieval.run.folder.save_index", interrupt)
    with pytest.raises(KeyboardInterrupt):
        add_movies(copy, later)
    assert len(open_run(copy).catalogue) == before
    assert Recommender.load(copy).index.kind is Kind.IVF
    monkeypatch.undo()
    (current(copy) / INDEX / "vectors.npy").unlink()
    add_movies(copy, later)  # a broken index is built anew, of the kind that it was
    assert Recommender.load(copy).index.kind is Kind.IVF
