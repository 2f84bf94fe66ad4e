"""Rating error against training time on one random 90/10 split, beside peers.

python benchmarks/ratings.py --data FOLDER [--preset default] [--skip svdpp] [--plot]

The sampler of the Bayesian pair and that of myFM are watched sweep by sweep on the same test rows;
nothing is chosen on them. myFM is given the same features, and the day, and has as many dimensions.
Surprise runs with its defaults. `rec train` is the command line from end to end, with validation
rows of its own, the vectors compressed and the index built.
"""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import myfm
import numpy as np
import surprise
from machine import Report, add_plot, arguments, peak_megabytes
from numpy.typing import NDArray
from plots import new_plot, save
from scipy import sparse

from retrieval.cli.progress import progress
from retrieval.data.dataset import Dataset, encode
from retrieval.data.frames import MovieData
from retrieval.data.history import build_histories
from retrieval.data.layouts import read_folder
from retrieval.data.split import held_out
from retrieval.evaluation.baselines import fit_biases
from retrieval.evaluation.protocols import evaluate
from retrieval.options import Preset, Split
from retrieval.pairs.bayesian.features import movie_facts, user_facts, with_rated
from retrieval.pairs.bayesian.latents import expected_ratings
from retrieval.pairs.bayesian.problem import arrange, observed_ratings
from retrieval.pairs.content_training import fit_content
from retrieval.pipeline.settings import preset_settings

DIMENSION, SWEEPS, BURN_IN = 32, 200, 20
PEER_SWEEPS = 64
SYSTEMS = ("sampling", "rec", "myfm", "svd", "svdpp", "biases")
SOURCE = "benchmark"  # what the run calls its data

Curve = list[tuple[float, float]]  # seconds since the start, error


class Halves(NamedTuple):
    """A data set split in two."""

    data: MovieData
    dataset: Dataset
    test: NDArray[np.bool_]  # (N,)


def error(predicted: NDArray[np.float64], split: Halves) -> float:
    """Return the root mean square error on test rows, in file order."""
    true = split.dataset.ratings[split.test]
    return float(np.sqrt(np.mean((split.dataset.scale.clip(predicted) - true) ** 2)))


def bayesian_pair(split: Halves, seed: int) -> Curve:
    """Return the curve of the Bayesian pair, as a running mean over sweeps after a burn-in."""
    began = time.perf_counter()
    dataset, test = split.dataset, split.test
    encoder = fit_content(dataset.movie_frame, seed)
    problem = arrange(dataset, encoder.describe(dataset.movie_frame).matrix())
    observed = observed_ratings(problem, ~test[problem.order])
    sampler = observed.sampler(DIMENSION, np.random.default_rng(seed))
    asked = problem.ratings.part(test[problem.order])
    back = np.argsort(problem.order[test[problem.order]])
    total, curve = np.zeros(len(asked)), Curve()
    for sweep in range(1, SWEEPS + 1):
        sampler.sweep()
        score = sampler.scores(asked).astype(np.float64)
        if sweep > BURN_IN:
            weights = sampler.noise_precision[asked.movies]
            total += expected_ratings(score, sampler.thresholds, weights, problem.values)
            predicted = total / (sweep - BURN_IN)
            curve.append((time.perf_counter() - began, error(predicted[back], split)))
    return curve


