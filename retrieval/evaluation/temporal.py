"""Lists for what comes after a cut in time: learned from everything before it, and nothing later.

A list leaves out what its user has seen when asked. Metrics are means over questions; where a user
is asked more than once, intervals count users.

    hr@k           share of questions of which anything that is right is among the first k
    recall@k       share of what is right that is among the first k
    ndcg@10        gain 1 / log2(rank + 2) of what is right, ranks from 0, over the best there is
    ahead          ndcg@10 minus that of the best baseline, which is chosen on the same questions,
                   and so is a little favoured; the interval is that of the difference
    mrr            mean of 1 / (rank + 1) of the first that is right
    liked ndcg@10  ndcg@10 where only liked movies are right, of questions that have any
    liked ahead    the same of liked movies
    rating of hits mean true rating of what is right among the first 10
    auc            share of pairs of a liked and another movie, of one user, of which the liked one
                   is predicted the higher rating
    rmse           root of the mean squared error of the ratings predicted of what is right
    within ±       share of those ratings that lie within the standard deviation that is told; about
                   .68 if it is honest

The last three are of ratings predicted at no time, and stand in the row of the lists by rating.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.neighbours import NO_ID
from retrieval.data.dataset import Dataset, encode
from retrieval.data.frames import MovieData
from retrieval.data.history import Histories, first_times, spans
from retrieval.data.times import DAY, shown_time
from retrieval.data.vocabulary import UNKNOWN
from retrieval.errors import RequestError
from retrieval.evaluation.baselines import fit_biases, most_rated
from retrieval.evaluation.metrics import (
    Metric,
    coverage,
    mean_of_groups,
    novelty,
    root_mean_square_of_groups,
    users_by_movie,
)
from retrieval.evaluation.questions import LaterProtocol, LaterQuestions, questions_after
from retrieval.evaluation.result import WAYS, Result
from retrieval.options import Device, RankBy
from retrieval.pairs.when import When
from retrieval.pipeline.settings import Settings
from retrieval.pipeline.training import FEWEST_RATINGS, train
from retrieval.progress import SILENT, Progress
from retrieval.run.folder import Run
from retrieval.serving.lists import best_of, encode_rankings, list_options
from retrieval.serving.predictions import predict
from retrieval.serving.snapshot import ServingSnapshot
from retrieval.serving.users import QueryUsers, settled_events

TOP, DEEP = 10, 100

# Questions asked together: bounds the memory for their histories.
ASKED = 256


# Baselines by popularity: days that are counted, or in which what is counted fades by half.
RECENT_DAYS, HALF_LIFE_DAYS = (7, 30), 30.0


# Of a system that predicts no ratings.
NO_RATINGS = dict.fromkeys(("auc", "rmse", "within ±"), Metric(float("nan"), float("inf")))


@dataclass(frozen=True, kw_only=True)
class LaterTrial:
    """What comes after a cut, and a run that was trained on what came before.

    Args:
        dataset: All events.
        cut: Seconds; events of this very second are before it.
        histories: Histories of all events.
        questions: Questions about events after the cut.
        snapshot: What answers.
        threads: Number of threads that share the work.
    """

    dataset: Dataset
    cut: int
    histories: Histories
    questions: LaterQuestions
    snapshot: ServingSnapshot
    threads: int = 1

    @cached_property
    def first_times(self) -> NDArray[np.bool_]:
        """Which of all events are their user's first of the movie: no list holds what is seen."""
        return first_times(self.histories)

    @cached_property
    def baselines(self) -> dict[str, NDArray[np.int32]]:
        """Lists `(Q, K)` that are the same for everybody, but for what each has seen, by name."""
        questions, count = self.questions, len(self.dataset.movie_vocabulary)
        seen = [
            self.histories.movies[start:end].astype(np.int64)
            for start, end in zip(questions.starts, questions.ends, strict=True)
        ]
        return {
            name: most_rated(scores, seen, min(DEEP, count)).astype(np.int32)
            for name, scores in _baselines(self).items()
        }

    @cached_property
    def best_baseline(self) -> "_Gains":
        """What the best of the baselines finds, and of liked movies the one that finds most."""
        found = [_gains(self, _hits(self, lists)) for lists in self.baselines.values()]
        return _Gains(
            max((each.all for each in found), key=np.sum),
            max((each.liked for each in found), key=np.nansum),
        )

    @cached_property
    def right(self) -> "_Right":
        """What is right, sorted once for all lists that are held against it."""
        sizes = self.questions.stops - self.questions.ends
        owners = np.repeat(np.arange(len(sizes)), sizes)
        events = spans(self.questions.ends, sizes)
        fresh = self.first_times[events]
        owners, events = owners[fresh], events[fresh]
        asked = len(self.questions.users)
        keys = owners * len(self.dataset.movie_vocabulary) + self.histories.movies[events]
        order = np.argsort(keys, kind="stable")
        likes = self.dataset.likes(self.histories.ratings[events])
        return _Right(
            keys[order],
            owners[order],
            events[order],
            np.bincount(owners, minlength=asked),
            np.bincount(owners[likes], minlength=asked),
        )

    @cached_property
    def movies(self) -> NDArray[np.int64]:
        """Numbers in the run of the movies of the data, `(M,)`, `UNKNOWN` where it has none."""
        known = self.snapshot.run.catalogue.vocabulary
        return known.numbers(self.dataset.movie_vocabulary.ids)


