"""Protocols: hold ratings out, train on the rest, ask, and compare with baselines."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.data.dataset import Dataset, encode
from retrieval.data.frames import MovieData
from retrieval.data.history import time_order
from retrieval.data.split import before_cut, held_out
from retrieval.errors import RequestError
from retrieval.evaluation.baselines import Biases, fit_biases, most_rated, user_biases
from retrieval.evaluation.metrics import (
    coverage,
    discounted_gain,
    hit_rate,
    mean,
    mean_of_groups,
    novelty,
    popularity,
    ranks,
    root_mean_square_of_groups,
    users_by_movie,
)
from retrieval.evaluation.result import WAYS, Result
from retrieval.options import Device, Split
from retrieval.pairs.table import TOWER_PAIRS
from retrieval.pairs.when import When
from retrieval.pipeline.settings import Settings
from retrieval.pipeline.training import FEWEST_RATINGS, learnable, train
from retrieval.progress import SILENT, Progress
from retrieval.serving.events import Event
from retrieval.serving.recommender import Recommender

# Ratings given at query time by users never trained on.
GIVEN = (0, 1, 5, 10, 20)

TOP = 10
DEPTHS = (TOP, 50, 200)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A data set split in two, and the recommender trained on the one part."""

    split: Split
    dataset: Dataset
    trained: NDArray[np.bool_]  # (N,)
    asked: NDArray[np.bool_]  # (N,)
    recommender: Recommender
    biases: Biases


def evaluate(
    data: MovieData,
    source: str,
    split: Split,
    settings: Settings,
    seed: int,
    folder: Path,
    *,
    device: Device = Device.AUTO,
    progress: Progress = SILENT,
) -> list[Result]:
    """Train a run on what a split leaves and score it beside baselines on what it holds out.

    Users are asked with what training knew of them. So no vector has seen a rating that is asked
    about, and by `time` and `leave-one` none has seen a later one of the same user; the other
    protocols hold out ratings at random, and what is left may be later. Users who have held-out
    ratings alone are asked as new users, and a note says so.

    Args:
        data: All ratings.
        source: Name of the data.
        split: The protocol.
        settings: Settings of the training.
        seed: Seed of the split and of training.
        folder: Folder where the run is written.
        device: Device for the pairs that torch trains.
        progress: Who shows how far it is.

    Raises:
        RequestError: The split leaves too little to train on or nothing to ask, or ratings are
            asked for and no pair predicts them.
    """
    settings = learnable(settings, data)
    if split is not Split.LEAVE_ONE and not any(TOWER_PAIRS[p].rates for p in settings.pairs):
        if not data.scale.tells_taste:
            raise RequestError(
                f"{split} asks for ratings, and the data has none that differ; choose "
                f"--protocol temporal, or --protocol {Split.LEAVE_ONE}"
            )
        raise RequestError(
            f"{split} asks for ratings, and no pair of {', '.join(settings.pairs)} predicts any; "
            f"add bayesian or neural to --towers, or choose --protocol {Split.LEAVE_ONE}"
        )
    whole = encode(data)
    asked = held_out(split, whole.users, whole.movies, whole.timestamps, seed)
    trained = ~asked
    if split is Split.TIME:
        trained = before_cut(whole.timestamps)
    _check(split, whole, trained, asked)
    rows = replace(data, ratings=data.ratings[trained])
    train(rows, settings, folder, source=source, seed=seed, device=device, progress=progress)
    trial = Trial(
        split=split,
        dataset=whole,
        trained=trained,
        asked=asked,
        recommender=Recommender.load(folder),
        biases=fit_biases(
            whole.users[trained],
            whole.movies[trained],
            whole.ratings[trained],
            len(whole.user_vocabulary),
            len(whole.movie_vocabulary),
        ),
    )
    match split:
        case Split.LEAVE_ONE:
            return _lists(trial)
        case Split.NEW_USERS:
            return [result for given in GIVEN for result in _new_users(trial, given)]
        case _:
            return _ratings(trial)


def _check(
    split: Split, data: Dataset, trained: NDArray[np.bool_], asked: NDArray[np.bool_]
) -> None:
    """Raise a `RequestError` if training or asking would fail: after training is too late."""
    if trained.sum() < FEWEST_RATINGS:
        raise RequestError(
            f"{split} leaves {trained.sum()} of {len(trained)} ratings to train on, and training "
            f"needs {FEWEST_RATINGS}; give more ratings, or another --protocol"
        )
    missing = {
        Split.LEAVE_ONE: "no user has two ratings",
        Split.TIME: "no user has ratings both before and after the point in time",
        Split.NEW_USERS: f"none of the users held out has more than {max(GIVEN)} ratings",
    }
    if split is Split.NEW_USERS:
        asked = _place(data, np.flatnonzero(asked)) >= max(GIVEN)
    if not asked.any():
        why = missing.get(split, "it holds nothing out")
        raise RequestError(
            f"{split} has nothing to ask: {why}; give more ratings, or another --protocol"
        )


def _ratings(trial: Trial) -> list[Result]:
    data, rows = trial.dataset, np.flatnonzero(trial.asked)
    users, movies = data.users[rows], data.movies[rows]
    ids = data.user_vocabulary.ids
    unseen = np.setdiff1d(users, data.users[trial.trained])
    new = np.setdiff1d(ids[unseen], trial.recommender.run.users.ids)
    predicted = trial.recommender.rate_many(
        ids[users],
        data.movie_vocabulary.ids[movies],
        times=data.timestamps[rows],
        histories=dict.fromkeys(new.tolist(), ()),
    ).ratings
    biases = trial.biases
    answers = {
        "two towers": predicted,
        "user mean + movie bias": biases.centre + biases.movies[movies] + biases.users[users],
        "movie mean": biases.movie_means[movies],
        "global mean": np.full(len(rows), biases.centre),
    }
    note = ""
    if len(unseen):
        note = (
            f"{np.isin(users, unseen).sum():,} of {len(rows):,} ratings are by users with held-out "
            "ratings alone, who were asked as new users"
        )
    groups = movies if trial.split is Split.NEW_MOVIES else None
    return _compare(trial, "held-out ratings", answers, rows, groups, note)


