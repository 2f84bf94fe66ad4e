"""The rating part: the neural pair trained, both pairs weighed, the link fitted."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict

from retrieval.blending.blend import Blend
from retrieval.blending.cold_start import Trials, bayesian_scores, fit_newcomers, trials
from retrieval.blending.link import Link
from retrieval.blending.unrated import Parts, fit_unrated
from retrieval.blending.weights import fit_weights
from retrieval.data.dataset import Dataset
from retrieval.data.history import Histories, Windows, whole_windows, windows_until
from retrieval.data.metrics import root_mean_square
from retrieval.options import Towers
from retrieval.pairs.bayesian.inference import Inferred
from retrieval.pairs.content import Content
from retrieval.pairs.neural.examples import Known, held_out_examples, learn, training_examples
from retrieval.pairs.neural.inputs import UNKNOWN_USER, UserInputs, user_inputs
from retrieval.pairs.neural.training import Fit, fit, predict
from retrieval.pairs.onnx_tower import UserVectors
from retrieval.pipeline.pairs import (
    Pair,
    encode_users,
    make_pair,
    movie_vectors,
    new_movie_vectors,
    user_tower,
)
from retrieval.pipeline.presets import Plan

# Parts of the catalogue, each of which the others say something about.
FOLDS = 10

# Users on whom an exported tower is compared with its original.
EXAMPLES = 64


class Neural(NamedTuple):
    """The neural pair, trained."""

    pair: Pair
    known: Known
    fit: Fit
    ratings: NDArray[np.float64]  # (N,) predicted for the validation rows, 0 elsewhere
    example: UserInputs  # a few real users


def train_neural(
    dataset: Dataset,
    content: Content,
    validation: NDArray[np.bool_],
    held_out: NDArray[np.bool_],
    planned: Plan,
    seed: int,
    progress: Progress,
) -> Neural:
    """Train the neural pair.

    Args:
        dataset: All rows.
        content: Of the movies.
        validation: `(N,)` mask of rows that choose the epoch, all of them held out.
        held_out: `(N,)` mask of the rows that are not trained on.
        planned: How.
        seed: Of everything random.
        progress: Where to show how far it is.
    """
    known = learn(dataset, ~held_out)
    examples = training_examples(dataset, known, ~held_out)
    asked = held_out_examples(dataset, known, validation)
    pair = make_pair(planned.towers, dataset, content, known, seed)
    length = planned.towers.history_length
    unit = dataset.scale.unit
    fitted = fit(pair, examples, asked, length, planned.loop, seed, progress, unit)
    ratings = known.centre + unit * predict(pair, asked, length).astype(np.float64)
    whole = np.zeros(len(dataset.ratings))
    whole[validation] = ratings
    return Neural(pair, known, fitted, whole, example_users(dataset, known, length))


def example_users(dataset: Dataset, known: Known, length: int) -> UserInputs:
    """Return the users with the longest histories, at least two, as a user tower is given them."""
    lengths = np.diff(known.histories.offsets)
    users = np.argsort(-lengths, kind="stable")[:EXAMPLES]
    users = np.resize(users, max(2, len(users)))
    return user_inputs(
        np.where(known.seen_users[users], users + 1, UNKNOWN_USER),
        dataset.user_codes[users],
        known.histories,
        whole_windows(known.histories, users),
        dataset.scale,
        known.centre,
        length,
    )


class Answers(NamedTuple):
    """How scores of the pairs become ratings."""

    towers: tuple[Towers, ...]  # that predict ratings, in the order of the weights
    blend: Blend
    link: Link | None
    errors: dict[str, float]


def weigh(
    dataset: Dataset,
    rows: NDArray[np.bool_],
    held_out: NDArray[np.bool_],
    content: Content,
    neural: Neural | None,
    inferred: Inferred | None,
) -> Answers:
    """Fit how the pairs are blended; each alone too, to say what it is worth.

    Args:
        dataset: All rows.
        rows: `(N,)` mask of the validation rows, all of them held out.
        held_out: `(N,)` mask of the rows that no pair has seen.
        content: Of the movies.
        neural: The neural pair, if trained.
        inferred: The Bayesian pair, if inferred.
    """
    true = dataset.ratings[rows].astype(np.float64)
    errors: dict[str, float] = {}
    if neural is not None:
        predicted = dataset.scale.clip(neural.ratings[rows])
        errors[Towers.NEURAL] = root_mean_square(predicted - true)
    if inferred is None:
        towers: tuple[Towers, ...] = () if neural is None else (Towers.NEURAL,)
        return Answers(towers, _settled((1.0,) * len(towers), origin=0.0), None, errors)
    levels, values, thresholds = inferred.levels[rows], inferred.stars, inferred.thresholds
    scores = inferred.scores[rows][:, None]
    weights, link = fit_weights(scores, levels, values, thresholds, [1.0])
    errors[Towers.BAYESIAN] = root_mean_square(link.ratings(scores @ weights) - true)
    origin = float(link.ratings(np.zeros(1))[0])
    asked = trials(dataset, rows, held_out)
    as_newcomers = [bayesian_scores(inferred.early, asked, dataset)]
    if neural is not None:
        scores = np.column_stack([neural.ratings[rows] - origin, scores])  # as Towers are ordered
        weights, link = fit_weights(scores, levels, values, thresholds, [0.0, 1.0])
        errors["blend"] = root_mean_square(link.ratings(scores @ weights) - true)
        as_newcomers.insert(0, _neural_scores(neural, asked, dataset) - origin)
    settled = _settled(weights, origin)
    blend = fit_newcomers(np.column_stack(as_newcomers), asked.told, asked.ratings, settled, link)
    parts = _as_unrated(dataset, rows, content, neural, inferred, origin)
    blend = fit_unrated(parts, dataset.ratings[rows], blend, link)
    towers = (Towers.BAYESIAN,) if neural is None else (Towers.NEURAL, Towers.BAYESIAN)
    return Answers(towers, blend, link, errors)


def _settled(weights: tuple[float, ...], origin: float) -> Blend:
    """Return the blend in which newcomers are weighed as the known are."""
    return Blend(
        weights=weights,
        newcomer_weights=weights,
        newcomer_offset=0.0,
        halfway=1.0,
        origin=origin,
        unrated_factors=(1.0,) * len(weights),
        unrated_offset_factors=(1.0,) * len(weights),
        unrated_shift=0.0,
    )


def _as_unrated(
    dataset: Dataset,
    rows: NDArray[np.bool_],
    content: Content,
    neural: Neural | None,
    inferred: Inferred,
    origin: float,
) -> Parts:
    """Return what the pairs say of rows, a mask `(N,)`, if nobody had rated their movies."""
    users, movies = dataset.users[rows], dataset.movies[rows]
    offsets, products = [], []
    if neural is not None:
        known = encode_known(neural, dataset, users, dataset.timestamps[rows])
        vectors = new_movie_vectors(neural.pair, content)[movies]
        offsets.append(known.offsets - origin)
        products.append((known.vectors * vectors).sum(axis=1))
    vectors = _guessed(content.matrix(), inferred.early.movies)[movies]
    offsets.append(inferred.early.users[users, -1])
    products.append(
        (inferred.early.users[users, :-1] * vectors[:, :-1]).sum(axis=1) + vectors[:, -1]
    )
    return Parts(
        np.column_stack(offsets).astype(np.float64), np.column_stack(products).astype(np.float64)
    )


def _guessed(content: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what content `(M, F)` says of movie vectors `(M, D + 1)`, learned from other movies.

    From these alone: the coefficients of the pair know already what they are to guess. Where there
    are no others, nothing is guessed.
    """
    if len(vectors) < 2:
        return np.zeros_like(vectors)
    folds = KFold(min(FOLDS, len(vectors)), shuffle=True, random_state=0)
    guessed: NDArray[np.float32] = cross_val_predict(Ridge(), content, vectors, cv=folds)
    return guessed


