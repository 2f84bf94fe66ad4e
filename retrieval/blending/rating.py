"""The rating blend: the pairs that rate weighed, and the link fitted, on validation rows."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.blending.blend import RatingBlend
from retrieval.blending.cold_start import fit_cold_start, trials
from retrieval.blending.link import Link
from retrieval.blending.unrated import fit_unrated
from retrieval.blending.weights import FIRMNESS, fit_near, fit_weights
from retrieval.data.metrics import Calibrated, calibration, root_mean_square
from retrieval.pairs.layout import Part
from retrieval.pairs.training import LatentScale, RatingSide, TrainingData

Floats = NDArray[np.float64]


class Rater(NamedTuple):
    """A pair that rates."""

    part: Part
    side: RatingSide

    @property
    def name(self) -> str:
        """Name of the pair."""
        return self.part.name


class Blended(NamedTuple):
    """How scores of the pairs become ratings."""

    blend: RatingBlend
    link: Link | None  # from scores to ratings; None where scores are ratings
    noise: float | None  # the usual variance of what the link takes for noise
    errors: dict[str, float]  # root mean square on validation rows, of each pair and of the blend
    error: float | None  # the one of the ratings that are answered; None where no pair rates
    calibration: list[Calibrated]  # of these ratings


def fit_blend(data: TrainingData, raters: Sequence[Rater]) -> Blended:
    """Fit how pairs are blended; each alone too, to say what it is worth.

    Where a pair scores on a latent scale, scores of the others are taken from the rating that its
    score 0 stands for, and a link leads from the blend to ratings. Elsewhere scores are ratings,
    and a weighted sum of them is one too.

    Args:
        data: What the pairs were trained on.
        raters: The pairs that rate, in the order of their parts.
    """
    rows = data.validation & ~data.unranked
    latent = [rater for rater in raters if rater.side.latent is not None]
    if latent and (scale := latent[-1].side.latent) is not None:
        return _on_latent_scale(data, rows, raters, latent[-1], scale)
    return _on_rating_scale(data, rows, raters)


def _on_latent_scale(
    data: TrainingData,
    rows: NDArray[np.bool_],
    raters: Sequence[Rater],
    anchor: Rater,
    scale: LatentScale,
) -> Blended:
    """Fit the blend on the latent scale of one of the pairs, the anchor."""
    true = data.dataset.ratings[rows].astype(np.float64)
    classes, values, thresholds = scale.classes[rows], scale.values, scale.thresholds
    own = anchor.side.scores[rows][:, None]
    weights, link = fit_weights(own, classes, values, thresholds, [1.0])
    alone = root_mean_square(link.ratings(own @ weights) - true)
    origin = float(link.ratings(np.zeros(1))[0])
    origins = tuple(origin if rater.side.latent is None else 0.0 for rater in raters)
    errors = {
        rater.name: alone if rater is anchor else _error(data, rows, rater) for rater in raters
    }
    scores = np.column_stack(
        [rater.side.scores[rows] - shift for rater, shift in zip(raters, origins, strict=True)]
    )
    start = [float(rater is anchor) for rater in raters]
    if len(raters) > 1:
        weights, link = fit_weights(scores, classes, values, thresholds, start)
        errors["blend"] = root_mean_square(link.ratings(scores @ weights) - true)

    def fitted_on(some: NDArray[np.bool_]) -> Floats:
        weights, link = fit_weights(scores[some], classes[some], values, thresholds, start)
        return link.ratings(scores @ weights)

    blend = RatingBlend.of_known_users(weights, origins)
    sides = [rater.side for rater in raters]
    blend = fit_cold_start(sides, trials(data.dataset, rows, data.held_out), blend, link)
    biased = [place for place, rater in enumerate(raters) if rater.part.biased]
    blend = fit_unrated(sides, biased[-1:], data.dataset, rows, blend, link)
    answered = errors.get("blend", alone)
    found = calibration(_by_halves(fitted_on, len(true)), true)
    return Blended(blend, link, scale.noise, errors, answered, found)


def _on_rating_scale(
    data: TrainingData, rows: NDArray[np.bool_], raters: Sequence[Rater]
) -> Blended:
    """Fit the blend of pairs whose scores are ratings: weights near those of a plain average."""
    errors = {rater.name: _error(data, rows, rater) for rater in raters}
    if not raters:
        return Blended(RatingBlend.of_known_users((), ()), None, None, errors, None, [])
    scores = np.column_stack([rater.side.scores[rows] for rater in raters])  # (E, P)
    ratings = data.dataset.ratings[rows]

    def predicted(parameters: Floats) -> Floats:
        return data.dataset.scale.clip(scores @ parameters)

    def fitted_on(some: NDArray[np.bool_]) -> Floats:
        """Return the weights `(P,)` that rows of a mask choose; one pair alone counts as it is."""
        start = np.full(len(raters), 1 / len(raters))
        if len(raters) == 1:
            return start
        return fit_near(start, lambda each: predicted(each)[some], ratings[some], FIRMNESS)

    true = ratings.astype(np.float64)
    weights = fitted_on(np.ones(len(ratings), dtype=bool))
    if len(raters) > 1:
        errors["blend"] = root_mean_square(predicted(weights) - true)
    blend = RatingBlend.of_known_users(tuple(weights.tolist()), (0.0,) * len(raters))
    answered = errors.get("blend", errors[raters[0].name])
    found = calibration(_by_halves(lambda some: predicted(fitted_on(some)), len(true)), true)
    return Blended(blend, None, None, errors, answered, found)


def _by_halves(fitted_on: Callable[[NDArray[np.bool_]], Floats], count: int) -> Floats:
    """Return ratings `(N,)`, those of every other row by what the others chose, and the reverse.

    Args:
        fitted_on: Function that returns ratings of all rows by what rows of a mask chose.
        count: Number of rows, N.
    """
    even = np.arange(count) % 2 == 0
    return np.where(even, fitted_on(~even), fitted_on(even))


def _error(data: TrainingData, rows: NDArray[np.bool_], rater: Rater) -> float:
    """Return the error of one pair alone on rows, a mask `(N,)`."""
    true = data.dataset.ratings[rows].astype(np.float64)
    scores, latent = rater.side.scores[rows], rater.side.latent
    if latent is None:
        return root_mean_square(data.dataset.scale.clip(scores) - true)
    start = latent.thresholds
    weights, link = fit_weights(scores[:, None], latent.classes[rows], latent.values, start, [1.0])
    return root_mean_square(link.ratings(scores[:, None] @ weights) - true)