def my_fm(split: Halves, seed: int) -> Curve:
    """Return the curve of myFM's ordered probit with the same features and the day."""
    began = time.perf_counter()
    dataset, test = split.dataset, split.test
    users, movies = len(dataset.user_vocabulary), len(dataset.movie_vocabulary)
    days = np.unique(dataset.timestamps // 86_400, return_inverse=True)[1]
    training = build_histories(
        dataset.users[~test],
        dataset.movies[~test],
        dataset.ratings[~test],
        dataset.timestamps[~test],
        users,
    )
    encoder = fit_content(dataset.movie_frame, seed)
    content = encoder.describe(dataset.movie_frame).matrix()
    counts = np.diff(training.offsets), np.bincount(training.movies, minlength=movies)
    raters = np.repeat(np.arange(users, dtype=np.int32), counts[0])
    raters = raters[np.argsort(training.movies, kind="stable")]
    facts = user_facts(dataset.user_codes, dataset.user_attributes.sizes)
    of_users = with_rated(facts, counts[0], training.movies, movies)
    of_movies = with_rated(movie_facts(content), counts[1], raters, users)
    blocks = [
        sparse.hstack([sparse.eye_array(users), of_users[:, 1:]], format="csr"),
        sparse.hstack([sparse.eye_array(movies), of_movies[:, 1:]], format="csr"),
    ]
    date = sparse.csr_array((np.ones(len(days)), days, np.arange(len(days) + 1)))
    classes = dataset.scale.class_of(dataset.ratings)

    def relations(rows: NDArray[np.bool_]) -> list[myfm.RelationBlock]:
        sides = (dataset.users[rows], dataset.movies[rows])
        return [
            myfm.RelationBlock(side.tolist(), sparse.csr_matrix(block))
            for side, block in zip(sides, blocks, strict=True)
        ]

    asked, main = relations(test), sparse.csr_matrix(date[test])
    span = dataset.scale.highest - dataset.scale.lowest
    total, curve, values = np.zeros(int(test.sum())), Curve(), np.arange(dataset.scale.classes)

    def watch(sweep: int, model: Any, *_: object) -> tuple[bool, None]:  # noqa: ANN401 (no stubs)
        nonlocal total
        if sweep >= min(BURN_IN, PEER_SWEEPS // 3):
            chances = model.oprobit_predict_proba(main, asked, 0)
            total += chances @ values
            mean = total / (len(curve) + 1)
            stars = dataset.scale.lowest + span / max(1, dataset.scale.classes - 1) * mean
            curve.append((time.perf_counter() - began, error(stars, split)))
        return False, None

    sizes = [date.shape[1], users, blocks[0].shape[1] - users, movies, blocks[1].shape[1] - movies]
    model = myfm.MyFMOrderedProbit(rank=DIMENSION, random_seed=seed)
    model.fit(
        sparse.csr_matrix(date[~test]),
        classes[~test],
        X_rel=relations(~test),
        n_iter=PEER_SWEEPS,
        n_kept_samples=1,
        group_shapes=sizes,
        callback=watch,
    )
    return curve


def of_surprise(kind: Callable[..., surprise.AlgoBase], split: Halves, seed: int) -> Curve:
    """Return the one point of a Surprise algorithm with its defaults."""
    began = time.perf_counter()
    names = ["user_id", "movie_id", "rating"]
    reader = surprise.Reader(rating_scale=(split.data.scale.lowest, split.data.scale.highest))
    rows = split.data.ratings[~split.test][names]
    model = kind(random_state=seed).fit(
        surprise.Dataset.load_from_df(rows, reader).build_full_trainset()
    )
    seconds = time.perf_counter() - began
    asked = split.data.ratings[split.test]
    pairs = zip(asked["user_id"], asked["movie_id"], strict=True)
    predicted = np.array([model.predict(user, movie).est for user, movie in pairs])
    return [(seconds, error(predicted, split))]


def biases(split: Halves) -> Curve:
    """Return the one point of user mean + movie bias."""
    began = time.perf_counter()
    dataset, test = split.dataset, split.test
    fitted = fit_biases(
        dataset.users[~test],
        dataset.movies[~test],
        dataset.ratings[~test],
        len(dataset.user_vocabulary),
        len(dataset.movie_vocabulary),
    )
    predicted = fitted.centre + fitted.movies[dataset.movies[test]]
    predicted += fitted.users[dataset.users[test]]
    return [(time.perf_counter() - began, error(predicted, split))]


def command_line(split: Halves, preset: Preset, seed: int) -> Curve:
    """Return the one point of `rec train` of one pair, index and answers included."""
    settings = preset_settings(preset, ["bayesian"])
    began = time.perf_counter()
    with TemporaryDirectory() as scratch, progress() as bars:
        run = Path(scratch) / "run"
        results = evaluate(split.data, SOURCE, Split.RATING, settings, seed, run, progress=bars)
    return [(time.perf_counter() - began, results[0].metrics["rmse"].value)]


def draw(curves: dict[str, Curve], path: Path) -> None:
    """Draw error against seconds."""
    best, second = sorted(curves, key=lambda system: curves[system][-1][1])[:2]
    title = (
        f"{best} has the smallest error, RMSE {curves[best][-1][1]:.4f}, before {second} with "
        f"{curves[second][-1][1]:.4f}"
    )
    figure, (axes,) = new_plot(title)
    for system, curve in curves.items():
        seconds, errors = zip(*curve, strict=True)
        axes.plot(seconds, errors, marker="o" if len(curve) == 1 else "", label=system)
    axes.set(xscale="log", xlabel="seconds of training", ylabel="RMSE on test ratings")
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    save(figure, path)


def main() -> None:
    """Measure all on the same split, report and draw."""
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data")
    parser.add_argument("--preset", type=Preset, choices=list(Preset), default=Preset.DEFAULT)
    parser.add_argument("--skip", nargs="*", choices=SYSTEMS, default=[], help="systems left out")
    add_plot(parser, "ratings")
    asked = parser.parse_args()
    data = read_folder(asked.data)
    whole = encode(data)
    test = held_out(Split.RATING, whole.users, whole.movies, whole.timestamps, asked.seed)
    split = Halves(data, whole, test)
    systems: dict[str, Callable[[], Curve]] = {
        "sampling": lambda: bayesian_pair(split, asked.seed),
        "rec": lambda: command_line(split, asked.preset, asked.seed),
        "myfm": lambda: my_fm(split, asked.seed),
        "svd": lambda: of_surprise(surprise.SVD, split, asked.seed),
        "svdpp": lambda: of_surprise(surprise.SVDpp, split, asked.seed),
        "biases": lambda: biases(split),
    }
    names = {
        "sampling": f"Bayesian pair, {SWEEPS} sweeps",
        "rec": f"rec train --towers bayesian, preset {asked.preset}",
        "myfm": f"myFM ordered probit, rank {DIMENSION}, {PEER_SWEEPS} sweeps",
        "svd": "Surprise SVD",
        "svdpp": "Surprise SVD++",
        "biases": "user mean + movie bias",
    }
    report = Report(asked, f"{asked.data.name}, random 90/10, preset {asked.preset}")
    report.say(f"{'system':48}{'RMSE':>8}{'seconds':>10}{'peak MB':>10}")
    curves = {}
    for name, measure in systems.items():
        if name not in asked.skip:
            curve = curves[names[name]] = measure()
            seconds, value = curve[-1]
            peak = peak_megabytes()
            report.add(
                f"{names[name]:48}{value:8.4f}{seconds:10.1f}{peak:10,.0f}",
                system=names[name],
                rmse=value,
                seconds=seconds,
                peak_megabytes=peak,
                curve=curve,
            )
    report.save()
    if asked.plot:
        draw(curves, asked.plot)


if __name__ == "__main__":
    main()
