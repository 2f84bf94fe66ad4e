"""Seconds of one sweep of the sampler against the number of ratings, and against batched torch.

python benchmarks/sweeps.py [--most 10_000_000] [--dimension 32]

Ratings are random, of 4,000 movies of unequal fame by users of 150 ratings each; what is measured
does not depend on what they say. The torch figure is that of the row updates alone: ratings of rows
of similar length are gathered into batches, multiplied and decomposed together.
"""

import time

import numpy as np
import torch
from machine import Report, arguments, peak_megabytes
from numpy.typing import NDArray

from retrieval.pairs.bayesian.features import movie_facts, user_facts, with_rated
from retrieval.pairs.bayesian.regression import Regression
from retrieval.pairs.bayesian.rows import Side, draw_vectors, side
from retrieval.pairs.bayesian.sampler import Ratings, Sampler

MOVIES, EACH = 4000, 150
SIZES = (100_000, 316_000, 1_000_000, 3_160_000, 10_000_000)
REPEATS = 5


def world(count: int, rng: np.random.Generator) -> Ratings:
    """Return random ratings."""
    users = count // EACH
    fame = 1 / np.arange(20, MOVIES + 20)
    movies = rng.choice(MOVIES, count, p=fame / fame.sum()).astype(np.int32)
    owners = np.repeat(np.arange(users, dtype=np.int32), EACH)[:count]
    groups = np.arange(len(owners)) // 2
    return Ratings(
        users=owners,
        movies=movies[: len(owners)],
        classes=rng.integers(0, 5, len(owners)).astype(np.int8),
        groups=groups.astype(np.int32),
        first_groups=np.arange(groups[-1] + 1) % (EACH // 2) == 0,
        user_count=users,
        movie_count=MOVIES,
        class_count=5,
    )


def batches(of: Side) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Return rows, places of their ratings and which are there, rows of similar length together."""
    sizes = np.diff(of.starts)
    order, start = np.argsort(-sizes, kind="stable"), 0
    made = []
    while start < len(order):
        longest = max(int(sizes[order[start]]), 1)
        end = start + 1
        while (
            end < len(order)
            and sizes[order[end]] >= 0.8 * longest
            and (end - start) * longest < 60_000
        ):
            end += 1
        rows = order[start:end]
        places = of.starts[rows][:, None] + np.arange(longest)
        there = np.arange(longest) < sizes[rows][:, None]
        index = of.order[np.minimum(places, len(of.order) - 1)].astype(np.int64)
        present = torch.from_numpy(there.astype(np.float32))
        made.append((torch.from_numpy(rows), torch.from_numpy(index), present))
        start = end
    return made


def torch_rows(
    vectors: torch.Tensor,
    parts: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]],
    others: torch.Tensor,
    other_rows: torch.Tensor,
    weights: torch.Tensor,
    targets: torch.Tensor,
) -> None:
    """Draw the vectors of a side with batched products and decompositions."""
    prior = 20 * torch.eye(vectors.shape[1], dtype=torch.float64)
    for rows, index, there in parts:
        met = others[other_rows[index]]  # (B, L, K)
        met[..., -1] = 1.0
        weighted = met * (weights[index] * there)[..., None]
        precision = torch.bmm(weighted.mT, met).double() + prior
        right = torch.bmm(weighted.mT, targets[index][..., None]).double()
        factor = torch.linalg.cholesky(precision)
        half = torch.linalg.solve_triangular(factor, right, upper=False)
        noise = torch.randn(half.shape, dtype=torch.float64)
        drawn = torch.linalg.solve_triangular(factor.mT, half + noise, upper=True)
        vectors[rows] = drawn[..., 0].float()


def compare(ratings: Ratings, dimension: int, rng: np.random.Generator) -> tuple[float, float]:
    """Return median seconds of the row updates of both sides, compiled and in torch."""
    size = dimension + 1
    weights, residuals = (
        np.ones(len(ratings), np.float32),
        rng.standard_normal(len(ratings), dtype=np.float32),
    )
    sides: list[tuple[NDArray[np.int32], int]] = [
        (ratings.users, ratings.user_count),
        (ratings.movies, ratings.movie_count),
    ]
    vectors = [0.1 * rng.standard_normal((n, size), dtype=np.float32) for _, n in sides]
    arranged = [side(rows, count) for rows, count in sides]
    prepared = [batches(of) for of in arranged]
    ours, theirs = [], []
    for _ in range(REPEATS):
        began = time.perf_counter()
        for place in (0, 1):
            draw_vectors(
                vectors[place],
                arranged[place],
                vectors[1 - place],
                sides[1 - place][0],
                weights,
                residuals,
                20 * np.eye(size),
                np.zeros(vectors[place].shape),
                rng,
            )
        ours.append(time.perf_counter() - began)
        began = time.perf_counter()
        for place in (0, 1):
            torch_rows(
                torch.from_numpy(vectors[place]),
                prepared[place],
                torch.from_numpy(vectors[1 - place]),
                torch.from_numpy(sides[1 - place][0].astype(np.int64)),
                torch.from_numpy(weights),
                torch.from_numpy(residuals),
            )
        theirs.append(time.perf_counter() - began)
    return float(np.median(ours[1:])), float(np.median(theirs[1:]))


def main() -> None:
    """Measure sweeps of growing worlds and report."""
    parser = arguments(__doc__)
    parser.add_argument("--most", type=int, default=1_000_000, help="ratings of the largest world")
    parser.add_argument("--dimension", type=int, default=32, help="components of the vectors")
    asked = parser.parse_args()
    report = Report(
        asked,
        f"random ratings of {MOVIES:,} movies, dimension {asked.dimension}, medians of {REPEATS} "
        "sweeps",
    )
    report.say(
        f"{'ratings':>12}{'s/sweep':>10}{'ns/rating':>12}{'rows, s':>10}{'torch, s':>10}{'MB':>8}"
    )
    for count in (size for size in SIZES if size <= asked.most):
        rng = np.random.default_rng(asked.seed)
        ratings = world(count, rng)
        codes = np.zeros((ratings.user_count, 3), np.int64)
        by_movie = np.argsort(ratings.movies, kind="stable")
        content = np.ones((MOVIES, 1), np.float32)
        of_users = np.bincount(ratings.users, minlength=ratings.user_count)
        of_movies = np.bincount(ratings.movies, minlength=MOVIES)
        sampler = Sampler(
            ratings,
            Regression(with_rated(user_facts(codes, (1, 1, 1)), of_users, ratings.movies, MOVIES)),
            Regression(
                with_rated(
                    movie_facts(content), of_movies, ratings.users[by_movie], ratings.user_count
                )
            ),
            asked.dimension,
            rng,
        )
        seconds = []
        for _ in range(6 + REPEATS):  # the first few leave priors and effects out
            began = time.perf_counter()
            sampler.sweep()
            seconds.append(time.perf_counter() - began)
        rows, torch_seconds = (
            compare(ratings, asked.dimension, rng) if count <= 1_000_000 else (np.nan, np.nan)
        )
        sweep = float(np.median(seconds[6:]))
        peak = peak_megabytes()
        report.add(
            f"{len(ratings):12,}{sweep:10.3f}{1e9 * sweep / len(ratings):12.0f}"
            f"{rows:10.3f}{torch_seconds:10.3f}{peak:8,.0f}",
            ratings=len(ratings),
            sweep_seconds=sweep,
            rating_nanoseconds=1e9 * sweep / len(ratings),
            rows_seconds=rows,
            torch_rows_seconds=torch_seconds,
            peak_megabytes=peak,
        )
    report.save()


if __name__ == "__main__":
    main()
