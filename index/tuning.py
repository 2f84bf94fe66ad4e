"""Tuning: the fastest index that finds what it should, measured on queries of one's own."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from index.compiled import prepare
from index.faiss_backend import embedded
from index.kinds import Kind, SearchParameters
from index.neighbours import Neighbours
from index.policies import POLICIES, Structure
from index.rows import Selection
from index.search import Index
from index.vectors import Ids, Vectors

# Fewer vectors than this are scanned in less time than anything around a search takes.
SMALL = 20_000

# The kinds that are tried where none is asked for. A graph takes hours to build where it could be
# worth it, and was slower than lists at every size; so was a byte a component, which looks at all.
WORTH_TRYING = (Kind.EXACT, Kind.IVF, Kind.IVFPQ)

# The `nprobe` or `ef`, and the oversampling, that are tried: of an ivfpq all, of other kinds until
# the target is reached.
WIDTHS = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
OVERSAMPLINGS = (1, 2, 4, 8, 16, 32)

# Standard errors that the recall of the half that chooses has to be above a target: with search
# parameters that were fixed beforehand, 95 % sure to be no accident of which questions were asked.
# They are tried one after another until some pass, which makes an accident likelier; so the other
# half, which had no part in that, has to reach the target too.
MARGIN = 1.645


class Halves(NamedTuple):
    """Shares of the exact results that are found, by halves of the queries."""

    recall: float  # for the half that chooses
    least: float  # the lower of this recall's lower bound and the other half's recall
    check: float  # for the other half


class Trial(NamedTuple):
    """What an index of one kind is worth with some search parameters."""

    kind: Kind
    parameters: SearchParameters
    recall: float  # share of the exact results found, for the half of the queries that chooses
    least: float  # the lower of this recall's lower bound and the other half's recall
    check: float  # recall for the other half, which has to reach the target too
    milliseconds: float  # median of one query alone, on one thread
    build_seconds: float
    megabytes: float  # of the index, without the vectors that scores are made from

    def as_dict(self) -> dict[str, object]:
        """Return the trial as a row of a table; search parameters without effect are None."""
        policy, parameters = POLICIES[self.kind], self.parameters
        return {
            "kind": self.kind,
            "nprobe": parameters.nprobe if policy.structure is Structure.LISTS else None,
            "ef": parameters.ef if policy.structure is Structure.GRAPH else None,
            "oversampling": None if policy.ordered else parameters.oversampling,
            "recall": round(self.recall, 4),
            "recall_other_half": round(self.check, 4),
            "recall_at_least": round(self.least, 4),
            "milliseconds": round(self.milliseconds, 4),
            "build_seconds": round(self.build_seconds, 2),
            "megabytes": round(self.megabytes, 1),
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
    target. The recall of the other half, on which nothing was fitted, has to reach it too: search
    parameters grow until both do. Where that never happens, the trial that comes nearest is taken,
    and its `least` is below the target.

    Args:
        ids: Ids of the vectors, `(N,)`.
        vectors: Vectors to index, `(N, D)`.
        questions: Queries to measure with, at least two.
        target: Recall to reach, from 0 to 1; an exact index always does.
        kinds: Kinds to try.
        report: Function that is called with each trial.
    """
    prepare(vectors.shape[1])
    half = questions.queries[::2]
    exact, exact_seconds = _built(ids, vectors, Kind.EXACT, half)
    truth = exact.search(questions.queries, questions.k, questions.excluded)
    trials: list[Trial] = []
    best: tuple[Trial, Index] | None = None
    for kind in kinds:  # one after another: memory holds the best so far and the one that is tried
        index, seconds = exact, exact_seconds
        if kind is not Kind.EXACT:
            index, seconds = _built(ids, vectors, kind, half)
        for trial, asked in _trials(index, seconds, questions, truth, target):
            trials.append(trial)
            report(trial)
            if fastest(trials, target) is trial:
                best = trial, asked
    if best is None:
        raise ValueError("there are no kinds to try")
    chosen, index = best
    return Tuned(index, [chosen, *(trial for trial in trials if trial is not chosen)])


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