def evaluate_later(
    data: MovieData,
    source: str,
    protocol: LaterProtocol,
    settings: Settings,
    seed: int,
    folder: Path,
    *,
    learned: MovieData | None = None,
    trained: bool = False,
    device: Device = Device.AUTO,
    progress: Progress = SILENT,
) -> list[Result]:
    """Train a run on what came before a cut, and score its lists for what came after.

    Args:
        data: All events.
        source: Name of the data.
        protocol: What is asked.
        settings: Settings of the training.
        seed: Seed of training.
        folder: Folder where the run is written, or of a run that is there.
        learned: What a run is trained on, where it is no part of the data as they are; None is
            what came before the cut.
        trained: Whether a run is there.
        device: Device for the pairs that torch trains.
        progress: Who shows how far it is.

    Raises:
        RequestError: The cut leaves too little to train on or nothing to ask, or the run knows of
            events after the cut.
        RunError: The run is missing or damaged.
    """
    cut = protocol.cut
    dataset = encode(data)
    early = dataset.timestamps <= cut
    histories = dataset.histories(np.ones(len(early), dtype=bool))
    questions = questions_after(histories, protocol)
    if not len(questions.users):
        raise RequestError(
            f"nothing comes after {shown_time(cut)} that --target {protocol.target} asks for"
        )
    if early.sum() < FEWEST_RATINGS:
        raise RequestError(
            f"{early.sum()} of {len(early)} ratings come before {shown_time(cut)}, and training "
            f"needs {FEWEST_RATINGS}: {'cut later' if learned is None else 'give more'}"
        )
    if not trained:
        rows = learned or replace(data, ratings=data.ratings[early])
        train(rows, settings, folder, source=source, seed=seed, device=device, progress=progress)
    snapshot = ServingSnapshot.load(folder)
    _check_ids(dataset, snapshot.run, folder)
    present = snapshot.run.config.present
    if present > cut + 1:
        raise RequestError(
            f"{folder} was trained on events until {shown_time(present - 1)}, after the cut at "
            f"{shown_time(cut)}; cut there, or train on what comes before"
        )
    return score_lists(
        LaterTrial(
            dataset=dataset, cut=cut, histories=histories, questions=questions, snapshot=snapshot
        )
    )


def _check_ids(dataset: Dataset, run: Run, folder: Path) -> None:
    """Raise a `RequestError` where a run has ids of another kind than the data."""
    for what, ours, theirs in (
        ("users", dataset.user_vocabulary, run.users),
        ("movies", dataset.movie_vocabulary, run.catalogue.vocabulary),
    ):
        if ours.texts != theirs.texts:
            raise RequestError(
                f"{folder} was trained on other data: its {what} have ids that are "
                f"{'texts' if theirs.texts else 'whole numbers'}, and those of the data are "
                f"{'texts' if ours.texts else 'whole numbers'}"
            )


def cut_at(timestamps: NDArray[np.int64], share: float) -> int:
    """Return the moment, in seconds, before which a share of all events happened."""
    return int(np.quantile(timestamps, share))


