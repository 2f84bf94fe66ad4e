from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from small_worlds import small_world

from retrieval.blending.blend import RatingBlend
from retrieval.blending.link import Link
from retrieval.blending.unrated import fit_unrated
from retrieval.data.dataset import Dataset, encode
from retrieval.data.history import Histories, Windows
from retrieval.pairs.protocol import Floats, Numbers, UserVectors, Vectors
from retrieval.pairs.training import LatentScale, RatingSide

LINK = Link(values=(1.0, 2.0, 3.0, 4.0, 5.0), thresholds=(-1.5, -0.5, 0.5, 1.5))
BLEND = RatingBlend(
    weights=(0.4, 0.8),
    new_user_weights=(0.4, 0.8),
    new_user_offset=0.0,
    halfway=1.0,
    origins=(3.0, 0.0),
    unrated_factors=(1.0, 1.0),
    unrated_offset_factors=(1.0, 1.0),
    unrated_shift=0.0,
)
MOVIES = 7


class Planted:
    """A pair that says of users and unrated movies what it is told to; of rated ones, nonsense.

    Args:
        users: `(U,)` what user vectors of two components begin with; they end in 1.
        offsets: `(U,)` of the users.
        movies: `(M, 2)` vectors of movies, were they unrated.
    """

    latent: LatentScale | None = None

    def __init__(self, users: Floats, offsets: Floats, movies: Floats) -> None:
        self._users, self._offsets, self._movies = users, offsets, movies

    @property
    def scores(self) -> Floats:
        raise AssertionError("scores of rated movies are not asked for")

    @property
    def movies(self) -> Vectors:
        return np.full((MOVIES, 2), 1e6, np.float32)

    def unrated_movies(self) -> Vectors:
        return self._movies.astype(np.float32)

    def known_users(self, users: Numbers, times: Numbers) -> UserVectors:
        assert (times == 7 * users).all()
        vectors = np.column_stack([self._users[users], np.ones(len(users))]).astype(np.float32)
        return UserVectors(vectors, self._offsets[users], np.zeros(len(users), np.float32))

    def new_users(self, _codes: Numbers, _histories: Histories, _windows: Windows) -> UserVectors:
        raise AssertionError("new users are not asked for")


@cache
def world(count: int) -> tuple[Dataset, list[RatingSide], Floats, Floats]:
    """Return ratings of which each is of a user of its own, and what two pairs say of them.

    The last two are products with movies and offsets of users, `(E, 2)` each.
    """
    rng = np.random.default_rng(0)
    rated = rng.integers(0, MOVIES, count)
    pairs = [(user + 1, movie + 1) for user, movie in enumerate(rated.tolist())]
    data = small_world(pairs, [1.0] * count, movies=range(1, MOVIES + 1))
    data.ratings["timestamp"] = 7 * np.arange(count)
    said, products, offsets = list[RatingSide](), [], []
    for origin in BLEND.origins:
        users, own = rng.standard_normal((2, count))
        movies = np.column_stack([rng.standard_normal(MOVIES), rng.standard_normal(MOVIES) / 3])
        said.append(Planted(users, own + origin, movies))
        products.append(users * movies[rated, 0] + movies[rated, 1])
        offsets.append(own)
    return encode(data), said, np.column_stack(products), np.column_stack(offsets)


def rated(dataset: Dataset, ratings: np.ndarray) -> Dataset:
    return replace(dataset, ratings=ratings.astype(np.float32))


def test_planted_factors_and_shift_are_found() -> None:
    dataset, said, products, offsets = world(40_000)
    scores = products @ (0.4 * 1.7, 0.8 * 0.3) + 0.8 * 0.5
    scores += offsets @ (0.4 * 2.5, 0.8 * 0.2)
    latents = scores + np.random.default_rng(1).standard_normal(len(scores))
    made = rated(dataset, 1 + np.searchsorted(LINK.thresholds, latents))
    found = fit_unrated(said, [1], made, np.ones(len(scores), dtype=bool), BLEND, LINK)
    np.testing.assert_allclose(found.unrated_factors, (1.7, 0.3), atol=0.05)
    np.testing.assert_allclose(found.unrated_offset_factors, (2.5, 0.2), atol=0.05)
    assert found.unrated_shift == pytest.approx(0.5, abs=0.03)
    assert found.weights == BLEND.weights


def test_few_ratings_change_little_and_only_rows_asked_for_count() -> None:
    dataset, said, _, _ = world(200)
    made = rated(dataset, np.where(np.arange(200) == 0, 5, 1))
    rows = np.arange(200) < 2
    found = fit_unrated(said, [1], made, rows, BLEND, LINK)
    np.testing.assert_allclose(found.unrated_factors, (1, 1), atol=0.4)
    assert found.unrated_factors != (1.0, 1.0)
    assert found.unrated_factors != fit_unrated(said, [1], made, ~rows, BLEND, LINK).unrated_factors


def test_the_shift_is_fitted_with_the_weight_of_the_pair_whose_bias_it_is_added_to() -> None:
    dataset, said, products, offsets = world(40_000)
    scores = products @ (0.4, 0.8) + offsets @ (0.4, 0.8) + 0.4 * 0.5
    latents = scores + np.random.default_rng(1).standard_normal(len(scores))
    made, rows = (
        rated(dataset, 1 + np.searchsorted(LINK.thresholds, latents)),
        np.ones(40_000, bool),
    )
    assert fit_unrated(said, [0], made, rows, BLEND, LINK).unrated_shift == pytest.approx(
        0.5, abs=0.05
    )
    assert fit_unrated(said, [], made, rows, BLEND, LINK).unrated_shift == 0.0
