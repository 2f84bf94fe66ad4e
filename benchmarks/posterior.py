"""What becomes of the draws: dimensions, folding in, and error bars, on a random 90/10 split.

python benchmarks/posterior.py --data FOLDER [--preset default] [--seed N]

Trains the Bayesian pair on nine tenths and asks about the tenth, for which nothing is chosen:
error against the dimension that draws are collapsed to, and by the mean over draws itself; answers
from stored vectors and from vectors folded in; and how often ratings fall into the central
intervals that error bars promise. Ratings are whole stars, so a rating is placed at random within
its own probability: under a true error bar, exactly 50, 80 and 95 % fall inside.
"""

import argparse
import itertools
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from machine import describe
from numpy.typing import NDArray

from retrieval.cli.display import progress
from retrieval.data.dataset import Dataset, encode
from retrieval.data.layouts import read_folder
from retrieval.data.split import held_out
from retrieval.evaluation.protocols import evaluate
from retrieval.options import Cut, Preset, Towers
from retrieval.pairs.bayesian.compression import collapse
from retrieval.pairs.bayesian.latents import expected_ratings
from retrieval.pairs.bayesian.problem import arrange, known_of
from retrieval.pairs.bayesian.sampler import Draw, pair_scores
from retrieval.pairs.content import learn_to_describe
from retrieval.pipeline.presets import plan
from retrieval.serving.recommender import Ratings, Recommender
from retrieval.serving.users import Event, Person

DIMENSIONS = (8, 16, 24, 32, 48, 64, 96, 128)
LEVELS = (0.5, 0.8, 0.95)
BURN_IN = 60

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


def error(predicted: Floats, true: Floats) -> float:
    """Return the root mean square error."""
    return float(np.sqrt(np.mean((predicted - true) ** 2)))


def dimensions(dataset: Dataset, test: NDArray[np.bool_], preset: Preset, seed: int) -> None:
    """Print the error of collapsed draws beside that of the mean over the same draws."""
    settings = plan(preset, len(dataset.ratings)).bayesian
    describer = learn_to_describe(dataset.movie_frame, seed)
    problem = arrange(dataset, describer.describe(dataset.movie_frame).matrix())
    known = known_of(problem, ~test[problem.order])
    sampler = known.sampler(settings.dimension, np.random.default_rng(seed))
    asked, draws = problem.ratings.part(test[problem.order]), list[Draw]()
    moods, scores = np.zeros(len(asked)), np.zeros(len(asked))
    for sweep in range(BURN_IN + settings.draws * settings.spacing):
        sampler.sweep()
        if sweep >= BURN_IN and (sweep - BURN_IN) % settings.spacing == 0:
            draw = sampler.draw()
            draws.append(draw)
            score = sampler.scores(asked) - draw.thresholds.mean()
            pairs = pair_scores(draw.users, draw.movies, asked.users, asked.movies)
            moods += score - pairs + draw.thresholds.mean()
            scores += score
    noise = np.mean([1 / draw.noise_precision for draw in draws], dtype=np.float64)
    thresholds = np.mean([draw.thresholds - draw.thresholds.mean() for draw in draws], axis=0)
    true = problem.values[asked.levels]

    def rated(score: Floats) -> float:
        weights = np.asarray(1 / noise)
        return error(expected_ratings(score, thresholds, weights, problem.values), true)

    uncollapsed = rated(scores / len(draws))
    print(f"{len(draws)} draws of {settings.dimension} dimensions: RMSE {uncollapsed:.5f}")
    for dimension in DIMENSIONS:
        pair = collapse(draws, *known.counts(), dimension, np.random.default_rng(seed))
        users, movies = pair.users[asked.users], pair.movies[asked.movies]
        score = (users[:, :-1] * movies[:, :-1]).sum(1) + users[:, -1] + movies[:, -1]
        print(f"  collapsed to {dimension:3}: {rated(score + moods / len(draws)):.5f}")


