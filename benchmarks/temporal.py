"""Lists for what comes after a cut in time, beside peers and what was popular.

python benchmarks/temporal.py --data FOLDER [--cut 0.8] [--core 5] [--target visit first last]
    [--most 10000] [--preset default] [--run FOLDER] [--rectools PYTHON [--models esasrec]] [--plot]

Everything up to the cut is learned from. Metrics are those of `rec evaluate --protocol temporal`.
Peers that need no time have the settings that are best on the last event of each user before the
cut, and are asked with the history that each user has by then. RecTools runs in an environment of
its own, which PYTHON belongs to. With --most, so many of a target's questions are drawn at random;
there are a hundred thousand where every event after the cut is one.
"""

import argparse
import itertools
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Protocol

import numpy as np
from environment import Events, events_of, lists_of_peer
from implicit.cpu.als import AlternatingLeastSquares
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender
from implicit.recommender_base import RecommenderBase
from implicit.utils import ParameterWarning
from machine import Report, add_plot, add_rectools, arguments, peak_megabytes
from numpy.typing import NDArray
from plots import new_plot, save
from scipy import sparse
from subset import train_on, who_saw_what
from threadpoolctl import threadpool_limits

from retrieval.data.dataset import encode
from retrieval.data.history import spans
from retrieval.data.layouts import read_folder
from retrieval.data.split import last_of_each
from retrieval.evaluation.metrics import discounted_gain, ranks
from retrieval.evaluation.questions import LaterProtocol, LaterQuestions, questions_after
from retrieval.evaluation.result import Result
from retrieval.evaluation.selection import core_of
from retrieval.evaluation.temporal import DEEP, LaterTrial, cut_at, score_lists, scored
from retrieval.options import Preset, Target
from retrieval.pipeline.settings import preset_settings
from retrieval.serving.snapshot import ServingSnapshot

K = 10
FACTORS, REGULARIZATIONS, WEIGHTS, ITERATIONS = (32, 64, 128), (0.01, 0.1, 1.0), (1.0, 10.0), 15
NEIGHBOURS = (20, 50, 100, 200)
PENALTIES = (100.0, 300.0, 1000.0)

# Users whose lists a peer makes together.
TOGETHER = 1024

# What is printed of all metrics, which `--json` has.
SHOWN = (
    "hr@10",
    "ndcg@10",
    "ahead",
    "liked ndcg@10",
    "recall@100",
    "rating of hits",
    "coverage@10",
)


# What lists are held against, in the title of the plot.
AFTER = {
    Target.FIRST: "first after the cut",
    Target.LAST: "last",
    Target.SUCCESSIVE: "next, event by event",
    Target.VISIT: "on their next visit",
    Target.WINDOW: "from then on",
}


class Peer(Protocol):
    """A model of who watches what."""

    def fit(self, seen: sparse.csr_matrix) -> None:
        """Learn from who has seen what, `(U, M)`."""

    def lists(self, users: NDArray[np.int64], seen: sparse.csr_matrix, k: int) -> NDArray[np.int64]:
        """Return lists `(Q, k)` of users who have seen `(Q, M)`, without that."""


class Ease:
    """EASE: a linear model of movies on movies.

    Args:
        penalty: Penalty of its coefficients.

    Source: Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019.
    """

    def __init__(self, penalty: float) -> None:
        self._penalty = penalty

    def fit(self, seen: sparse.csr_matrix) -> None:
        """Learn from who has seen what, `(U, M)`."""
        products = (seen.T @ seen).toarray().astype(np.float64)
        products[np.diag_indices_from(products)] += self._penalty
        inverse = np.linalg.inv(products)
        weights = -inverse / np.diag(inverse)
        weights[np.diag_indices_from(weights)] = 0.0
        self._weights = weights.astype(np.float32)

    def lists(self, users: NDArray[np.int64], seen: sparse.csr_matrix, k: int) -> NDArray[np.int64]:
        """Return lists `(Q, k)` of users who have seen `(Q, M)`, without that."""
        lists = np.empty((len(users), k), np.int64)
        for rows in _together(len(users)):
            scores = seen[rows] @ self._weights
            scores[seen[rows].nonzero()] = -np.inf
            top = np.argpartition(-scores, k - 1, axis=1)[:, :k]
            order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable")
            lists[rows] = np.take_along_axis(top, order, axis=1)
        return lists


class Implicit:
    """A model of the library implicit.

    Args:
        make: Function that makes one.
    """

    def __init__(self, make: Callable[[], RecommenderBase]) -> None:
        self._model = make()

    def fit(self, seen: sparse.csr_matrix) -> None:
        """Learn from who has seen what, `(U, M)`."""
        self._model.fit(seen, show_progress=False)

    def lists(self, users: NDArray[np.int64], seen: sparse.csr_matrix, k: int) -> NDArray[np.int64]:
        """Return lists `(Q, k)` of users who have seen `(Q, M)`, without that."""
        options = {"N": k, "filter_already_liked_items": True}
        if isinstance(self._model, AlternatingLeastSquares):  # neighbours have no users to work out
            options["recalculate_user"] = True
        lists, _ = self._model.recommend(users, seen, **options)
        return np.asarray(lists, dtype=np.int64)


