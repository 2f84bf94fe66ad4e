"""Encode a user with the towers of an export: anybody who rated some of its movies.

pip install onnxruntime safetensors
rec export --run runs/demo --out exports/demo --users none
python examples/towers.py exports/demo --history 1193:5,661:3

The question is that of `rec topk --history`: what to watch on the next visit, whenever that is.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
from exported import inner_products, read_export
from safetensors.numpy import load_file

# Codes of the time between two tokens of the sequence tower.
START, UNTIMED, RELATIVE_CODES = 0, 34, 67

# What statistics of a user begin with, and how many movies count half in the Bayesian prior.
PRIOR_COUNT, USUAL_COUNT = 5.0, 10


class History(NamedTuple):
    """N events of one user, oldest first."""

    movies: np.ndarray  # (N,) rows of movies
    ratings: np.ndarray  # (N,)
    times: np.ndarray  # (N,) seconds since 1970


class Query(NamedTuple):
    """One user, encoded."""

    rating_vector: np.ndarray  # (D,)
    rating_offset: float
    query_vector: np.ndarray  # (D,)


class Belief(NamedTuple):
    """What is known of the Bayesian vector of a user, the offset last."""

    mean: np.ndarray  # (D + 1,)
    covariance: np.ndarray  # (D + 1, D + 1)


def encode(folder, export, history, codes, number=0, row=None):
    """Return the vectors of a user who comes back.

    Args:
        folder: Folder of the export.
        export: The export, as `read_export` opens it.
        history: The events.
        codes: Codes of the user's attributes, in the order of `user_attributes` in the manifest.
        number: The `tower_number` of a user of the export, 0 for anybody else.
        row: Row of a user of the export whose whole history this one begins with, and then goes on:
            of such a user, what training inferred holds. None for anybody else.
    """
    manifest = export.manifest
    classes = rating_classes(manifest["scale"], history.ratings)
    count, blend = len(history.movies), manifest["blend"]
    share = count / (count + blend["halfway"]) if row is None else 1.0
    rating = np.zeros(manifest["dimension"], np.float32)
    watched = np.zeros_like(rating)
    offset = (1 - share) * blend["new_user_offset"]
    for name, tower in manifest["towers"].items():
        columns = slice(*tower["columns"])
        own = 0.0
        match name:
            case "neural" | "notebook":
                inputs = history_inputs(manifest, tower, history, classes, codes, number)
                vectors, offsets = run(folder, tower, inputs)
                vector, own = vectors[0], float(offsets[0])
            case "bayesian":
                arrays = load_file(Path(folder) / "towers" / "bayesian.safetensors")
                vector, own = bayesian(export, tower, arrays, history.movies, classes, codes, row)
            case "sequence":
                inputs = sequence_inputs(manifest, tower, history, classes, codes)
                vector = run(folder, tower, inputs)[0][0]
        if "rates" in tower["roles"]:
            weight = share * tower["weight"] + (1 - share) * tower["new_user_weight"]
            rating[columns] = weight * vector
            rating[tower["offset_column"]] = weight * (own - tower["origin"])
            offset += weight * (own - tower["origin"])
        if "ranks" in tower["roles"]:
            watched[columns] = vector / tower["temperature"]
    match manifest["rank_by"]:
        case "rating":
            query = rating
        case "watch":
            query = watched
        case "blend":
            query = np.float32(blend["ranking"]["rating_weight"]) * rating + watched
    return Query(rating, offset, query)


def run(folder, tower, inputs):
    """Return the outputs of an ONNX tower for one question: rows of tables, and what is no row."""
    session = onnxruntime.InferenceSession(str(Path(folder) / tower["file"]))
    looked_up = {
        name: np.load(Path(folder) / path, mmap_mode="r")[inputs[name]]
        for name, path in tower["tables"].items()
    }
    columns = {name: np.asarray(value)[None] for name, value in (inputs | looked_up).items()}
    named = [each.name for each in session.get_inputs()]
    return session.run(None, {name: columns[name] for name in named})


def history_inputs(manifest, tower, history, classes, codes, number):
    """Return the inputs of the neural tower: statistics, and the last events, latest first."""
    scale = manifest["scale"]
    deviations = (history.ratings - scale["centre"]) / scale["unit"]
    weight = len(deviations) + PRIOR_COUNT
    mean = deviations.sum() / weight
    square = ((deviations**2).sum() + PRIOR_COUNT) / weight
    latest = slice(None, -tower["history_length"] - 1, -1)
    events = (history.movies * scale["classes"] + classes) // tower["codes_per_row"]
    last = history.times[-1] if len(history.times) else 0
    there = len(events) > 0
    return {
        "users": np.int64(number),
        "attributes": codes,
        "statistics": np.array(
            [mean, np.sqrt(max(square - mean**2, 0)), np.log1p(len(deviations))], np.float32
        ),
        "events": events[latest] if there else np.zeros(1, np.int64),
        "present": np.full(max(1, len(events[latest])), there),
        "ages": doublings(last - history.times[latest]) if there else np.zeros(1, np.int64),
    }


def sequence_inputs(manifest, tower, history, classes, codes):
    """Return the inputs of the sequence tower: a start, then the last events, oldest first."""
    longest = tower["history_length"]
    step = max(1, longest // 8)  # by which the first event moves, where there are more than that
    latest = slice(-(-max(len(history.movies) - longest, 0) // step) * step, None)
    movies, times = history.movies[latest], history.times[latest]
    count = len(movies)
    places = np.arange(max(2, 1 + count))
    tokens, rated, since = np.zeros((3, len(places)), np.int64)
    tokens[1 : 1 + count] = movies + 1
    rated[1 : 1 + count] = classes[latest] + 1
    since[1 : 1 + count] = times - times[:1]
    relative = UNTIMED + doublings(since[:, None] - since)
    relative[:, 0] = START
    relative += RELATIVE_CODES * np.maximum(places[:, None] - places + 1, 0)
    passed = max(manifest["present"] - times[-1], 0) if count else 0
    return {
        "movies": tokens,
        "classes": rated,
        "codes": codes,
        "time_gaps": np.zeros_like(tokens),
        "relative_times": relative,
        "last": np.int64(count),
        "asked": np.array([1 + int(doublings(np.array(passed))), 0]),
    }


def bayesian(export, tower, arrays, movies, classes, codes, row):
    """Return the Bayesian vector and offset."""
    told = 0 if row is None else len(export.seen(row))
    first = movies if row is None else movies[:told]
    belief = prior(export.manifest, arrays, first, codes)
    if row is not None:
        # The vector of the export, in place of what the same ratings come to when folded in.
        belief = fold_in(arrays, belief, first, classes[:told])
        exported = export.rating_vectors[row, slice(*tower["columns"])] / tower["weight"]
        offset = export.rating_vectors[row, tower["offset_column"]] / tower["weight"]
        belief = belief._replace(mean=np.append(exported[:-1], offset + tower["origin"]))
    mean = fold_in(arrays, belief, movies[told:], classes[told:]).mean
    return np.append(mean[:-1], 1.0), float(mean[-1])


def prior(manifest, arrays, movies, codes):
    """Return what to expect of somebody who rated these movies, no matter how."""
    sizes = [each["size"] for each in manifest["user_attributes"]]
    facts = np.append(0, codes + np.cumsum([1, *sizes[:-1]]))
    coefficients = arrays["user_coefficients"].astype(np.float64)
    trained = movies[movies < manifest["trained_movies"]]
    count = len(trained)
    share = count / (count + USUAL_COUNT)
    rated = coefficients[1 + sum(sizes) + trained].sum(axis=0)
    usual = arrays["usual"][facts].astype(np.float64).sum(axis=0)
    mean = coefficients[facts].sum(axis=0) + share * rated / np.sqrt(max(count, 1))
    mean += (1 - share) * usual
    return Belief(mean, arrays["covariance"] + (1 - share) * arrays["usual_covariance"])


def fold_in(arrays, belief, movies, classes):
    """Return what is known after ratings: the posterior of a linear regression."""
    mean, covariance = belief
    met = arrays["movies"][movies].astype(np.float64)
    left = arrays["class_latents"][classes] - met[:, -1]
    met[:, -1] = 1.0
    weighted = met / arrays["movie_noise"][movies][:, None]
    precision = np.eye(len(mean)) + covariance @ (weighted.T @ met)
    posterior = np.linalg.solve(precision, covariance)
    return Belief(mean + posterior @ (weighted.T @ (left - met @ mean)), posterior)


def rating_classes(scale, ratings):
    """Return the classes of ratings `(N,)`."""
    share = (ratings - scale["lowest"]) / (scale["highest"] - scale["lowest"] or 1.0)
    last = scale["classes"] - 1
    places = np.floor(share * (last + 1)) if scale["step"] is None else np.rint(share * last)
    return places.clip(0, last).astype(np.int64)


def doublings(seconds):
    """Return 0 for less than a second, then one code for each doubling up to 32."""
    return np.frexp(np.clip(seconds, 0.5, 2.0**31).astype(np.float32))[1].astype(np.int64)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", help="folder of the export")
    parser.add_argument("--history", required=True, help="movie:rating,... with ids of movies")
    parser.add_argument("--k", type=int, default=20, help="movies in the list")
    options = parser.parse_args()
    opened = read_export(options.folder)
    pairs = [pair.split(":") for pair in options.history.split(",")]
    ids = np.array([movie for movie, _ in pairs], opened.movie_ids.dtype)
    by_id = np.argsort(opened.movie_ids)
    rows = by_id[np.searchsorted(opened.movie_ids, ids, sorter=by_id)]
    events = History(
        rows,
        np.array([float(rating) for _, rating in pairs]),
        np.full(len(rows), opened.manifest["present"]),
    )
    unknown = np.zeros(len(opened.manifest["user_attributes"]), np.int64)
    made = encode(options.folder, opened, events, unknown)
    scores = inner_products(made.query_vector, opened.movie_vectors)
    scores[rows] = -np.inf
    scores[opened.hidden] = -np.inf
    for place, movie in enumerate(np.argsort(-scores, kind="stable")[: options.k], start=1):
        print(f"{place:3}  {opened.movie_ids[movie]:>8}  {scores[movie]:8.3f}")
