from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from small_worlds import small_world, without_visits

from retrieval.blending.cold_start import GIVEN
from retrieval.blending.rating import Blended, Rater, fit_blend
from retrieval.data.dataset import Dataset, encode
from retrieval.data.history import Histories, Windows
from retrieval.data.metrics import Calibrated
from retrieval.pairs.content import Content
from retrieval.pairs.layout import Part, Role
from retrieval.pairs.protocol import Floats, Numbers, UserVectors, Vectors
from retrieval.pairs.training import LatentScale, RatingSide, TrainingData

MOVIES = 40
VALUES = (1.0, 2.0, 3.0, 4.0, 5.0)
THRESHOLDS = np.array([-1.5, -0.5, 0.5, 1.5])
NOISE = 0.7


@dataclass
class Made:
    """A pair of given scores for validation rows, whose users and movies have no vectors.

    Args:
        scores: `(N,)`.
        latent: Their scale, where they are no ratings.
    """

    scores: Floats
    latent: LatentScale | None = None
    movies: Vectors = field(default_factory=lambda: np.zeros((MOVIES, 2), np.float32))

    def unrated_movies(self) -> Vectors:
        return np.zeros((MOVIES, 2), np.float32)

    def known_users(self, users: Numbers, _times: Numbers) -> UserVectors:
        return _nobody(len(users))

    def new_users(self, codes: Numbers, _histories: Histories, _windows: Windows) -> UserVectors:
        return _nobody(len(codes))


def _nobody(count: int) -> UserVectors:
    return UserVectors(np.zeros((count, 2), np.float32), np.zeros(count), np.zeros(count, "f4"))


def rated(ratings: ArrayLike, users: int = 1) -> Dataset:
    """A data set of so many ratings of each user, in turns, of movies in turns."""
    values = np.asarray(ratings, np.float64)
    pairs = [(1 + place % users, 1 + place % MOVIES) for place in range(len(values))]
    return encode(small_world(pairs, values.tolist(), movies=range(1, MOVIES + 1)))


def rater(name: str, side: RatingSide) -> Rater:
    """A pair of one component, which is the bias."""
    return Rater(Part(name=name, roles=(Role.RATES,), width=1, biased=True), side)


def training_data(dataset: Dataset, validation: NDArray[np.bool_]) -> TrainingData:
    """Training data with rows held out to fit a blend, and none of last events."""
    nothing = np.zeros((MOVIES, 0), np.float32)
    content = Content(nothing, np.full(MOVIES, np.nan, np.float32), nothing, nothing)
    return without_visits(dataset, content, validation, np.zeros_like(validation))


def everything(dataset: Dataset) -> TrainingData:
    return training_data(dataset, np.ones(len(dataset.ratings), dtype=bool))


def latent_scale(latents: Floats, rng: np.random.Generator) -> LatentScale:
    """The scale of ratings that are drawn around latent values, with these as classes."""
    classes = np.searchsorted(THRESHOLDS, latents + rng.standard_normal(len(latents)))
    return LatentScale(
        values=VALUES, thresholds=THRESHOLDS, classes=classes.astype(np.int8), noise=NOISE
    )


def of_classes(scale: LatentScale) -> Floats:
    return np.array(VALUES)[scale.classes]


def test_one_pair_on_the_rating_scale_counts_as_it_is() -> None:
    dataset = rated([5, 3, 1, 4])
    # The first score is clipped to 5; the last row is nobody's validation.
    side = Made(np.array([9.0, 4.0, 1.5, -100.0]))
    found = fit_blend(
        training_data(dataset, np.array([True, True, True, False])), [rater("one", side)]
    )
    assert found.blend.weights == found.blend.new_user_weights == (1.0,)
    assert found.blend.origins == (0.0,)
    assert found.blend.unrated_factors == found.blend.unrated_offset_factors == (1.0,)
    assert (found.blend.new_user_offset, found.blend.unrated_shift) == (0.0, 0.0)
    assert (found.link, found.noise) == (None, None)
    assert found.errors == {"one": pytest.approx(np.sqrt((0 + 1 + 0.25) / 3))}
    groups = [(1.5, 1.0, 1), (4.0, 3.0, 1), (5.0, 5.0, 1)]
    assert found.calibration == [Calibrated(*group) for group in groups]