def score_lists(trial: LaterTrial) -> list[Result]:
    """Return what lists of the run, and of baselines, find of what comes after the cut."""
    encoder = trial.snapshot.encoder
    default = encoder.ranking(None)
    ways = {When.COMING_BACK: encoder.rankings, When.AT: (default,), When.IN_SITTING: (default,)}
    results = []
    for when, rankings in ways.items():
        for rank_by, lists in lists_of(trial, rankings, when).items():
            ratings = NO_RATINGS
            if rank_by is RankBy.RATING and when is When.COMING_BACK:
                ratings = _rating_metrics(trial, predicted_ratings(trial))
            name = f"two towers by {rank_by}, {WAYS[when]}"
            results.append(scored(trial, name, lists, ratings))
    return results + [scored(trial, name, lists) for name, lists in trial.baselines.items()]


def lists_of(
    trial: LaterTrial, rankings: Sequence[RankBy], when: When
) -> dict[RankBy, NDArray[np.int64]]:
    """Return the lists `(Q, K)` of the run, as movie numbers of the data, -1 where it ends.

    Args:
        trial: What is asked.
        rankings: Scores that rank, for each of which there are lists.
        when: When users are asked.
    """
    dataset, questions = trial.dataset, trial.questions
    depth = min(DEEP, len(dataset.movie_vocabulary))
    longest = min(depth, len(trial.snapshot.run.catalogue))
    staying = when is When.IN_SITTING
    options = {
        rank_by: list_options(
            trial.snapshot, longest, rank_by, None, 0.0, include_seen=False, in_sitting=staying
        )
        for rank_by in rankings
    }
    shape = len(questions.users), depth
    lists = {rank_by: np.full(shape, UNKNOWN, np.int64) for rank_by in rankings}
    known = dataset.movie_vocabulary.numbers(trial.snapshot.run.catalogue.vocabulary.ids)  # (M,)
    for rows in _parts(questions):
        times = trial.histories.timestamps[questions.ends[rows]] if when is When.AT else None
        users, everyone = _users(trial, rows), np.arange(len(rows))
        for rank_by, queries in encode_rankings(
            trial.snapshot, users, everyone, times, rankings, in_sitting=staying
        ).items():
            found = best_of(trial.snapshot, queries, options[rank_by]).ids
            lists[rank_by][rows, :longest] = np.where(found == NO_ID, UNKNOWN, known[found])
    return lists


def _parts(questions: LaterQuestions) -> list[NDArray[np.int64]]:
    """Return questions in parts, those with histories of one length together."""
    order = np.argsort(questions.ends - questions.starts, kind="stable")
    return [order[start : start + ASKED] for start in range(0, len(order), ASKED)]


def _users(trial: LaterTrial, rows: NDArray[np.int64]) -> QueryUsers:
    """Return the users of some questions, each with what had happened when asked.

    Events of movies that the run does not have are left out.
    """
    run, dataset, histories = trial.snapshot.run, trial.dataset, trial.histories
    users, starts, ends, _ = (column[rows] for column in trial.questions)
    events = spans(starts, ends - starts)
    movies = trial.movies[histories.movies[events]]
    owners = np.repeat(np.arange(len(rows)), ends - starts)[movies != UNKNOWN]
    events, movies = events[movies != UNKNOWN], movies[movies != UNKNOWN]
    counts = np.bincount(owners, minlength=len(rows))
    offsets = np.append(0, np.cumsum(counts))
    timestamps = histories.timestamps[events]
    numbers = run.users.numbers(dataset.user_vocabulary.ids[users])
    known = numbers != UNKNOWN
    own = np.where(known, np.diff(run.histories.offsets)[numbers], -1)
    trained = known & run.trained_users[numbers]
    as_stored = known & (own == counts)
    # As many events that end at the same time are the same ones.
    ending = np.flatnonzero(as_stored & (counts > 0))
    stored_ends = run.histories.offsets[numbers[ending] + 1] - 1
    as_stored[ending] = run.histories.timestamps[stored_ends] == timestamps[offsets[ending + 1] - 1]
    so_far = Histories(offsets, movies.astype(np.int32), histories.ratings[events], timestamps)
    settled = settled_events(run, np.where(trained & (counts > own), numbers, UNKNOWN), so_far)
    return QueryUsers(
        trained=np.where(trained, numbers, UNKNOWN),
        stored=np.where(as_stored, numbers, UNKNOWN),
        settled=settled,
        as_known=trained & (as_stored | (settled > 0)),
        codes=np.where(known[:, None], run.user_codes[numbers], 0),
        histories=so_far,
        also_seen=(np.zeros(0, np.int64),) * len(rows),
    )


