"""A run that is trained again beside itself: promoted if it is not worse, kept if it is."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_worlds import small_world, tiny_settings

from retrieval.cli.app import main
from retrieval.data import columns
from retrieval.data.dataset import encode
from retrieval.data.frames import MovieData
from retrieval.errors import RunError
from retrieval.evaluation.comparison import RMSE, Comparison, compare
from retrieval.evaluation.metrics import Metric
from retrieval.pipeline.forgetting import forget_user
from retrieval.pipeline.hiding import hide_movies
from retrieval.pipeline.training import train
from retrieval.run.folder import open_run
from retrieval.run.promotion import promote, rollback, versions
from retrieval.run.versions import RETRAINING, current, kept, writing
from retrieval.service import retraining
from retrieval.service.export import events_between
from retrieval.service.log import Kind, Log, NewEvent, open_log
from retrieval.service.mark import read_mark
from retrieval.service.retraining import FEWEST, retrain, settings_of_run
from retrieval.serving.recommender import Recommender
from retrieval.serving.snapshot import ServingSnapshot

USERS, MOVIES, SEEN = 60, 40, 12
NEW, GONE = 10, 41
NOW = 1_790_000_000


def liked(user: int, movie: int) -> float:
    """The world: half of the users like even movies, the others odd ones."""
    return 5.0 if (user + movie) % 2 == 0 else 1.0


def world() -> MovieData:
    rng = np.random.default_rng(3)
    pairs = [
        (user, int(movie))
        for user in range(1, USERS + 1)
        for movie in 1 + rng.permutation(MOVIES)[:SEEN]
    ]
    return small_world(
        pairs, [liked(*pair) for pair in pairs], movies=range(1, MOVIES + 1), users=[1]
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and the run that was trained on them."""
    root = tmp_path_factory.mktemp("world")
    data = world()
    (root / "data").mkdir()
    data.ratings.to_csv(root / "data" / "ratings.csv", index=False)
    data.movies.to_csv(root / "data" / "movies.csv", index=False)
    train(root / "data", tiny_settings(["bayesian"]), root / "run")
    return root


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained / "run", tmp_path / "run"))


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return open_log(str(tmp_path / "live.db"))


def told(log: Log, each: int = NEW) -> None:
    """Let every user rate some more movies."""
    before = world().ratings.groupby(columns.USER_ID)[columns.MOVIE_ID].apply(set)
    for place in range(each):
        log.append(
            [
                NewEvent(
                    kind=Kind.RATING,
                    user_id=str(user),
                    movie_id=str(movie),
                    rating=liked(user, movie),
                    timestamp=NOW + place * 86_400 + user,
                )
                for user in range(1, USERS + 1)
                for movie in [sorted({*range(1, MOVIES + 1)} - before[user])[place]]
            ]
        )