def fold_in(
    of: Recommender, users: Ids, movies: Ids, true: Floats, rng: np.random.Generator
) -> None:
    """Print how folded-in answers compare with stored ones, without a time of asking."""
    run, asked = of.run, np.unique(users)
    histories = {}
    for user, row in zip(asked.tolist(), run.users.numbers(asked).tolist(), strict=True):
        part = slice(*run.histories.offsets[row : row + 2])
        events = zip(
            run.catalogue.vocabulary.ids[run.histories.movies[part]].tolist(),
            run.histories.ratings[part].tolist(),
            run.histories.timestamps[part].tolist(),
            strict=True,
        )
        histories[user] = [Event(*event) for event in events]
    stored = of.rate_many(users, movies).ratings
    folded = of.rate_many(users, movies, histories=histories).ratings
    print(f"stored vectors: RMSE {error(stored, true):.4f}; folded in: {error(folded, true):.4f}; ")
    print(f"  they differ by {error(folded, stored):.4f} stars (root mean square)")
    longest = max(histories.values(), key=len)[:200]
    chosen = rng.choice(run.catalogue.vocabulary.ids)
    person, seconds = Person(history=longest), []
    for _ in range(200):
        began = time.perf_counter()
        of.rate(person, int(chosen))
        seconds.append(time.perf_counter() - began)
    print(f"  a stranger with {len(longest)} ratings: {1e3 * np.median(seconds):.2f} ms, all steps")


def coverage(
    answers: Ratings, true: Floats, values: tuple[float, ...], groups: dict[str, NDArray[np.bool_]],
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Print how many ratings fall into the intervals that error bars promise."""
    if answers.chances is None or answers.deviations is None:
        return
    level = np.abs(true[:, None] - np.array(values)).argmin(axis=1)
    own = np.take_along_axis(answers.chances, level[:, None], axis=1)[:, 0]
    below = np.cumsum(answers.chances, axis=1)[np.arange(len(level)), level] - own
    place = below + own * rng.random(len(level))  # uniform if the chances are right
    off = (true - answers.ratings) / answers.deviations
    print(
        f"{'ratings':32}{'count':>9}"
        + "".join(f"{share:9.0%}" for share in LEVELS)
        + "   error/bar"
    )
    for name, rows in groups.items():
        inside = [(np.abs(place[rows] - 0.5) < share / 2).mean() for share in LEVELS]
        ratio = np.sqrt((off[rows] ** 2).mean())
        print(
            f"{name:32}{rows.sum():9,}"
            + "".join(f"{share:9.1%}" for share in inside)
            + f"{ratio:12.3f}"
        )


def main() -> None:
    """Measure all three."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--preset", type=Preset, default=Preset.DEFAULT)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    data = read_folder(asked.data)
    whole = encode(data)
    test = held_out(Cut.RATING, whole.users, whole.movies, whole.timestamps, asked.seed)
    print(describe())
    print(f"{asked.data.name}, random 90/10, preset {asked.preset.value}, seed {asked.seed}")
    dimensions(whole, test, asked.preset, asked.seed)
    with TemporaryDirectory() as scratch, progress() as bars:
        run = Path(scratch) / "run"
        pairs = [Towers.BAYESIAN]
        evaluate(data, "benchmark", Cut.RATING, asked.preset, asked.seed, run, bars, pairs)
        recommender = Recommender.load(run, threads=2)
        users = whole.user_vocabulary.ids[whole.users[test]]
        movies = whole.movie_vocabulary.ids[whole.movies[test]]
        true, rng = whole.ratings[test].astype(np.float64), np.random.default_rng(asked.seed)
        fold_in(recommender, users, movies, true, rng)
        answers = recommender.rate_many(users, movies, times=whole.timestamps[test])
        link = recommender.run.config.link
    if link is None:
        return
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
    coverage(answers, true, link.stars, groups, rng)


if __name__ == "__main__":
    main()
