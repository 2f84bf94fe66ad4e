"""Protocols: hold ratings out, train on the rest, ask, and compare with baselines."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from retrieval.audience import Event
from retrieval.choices import Cut, Device, Preset, Towers
from retrieval.data.dataset import Dataset, encode
from retrieval.data.frames import MovieData
from retrieval.data.history import time_order
from retrieval.data.split import before_cut, held_out
from retrieval.errors import RequestError
from retrieval.evaluation.baselines import Biases, fit_biases, most_rated, user_biases
from retrieval.evaluation.metrics import (
    Metric,
    coverage,
    discounted_gain,
    hit_rate,
    mean,
    mean_absolute_error,
    novelty,
    popularity,
    ranks,
    root_mean_square_error,
)
from retrieval.indexing import build_index
from retrieval.pipeline import train
from retrieval.recommender import Recommender

# Ratings given at query time by users never trained on.
GIVEN = (0, 1, 5, 10, 20)

TOP = 10
DEPTHS = (TOP, 50, 200)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one system scored on one set of questions."""

    system: str
    questions: str
    count: int
    metrics: dict[str, Metric]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A data set cut in two, and the recommender trained on the one part."""

    dataset: Dataset
    trained: NDArray[np.bool_]  # (N,)
    asked: NDArray[np.bool_]  # (N,)
    recommender: Recommender
    biases: Biases


def evaluate(
    data: MovieData,
    source: str,
    cut: Cut,
    preset: Preset,
    seed: int,
    folder: Path,
    progress: Progress,
    towers: Sequence[Towers] = (),
    device: Device = Device.AUTO,
) -> list[Result]:
    """Train a run on what a cut leaves and score it beside baselines on what the cut holds out.

    Args:
        data: To be cut.
        source: What to call the data.
        cut: The protocol.
        preset: How much to spend on training.
        seed: Of the cut and of training.
        folder: Where the run is written.
        progress: Where to show how far it is.
        towers: Which pairs; none leaves it to the preset.
        device: Where the sequence pair is trained.

    Raises:
        RequestError: The cut leaves nothing to train on or nothing to ask.
    """
    whole = encode(data)
    asked = held_out(cut, whole.users, whole.movies, whole.timestamps, seed)
    trained = ~asked
    if cut is Cut.TIME:
        trained = before_cut(whole.timestamps)
    if not asked.any() or not trained.any():
        raise RequestError(f"{cut} holds out {asked.sum()} of {len(asked)} ratings; use more data")
    rows = replace(data, ratings=data.ratings[trained])
    train(rows, source, folder, preset, seed, progress, towers, device)
    build_index(folder)
    trial = Trial(
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
    match cut:
        case Cut.LEAVE_ONE:
            return _lists(trial)
        case Cut.NEW_USERS:
            return [result for given in GIVEN for result in _strangers(trial, given)]
        case _:
            return _ratings(trial)


def _ratings(trial: Trial) -> list[Result]:
    data, rows = trial.dataset, np.flatnonzero(trial.asked)
    users, movies = data.users[rows], data.movies[rows]
    predicted = trial.recommender.rate_many(
        data.user_vocabulary.ids[users],
        data.movie_vocabulary.ids[movies],
        times=data.timestamps[rows],
    ).ratings
    biases = trial.biases
    answers = {
        "two towers": predicted,
        "user mean + movie bias": biases.centre + biases.movies[movies] + biases.users[users],
        "movie mean": biases.movie_means[movies],
        "global mean": np.full(len(rows), biases.centre),
    }
    return _compare(trial, "held-out ratings", answers, rows)


def _strangers(trial: Trial, given: int) -> list[Result]:
    """Ask about what comes after the first ratings of users never trained on."""
    data, rows = trial.dataset, np.flatnonzero(trial.asked)
    rows = rows[time_order(data.users[rows], data.timestamps[rows])]
    users, movies = data.users[rows], data.movies[rows]
    first = np.concatenate([[0], np.flatnonzero(np.diff(users)) + 1])
    place = np.arange(len(rows)) - np.repeat(first, np.diff(np.append(first, len(rows))))
    shown, asked = rows[place < given], place >= max(GIVEN)
    ids, movie_ids = data.user_vocabulary.ids, data.movie_vocabulary.ids
    histories: dict[int, list[Event]] = {user: [] for user in ids[np.unique(users)].tolist()}
    for user, movie, rating, time in zip(
        ids[data.users[shown]].tolist(),
        movie_ids[data.movies[shown]].tolist(),
        data.ratings[shown].tolist(),
        data.timestamps[shown].tolist(),
        strict=True,
    ):
        histories[user].append(Event(movie, rating, time))
    users, movies, rows = users[asked], movies[asked], rows[asked]
    predicted = trial.recommender.rate_many(
        ids[users], movie_ids[movies], times=data.timestamps[rows], histories=histories
    ).ratings
    biases = trial.biases
    left = data.ratings[shown] - biases.centre - biases.movies[data.movies[shown]]
    newcomers = user_biases(data.users[shown], left, len(ids))
    answers = {
        "two towers": predicted,
        "user mean + movie bias": biases.centre + biases.movies[movies] + newcomers[users],
        "movie mean": biases.movie_means[movies],
    }
    return _compare(trial, f"strangers after {given} ratings", answers, rows)


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
        for told in (False, True):
            found = trial.recommender.topk_many(
                ids, depth, times=times if told else None, rank_by=rank_by
            )
            name = f"two towers by {rank_by}, {'told' if told else 'not told'} the time"
            lists[name] = data.movie_vocabulary.numbers(found.movie_ids)
    biases = trial.biases
    lists |= {
        "popularity": most_rated(biases.counts.astype(np.float64), seen, depth),
        "movie mean": most_rated(biases.movie_means, seen, depth),
        "user mean + movie bias": most_rated(biases.movies, seen, depth),
    }
    results = []
    users = len(np.unique(owners))
    shares = biases.counts / users  # a user rates a movie once
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
) -> list[Result]:
    true = trial.dataset.ratings[rows].astype(np.float64)
    return [
        Result(
            system=system,
            questions=questions,
            count=len(rows),
            metrics={
                "rmse": root_mean_square_error(trial.dataset.scale.clip(predicted), true),
                "mae": mean_absolute_error(trial.dataset.scale.clip(predicted), true),
            },
        )
        for system, predicted in answers.items()
    ]
