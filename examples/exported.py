"""Read an export of `rec export` with NumPy alone, and answer from it.

rec export --run runs/demo --out exports/demo
python examples/exported.py exports/demo --user 42
"""

import argparse
import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

SCHEMA = 3


class Export(NamedTuple):
    """An export of M movies and U users, as arrays that are mapped from its files."""

    manifest: dict
    movie_ids: np.ndarray  # (M,)
    hidden: np.ndarray  # (M,)
    movie_vectors: np.ndarray  # (M, D)
    user_ids: np.ndarray  # (U,)
    query_vectors: np.ndarray  # (U, D)
    seen_offsets: np.ndarray  # (U + 1,)
    seen_movies: np.ndarray  # (E,) rows of movies, one user after the other
    rating_vectors: np.ndarray | None  # (U, D); None where the run predicts no ratings
    rating_offsets: np.ndarray | None  # (U,) likewise
    movie_variances: np.ndarray | None  # (M,); None where nothing says how sure ratings are
    user_variances: np.ndarray | None  # (U,) likewise

    def row_of(self, user):
        """Return the row of a user; of one who is there more than once, the first."""
        rows = np.flatnonzero(self.user_ids == user)
        if not len(rows):
            raise SystemExit(f"user {user} is not in the export")
        return int(rows[0])

    def seen(self, row):
        """Return the rows of the movies that the user of a row has seen."""
        return self.seen_movies[self.seen_offsets[row] : self.seen_offsets[row + 1]]


class Answer(NamedTuple):
    """One movie of a list."""

    movie_id: int | str
    score: float
    rating: float | None
    deviation: float | None


def read_export(folder):
    """Open the folder of an export."""
    folder = Path(folder)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if (manifest.get("kind"), manifest.get("schema")) != ("two-tower-rec export", SCHEMA):
        raise SystemExit(f"{folder} is no export of schema {SCHEMA}; make one with rec export")

    def array(name):
        there = f"{name}.npy" in manifest["files"]
        return np.load(folder / f"{name}.npy", mmap_mode="r") if there else None

    names = ["movie_hidden" if name == "hidden" else name for name in Export._fields[1:]]
    return Export(manifest, *map(array, names))


def inner_products(query, vectors):
    """Return the inner products `(N,)` of a vector and N vectors, summed in double precision."""
    return (query.astype(np.float64) * vectors.astype(np.float64)).sum(axis=-1)


def best(export, row, movies, k):
    """Return the k best of some movies, given by row, for the user of a row."""
    movies = np.sort(np.asarray(movies, np.int64))
    scores = inner_products(export.query_vectors[row], export.movie_vectors[movies])
    order = np.argsort(-scores, kind="stable")[:k]  # equal scores by the row of the movie
    return [
        Answer(export.movie_ids[movies[place]].item(), float(scores[place]), *rated)
        for place, rated in ((place, rate(export, row, movies[place])) for place in order)
    ]


def topk(export, user, k=20):
    """Return what `rec topk` lists."""
    row = export.row_of(user)
    left = ~np.array(export.hidden)
    left[export.seen(row)] = False
    return best(export, row, np.flatnonzero(left), k)


def rate(export, row, movie):
    """Return what the user of a row would rate a movie, given by row, and its deviation."""
    rating = export.manifest["rating"]
    if rating is None:
        return None, None
    vector = export.movie_vectors[movie]
    latent = export.rating_offsets[row] + inner_products(export.rating_vectors[row], vector)
    if "values" not in rating:
        return float(np.clip(latent, rating["lowest"], rating["highest"])), None
    values, thresholds = np.array(rating["values"]), np.array(rating["t"])
    expected = values[0] + (np.diff(values) * normal(latent - thresholds)).sum()
    variance = 1.0
    if rating["usual_variance"] is not None:
        variance = float(export.user_variances[row]) + export.movie_variances[movie]
        variance /= rating["usual_variance"]
    at_most = normal((thresholds - latent) / math.sqrt(variance))
    chances = np.diff(at_most, prepend=0.0, append=1.0)
    return float(expected), float(np.sqrt((chances * (values - expected) ** 2).sum()))


def normal(values):
    """Return the standard normal distribution function at values `(N,)`."""
    return np.array([0.5 * math.erfc(-value * math.sqrt(0.5)) for value in values.tolist()])


def asked():
    """Return an argument parser of what all these programs ask."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", help="folder of the export")
    parser.add_argument("--user", required=True, help="id of a user of the export")
    parser.add_argument("--k", type=int, default=20, help="movies in the list")
    return parser


def show(export, answers):
    """Print a list."""
    for rank, answer in enumerate(answers, start=1):
        rating = "" if answer.rating is None else f"  {answer.rating:.2f}"
        rating += "" if answer.deviation is None else f" ± {answer.deviation:.2f}"
        print(f"{rank:3}  {answer.movie_id:>8}  {answer.score:8.3f}{rating}")
    print(f"score: {export.manifest['score']['unit']}")


def user_of(export, text):
    """Return the id of a user as the export has it."""
    return text if export.user_ids.dtype.kind == "U" else int(text)


if __name__ == "__main__":
    options = asked().parse_args()
    opened = read_export(options.folder)
    show(opened, topk(opened, user_of(opened, options.user), options.k))
