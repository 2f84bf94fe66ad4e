"""Lists of each user's next movie from end to end, beside libraries that people would use.

python benchmarks/recommend.py --data FOLDER [--preset default] [--run FOLDER] [--plays] [--bare]
    [--rectools PYTHON [--models sasrec-sampled]] [--librecommender PYTHON]

Everyone learns from all but each user's last rating, and is asked for ten movies that the user has
not seen: of one user after another, and of all at once. implicit comes with the extra `bench`;
RecTools and LibRecommender want environments of their own, whose interpreters are to be named:
'rectools[torch,lightfm]'; 'LibRecommender==1.5.2' with 'tensorflow-cpu>=2.15,<2.16', 'numpy<2' and
torch. Nothing is chosen on the last ratings. --plays forgets the ratings, and --bare all that is
known of movies.
"""

import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from environment import events_of, lists_of_peer
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from implicit.nearest_neighbours import BM25Recommender
from implicit.recommender_base import RecommenderBase
from implicit.utils import ParameterWarning
from machine import Report, add_rectools, arguments
from numpy.typing import NDArray
from scipy import sparse
from subset import train_on, who_saw_what
from threadpoolctl import threadpool_limits

from retrieval.data.dataset import Dataset, encode
from retrieval.data.frames import MovieData
from retrieval.data.layouts import read_folder
from retrieval.data.scale import RatingScale
from retrieval.data.split import held_out
from retrieval.data.vocabulary import Id, Ids
from retrieval.evaluation.metrics import discounted_gain, hit_rate, ranks
from retrieval.evaluation.result import WAYS
from retrieval.options import Preset, RankBy, Split
from retrieval.pairs.when import When
from retrieval.pipeline.settings import preset_settings
from retrieval.serving.recommender import Recommender

K, ONE_BY_ONE = 10, 200

# Run in environments of their own: there is nothing of this project in them.
RECTOOLS = Path(__file__).with_name("rectools_peer.py")
LIBRECOMMENDER = Path(__file__).with_name("librecommender_peer.py")


def main() -> None:
    """Train everyone, ask everyone, and report."""
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data")
    parser.add_argument("--preset", type=Preset, choices=list(Preset), default=Preset.DEFAULT)
    parser.add_argument("--run", type=Path, help="run trained on this split; none trains one")
    parser.add_argument("--plays", action="store_true", help="learn from events without ratings")
    parser.add_argument("--bare", action="store_true", help="learn from ids of movies alone")
    add_rectools(parser)
    parser.add_argument("--librecommender", type=Path, help="interpreter that has LibRecommender")
    asked = parser.parse_args()
    data = read_folder(asked.data)
    if asked.plays:
        data = without_ratings(data)
    if asked.bare:
        data = without_content(data)
    whole = encode(data)
    test = held_out(Split.LEAVE_ONE, whole.users, whole.movies, whole.timestamps, asked.seed)
    report = Report(asked, f"{asked.data.name}, the last movie of {test.sum():,} users")
    report.say(f"{'system':38} HR@10   NDCG@10  train s  one user ms  all users s")
    with TemporaryDirectory() as scratch:
        run = asked.run or Path(scratch) / "run"
        if asked.run is None:
            settings = preset_settings(asked.preset, ["sequence"])
            train_on(data, ~test, run, settings, asked.seed)
        of_run(report, run, whole, test)
        with threadpool_limits(1, "blas"):  # as implicit wants it
            of_implicit(report, whole, test, asked.seed)
        peers = (
            (asked.rectools, RECTOOLS, asked.models),
            (asked.librecommender, LIBRECOMMENDER, ()),
        )
        users, targets, known = whole.users[test], whole.movies[test], events_of(whole, ~test)
        for python, peer, models in peers:
            if python:
                place, seed = Path(scratch), asked.seed
                found = lists_of_peer(python, peer, place, known, users, seed, K, models=models)
                for said in found:
                    say(report, said.pop("name"), said.pop("lists"), targets, **said)
    report.save()