class PredictedRatings(NamedTuple):
    """What a run says of E ratings; no numbers where it does not have the movie."""

    ratings: NDArray[np.float64]  # (E,)
    deviations: NDArray[np.float64]  # (E,) standard deviations, no numbers where none are told


def predicted_ratings(trial: LaterTrial) -> PredictedRatings:
    """Return the rating that the run predicts of each event that is right, at no time."""
    movies, sizes = trial.movies[trial.histories.movies[trial.right.events]], trial.right.counts
    starts = np.cumsum(sizes) - sizes
    ratings, deviations = np.full((2, len(movies)), np.nan)
    for rows in _parts(trial.questions):
        which = np.repeat(np.arange(len(rows)), sizes[rows])
        mine = spans(starts[rows], sizes[rows])
        there = movies[mine] != UNKNOWN
        which, mine = which[there], mine[there]
        users = _users(trial, rows)
        said = predict(trial.snapshot, users, which, movies[mine], None, trial.threads)
        ratings[mine] = said.ratings
        if said.deviations is not None:
            deviations[mine] = said.deviations
    return PredictedRatings(ratings, deviations)


def _rating_metrics(trial: LaterTrial, predicted: PredictedRatings) -> dict[str, Metric]:
    """Return what predicted ratings are worth."""
    right, there = trial.right, np.isfinite(predicted.ratings)
    users = trial.questions.users[right.owners[there]]
    true = trial.histories.ratings[right.events[there]]
    ratings, deviations = predicted.ratings[there], predicted.deviations[there]
    told, error = np.isfinite(deviations), np.abs(ratings - true.astype(np.float64))
    return {
        "auc": _auc(users, ratings, trial.dataset.likes(true)),
        "rmse": root_mean_square_of_groups(error, users),
        "within ±": mean_of_groups((error <= deviations)[told], users[told]),
    }


def _auc(
    users: NDArray[np.int64], predicted: NDArray[np.float64], liked: NDArray[np.bool_]
) -> Metric:
    """Return how often a liked movie is predicted a higher rating than another of its user.

    Args:
        users: `(E,)` of each rating.
        predicted: `(E,)` ratings.
        liked: `(E,)` whether the true ones say that the movie was liked.
    """
    order = np.argsort(users, kind="stable")
    bounds = np.flatnonzero(np.diff(users[order], prepend=-1))
    found, whose = [], []
    for mine in np.split(order, bounds[1:]):
        good, bad = predicted[mine[liked[mine]]], predicted[mine[~liked[mine]]]
        if len(good) and len(bad):
            above = good[:, None] - bad
            found.append(float((above > 0).mean() + (above == 0).mean() / 2))
            whose.append(users[mine[0]])
    return mean_of_groups(np.array(found), np.array(whose))


def scored(
    trial: LaterTrial,
    system: str,
    lists: NDArray[np.integer],
    predicted: Mapping[str, Metric] = NO_RATINGS,
) -> Result:
    """Return what lists are worth.

    Args:
        trial: What was asked.
        system: Name of what made the lists.
        lists: `(Q, K)` movie numbers, -1 where a list ends.
        predicted: What ratings that it predicts are worth.
    """
    dataset, users = trial.dataset, trial.questions.users
    hits, count = _hits(trial, lists), len(dataset.movie_vocabulary)
    hit, asked = hits.found, len(lists)
    gains, best = _gains(trial, hits), trial.best_baseline
    liked = np.isfinite(gains.liked)
    first = np.where(hit.any(axis=1), hit.argmax(axis=1), np.inf)
    top = hit[:, :TOP]
    histories, early = trial.histories, dataset.timestamps <= trial.cut
    watched = users_by_movie(dataset.users[early], dataset.movies[early], count)
    known = len(np.unique(dataset.users[early]))
    metrics = {
        f"hr@{TOP}": mean_of_groups(np.asarray(top.any(axis=1)), users),
        f"ndcg@{TOP}": mean_of_groups(gains.all, users),
        "ahead": mean_of_groups(gains.all - best.all, users),
        f"hr@{DEEP}": mean_of_groups(np.asarray(hit.any(axis=1)), users),
        f"recall@{DEEP}": mean_of_groups(hit.sum(axis=1) / trial.right.counts, users),
        "mrr": mean_of_groups(1 / (first + 1), users),
        f"liked ndcg@{TOP}": mean_of_groups(gains.liked[liked], users[liked]),
        "liked ahead": mean_of_groups((gains.liked - best.liked)[liked], users[liked]),
        "rating of hits": mean_of_groups(
            histories.ratings[hits.events[:, :TOP][top]], np.repeat(users, top.sum(axis=1))
        ),
        **predicted,
        f"coverage@{TOP}": coverage(lists[:, :TOP], count),
        f"novelty@{TOP}": novelty(lists[:, :TOP], watched / known, known),
    }
    words = f"{len(np.unique(users)):,} users"
    return Result(system=system, questions=words, count=asked, metrics=metrics)


