"""Ratings and lists of one run on one split in time, beside peers for either.

python benchmarks/temporal.py --data FOLDER [--preset default] [--run FOLDER]

What comes after the 80 % point is asked of the users known before it: every rating, and the list of
ten at the time of the first of them. `next` is that first movie, `later` are all of them. Ratings
and lists of the run come out of the same index; those of the joint baseline out of one model. ALS
and the neighbours have the settings that are best on the last event before that point.
"""

import itertools
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
from implicit.als import AlternatingLeastSquares
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender
from implicit.recommender_base import RecommenderBase
from implicit.utils import ParameterWarning
from joint import fit_joint
from machine import Report, arguments
from numpy.typing import NDArray
from scipy import sparse
from subset import train_on, who_saw_what
from threadpoolctl import threadpool_limits

from retrieval.data.dataset import Dataset, encode
from retrieval.data.history import time_order
from retrieval.data.layouts import read_folder
from retrieval.data.split import before_cut, held_out, last_of_each
from retrieval.evaluation.baselines import fit_biases, most_rated
from retrieval.evaluation.metrics import discounted_gain, hit_rate, ranks, root_mean_square_error
from retrieval.options import Preset, Split
from retrieval.pipeline.settings import preset_settings
from retrieval.serving.recommender import Recommender

K = 10
FACTORS, REGULARIZATIONS, WEIGHTS, ITERATIONS = (32, 64, 128), (0.01, 0.1, 1.0), (1.0, 10.0), 15
NEIGHBOURS = (20, 50, 100, 200)


class Questions(NamedTuple):
    """V users who come back after the point in time, and what they then rate."""

    users: NDArray[np.int64]  # (V,) numbers
    times: NDArray[np.int64]  # (V,) of the next event
    next: NDArray[np.int64]  # (V,) numbers
    later: sparse.csr_array  # (V, M) 1 where rated after it


class Trial(NamedTuple):
    """A data set split in time."""

    data: Dataset
    early: NDArray[np.bool_]  # (N,) rows before the point
    test: NDArray[np.bool_]  # (N,) rows to predict
    seen: sparse.csr_array  # (U, M) 1 where rated before it
    questions: Questions
    seed: int


def main() -> None:
    """Train everyone on what is early, ask about what is late, and report."""
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data")
    parser.add_argument("--preset", type=Preset, choices=list(Preset), default=Preset.DEFAULT)
    parser.add_argument("--run", type=Path, help="run trained on this split; none trains one")
    asked = parser.parse_args()
    data = read_folder(asked.data)
    whole = encode(data)
    test = held_out(Split.TIME, whole.users, whole.movies, whole.timestamps, asked.seed)
    early = before_cut(whole.timestamps)
    with TemporaryDirectory() as scratch:
        run, began = asked.run or Path(scratch) / "run", time.perf_counter()
        if asked.run is None:
            train_on(data, early, run, preset_settings(asked.preset), asked.seed)
        seconds = time.perf_counter() - began
        recommender = Recommender.load(run, threads=2)
    trial = Trial(whole, early, test, who_saw_what(whole, early), ask(whole, test), asked.seed)
    warnings.simplefilter("ignore", ParameterWarning)  # implicit warns of what it hands itself
    report = Report(
        asked,
        f"{asked.data.name}, preset {recommender.run.config.preset}, {test.sum():,} ratings and "
        f"{len(trial.questions.users):,} lists after the 80 % point of time",
    )
    report.say(f"{'system':34} RMSE    next: HR@10  NDCG@10  later: NDCG@10  recall@10  seconds")
    of_run(report, recommender, trial, seconds)
    of_joint(report, trial)
    of_baselines(report, trial)
    with threadpool_limits(1, "blas"):  # as implicit wants it
        of_lists_alone(report, trial)
    report.save()


def ask(data: Dataset, test: NDArray[np.bool_]) -> Questions:
    """Return the questions that test rows are the answers to."""
    rows = np.flatnonzero(test)
    rows = rows[time_order(data.users[rows], data.timestamps[rows])]
    users, first = np.unique(data.users[rows], return_index=True)
    first = rows[first]
    return Questions(
        users, data.timestamps[first], data.movies[first], who_saw_what(data, test)[users]
    )


def say(
    report: Report,
    system: str,
    ratings: NDArray[np.float64] | None,
    lists: NDArray[np.int64],
    trial: Trial,
    seconds: float,
) -> None:
    """Report what ratings of the test rows and lists `(V, K)` of movie numbers are worth."""
    error = None
    if ratings is not None:
        true = trial.data.ratings[trial.test].astype(np.float64)
        error = root_mean_square_error(ratings, true).value
    places = ranks(lists, trial.questions.next)
    hits, gain = hit_rate(places, K).value, discounted_gain(places, K).value
    later_gain, recall = of_many(lists, trial.questions.later)
    report.add(
        f"{system:34} {'-' if error is None else f'{error:.4f}':7} {hits:11.4f} {gain:8.4f} "
        f"{later_gain:15.4f} {recall:10.4f}  {seconds:7.0f}",
        system=system,
        rmse=error,
        next_hr=hits,
        next_ndcg=gain,
        later_ndcg=later_gain,
        later_recall=recall,
        seconds=seconds,
    )