def _place(data: Dataset, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many of some rows `(R,)` are earlier ones of the same user, `(R,)`."""
    order = time_order(data.users[rows], data.timestamps[rows])
    users = data.users[rows[order]]
    first = np.concatenate([[0], np.flatnonzero(np.diff(users)) + 1])
    place = np.empty(len(rows), dtype=np.int64)
    place[order] = np.arange(len(rows)) - np.repeat(first, np.diff(np.append(first, len(rows))))
    return place


def _new_users(trial: Trial, given: int) -> list[Result]:
    """Ask about what comes after the first ratings of users never trained on."""
    data, rows = trial.dataset, np.flatnonzero(trial.asked)
    rows = rows[time_order(data.users[rows], data.timestamps[rows])]
    place = _place(data, rows)
    rows, shown = rows[place >= max(GIVEN)], rows[place < given]
    users, movies = data.users[rows], data.movies[rows]
    shown = shown[np.isin(data.users[shown], users)]
    ids, movie_ids = data.user_vocabulary.ids, data.movie_vocabulary.ids
    histories: dict[Any, list[Event]] = {user: [] for user in ids[np.unique(users)].tolist()}
    for user, movie, rating, time in zip(
        ids[data.users[shown]].tolist(),
        movie_ids[data.movies[shown]].tolist(),
        data.ratings[shown].tolist(),
        data.timestamps[shown].tolist(),
        strict=True,
    ):
        histories[user].append(Event(movie, rating, time))
    predicted = trial.recommender.rate_many(
        ids[users], movie_ids[movies], times=data.timestamps[rows], histories=histories
    ).ratings
    biases = trial.biases
    left = data.ratings[shown] - biases.centre - biases.movies[data.movies[shown]]
    new_users = user_biases(data.users[shown], left, len(ids))
    answers = {
        "two towers": predicted,
        "user mean + movie bias": biases.centre + biases.movies[movies] + new_users[users],
        "movie mean": biases.movie_means[movies],
    }
    return _compare(trial, f"new users after {given} ratings", answers, rows, users)


def _lists(trial: Trial) -> list[Result]:
    data, rows = trial.dataset, np.flatnonzero(trial.asked)
    targets = data.movies[rows]
    depth = min(max(DEPTHS), len(data.movie_vocabulary))
    known = np.flatnonzero(trial.trained)
    known = known[np.argsort(data.users[known], kind="stable")]
    owners = data.users[known]
    seen = [
        data.movies[known[slice(*np.searchsorted(owners, [user, user + 1]))]]
        for user in data.users[rows]
    ]
    ids, times = data.user_vocabulary.ids[data.users[rows]], data.timestamps[rows]
    lists = {}
    for rank_by in trial.recommender.encoder.rankings:
        for when in When:
            found = trial.recommender.topk_many(
                ids,
                depth,
                times=times if when is When.AT else None,
                in_sitting=when is When.IN_SITTING,
                rank_by=rank_by,
            )
            name = f"two towers by {rank_by}, {WAYS[when]}"
            lists[name] = data.movie_vocabulary.numbers(found.movie_ids)
    biases = trial.biases
    lists |= {
        "popularity": most_rated(biases.counts.astype(np.float64), seen, depth),
        "movie mean": most_rated(biases.movie_means, seen, depth),
        "user mean + movie bias": most_rated(biases.movies, seen, depth),
    }
    results = []
    users = len(np.unique(owners))
    count = len(data.movie_vocabulary)
    shares = users_by_movie(data.users[known], data.movies[known], count) / users
    for system, ranked in lists.items():
        places, top = ranks(ranked, targets), ranked[:, :TOP]
        metrics = {f"hr@{k}": hit_rate(places, k) for k in DEPTHS}
        metrics[f"ndcg@{TOP}"] = discounted_gain(places, TOP)
        metrics["rating of hits"] = mean(data.ratings[rows[places < TOP]])
        metrics |= {
            f"coverage@{TOP}": coverage(top, len(shares)),
            f"popularity@{TOP}": popularity(top, shares),
            f"novelty@{TOP}": novelty(top, shares, users),
        }
        results.append(
            Result(
                system=system, questions="each user's last movie", count=len(rows), metrics=metrics
            )
        )
    return results


def _compare(
    trial: Trial,
    questions: str,
    answers: dict[str, NDArray[np.float64]],
    rows: NDArray[np.int64],
    groups: NDArray[np.int64] | None = None,
    note: str = "",
) -> list[Result]:
    """Return what predicted ratings are worth, by system.

    Args:
        trial: What was asked.
        questions: What is asked, in words.
        answers: Predicted ratings `(Q,)` by the name of who predicts them.
        rows: `(Q,)` of the true ones.
        groups: `(Q,)` what was drawn at random, as users or movies; None is the ratings themselves.
        note: What is to be said of it.
    """
    true, sample = trial.dataset.ratings[rows], np.arange(len(rows)) if groups is None else groups
    results = []
    for system, predicted in answers.items():
        errors = trial.dataset.scale.clip(predicted) - true.astype(np.float64)
        metrics = {
            "rmse": root_mean_square_of_groups(errors, sample),
            "mae": mean_of_groups(np.abs(errors), sample),
        }
        results.append(
            Result(system=system, questions=questions, count=len(rows), metrics=metrics, note=note)
        )
    return results
