"""Evaluation: nothing of what is asked is known, and what cannot be asked fails before training."""

from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray
from small_worlds import everybody_rates, small_world, tiny_settings

from retrieval.data import columns
from retrieval.data.events import PLAYED
from retrieval.data.frames import MovieData
from retrieval.data.split import held_out
from retrieval.errors import RequestError
from retrieval.evaluation import protocols as module
from retrieval.evaluation.metrics import (
    Metric,
    mean,
    root_mean_square_error,
    root_mean_square_of_groups,
)
from retrieval.evaluation.protocols import evaluate
from retrieval.evaluation.result import Result
from retrieval.options import Split


def scored(
    data: MovieData, split: Split, folder: Path, pairs: tuple[str, ...] = ("bayesian",)
) -> list[Result]:
    return evaluate(data, "world", split, tiny_settings(pairs), 0, folder / "run")


def one_rating_each(users: int) -> list[tuple[int, int]]:
    return [(user, user % 20 + 1) for user in range(1, users + 1)]


@pytest.mark.parametrize("split", [Split.RATING, Split.RATING80, Split.NEW_MOVIES])
def test_users_with_held_out_ratings_alone_are_asked_as_new_users(
    split: Split, tmp_path: Path
) -> None:
    results = scored(small_world(one_rating_each(150)), split, tmp_path)
    assert results[0].system == "two towers"
    assert np.isfinite(results[0].metrics["rmse"].value)
    count = results[0].count
    note = f"{count} of {count} ratings are by users with held-out ratings alone, who were asked"
    assert {result.note for result in results} == {f"{note} as new users"}


def test_of_new_users_in_the_table_of_users_their_facts_are_known(tmp_path: Path) -> None:
    world = small_world(one_rating_each(150), users=range(1, 80))
    results = scored(world, Split.RATING, tmp_path)
    assert results[0].note.startswith("15 of 15 ratings")


def test_where_everybody_is_known_there_is_no_note(tmp_path: Path) -> None:
    for split in (Split.RATING, Split.LEAVE_ONE):
        results = scored(small_world(everybody_rates(20, 10)), split, tmp_path / split)
        assert {result.note for result in results} == {""}


def test_users_never_trained_on_are_asked_after_their_first_ratings(tmp_path: Path) -> None:
    pairs = [pair for pair in everybody_rates(30, 24) if pair[0] % 2 or pair[1] <= 18]
    results = scored(small_world(pairs), Split.NEW_USERS, tmp_path)
    asked = {result.questions: result.count for result in results}
    assert list(asked) == [f"new users after {given} ratings" for given in module.GIVEN]
    assert set(asked.values()) <= {4, 8, 12}  # those who rated 24, after the first 20
    assert all(np.isfinite(result.metrics["rmse"].value) for result in results)


@pytest.mark.parametrize(
    ("world", "split", "message"),
    [
        (small_world(one_rating_each(150)), Split.LEAVE_ONE, "no user has two ratings"),
        (small_world(everybody_rates(20, 10), time=0), Split.TIME, "both before and after"),
        (small_world(everybody_rates(20, 10)), Split.NEW_USERS, "more than 20 ratings"),
        (small_world(everybody_rates(1, 150)), Split.NEW_USERS, "leaves 0 of 150 ratings"),
        (small_world(everybody_rates(150, 1)), Split.NEW_MOVIES, "leaves 0 of 150 ratings"),
        (small_world(everybody_rates(21, 5)), Split.RATING, "leaves 94 of 105 ratings"),
        (small_world(everybody_rates(2, 2)), Split.RATING, "leaves 4 of 4 ratings"),
        (small_world(everybody_rates(2, 2)), Split.RATING80, "leaves 4 of 4 ratings"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_training(
    world: MovieData, split: Split, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "train", _never)
    with pytest.raises(RequestError, match=message) as raised:
        scored(world, split, tmp_path)
    assert "--protocol" in str(raised.value)


@pytest.mark.parametrize("split", [split for split in Split if split is not Split.LEAVE_ONE])
def test_ratings_are_not_asked_of_a_pair_that_predicts_none(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "train", _never)
    with pytest.raises(RequestError, match="no pair of sequence predicts any"):
        scored(small_world(everybody_rates(40, 30)), split, tmp_path, ("sequence",))


def test_plays_are_asked_for_what_they_can_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "train", _never)
    plays = small_world(everybody_rates(40, 30), (1,), scale=PLAYED)
    with pytest.raises(RequestError, match="none that differ; choose --protocol temporal"):
        scored(plays, Split.RATING, tmp_path, ("neural", "sequence"))


def _never(*_: object, **__: object) -> NoReturn:
    raise AssertionError("training began")


class _Trained(Exception):  # noqa: N818 (it is no error)
    """Carries what a run would have been trained on."""

    def __init__(self, data: MovieData) -> None:
        self.data = data


def _handed_over(data: MovieData, *_: object, **__: object) -> NoReturn:
    raise _Trained(data)


@pytest.mark.parametrize("split", list(Split))
def test_no_rating_that_is_asked_is_trained_on_nor_a_later_one_of_the_same_user(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    pairs = [pair for pair in everybody_rates(40, 60) if rng.random() < 0.7]
    late = [(99, movie) for movie in range(1, 10)]  # of somebody who comes last
    world = small_world([*(pairs[place] for place in rng.permutation(len(pairs))), *late])
    frame = world.ratings
    users, movies, times = (
        frame[name].to_numpy(np.int64)
        for name in (columns.USER_ID, columns.MOVIE_ID, columns.TIMESTAMP)
    )
    asked = held_out(split, users, movies, times, 0)
    monkeypatch.setattr(module, "train", _handed_over)
    with pytest.raises(_Trained) as raised:
        scored(world, split, tmp_path)
    trained = raised.value.data.ratings
    assert not np.isin(np.flatnonzero(asked), trained.index).any()
    if split not in {Split.TIME, Split.LEAVE_ONE}:  # what the others leave is of any time
        return
    first = frame[asked].groupby(columns.USER_ID)[columns.TIMESTAMP].min()
    latest = trained.groupby(columns.USER_ID)[columns.TIMESTAMP].max()
    assert (latest.loc[first.index] < first).all()
    if split is Split.TIME:
        assert latest.max() < first.min()


def test_errors_of_no_questions_are_not_numbers() -> None:
    nothing = np.zeros(0)
    for value, half in (root_mean_square_error(nothing, nothing), mean(nothing)):
        assert np.isnan(value)
        assert half == np.inf


@pytest.mark.parametrize(
    ("split", "sample"),
    [
        (Split.RATING, None),
        (Split.NEW_MOVIES, columns.MOVIE_ID),
        (Split.NEW_USERS, columns.USER_ID),
    ],
)
def test_the_interval_is_of_what_is_drawn_at_random(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: Split, sample: str | None
) -> None:
    asked: list[NDArray[np.int64]] = []

    def noted(errors: NDArray[np.float64], groups: NDArray[np.int64]) -> Metric:
        asked.append(groups)
        return root_mean_square_of_groups(errors, groups)

    monkeypatch.setattr(module, "root_mean_square_of_groups", noted)
    data = small_world(everybody_rates(40, 60))
    scored(data, split, tmp_path)
    drawn = len(np.unique(asked[0]))
    if sample is None:
        assert drawn == len(asked[0])
    else:
        assert drawn < len(asked[0]) / 5
