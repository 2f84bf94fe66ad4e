"""Tuning: the fastest index that finds what it should, measured on queries of one's own."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from index.kinds import CODED, LISTED, Effort, Kind
from index.neighbours import Neighbours
from index.search import Index
from index.vectors import Ids, Vectors

# Fewer vectors than this are scanned in less time than anything around a search takes.
SMALL = 20_000

# Efforts tried: of an ivfpq all, of others until the target is reached.
BREADTHS = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
OVERSAMPLINGS = (1, 2, 4, 8, 16, 32)

# Standard errors that the recall of the half that chooses has to be above a target: with an effort
# that was fixed beforehand, 95 % sure to be no accident of which questions were asked. Efforts are
# tried one after another until one passes, which makes an accident likelier; so the other half,
# which had no part in that, has to reach the target too.
MARGIN = 1.645


class Trial(NamedTuple):
    """What an index of one kind and effort is worth."""

    kind: Kind
    effort: Effort
    recall: float  # share of the exact results found, for the half of the queries that chooses
    least: float  # the lower of this recall's lower bound and the other half's recall
    check: float  # recall for the other half, which has to reach the target too
    milliseconds: float  # median of one query alone, on one thread
    build_seconds: float
    megabytes: float  # of the index, without the vectors that scores are made from

    def facts(self) -> dict[str, object]:
        """Return the trial as a row of a table."""
        of_lists = self.effort.breadth if self.kind in (*LISTED, Kind.HNSW) else None
        return {
            "kind": self.kind,
            "breadth": of_lists,
            "oversampling": self.effort.oversampling if self.kind in CODED else None,
            "recall": round(self.recall, 4),
            "other half": round(self.check, 4),
            "at least": round(self.least, 4),
            "ms": round(self.milliseconds, 4),
            "build s": round(self.build_seconds, 2),
            "MB": round(self.megabytes, 1),
        }


class Tuned(NamedTuple):
    """The index that was chosen, and what it was chosen from."""

    chosen: Index
    trials: list[Trial]  # the one of the chosen index first


class Questions(NamedTuple):
    """Q queries as they are asked."""

    queries: Vectors  # (Q, D)
    k: int
    excluded: Sequence[Ids]  # Q


def tune(
    ids: Ids,
    vectors: Vectors,
    questions: Questions,
    target: float,
    kinds: Iterable[Kind] = tuple(Kind),
    report: Callable[[Trial], None] = lambda _: None,
) -> Tuned:
    """Build indexes of several kinds; return the fastest that finds a share of what is there.

    Half of the questions choose: the lower confidence bound of their recall has to reach the
    target. The recall of the other half, on which nothing was fitted, has to reach it too: effort
    grows until both do. Where that never happens, the trial that comes nearest is taken, and its
    `least` is below the target.

    Args:
        ids: `(N,)`.
        vectors: `(N, D)`.
        questions: At least two.
        target: Recall to reach, from 0 to 1; an exact index always does.
        kinds: Which to try.
        report: Called with each trial.
    """
    began = time.perf_counter()
    exact = Index.build(ids, vectors)
    seconds = time.perf_counter() - began
    truth = exact.search(questions.queries, questions.k, questions.excluded)
    trials: list[tuple[Trial, Index]] = []
    for kind in kinds:
        for made in _of_kind(kind, ids, vectors, questions, truth, target, exact, seconds):
            trials.append(made)
            report(made[0])
    chosen = fastest([trial for trial, _ in trials], target)
    index = next(index for trial, index in trials if trial is chosen)
    return Tuned(index, [chosen, *(trial for trial, _ in trials if trial is not chosen)])


def fastest(trials: Sequence[Trial], target: float) -> Trial:
    """Return the fastest trial with which both halves reach a recall, or else the nearest one."""
    enough = [trial for trial in trials if trial.least >= target]
    if not enough:
        return max(trials, key=lambda trial: (trial.least, -trial.milliseconds))
    return min(enough, key=lambda trial: trial.milliseconds)


def pareto(trials: Iterable[Trial]) -> list[Trial]:
    """Return the trials that no other beats in time and what both halves find, fastest first."""
    front: list[Trial] = []
    for trial in sorted(trials, key=lambda trial: (trial.milliseconds, -trial.least)):
        if not front or trial.least > front[-1].least:
            front.append(trial)
    return front


def _of_kind(
    kind: Kind,
    ids: Ids,
    vectors: Vectors,
    questions: Questions,
    truth: Neighbours,
    target: float,
    exact: Index,
    exact_seconds: float,
) -> Iterator[tuple[Trial, Index]]:
    """Yield trials of one kind, of more and more effort while that may be needed."""
    began = time.perf_counter()
    index = exact
    if kind is not Kind.EXACT:
        index = Index.build(ids, vectors, kind, queries=questions.queries[::2])
    seconds = exact_seconds if kind is Kind.EXACT else time.perf_counter() - began
    megabytes = index.candidates.size / 1e6
    for effort in _efforts(kind):
        asked = index.with_effort(effort)
        found, milliseconds = timed(asked, questions)
        chosen, other = (shares(found.ids[half::2], truth.ids[half::2]) for half in (0, 1))
        bound = chosen.mean() - MARGIN * chosen.std() / len(chosen) ** 0.5
        least = min(float(bound), float(other.mean()))
        recalls = float(chosen.mean()), least, float(other.mean())
        yield Trial(kind, effort, *recalls, milliseconds, seconds, megabytes), asked
        # Of an ivfpq, less breadth may do with more oversampling.
        if least >= target and kind is not Kind.IVFPQ:
            return


def _efforts(kind: Kind) -> list[Effort]:
    match kind:
        case Kind.EXACT:
            return [Effort()]
        case Kind.IVF | Kind.HNSW:
            return [Effort(breadth=breadth) for breadth in BREADTHS]
        case Kind.SQ8:
            return [Effort(oversampling=more) for more in OVERSAMPLINGS[:3]]
        case Kind.IVFPQ:
            return [
                Effort(breadth=breadth, oversampling=more)
                for breadth in BREADTHS[4:13:2]
                for more in OVERSAMPLINGS[1::2]
            ]


def timed(index: Index, questions: Questions) -> tuple[Neighbours, float]:
    """Ask one query after another on one thread; return results and the median milliseconds."""
    results: list[Neighbours] = []
    times = []
    with threadpool_limits(1):
        for place, excluded in enumerate(questions.excluded):
            query = questions.queries[place : place + 1]
            began = time.perf_counter()
            results.append(index.search(query, questions.k, [excluded]))
            times.append(time.perf_counter() - began)
    found = Neighbours(
        np.concatenate([result.ids for result in results]),
        np.concatenate([result.scores for result in results]),
    )
    return found, 1000 * float(np.median(times))


def recall(found: Ids, truth: Ids) -> float:
    """Return the mean of `shares`."""
    return float(shares(found, truth).mean())


def shares(found: Ids, truth: Ids) -> NDArray[np.float64]:
    """Return the shares of the exact results `(Q, K)` that are found.

    Empty places are no results. Queries without results do not count; if all are, one is found.
    """
    of_each = [
        np.isin(wanted[wanted >= 0], ids).mean()
        for ids, wanted in zip(found, truth, strict=True)
        if (wanted >= 0).any()
    ]
    return np.array(of_each or [1.0])