class _Right(NamedTuple):
    """What is right of Q questions, E events of movies that their users had not watched."""

    keys: NDArray[np.int64]  # (E,) of a question and a movie, ascending
    owners: NDArray[np.int64]  # (E,) places of questions
    events: NDArray[np.int64]  # (E,) positions in the histories
    counts: NDArray[np.int64]  # (Q,) how many movies are right
    liked: NDArray[np.int64]  # (Q,) how many of them were liked


class _Hits(NamedTuple):
    """What lists `(Q, K)` find of what is right."""

    found: NDArray[np.bool_]  # (Q, K) whether a movie is right
    events: NDArray[np.int64]  # (Q, K) where it is, its event in the histories


def _hits(trial: LaterTrial, lists: NDArray[np.integer]) -> _Hits:
    """Return what lists of movie numbers find."""
    right = trial.right
    wanted = np.arange(len(lists))[:, None] * len(trial.dataset.movie_vocabulary) + lists
    place = np.minimum(np.searchsorted(right.keys, wanted), len(right.keys) - 1)
    return _Hits((right.keys[place] == wanted) & (lists >= 0), right.events[place])


class _Gains(NamedTuple):
    """NDCG of questions."""

    all: NDArray[np.float64]  # (Q,)
    liked: NDArray[np.float64]  # (Q,) no number where nothing was liked


def _gains(trial: LaterTrial, hits: _Hits) -> _Gains:
    liked = hits.found & trial.dataset.likes(trial.histories.ratings[hits.events])
    of_liked = np.where(trial.right.liked > 0, _gain(liked, trial.right.liked), np.nan)
    return _Gains(_gain(hits.found, trial.right.counts), of_liked)


def _gain(hit: NDArray[np.bool_], right: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return NDCG of questions `(Q,)` by hits `(Q, K)`, and how many movies are right `(Q,)`."""
    depth = min(TOP, hit.shape[1])
    gains = 1 / np.log2(np.arange(depth) + 2)
    best = np.append(1.0, np.cumsum(gains))[np.minimum(right, depth)]
    return np.asarray(hit[:, :depth] @ gains / best, dtype=np.float64)


def _baselines(trial: LaterTrial) -> dict[str, NDArray[np.float64]]:
    """Return what the same list for everybody is ranked by, `(M,)`, as of the cut."""
    dataset = trial.dataset
    early = dataset.timestamps <= trial.cut
    movies, count = dataset.movies[early], len(dataset.movie_vocabulary)
    ago = (trial.cut - dataset.timestamps[early]) / DAY
    biases = fit_biases(
        dataset.users[early], movies, dataset.ratings[early], len(dataset.user_vocabulary), count
    )
    ever = biases.counts.astype(np.float64)
    # Movies that were not watched lately follow, by what they were ever.
    recent = {
        f"popular in the last {days} days": np.bincount(movies[ago < days], minlength=count)
        + ever / (1 + ever.sum())
        for days in RECENT_DAYS
    }
    faded = np.bincount(movies, 0.5 ** (ago / HALF_LIFE_DAYS), minlength=count)
    return {
        "popular over all time": ever,
        **recent,
        f"popular, halved every {HALF_LIFE_DAYS:.0f} days": faded,
        "user mean + movie bias": biases.movies,
    }