def of_many(lists: NDArray[np.int64], relevant: sparse.csr_array) -> tuple[float, float]:
    """Return NDCG and recall of lists `(V, K)` where several movies are right, means over users."""
    hits = relevant.toarray()[np.arange(len(lists))[:, None], lists]  # (V, K)
    counts = np.minimum(relevant.sum(axis=1), K).astype(np.int64)
    gains = 1 / np.log2(np.arange(K) + 2)
    ideal = np.cumsum(gains)[counts - 1]
    return float((hits @ gains / ideal).mean()), float((hits.sum(axis=1) / counts).mean())


def of_run(report: Report, recommender: Recommender, trial: Trial, seconds: float) -> None:
    """Report what one run says, by each ranking, with the query time known and not."""
    data, test, questions = trial.data, trial.test, trial.questions
    ratings = recommender.rate_many(
        data.user_vocabulary.ids[data.users[test]],
        data.movie_vocabulary.ids[data.movies[test]],
        times=data.timestamps[test],
    ).ratings.astype(np.float64)
    for rank_by, timed in itertools.product(recommender.encoder.rankings, (False, True)):
        found = recommender.topk_many(
            data.user_vocabulary.ids[questions.users],
            K,
            times=questions.times if timed else None,
            rank_by=rank_by,
        )
        name = f"one run, by {rank_by}, time {'known' if timed else 'not known'}"
        lists = data.movie_vocabulary.numbers(found.movie_ids)
        say(report, name, ratings, lists, trial, seconds)


def of_joint(report: Report, trial: Trial) -> None:
    """Report what the joint baseline says."""
    data, users = trial.data, trial.questions.users
    began = time.perf_counter()
    model = fit_joint(data, trial.early, trial.seed)
    seconds = time.perf_counter() - began
    with torch.no_grad():
        rows = [torch.from_numpy(column[trial.test]) for column in (data.users, data.movies)]
        ratings = data.scale.clip(model.ratings(*rows).numpy().astype(np.float64))
        scores = (model.users.weight[users] @ model.movies.weight.T).numpy()
    scores = np.where(trial.seen[users].toarray() > 0, -np.inf, scores)
    lists = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    say(report, "joint multi-task baseline", ratings, lists, trial, seconds)


def of_baselines(report: Report, trial: Trial) -> None:
    """Report what popularity and biases say."""
    data, early, test, seen = trial.data, trial.early, trial.test, trial.seen
    users, movies, ratings = data.users[early], data.movies[early], data.ratings[early]
    biases = fit_biases(users, movies, ratings, *seen.shape)
    predicted = biases.centre + biases.movies[data.movies[test]] + biases.users[data.users[test]]
    known = [seen.indices[slice(*seen.indptr[user : user + 2])] for user in trial.questions.users]
    lists = most_rated(biases.movies, known, K)
    say(report, "user mean + movie bias", data.scale.clip(predicted), lists, trial, 0)
    popular = most_rated(biases.counts.astype(np.float64), known, K)
    say(report, "popularity", None, popular, trial, 0)


def of_lists_alone(report: Report, trial: Trial) -> None:
    """Report what peers that predict no ratings say, at their best settings on early rows."""
    data, rows = trial.data, np.flatnonzero(trial.early)
    last = np.zeros_like(trial.early)
    last[rows] = last_of_each(data.users[rows], data.timestamps[rows])
    past = who_saw_what(data, trial.early & ~last)
    targets, users = data.movies[last], data.users[last]
    als = itertools.product(FACTORS, REGULARIZATIONS, WEIGHTS)
    families: dict[str, list[Callable[[], RecommenderBase]]] = {
        "item-kNN, cosine": [partial(CosineRecommender, K=k) for k in NEIGHBOURS],
        "item-kNN, BM25": [partial(BM25Recommender, K=k) for k in NEIGHBOURS],
        "implicit ALS": [
            partial(
                AlternatingLeastSquares,
                factors=factors,
                regularization=penalty,
                alpha=weight,
                iterations=ITERATIONS,
                random_state=trial.seed,
            )
            for factors, penalty, weight in als
        ],
    }
    for name, makers in families.items():
        gains = [
            discounted_gain(ranks(of_peer(make(), past, users), targets), K).value
            for make in makers
        ]
        began = time.perf_counter()
        lists = of_peer(makers[int(np.argmax(gains))](), trial.seen, trial.questions.users)
        say(report, name, None, lists, trial, time.perf_counter() - began)


def of_peer(
    model: RecommenderBase, seen: sparse.csr_array, users: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return a peer's lists `(V, K)`, trained on who has seen what `(U, M)`."""
    matrix = sparse.csr_matrix(seen)  # all that the library takes
    model.fit(matrix, show_progress=False)
    lists, _ = model.recommend(users, matrix[users], N=K, filter_already_liked_items=True)
    return np.asarray(lists, dtype=np.int64)


if __name__ == "__main__":
    main()
