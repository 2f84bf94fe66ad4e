"""Ratings and lists of one run on one cut in time, beside peers for either.

python benchmarks/temporal.py --data FOLDER [--preset default] [--run FOLDER] [--seed N]

What comes after the 80 % point is asked of the users known before it: every rating, and the list of
ten at the time of the first of them. `next` is that first movie, `later` are all of them. Ratings
and lists of the run come out of the same index; those of the joint baseline out of one model. ALS
and the neighbours have the settings that are best on the last event before the cut.
"""

import argparse
import itertools
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
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
from machine import describe
from numpy.typing import NDArray
from scipy import sparse

from retrieval.choices import Cut, Preset, Towers
from retrieval.data.dataset import Dataset, encode
from retrieval.data.history import time_order
from retrieval.data.layouts import read_folder
from retrieval.data.split import held_out, last_of_each
from retrieval.display import progress
from retrieval.evaluation.baselines import fit_biases, most_rated
from retrieval.evaluation.metrics import discounted_gain, hit_rate, ranks, root_mean_square_error
from retrieval.pipeline import build_index, train
from retrieval.recommender import Recommender

K = 10
FACTORS, REGULARIZATIONS, WEIGHTS, ITERATIONS = (32, 64, 128), (0.01, 0.1, 1.0), (1.0, 10.0), 15
NEIGHBOURS = (20, 50, 100, 200)


class Questions(NamedTuple):
    """V users who come back after the cut, and what they then rate."""

    users: NDArray[np.int64]  # (V,) numbers
    times: NDArray[np.int64]  # (V,) of the next event
    next: NDArray[np.int64]  # (V,) numbers
    later: sparse.csr_array  # (V, M) 1 where rated after the cut


