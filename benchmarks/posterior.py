"""What becomes of the draws: dimensions, folding in, and deviations, on a random 90/10 split.

python benchmarks/posterior.py --data FOLDER [--preset default]

Trains the Bayesian pair on nine tenths and asks about the tenth, for which nothing is chosen:
error against the dimension that draws are compressed to, and by the mean over draws itself; answers
from stored vectors and from vectors folded in; and how often ratings fall into the central
intervals that standard deviations promise. Ratings are whole stars, so a rating is placed at random
within its own probability: if the deviations are right, exactly 50, 80 and 95 % fall inside.
"""

import itertools
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from machine import Report, arguments
from numpy.typing import NDArray
from subset import train_on

from retrieval.data.dataset import Dataset, encode
from retrieval.data.layouts import read_folder
from retrieval.data.split import held_out
from retrieval.data.vocabulary import UNKNOWN
from retrieval.options import Preset, Split
from retrieval.pairs.bayesian.compression import compress_posterior
from retrieval.pairs.bayesian.latents import expected_ratings
from retrieval.pairs.bayesian.problem import arrange, observed_ratings
from retrieval.pairs.bayesian.sampler import Draw, pair_scores
from retrieval.pairs.bayesian.settings import preset_settings as bayesian_settings
from retrieval.pairs.content_training import fit_content
from retrieval.pipeline.settings import preset_settings
from retrieval.serving.events import Event, events_of
from retrieval.serving.predictions import predict
from retrieval.serving.recommender import Recommender
from retrieval.serving.results import Ratings
from retrieval.serving.users import Person, many_users

DIMENSIONS = (8, 16, 24, 32, 48, 64, 96, 128)
INTERVALS = (0.5, 0.8, 0.95)
BURN_IN = 60

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


def error(predicted: Floats, true: Floats) -> float:
    """Return the root mean square error."""
    return float(np.sqrt(np.mean((predicted - true) ** 2)))


def dimensions(
    report: Report, dataset: Dataset, test: NDArray[np.bool_], preset: Preset, seed: int
) -> None:
    """Report the error of compressed draws beside that of the mean over the same draws."""
    settings = bayesian_settings(preset)
    encoder = fit_content(dataset.movie_frame, seed)
    problem = arrange(dataset, encoder.describe(dataset.movie_frame).matrix())
    observed = observed_ratings(problem, ~test[problem.order])
    sampler = observed.sampler(settings.dimension, np.random.default_rng(seed))
    asked, draws = problem.ratings.part(test[problem.order]), list[Draw]()
    effects, scores = np.zeros(len(asked)), np.zeros(len(asked))
    for sweep in range(BURN_IN + settings.draws * settings.spacing):
        sampler.sweep()
        if sweep >= BURN_IN and (sweep - BURN_IN) % settings.spacing == 0:
            draw = sampler.draw()
            draws.append(draw)
            score = sampler.scores(asked) - draw.thresholds.mean()
            pairs = pair_scores(draw.users, draw.movies, asked.users, asked.movies)
            effects += score - pairs + draw.thresholds.mean()
            scores += score
    noise = np.mean([1 / draw.noise_precision for draw in draws], dtype=np.float64)
    thresholds = np.mean([draw.thresholds - draw.thresholds.mean() for draw in draws], axis=0)
    true = problem.values[asked.classes]

    def rated(score: Floats) -> float:
        weights = np.asarray(1 / noise)
        return error(expected_ratings(score, thresholds, weights, problem.values), true)

    uncompressed = rated(scores / len(draws))
    report.add(
        f"{len(draws)} draws of {settings.dimension} dimensions: RMSE {uncompressed:.5f}",
        draws=len(draws),
        dimension=settings.dimension,
        rmse=uncompressed,
    )
    for dimension in DIMENSIONS:
        pair = compress_posterior(draws, *observed.counts(), dimension, np.random.default_rng(seed))
        users, movies = pair.users[asked.users], pair.movies[asked.movies]
        score = (users[:, :-1] * movies[:, :-1]).sum(1) + users[:, -1] + movies[:, -1]
        compressed = rated(score + effects / len(draws))
        report.add(
            f"  compressed to {dimension:3}: {compressed:.5f}",
            compressed=dimension,
            rmse=compressed,
        )