def test_last_events_have_no_say_in_ratings() -> None:
    data = everything(rated([5, 3, 1, 4]))
    data = data._replace(last=np.array([False, False, False, True]))
    found = fit_blend(data, [rater("one", Made(np.array([5.0, 3.0, 2.0, -100.0])))])
    assert found.errors == {"one": pytest.approx(np.sqrt(1 / 3))}


def test_two_pairs_on_the_rating_scale_count_by_what_they_are_worth() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(1.5, 4.5, 4000)
    dataset = rated(np.round(truth))
    good, bad = (
        Made(dataset.ratings + noise * rng.standard_normal(len(truth))) for noise in (0.4, 0.8)
    )
    found = fit_blend(everything(dataset), [rater("bad", bad), rater("good", good)])
    of_bad, of_good = found.blend.weights
    # Independent errors: a pair counts by one over the variance of its error.
    assert of_good == pytest.approx(0.8, abs=0.05)
    assert of_bad == pytest.approx(0.2, abs=0.05)
    assert list(found.errors) == ["bad", "good", "blend"]
    assert found.errors["blend"] < found.errors["good"] < found.errors["bad"]
    assert found.blend.new_user_weights == found.blend.weights
    assert found.blend.origins == (0.0, 0.0)
    assert found.link is None


def test_a_pair_that_says_nothing_counts_for_next_to_nothing() -> None:
    rng = np.random.default_rng(1)
    dataset = rated(rng.integers(1, 6, 3000))
    exact, empty = Made(dataset.ratings.astype(np.float64)), Made(rng.standard_normal(3000))
    found = fit_blend(everything(dataset), [rater("exact", exact), rater("empty", empty)])
    np.testing.assert_allclose(found.blend.weights, (1, 0), atol=0.01)
    assert found.errors["blend"] <= 0.01


def test_without_rows_to_look_at_pairs_on_the_rating_scale_count_alike() -> None:
    dataset = rated([1, 2, 3])
    rows = np.zeros(3, dtype=bool)
    sides = [rater("one", Made(np.zeros(3))), rater("other", Made(np.ones(3)))]
    assert fit_blend(training_data(dataset, rows), sides).blend.weights == (0.5, 0.5)


def test_with_no_pair_that_rates_nothing_is_blended() -> None:
    found = fit_blend(everything(rated([1, 2, 3])), [])
    assert found.blend.weights == found.blend.origins == ()
    assert (found.link, found.noise, found.errors) == (None, None, {})


def blended_on_latents(names: tuple[str, ...]) -> tuple[Blended, dict[str, Made]]:
    """A latent pair that knows most, and one that knows little, in an order, and what they say.

    The ratings follow 0.9 of what the first says and 0.3 of what the other says, per class.
    """
    rng = np.random.default_rng(2)
    first, second = rng.standard_normal((2, 6000))
    scale = latent_scale(0.9 * first + 0.3 * second, rng)
    sides = {"latent": Made(first, scale), "stars": Made(3 + second)}
    raters = [rater(name, sides[name]) for name in names]
    return fit_blend(everything(rated(of_classes(scale))), raters), sides


@pytest.mark.parametrize("names", [("stars", "latent"), ("latent", "stars")])
def test_a_pair_on_the_rating_scale_is_taken_from_what_score_0_stands_for(
    names: tuple[str, ...],
) -> None:
    found, sides = blended_on_latents(names)
    origins = dict(zip(names, found.blend.origins, strict=True))
    weights = dict(zip(names, found.blend.weights, strict=True))
    assert origins["latent"] == 0
    assert origins["stars"] == pytest.approx(3, abs=0.05)  # thresholds lie around 0 alike
    assert weights["latent"] == pytest.approx(0.9, abs=0.06)
    assert weights["stars"] == pytest.approx(0.3, abs=0.06)
    assert found.link is not None
    assert found.link.values == VALUES
    np.testing.assert_allclose(found.link.thresholds, THRESHOLDS, atol=0.1)
    assert found.noise == NOISE
    assert list(found.errors) == [*names, "blend"]
    assert found.errors["blend"] < found.errors["latent"] < found.errors["stars"]
    scores = [sides[name].scores - origins[name] for name in names]
    predicted = found.link.ratings(np.column_stack(scores) @ found.blend.weights)
    scale = sides["latent"].latent
    assert scale is not None
    error = np.sqrt(np.mean((predicted - of_classes(scale)) ** 2))
    assert found.errors["blend"] == pytest.approx(error)