def main() -> None:
    """Train everything before the cut, ask after it, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--preset", type=Preset, default=Preset.DEFAULT)
    parser.add_argument("--run", type=Path, help="trained on the time cut; none trains one")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    data = read_folder(asked.data)
    whole = encode(data)
    test = held_out(Cut.TIME, whole.users, whole.movies, whole.timestamps, asked.seed)
    early = whole.timestamps <= np.quantile(whole.timestamps, 0.8)
    with TemporaryDirectory() as scratch, progress() as bars:
        run, began = asked.run or Path(scratch) / "run", time.perf_counter()
        if asked.run is None:
            kept = replace(data, ratings=data.ratings[early])
            train(kept, "benchmark", run, asked.preset, asked.seed, bars, tuple(Towers))
            build_index(run)
        seconds = time.perf_counter() - began
        recommender = Recommender.load(run, threads=2)
    questions = ask(whole, test)
    seen = sparse.csr_array(
        (np.ones(early.sum(), np.float32), (whole.users[early], whole.movies[early])),
        shape=(len(whole.user_vocabulary), len(whole.movie_vocabulary)),
    )
    print(describe())
    print(f"{asked.data.name}, preset {recommender.run.config.preset}, seed {asked.seed}")
    print(f"{test.sum():,} ratings and {len(questions.users):,} lists asked after the cut")
    print(f"{'system':34} RMSE    next: HR@10  NDCG@10  later: NDCG@10  recall@10  seconds")
    of_run(recommender, whole, test, questions, seconds)
    of_joint(whole, early, test, questions, seen, asked.seed)
    of_baselines(whole, early, test, questions, seen)
    of_lists_alone(whole, early, questions, seen, asked.seed)


def ask(data: Dataset, test: NDArray[np.bool_]) -> Questions:
    """Return the questions that test rows are the answers to."""
    rows = np.flatnonzero(test)
    rows = rows[time_order(data.users[rows], data.timestamps[rows])]
    users, first = np.unique(data.users[rows], return_index=True)
    owners = np.searchsorted(users, data.users[rows])
    later = sparse.csr_array(
        (np.ones(len(rows)), (owners, data.movies[rows])),
        shape=(len(users), len(data.movie_vocabulary)),
    )
    first = rows[first]
    return Questions(users, data.timestamps[first], data.movies[first], later)


def say(
    system: str,
    ratings: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
    lists: NDArray[np.int64] | None,
    questions: Questions,
    seconds: float,
) -> None:
    """Print a line: ratings predicted and true, and lists `(V, K)` of movie numbers."""
    cells = f"{system:34} " + ("-      " if ratings is None else error(*ratings))
    if lists is not None:
        places = ranks(lists, questions.next)
        gain, recall = of_many(lists, questions.later)
        cells += f" {hit_rate(places, K).value:11.4f} {discounted_gain(places, K).value:8.4f}"
        cells += f" {gain:15.4f} {recall:10.4f}"
    print(f"{cells}  {seconds:7.0f}", flush=True)


def error(predicted: NDArray[np.float64], true: NDArray[np.float64]) -> str:
    """Return the root mean square error as a cell."""
    return f"{root_mean_square_error(predicted, true).value:.4f} "


def of_many(lists: NDArray[np.int64], relevant: sparse.csr_array) -> tuple[float, float]:
    """Return NDCG and recall of lists `(V, K)` where several movies are right, means over users."""
    hits = relevant.toarray()[np.arange(len(lists))[:, None], lists]  # (V, K)
    counts = np.minimum(relevant.sum(axis=1), K).astype(np.int64)
    gains = 1 / np.log2(np.arange(K) + 2)
    ideal = np.cumsum(gains)[counts - 1]
    return float((hits @ gains / ideal).mean()), float((hits.sum(axis=1) / counts).mean())


def of_run(
    recommender: Recommender,
    data: Dataset,
    test: NDArray[np.bool_],
    questions: Questions,
    seconds: float,
) -> None:
    """Print what one run says, by each ranking, told and not told the time."""
    predicted = recommender.rate_many(
        data.user_vocabulary.ids[data.users[test]],
        data.movie_vocabulary.ids[data.movies[test]],
        times=data.timestamps[test],
    ).ratings
    ratings = predicted.astype(np.float64), data.ratings[test].astype(np.float64)
    for rank_by, told in itertools.product(recommender.rankings, (False, True)):
        found = recommender.topk_many(
            data.user_vocabulary.ids[questions.users],
            K,
            times=questions.times if told else None,
            rank_by=rank_by,
        )
        name = f"one run, by {rank_by}, {'told' if told else 'not told'} when"
        say(name, ratings, data.movie_vocabulary.numbers(found.movie_ids), questions, seconds)


def of_joint(
    data: Dataset,
    early: NDArray[np.bool_],
    test: NDArray[np.bool_],
    questions: Questions,
    seen: sparse.csr_array,
    seed: int,
) -> None:
    """Print what the joint baseline says."""
    began = time.perf_counter()
    users, movies = len(data.user_vocabulary), len(data.movie_vocabulary)
    model = fit_joint(
        data.users[early], data.movies[early], data.ratings[early], users, movies, seed
    )
    seconds = time.perf_counter() - began
    with torch.no_grad():
        rows = [torch.from_numpy(column[test]) for column in (data.users, data.movies)]
        predicted = data.scale.clip(model.ratings(*rows).numpy().astype(np.float64))
        scores = model.users.weight[questions.users] @ model.movies.weight.T
    lists = best(scores.numpy(), questions, seen)
    ratings = predicted, data.ratings[test].astype(np.float64)
    say("joint multi-task baseline", ratings, lists, questions, seconds)


def of_baselines(
    data: Dataset,
    early: NDArray[np.bool_],
    test: NDArray[np.bool_],
    questions: Questions,
    seen: sparse.csr_array,
) -> None:
    """Print what popularity and biases say."""
    users, movies, ratings = data.users[early], data.movies[early], data.ratings[early]
    biases = fit_biases(users, movies, ratings, seen.shape[0], seen.shape[1])
    predicted = biases.centre + biases.movies[data.movies[test]] + biases.users[data.users[test]]
    rated = data.scale.clip(predicted), data.ratings[test].astype(np.float64)
    known = [seen.indices[slice(*seen.indptr[user : user + 2])] for user in questions.users]
    say("user mean + movie bias", rated, most_rated(biases.movies, known, K), questions, 0)
    counts = biases.counts.astype(np.float64)
    say("popularity", None, most_rated(counts, known, K), questions, 0)


def of_lists_alone(
    data: Dataset,
    early: NDArray[np.bool_],
    questions: Questions,
    seen: sparse.csr_array,
    seed: int,
) -> None:
    """Print what peers that do not predict ratings say, at their best settings before the cut."""
    rows = np.flatnonzero(early)
    last = np.zeros_like(early)
    last[rows] = last_of_each(data.users[rows], data.timestamps[rows])
    before = early & ~last
    past = sparse.csr_array(
        (np.ones(before.sum(), np.float32), (data.users[before], data.movies[before])), seen.shape
    )
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
                random_state=seed,
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
        lists = of_peer(makers[int(np.argmax(gains))](), seen, questions.users)
        say(name, None, lists, questions, time.perf_counter() - began)


def of_peer(
    model: RecommenderBase, seen: sparse.csr_array, users: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return a peer's lists `(V, K)`, trained on who has seen what `(U, M)`."""
    matrix = sparse.csr_matrix(seen)  # all that the library takes
    warnings.simplefilter("ignore", ParameterWarning)  # it warns of what it hands itself
    model.fit(matrix, show_progress=False)
    lists, _ = model.recommend(users, matrix[users], N=K, filter_already_liked_items=True)
    return np.asarray(lists, dtype=np.int64)


def best(
    scores: NDArray[np.float32], questions: Questions, seen: sparse.csr_array
) -> NDArray[np.int64]:
    """Return the unseen movies with the highest scores `(V, M)`, as lists `(V, K)`."""
    left = np.where(seen[questions.users].toarray() > 0, -np.inf, scores)
    return np.argsort(-left, axis=1, kind="stable")[:, :K]


if __name__ == "__main__":
    main()