def _built(ids: Ids, vectors: Vectors, kind: Kind, queries: Vectors) -> tuple[Index, float]:
    """Return an index that knows some queries, and the seconds that building it took."""
    began = time.perf_counter()
    index = Index.build(ids, vectors, kind, queries=queries)
    return index, time.perf_counter() - began


def _trials(
    index: Index, seconds: float, questions: Questions, truth: Neighbours, target: float
) -> Iterator[tuple[Trial, Index]]:
    """Yield trials of one index, with larger and larger parameters while that may be needed.

    Args:
        index: Index to try, with any search parameters.
        seconds: Seconds that building it took.
        questions: Queries to measure with.
        truth: Exact results of the queries.
        target: Recall to reach.
    """
    kind = index.kind
    megabytes = embedded(index.snapshot.backend).size / 1e6
    for parameters in _grid(kind):
        asked = index.with_parameters(parameters)
        found, milliseconds = timed(asked, questions)
        measured = halves(found.ids, truth.ids)
        yield Trial(kind, parameters, *measured, milliseconds, seconds, megabytes), asked
        # Fewer lists of an ivfpq may do with more oversampling.
        if measured.least >= target and kind is not Kind.IVFPQ:
            return


def _grid(kind: Kind) -> list[SearchParameters]:
    """Return the search parameters to try, smaller ones first."""
    match kind:
        case Kind.EXACT:
            return [SearchParameters()]
        case Kind.IVF:
            return [SearchParameters(nprobe=nprobe) for nprobe in WIDTHS]
        case Kind.HNSW:
            return [SearchParameters(ef=ef) for ef in WIDTHS]
        case Kind.SQ8:
            return [SearchParameters(oversampling=more) for more in OVERSAMPLINGS[:3]]
        case Kind.IVFPQ:
            return [
                SearchParameters(nprobe=nprobe, oversampling=more)
                for nprobe in WIDTHS[4:13]
                for more in OVERSAMPLINGS[2:]
            ]


def timed(
    index: Index, questions: Questions, allowed: Selection | None = None
) -> tuple[Neighbours, float]:
    """Ask one query after another on one thread; return results and the median milliseconds.

    Args:
        index: What is asked.
        questions: The queries.
        allowed: What the results must come from; None is all.
    """
    results: list[Neighbours] = []
    times = []
    with threadpool_limits(1):
        for place, excluded in enumerate(questions.excluded):
            query = questions.queries[place : place + 1]
            began = time.perf_counter()
            results.append(index.search(query, questions.k, [excluded], allowed))
            times.append(time.perf_counter() - began)
    found = Neighbours(
        np.concatenate([result.ids for result in results]),
        np.concatenate([result.scores for result in results]),
    )
    return found, 1000 * float(np.median(times))


def halves(found: Ids, truth: Ids) -> Halves:
    """Return what is found of exact results `(Q, K)`, for every second query and for the others."""
    chosen, other = (recalls(found[half::2], truth[half::2]) for half in (0, 1))
    bound = float(chosen.mean() - MARGIN * chosen.std() / len(chosen) ** 0.5)
    check = float(other.mean())
    return Halves(float(chosen.mean()), min(bound, check), check)


def recall(found: Ids, truth: Ids) -> float:
    """Return the mean of `recalls`."""
    return float(recalls(found, truth).mean())


def recalls(found: Ids, truth: Ids) -> NDArray[np.float64]:
    """Return the share of each query's exact results `(Q, K)` that is found.

    Empty places are no results. Queries without results do not count; if all are, one is found.
    """
    of_each = [
        np.isin(wanted[wanted >= 0], ids).mean()
        for ids, wanted in zip(found, truth, strict=True)
        if (wanted >= 0).any()
    ]
    return np.array(of_each or [1.0])