class Family(NamedTuple):
    """A peer with several settings."""

    name: str
    makers: list[Callable[[], Peer]]


def main() -> None:
    """Train everyone on what is early, ask about what is late, and report."""
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data")
    parser.add_argument("--cut", type=float, default=0.8, help="share that is learned from")
    parser.add_argument("--core", type=int, help="leave out users and movies with fewer events")
    parser.add_argument(
        "--target", type=Target, choices=list(Target), nargs="+", default=[Target.VISIT]
    )
    parser.add_argument("--most", type=int, help="questions of a target at most; none is all")
    parser.add_argument("--preset", type=Preset, choices=list(Preset), default=Preset.DEFAULT)
    parser.add_argument("--run", type=Path, help="run trained on this split; none trains one")
    add_rectools(parser)
    add_plot(parser, "temporal")
    asked = parser.parse_args()
    data = read_folder(asked.data)
    if asked.core is not None:
        data = core_of(data, asked.core)
    dataset = encode(data)
    cut = cut_at(dataset.timestamps, asked.cut)
    early = dataset.timestamps <= cut
    histories = dataset.histories(np.ones(len(early), dtype=bool))
    with TemporaryDirectory() as scratch:
        run = asked.run or Path(scratch) / "run"
        if asked.run is None:
            train_on(data, early, run, preset_settings(asked.preset), asked.seed)
        snapshot = ServingSnapshot.load(run)
        seconds = snapshot.run.config.training_seconds
        trials = {
            target: LaterTrial(
                dataset=dataset,
                cut=cut,
                histories=histories,
                questions=drawn(
                    questions_after(histories, LaterProtocol(cut, target)), asked.most, asked.seed
                ),
                snapshot=snapshot,
                threads=2,
            )
            for target in asked.target
        }
        report = Report(
            asked,
            f"{asked.data.name}{'' if asked.core is None else f', {asked.core}-core'}, preset "
            f"{snapshot.run.config.preset}, after the first {asked.cut:g} of all events"
            f"{'' if asked.most is None else f', at most {asked.most:,} questions of a target'}",
        )
        table = Table(report)
        report.say(f"{'':48} {' '.join(f'{name:>14}' for name in SHOWN)}  seconds")
        for target, trial in trials.items():
            for result in score_lists(trial):
                ours = result.system.startswith("two towers")
                table.add(target, result, seconds if ours else 0.0)
        warnings.simplefilter("ignore", ParameterWarning)  # implicit warns of what it hands itself
        with threadpool_limits(1, "blas"):  # as implicit wants it
            for family in families(asked.seed):
                of_family(table, trials, family, early)
        report.save()  # what follows takes hours
        if asked.rectools is not None:
            of_rectools(table, trials, early, Path(scratch), asked)
    report.say(f"memory at the peak: {peak_megabytes():,.0f} MB")
    report.save()
    if asked.plot:
        draw(asked.plot, asked.target[0], table.results[asked.target[0]])


def drawn(questions: LaterQuestions, most: int | None, seed: int) -> LaterQuestions:
    """Return at most so many questions, drawn at random, in their order; None is all."""
    count = len(questions.users)
    if most is None or count <= most:
        return questions
    rows = np.sort(np.random.default_rng(seed).choice(count, most, replace=False))
    return LaterQuestions(*(column[rows] for column in questions))