def without_ratings(data: MovieData) -> MovieData:
    """Return events that are all of one rating."""
    ratings = data.ratings.assign(rating=np.ones(len(data.ratings), np.float32))
    return replace(data, ratings=ratings, scale=RatingScale(lowest=1, highest=1, step=1))


def without_content(data: MovieData) -> MovieData:
    """Return movies of which nothing is known but their ids."""
    years = pd.array([None] * len(data.movies), dtype="Int64")
    movies = data.movies.assign(title="movie", genres="", directors="", actors="", year=years)
    return replace(data, movies=movies, movie_attributes=())


def say(
    report: Report,
    system: str,
    lists: NDArray[np.int64],
    targets: NDArray[np.int64],
    training: float,
    one: float,
    everyone: float,
) -> None:
    """Report lists `(Q, K)` of movie numbers, and how long they took."""
    places = ranks(lists, targets)
    hits, gain = hit_rate(places, K).value, discounted_gain(places, K).value
    report.add(
        f"{system:38} {hits:.4f}  {gain:.4f} {training:9.0f} {one:12.2f} {everyone:12.2f}",
        system=system,
        hr=hits,
        ndcg=gain,
        training_seconds=training,
        one_user_milliseconds=one,
        all_users_seconds=everyone,
    )


def median_milliseconds(ask: Callable[[Any], object], users: Ids) -> float:
    """Return what one user's list takes, one asked after another."""
    times = []
    for user in users[:ONE_BY_ONE].tolist():
        began = time.perf_counter()
        ask(user)
        times.append(time.perf_counter() - began)
    return 1000 * float(np.median(times))


def of_run(report: Report, folder: Path, data: Dataset, test: NDArray[np.bool_]) -> None:
    """Report what a run does, with the query time known, and in the sitting."""
    recommender = Recommender.load(folder, threads=2)
    run = recommender.run
    if len(run.histories.movies) != (~test).sum():
        raise SystemExit(f"{folder} was not trained on all but the last ratings")
    users, times = data.user_vocabulary.ids[data.users[test]], data.timestamps[test]
    moments = dict(zip(users.tolist(), times.tolist(), strict=True))
    for when in (When.IN_SITTING, When.COMING_BACK, When.AT):
        began = time.perf_counter()
        timed, stays = when is When.AT, when is When.IN_SITTING
        at = times if timed else None
        found = recommender.topk_many(users, K, times=at, in_sitting=stays, rank_by=RankBy.WATCH)
        everyone = time.perf_counter() - began

        def ask(user: Id, *, timed: bool = timed, stays: bool = stays) -> object:
            at = moments[user] if timed else None
            return recommender.topk(user, K, at=at, in_sitting=stays, rank_by=RankBy.WATCH)

        name = f"rec, {run.config.preset}, {WAYS[when]}"
        lists = data.movie_vocabulary.numbers(found.movie_ids)
        one = median_milliseconds(ask, users)
        say(report, name, lists, data.movies[test], run.config.training_seconds, one, everyone)


def of_implicit(report: Report, data: Dataset, test: NDArray[np.bool_], seed: int) -> None:
    """Report what implicit's models do, at settings its users would start from."""
    warnings.simplefilter("ignore", ParameterWarning)  # implicit warns of what it hands itself
    seen = sparse.csr_matrix(who_saw_what(data, ~test))  # all that the library takes
    models: dict[str, RecommenderBase] = {
        "implicit ALS, 64 factors": AlternatingLeastSquares(64, random_state=seed),
        "implicit BPR, 64 factors": BayesianPersonalizedRanking(64, random_state=seed),
        "implicit item-kNN, BM25": BM25Recommender(K=100),
    }
    users = data.users[test]
    for name, model in models.items():
        began = time.perf_counter()
        model.fit(seen, show_progress=False)
        training = time.perf_counter() - began

        def ask(user: int, model: RecommenderBase = model) -> object:
            return model.recommend(user, seen[user], N=K)

        one, began = median_milliseconds(ask, users), time.perf_counter()
        lists, _ = model.recommend(users, seen[users], N=K)
        everyone = time.perf_counter() - began
        say(report, name, lists.astype(np.int64), data.movies[test], training, one, everyone)


if __name__ == "__main__":
    main()