def fold_in(
    report: Report,
    of: Recommender,
    users: Ids,
    movies: Ids,
    true: Floats,
    rng: np.random.Generator,
) -> None:
    """Report how folded-in answers compare with stored ones, without a time of asking."""
    run, asked = of.run, np.unique(users)
    stored = of.rate_many(users, movies).ratings
    found, rows = many_users(run, users, {})
    nobody, unknown = np.full(len(found.stored), UNKNOWN), np.zeros(len(found.stored), dtype=bool)
    anew = found._replace(stored=nobody, as_known=unknown)
    numbers = run.catalogue.vocabulary.numbers(movies)
    folded = predict(of.snapshot, anew, rows, numbers, None, 1).ratings
    report.add(
        f"stored vectors: RMSE {error(stored, true):.4f}; folded in: {error(folded, true):.4f}; "
        f"they differ by {error(folded, stored):.4f} stars (root mean square)",
        rmse_stored=error(stored, true),
        rmse_folded_in=error(folded, true),
        difference=error(folded, stored),
    )
    numbers = run.users.numbers(asked)
    longest = numbers[np.argmax(np.diff(run.histories.offsets)[numbers])]
    events = (column[:200].tolist() for column in events_of(run.histories, int(longest)))
    told = [
        Event(run.catalogue.movies[movie].id, rating, moment)
        for movie, rating, moment in zip(*events, strict=True)
    ]
    chosen = rng.choice(run.catalogue.vocabulary.ids)
    person, seconds = Person(history=told), []
    for _ in range(200):
        began = time.perf_counter()
        of.rate(person, int(chosen))
        seconds.append(time.perf_counter() - began)
    milliseconds = 1000 * float(np.median(seconds))
    report.add(
        f"a new user with {len(longest)} ratings: {milliseconds:.2f} ms, all steps",
        new_user_ratings=len(longest),
        milliseconds=milliseconds,
    )


def coverage(
    report: Report,
    answers: Ratings,
    true: Floats,
    values: tuple[float, ...],
    groups: dict[str, NDArray[np.bool_]],
    rng: np.random.Generator,
) -> None:
    """Report how many ratings fall into the intervals that standard deviations promise."""
    if answers.chances is None or answers.deviations is None:
        return
    classes = np.abs(true[:, None] - np.array(values)).argmin(axis=1)
    own = np.take_along_axis(answers.chances, classes[:, None], axis=1)[:, 0]
    below = np.cumsum(answers.chances, axis=1)[np.arange(len(classes)), classes] - own
    place = below + own * rng.random(len(classes))  # uniform if the chances are right
    off = (true - answers.ratings) / answers.deviations
    shares = "".join(f"{share:9.0%}" for share in INTERVALS)
    report.say(f"{'ratings':32}{'count':>9}{shares}   error/deviation")
    for name, rows in groups.items():
        inside = [(np.abs(place[rows] - 0.5) < share / 2).mean() for share in INTERVALS]
        ratio = np.sqrt((off[rows] ** 2).mean())
        cells = "".join(f"{share:9.1%}" for share in inside)
        report.add(
            f"{name:32}{rows.sum():9,}{cells}{ratio:18.3f}",
            ratings=name,
            count=int(rows.sum()),
            inside=dict(zip(map(str, INTERVALS), inside, strict=True)),
            error_by_deviation=ratio,
        )


def main() -> None:
    """Measure all three."""
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data")
    parser.add_argument("--preset", type=Preset, choices=list(Preset), default=Preset.DEFAULT)
    asked = parser.parse_args()
    data = read_folder(asked.data)
    whole = encode(data)
    test = held_out(Split.RATING, whole.users, whole.movies, whole.timestamps, asked.seed)
    report = Report(asked, f"{asked.data.name}, random 90/10, preset {asked.preset}")
    dimensions(report, whole, test, asked.preset, asked.seed)
    with TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        train_on(data, ~test, run, preset_settings(asked.preset, ["bayesian"]), asked.seed)
        recommender = Recommender.load(run, threads=2)
        users = whole.user_vocabulary.ids[whole.users[test]]
        movies = whole.movie_vocabulary.ids[whole.movies[test]]
        true, rng = whole.ratings[test].astype(np.float64), np.random.default_rng(asked.seed)
        fold_in(report, recommender, users, movies, true, rng)
        answers = recommender.rate_many(users, movies, times=whole.timestamps[test])
        link = recommender.run.config.link
    if link is None:
        raise SystemExit("the run has no link, so its ratings have no deviations")
    by_user = np.bincount(whole.users[~test], minlength=len(whole.user_vocabulary))[
        whole.users[test]
    ]
    by_movie = np.bincount(whole.movies[~test], minlength=len(whole.movie_vocabulary))[
        whole.movies[test]
    ]
    groups = {"all": np.ones(len(true), bool)}
    for name, counts, edges in (
        ("by users of", by_user, (0, 50, 200, 10**9)),
        ("of movies with", by_movie, (0, 10, 100, 1000, 10**9)),
    ):
        for low, high in itertools.pairwise(edges):
            text = f"{low} to {high - 1}" if high < 10**9 else f"{low} or more"
            groups[f"{name} {text}"] = (counts >= low) & (counts < high)
    coverage(report, answers, true, link.values, groups, rng)
    report.save()


if __name__ == "__main__":
    main()