class Table:
    """What systems found, of each target.

    Args:
        report: Where it is said.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self.results: dict[Target, list[Result]] = {}

    def add(self, target: Target, result: Result, seconds: float) -> None:
        """Report what one system found."""
        self.results.setdefault(target, []).append(result)
        cells = " ".join(f"{result.metrics[name].value:14.4f}" for name in SHOWN)
        self._report.add(
            f"{target:10} {result.system:37} {cells}  {seconds:7.0f}",
            target=target,
            questions=result.count,
            system=result.system,
            seconds=seconds,
            metrics={name: metric._asdict() for name, metric in result.metrics.items()},
        )


def families(seed: int) -> Iterator[Family]:
    """Give the peers that need no time, with the settings that are tried."""
    yield Family("EASE", [partial(Ease, penalty) for penalty in PENALTIES])
    for name, model in (("cosine", CosineRecommender), ("BM25", BM25Recommender)):
        makers = [partial(Implicit, partial(model, K=k)) for k in NEIGHBOURS]
        yield Family(f"item-kNN, {name}", [*makers])
    yield Family(
        "implicit ALS",
        [
            partial(
                Implicit,
                partial(
                    AlternatingLeastSquares,
                    factors=factors,
                    regularization=penalty,
                    alpha=weight,
                    iterations=ITERATIONS,
                    random_state=seed,
                ),
            )
            for factors, penalty, weight in itertools.product(FACTORS, REGULARIZATIONS, WEIGHTS)
        ],
    )


def of_family(
    table: Table, trials: Mapping[Target, LaterTrial], family: Family, early: NDArray[np.bool_]
) -> None:
    """Report what a peer finds at its best settings."""
    dataset, rows = next(iter(trials.values())).dataset, np.flatnonzero(early)
    last = np.zeros_like(early)
    last[rows] = last_of_each(dataset.users[rows], dataset.timestamps[rows])
    past = sparse.csr_matrix(who_saw_what(dataset, early & ~last))
    users, targets = dataset.users[last], dataset.movies[last]
    gains = []
    for make in family.makers:
        peer = make()
        peer.fit(past)
        gains.append(discounted_gain(ranks(peer.lists(users, past[users], K), targets), K).value)
    began = time.perf_counter()
    best = family.makers[int(np.argmax(gains))]()
    best.fit(sparse.csr_matrix(who_saw_what(dataset, early)))
    seconds = time.perf_counter() - began
    for target, trial in trials.items():
        lists = np.concatenate(
            [
                best.lists(trial.questions.users[rows], seen_by(trial, rows), DEEP)
                for rows in _together(len(trial.questions.users))
            ]
        )
        table.add(target, scored(trial, family.name, lists), seconds)


def of_rectools(
    table: Table,
    trials: Mapping[Target, LaterTrial],
    early: NDArray[np.bool_],
    scratch: Path,
    asked: argparse.Namespace,
) -> None:
    """Report what RecTools' models find, each question asked as a user of its own."""
    first = next(iter(trials.values()))
    histories = first.histories
    starts = np.concatenate([trial.questions.starts for trial in trials.values()])
    ends = np.concatenate([trial.questions.ends for trial in trials.values()])
    sizes = ends - starts
    events = spans(starts, sizes)
    own = Events(
        np.repeat(np.arange(len(sizes)), sizes),
        histories.movies[events].astype(np.int64),
        histories.timestamps[events],
    )
    bounds = np.cumsum([len(trial.questions.users) for trial in trials.values()])
    for said in lists_of_peer(
        asked.rectools,
        Path(__file__).with_name("rectools_peer.py"),
        scratch,
        events_of(first.dataset, early),
        np.arange(len(sizes)),
        asked.seed,
        DEEP,
        histories=own,
        moments=histories.timestamps[ends],
        models=asked.models,
    ):
        parts = np.split(said["lists"], bounds[:-1])
        for (target, trial), lists in zip(trials.items(), parts, strict=True):
            table.add(target, scored(trial, said["name"], lists), said["training"])


def draw(path: Path, target: Target, results: Sequence[Result]) -> None:
    """Draw what each system finds for a target, and what of it was liked."""
    liked = f"liked ndcg@{K}"
    order = sorted(results, key=lambda result: result.metrics[liked].value)
    figure, (axes,) = new_plot(
        f"{order[-1].system[:1].upper()}{order[-1].system[1:]}, finds more of what people like "
        f"{AFTER[target]} than {len(order) - 1} others",
        height=0.3 * len(order) + 1.5,
    )
    places = np.arange(len(order))
    for shift, metric, words in (
        (0.2, f"ndcg@{K}", f"NDCG@{K} of what they watched"),
        (-0.2, liked, f"NDCG@{K} of what they liked"),
    ):
        found = [result.metrics[metric] for result in order]
        axes.barh(
            places + shift,
            [each.value for each in found],
            height=0.4,
            xerr=[each.half_width for each in found],
            error_kw={"elinewidth": 0.8},
            label=words,
        )
    axes.set_yticks(places, [result.system for result in order], fontsize=8)
    axes.set_xlabel("mean over users, with the 95 % interval; longer is better")
    axes.legend(loc="lower right", fontsize=8)
    save(figure, path)


def seen_by(trial: LaterTrial, rows: slice) -> sparse.csr_matrix:
    """Return what the users of some questions have seen when asked, `(Q, M)`."""
    _, starts, ends, _ = (column[rows] for column in trial.questions)
    counts = ends - starts
    bounds = np.append(0, np.cumsum(counts))
    events = spans(starts, counts)
    shape = (len(starts), len(trial.dataset.movie_vocabulary))
    values = np.ones(len(events), np.float32)
    return sparse.csr_matrix((values, trial.histories.movies[events], bounds), shape=shape)


def _together(count: int) -> list[slice]:
    return [slice(start, start + TOGETHER) for start in range(0, count, TOGETHER)]


if __name__ == "__main__":
    main()