def test_a_latent_pair_alone_has_a_link_and_no_blend_to_name() -> None:
    found, _ = blended_on_latents(("latent",))
    np.testing.assert_allclose(found.blend.weights, (0.9,), atol=0.06)
    assert found.blend.origins == (0.0,)
    assert found.link is not None
    assert list(found.errors) == ["latent"]


def test_two_latent_pairs_share_a_scale() -> None:
    rng = np.random.default_rng(3)
    one, other = rng.standard_normal((2, 6000))
    scale = latent_scale(0.8 * one + 0.4 * other, rng)
    raters = [rater("one", Made(one, scale)), rater("other", Made(other, scale))]
    found = fit_blend(everything(rated(of_classes(scale))), raters)
    np.testing.assert_allclose(found.blend.weights, (0.8, 0.4), atol=0.06)
    assert found.blend.origins == (0.0, 0.0)
    assert found.errors["blend"] < found.errors["one"] < found.errors["other"]


USERS, EVENTS = 250, 60
NEW_WEIGHT, NEW_OFFSET, HALFWAY = 0.5, 0.6, 5.0
FACTOR, OFFSET_FACTOR, SHIFT = 0.6, 1.5, 0.4


@dataclass
class Planted(Made):
    """A latent pair that is right of known users, and wrong in a known way of all others.

    It overstates new users by what the planted weights take back, and says of unrated movies what
    the planted factors mend.

    Args:
        tastes: `(U,)`.
        offsets: `(U,)` of the known users.
        unrated: `(M, 2)` taste and bias.
    """

    tastes: Floats = field(kw_only=True)
    offsets: Floats = field(kw_only=True)
    unrated: Floats = field(kw_only=True)

    def unrated_movies(self) -> Vectors:
        return self.unrated.astype(np.float32)

    def known_users(self, users: Numbers, _times: Numbers) -> UserVectors:
        return self._said(users, np.ones(len(users)), self.offsets[users])

    def new_users(self, codes: Numbers, histories: Histories, windows: Windows) -> UserVectors:
        given = windows.ends - windows.starts
        assert set(np.unique(given)) == set(GIVEN)
        assert codes.shape == (len(given), 3)
        users = np.searchsorted(histories.offsets, windows.starts, side="right") - 1
        share = given / (given + HALFWAY)
        scale = 1 / (share + (1 - share) * NEW_WEIGHT)
        right = OFFSET_FACTOR * self.offsets[users] - (1 - share) * NEW_OFFSET
        return self._said(users, scale, scale * right)

    def _said(self, users: Numbers, scale: Floats, offsets: Floats) -> UserVectors:
        vectors = scale[:, None] * np.column_stack([self.tastes[users], np.ones(len(users))])
        return UserVectors(vectors.astype(np.float32), offsets, np.zeros(len(users), np.float32))


def test_planted_weights_of_new_users_and_factors_of_unrated_movies_come_back() -> None:
    rng = np.random.default_rng(4)
    count = USERS * EVENTS
    tastes, offsets = rng.standard_normal(USERS), 0.5 * rng.standard_normal(USERS)
    unrated = np.column_stack([rng.standard_normal(MOVIES), rng.standard_normal(MOVIES)])
    rows = rated(np.ones(count), USERS)
    movies = FACTOR * unrated + [0, SHIFT]
    own = np.column_stack([tastes, np.ones(USERS)])[rows.users]
    latents = OFFSET_FACTOR * offsets[rows.users] + (own * movies[rows.movies]).sum(axis=1)
    scale = latent_scale(latents, rng)
    side = Planted(
        latents, scale, movies.astype(np.float32), tastes=tastes, offsets=offsets, unrated=unrated
    )
    data = training_data(rated(of_classes(scale), USERS), rng.random(count) < 0.25)
    found = fit_blend(data, [rater("planted", side)]).blend
    np.testing.assert_allclose(found.weights, (1,), atol=0.06)
    np.testing.assert_allclose(found.new_user_weights, (NEW_WEIGHT,), atol=0.06)
    assert found.new_user_offset == pytest.approx(NEW_OFFSET, abs=0.1)
    assert found.halfway == pytest.approx(HALFWAY, abs=2.5)
    np.testing.assert_allclose(found.unrated_factors, (FACTOR,), atol=0.06)
    np.testing.assert_allclose(found.unrated_offset_factors, (OFFSET_FACTOR,), atol=0.15)
    assert found.unrated_shift == pytest.approx(SHIFT, abs=0.1)