def encode_known(
    neural: Neural, dataset: Dataset, users: NDArray[np.int64], times: NDArray[np.int64]
) -> UserVectors:
    """Return what the neural pair's user tower gives known users `(E,)`, asked at times `(E,)`."""
    histories = neural.known.histories
    known = np.where(neural.known.seen_users[users], users + 1, UNKNOWN_USER)
    windows = windows_until(histories, users, times)
    return _encode(neural, dataset, known, dataset.user_codes[users], histories, windows)


def _neural_scores(neural: Neural, asked: Trials, dataset: Dataset) -> NDArray[np.float64]:
    """Return the ratings `(E,)` that the neural pair predicts for strangers who tell as much."""
    strangers = np.full(len(asked.movies), UNKNOWN_USER)
    users = _encode(neural, dataset, strangers, asked.codes, asked.histories, asked.windows)
    products = (users.vectors * movie_vectors(neural.pair)[asked.movies]).sum(axis=1)
    return np.asarray(users.offsets + products, dtype=np.float64)


def _encode(
    neural: Neural,
    dataset: Dataset,
    users: NDArray[np.int64],
    codes: NDArray[np.int64],
    histories: Histories,
    windows: Windows,
) -> UserVectors:
    """Return what the neural pair's user tower gives users `(E,)` as `user_inputs` takes them."""
    scale, centre = dataset.scale, neural.known.centre
    length = neural.pair.settings.history_length
    inputs = user_inputs(users, codes, histories, windows, scale, centre, length)
    return encode_users(user_tower(neural.pair, centre, scale.unit), inputs)
