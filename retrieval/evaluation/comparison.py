"""Two versions of a run asked the same: is the candidate worse than the one that answers?

Both are asked about events that neither was trained on, each with all that its user had done
before it. What is compared, question by question:

    ndcg@10   1 / log2(rank + 2) of the movie that was watched, ranks from 0, in the list that each
              version gives by itself at the time of the event; 0 where it is not among the first
              ten. Where one of them lists by rating alone, only movies that were liked are right
    rmse      root of the mean squared error of the rating that is predicted of the movie, at no
              time; asked where both predict ratings

Asked is about the first event of a user with a movie that both versions have, if the user has done
anything before, and nothing later that a version was trained on. The interval of a difference is
that of users: a user who is asked often tells little more than one who is asked once.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.data.dataset import Dataset
from retrieval.data.history import Histories, first_times, time_order
from retrieval.data.vocabulary import UNKNOWN
from retrieval.evaluation.metrics import Metric, mean_of_groups, ranks
from retrieval.evaluation.questions import LaterQuestions
from retrieval.evaluation.temporal import TOP, LaterTrial, lists_of, predicted_ratings
from retrieval.options import RankBy
from retrieval.pairs.when import When
from retrieval.serving.snapshot import ServingSnapshot

NDCG, RMSE = f"ndcg@{TOP}", "rmse"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One measure of two versions.

    Args:
        measure: Its name.
        current: What the version scores that answers.
        candidate: What the candidate scores.
        gain: How much better the candidate is, with the half width of the 95 % interval; of
            squared errors, where the measure is their root.
        scale: What the version that answers scores, in the unit of the gain.
    """

    measure: str
    current: float
    candidate: float
    gain: Metric
    scale: float

    def is_worse(self, tolerance: float) -> bool:
        """Return whether the candidate is worse by more than chance explains.

        Args:
            tolerance: Share of what the current version scores that may be lost beyond it.
        """
        return self.gain.value < -(self.gain.half_width + tolerance * self.scale)


def compare(
    dataset: Dataset,
    held_out: NDArray[np.bool_],
    current: ServingSnapshot,
    candidate: ServingSnapshot,
    most: int,
    rng: np.random.Generator,
) -> tuple[int, list[Comparison]]:
    """Return how many questions there were, and what two versions score on them.

    Args:
        dataset: All events, those that neither version was trained on too.
        held_out: `(N,)` which events these are.
        current: The version that answers.
        candidate: The one that may take its place.
        most: Largest number of questions.
        rng: Generator for the draw of questions, where there are more.
    """
    histories = dataset.histories(np.ones(len(held_out), dtype=bool))
    numbers = dataset.movie_vocabulary.ids
    both = np.ones(len(numbers), dtype=bool)
    for snapshot in (current, candidate):
        both &= snapshot.run.catalogue.vocabulary.numbers(numbers) != UNKNOWN
    order = time_order(dataset.users, dataset.timestamps)  # that of the histories
    questions = _questions(histories, held_out[order], both, most, rng)
    if not len(questions.users):
        return 0, []
    cut = int(histories.timestamps[questions.ends].min()) - 1
    trials = [
        LaterTrial(
            dataset=dataset, cut=cut, histories=histories, questions=questions, snapshot=snapshot
        )
        for snapshot in (current, candidate)
    ]
    return len(questions.users), _compared(questions, trials)


def _compared(questions: LaterQuestions, trials: list[LaterTrial]) -> list[Comparison]:
    """Return what versions score, the one that answers first."""
    found, users = [], questions.users
    before, after = (_gains(trial) for trial in trials)
    right = _right(trials)
    if right.any():
        before, after = before[right], after[right]
        found.append(
            Comparison(
                measure=NDCG,
                current=float(before.mean()),
                candidate=float(after.mean()),
                gain=mean_of_groups(after - before, users[right]),
                scale=float(before.mean()),
            )
        )
    if all(trial.snapshot.encoder.rates for trial in trials):
        before, after = (_squared_errors(trial) for trial in trials)
        found.append(
            Comparison(
                measure=RMSE,
                current=math.sqrt(before.mean()),
                candidate=math.sqrt(after.mean()),
                gain=mean_of_groups(before - after, users),
                scale=float(before.mean()),
            )
        )
    return found


def _questions(
    histories: Histories,
    held_out: NDArray[np.bool_],
    both: NDArray[np.bool_],
    most: int,
    rng: np.random.Generator,
) -> LaterQuestions:
    """Return questions about events `(N,)` that are held out, of movies `(M,)` that both have."""
    starts, ends = histories.offsets[:-1], histories.offsets[1:]
    owners = np.repeat(np.arange(len(starts)), ends - starts)
    place = np.arange(len(owners))
    last_trained = np.full(len(starts), -1)
    np.maximum.at(last_trained, owners[~held_out], place[~held_out])
    asked = held_out & both[histories.movies] & first_times(histories)
    asked &= (place > starts[owners]) & (place > last_trained[owners])
    positions = np.flatnonzero(asked)
    if len(positions) > most:
        positions = np.sort(rng.choice(positions, most, replace=False))
    users = owners[positions]
    return LaterQuestions(users, starts[users], positions, positions + 1)


def _right(trials: list[LaterTrial]) -> NDArray[np.bool_]:
    """Return which of the movies that were watched belong into lists, `(Q,)`."""
    first = trials[0]
    watched = first.questions.ends
    if any(trial.snapshot.encoder.ranking(None) is RankBy.RATING for trial in trials):
        return first.dataset.likes(first.histories.ratings[watched])
    return np.ones(len(watched), dtype=bool)


def _gains(trial: LaterTrial) -> NDArray[np.float64]:
    """Return NDCG of the one movie that is right, `(Q,)`."""
    default = trial.snapshot.encoder.ranking(None)
    lists = lists_of(trial, (default,), When.AT)[default]
    targets = trial.histories.movies[trial.questions.ends].astype(np.int64)
    found = ranks(lists[:, :TOP], targets)
    return np.where(np.isfinite(found), 1 / np.log2(np.minimum(found, TOP) + 2), 0.0)


def _squared_errors(trial: LaterTrial) -> NDArray[np.float64]:
    true = trial.histories.ratings[trial.questions.ends].astype(np.float64)
    return np.asarray((predicted_ratings(trial).ratings - true) ** 2)