def test_a_candidate_that_is_not_worse_answers_and_went_as_far_as_it_was_trained(
    run: Path, log: Log
) -> None:
    first = current(run).name
    told(log)
    done = retrain(run, log)
    assert done.promoted
    assert (done.current, done.candidate) == (first, current(run).name)
    assert {each.measure for each in done.compared} == {"ndcg@10", "rmse"}
    # A fifth of the events is held out, and each is of a movie that its user had not seen.
    assert done.questions == USERS * NEW // 5
    mark = read_mark(current(run))
    assert mark is not None
    assert (mark.log, mark.until) == (log.identity, USERS * NEW * 4 // 5)
    opened = open_run(run)
    assert len(opened.histories.movies) == USERS * (SEEN + NEW * 4 // 5)
    assert opened.config.source == open_run(run).config.source
    assert opened.config.settings == open_run(run).config.settings
    assert kept(run).before == (first,)
    assert not (run / RETRAINING).exists()
    # The next one starts from the same data, and brings in the rest of the log.
    done = retrain(run, log, tolerance=1.0)
    assert len(open_run(run).histories.movies) == USERS * (SEEN + NEW)
    assert "too few came since" in done.why
    assert kept(run).before == (opened.folder.name, first)
    again = retrain(run, log)
    assert (again.candidate, again.why) == (
        None,
        "the log was told nothing since the last training",
    )


def test_a_candidate_that_is_worse_is_kept_and_can_be_promoted_by_hand(
    run: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(log)
    first = current(run).name
    worse = Comparison(
        measure="ndcg@10", current=0.3, candidate=0.2, gain=Metric(-0.1, 0.05), scale=0.3
    )
    monkeypatch.setattr(retraining, "compare", lambda *_: (FEWEST, [worse]))
    done = retrain(run, log)
    assert not done.promoted
    said = "worse by ndcg@10 0.2000 instead of 0.3000 on 50 events that neither was trained on"
    assert done.why == said
    assert current(run).name == first
    assert kept(run).others == (done.candidate,)
    assert [each.promotable for each in versions(run)] == [True, False]
    promote(run, str(done.candidate))
    assert Recommender.load(run).run.folder.name == done.candidate
    assert kept(run) == ((first,), ())


def test_a_difference_counts_beyond_its_interval_and_what_is_tolerated() -> None:
    def gained(value: float, half_width: float) -> Comparison:
        return Comparison(
            measure="rmse", current=0.5, candidate=0.5, gain=Metric(value, half_width), scale=0.25
        )

    assert not gained(0.1, 0.01).is_worse(0.0)
    assert not gained(-0.1, 0.1).is_worse(0.0)
    assert gained(-0.1, 0.09).is_worse(0.0)
    assert not gained(-0.1, 0.09).is_worse(0.05)
    assert gained(-0.1, 0.09).is_worse(0.03)


def test_a_version_that_knows_nothing_is_worse_whatever_movies_the_data_have(
    run: Path, log: Log
) -> None:
    told(log)
    data, rng = world(), np.random.default_rng(0)
    shuffled = data.ratings.assign(rating=rng.permutation(data.ratings[columns.RATING]))
    noise = replace(data, ratings=shuffled)
    train(noise, tiny_settings(["bayesian"]), run.parent / "noise")
    good, bad = (ServingSnapshot.load(folder) for folder in (run, run.parent / "noise"))
    later = events_between(data, log, 0, log.head(), any_year=False)
    ratings = pd.concat([data.ratings, later], ignore_index=True)
    held_out = np.arange(len(ratings)) >= len(data.ratings)
    whole = replace(data, ratings=ratings)
    questions, found = compare(encode(whole), held_out, good, bad, 100, rng)
    assert questions == 100
    [rmse] = [each for each in found if each.measure == RMSE]
    assert rmse.is_worse(0.0)
    assert rmse.candidate > rmse.current + 0.2
    questions, found = compare(encode(whole), held_out, bad, good, 10**6, rng)
    assert questions == USERS * NEW
    assert not any(each.is_worse(0.0) for each in found)
    # A movie that no version has changes the numbers of all others, and nothing else.
    first = data.movies.iloc[:1].assign(movie_id=0)
    more = replace(whole, movies=pd.concat([first, data.movies], ignore_index=True))
    _, again = compare(encode(more), held_out, bad, good, 10**6, rng)
    for one, other in zip(again, found, strict=True):
        assert one.current == pytest.approx(other.current)
        assert one.candidate == pytest.approx(other.candidate)


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("where", ["train", "compare"])
def test_an_interrupted_retraining_goes_on_from_where_it_was(
    run: Path, log: Log, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    told(log)
    with monkeypatch.context() as patch:
        patch.setattr(retraining, where, _dying)
        with pytest.raises(Killed):
            retrain(run, log)
    assert (run / RETRAINING).is_dir()
    first, left = current(run).name, kept(run).others
    calls: list[str] = []
    for name in ("export", "train"):
        monkeypatch.setattr(retraining, name, _counted(name, calls))
    done = retrain(run, log)
    assert calls == ([] if where == "compare" else ["train"])
    assert done.candidate == current(run).name != first
    assert left in {(), (done.candidate,)}


def _dying(*_: object, **__: object) -> None:
    raise Killed


def _counted(name: str, calls: list[str]) -> Callable[..., object]:
    original = getattr(retraining, name)

    def run(*given: object, **named: object) -> object:
        calls.append(name)
        return original(*given, **named)

    return run


def test_data_with_somebody_who_was_forgotten_since_are_not_gone_on_from(
    run: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(log)
    with monkeypatch.context() as patch:
        patch.setattr(retraining, "train", _dying)
        with pytest.raises(Killed):
            retrain(run, log)
    log.forget(str(GONE))
    calls: list[str] = []
    monkeypatch.setattr(retraining, "export", _counted("export", calls))
    retrain(run, log)
    assert calls == ["export"]
    assert GONE not in open_run(run).users.ids


def test_whom_the_log_forgot_is_in_no_version_that_is_kept(run: Path, log: Log) -> None:
    told(log)
    log.forget(str(GONE))
    done = retrain(run, log)
    assert done.forgotten == 1
    assert len(kept(run).before) == 1
    traces = (np.int64(GONE).tobytes(),)
    users = [np.load(path) for path in run.glob("v*/users.npy")]
    assert [len(ids) for ids in users] == [USERS - 1, USERS - 1]
    assert not [path for path in run.glob("v*/users.npy") if traces[0] in path.read_bytes()]
    # Who comes again stays in what was trained since.
    log.append(
        [NewEvent(kind=Kind.RATING, user_id=str(GONE), movie_id="1", rating=5.0, timestamp=NOW * 1)]
    )
    done = retrain(run, log, tolerance=1.0)
    assert done.forgotten == 0
    answering, *others = versions(run)
    assert answering.users == USERS
    assert [each.users for each in others] == [USERS - 1, USERS - 1]


def test_a_forgotten_user_is_gone_from_every_version(run: Path) -> None:
    train(world(), tiny_settings(["bayesian"]), run)
    first, second = kept(run).before[0], current(run).name
    traces = (np.int64(GONE).tobytes(),)
    assert forget_user(run, GONE) == SEEN
    assert current(run).name > second
    [older] = kept(run).before
    assert older[:7] == first[:7]
    assert older != first
    assert sorted(path.name for path in run.glob("v*")) == sorted([older, current(run).name])
    assert not [path for path in run.glob("v*/users.npy") if traces[0] in path.read_bytes()]
    assert rollback(run) == older
    assert len(Recommender.load(run).topk(1, 5)) == 5


def test_what_is_hidden_stays_hidden_when_the_run_goes_back(run: Path) -> None:
    train(world(), tiny_settings(["bayesian"]), run)
    hide_movies(run, [7])
    rollback(run)
    opened = open_run(run)
    assert opened.catalogue.vocabulary.ids[opened.hidden].tolist() == [7]


def test_a_version_that_is_damaged_is_not_promoted(run: Path) -> None:
    train(world(), tiny_settings(["bayesian"]), run)
    second, [first] = current(run).name, kept(run).before
    (run / first / "users.npy").unlink()
    for back in (lambda: promote(run, first), lambda: rollback(run)):
        with pytest.raises(RunError, match=r"users\.npy is missing"):
            back()
    assert current(run).name == second
    assert [(each.answering, each.promotable) for each in versions(run)] == [
        (True, False),
        (False, False),
    ]
    forget_user(run, GONE)  # and what cannot be opened may hold the user
    assert kept(run).names == ()


def test_settings_of_a_run_are_those_it_was_trained_with(run: Path) -> None:
    settings = tiny_settings(["bayesian"])
    assert settings_of_run(open_run(run).config).saved() == settings.saved()


def rec(monkeypatch: pytest.MonkeyPatch, *words: str, code: int = 0) -> None:
    monkeypatch.setattr(sys, "argv", ["rec", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == code


def test_the_commands_retrain_list_promote_and_roll_back(
    run: Path, log: Log, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told(log)
    first, where = current(run).name, ("--run", str(run))
    database = ("--database", str(run.parent / "live.db"))
    rec(monkeypatch, "retrain", *where, *database, "--json", "--quiet", "--keep", "2")
    said = json.loads(capsys.readouterr().out)
    second = said["candidate"]
    assert (said["promoted"], said["answering"], said["questions"]) == (True, second, 120)
    assert {each["measure"] for each in said["compared"]} == {"ndcg@10", "rmse"}
    rec(monkeypatch, "runs", "rollback", *where, "--json")
    assert json.loads(capsys.readouterr().out)["answering"] == first
    rec(monkeypatch, "runs", "rollback", *where, code=1)
    assert "keeps no version that answered before" in capsys.readouterr().err
    rec(monkeypatch, "runs", "versions", *where, "--json")
    rows = json.loads(capsys.readouterr().out)["versions"]
    assert [(row["name"], row["answering"], row["answered"]) for row in rows] == [
        (second, False, False),
        (first, True, False),
    ]
    rec(monkeypatch, "runs", "promote", second[:-1] + "?", *where, code=1)
    assert f"did you mean {second}?" in capsys.readouterr().err
    rec(monkeypatch, "runs", "promote", second, *where)
    rec(monkeypatch, "runs", "versions", *where)
    assert "answered before" in capsys.readouterr().out
    worse = Comparison(
        measure="rmse", current=0.3, candidate=0.9, gain=Metric(-0.1, 0.05), scale=0.3
    )
    monkeypatch.setattr(retraining, "compare", lambda *_: (FEWEST, [worse]))
    rec(monkeypatch, "retrain", *where, *database, code=1)
    printed = capsys.readouterr()
    assert "goes on answering as before" in printed.err
    assert "rec runs promote v" in printed.err
    with writing(run):
        rec(monkeypatch, "runs", "promote", first, *where, code=1)
    assert "is being written by another process" in capsys.readouterr().err
