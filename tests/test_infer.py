from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from interrupted import Interrupted, Recorded

from retrieval.data.dataset import Dataset, encode
from retrieval.data.frames import MovieData
from retrieval.pairs.bayesian.inference import (
    BURNING_IN,
    COMPRESSING,
    DRAWING,
    PREPARING,
    SAVED,
    WINDOW,
    Inferred,
    infer,
)
from retrieval.pairs.bayesian.problem import arrange, observed_ratings
from retrieval.pairs.bayesian.sampler import Sampler
from retrieval.pairs.bayesian.settings import BayesianSettings
from retrieval.pairs.bayesian.tower import Bayesian, fold_in, prior
from retrieval.pairs.content_training import fit_content

SETTINGS = BayesianSettings(dimension=3, compressed=8, burn_in_windows=1, draws=12, spacing=1)
SWEEPS = WINDOW + 5 + 12


@pytest.fixture(scope="module")
def dataset(data: MovieData) -> Dataset:
    return encode(data)


@pytest.fixture(scope="module")
def held_out(dataset: Dataset) -> np.ndarray:
    return np.random.default_rng(0).random(len(dataset.ratings)) < 0.1


def part(dataset: Dataset, kept: np.ndarray) -> Dataset:
    return replace(
        dataset,
        users=dataset.users[kept],
        movies=dataset.movies[kept],
        ratings=dataset.ratings[kept],
        timestamps=dataset.timestamps[kept],
    )


def content(dataset: Dataset) -> np.ndarray:
    frame = dataset.movie_frame
    return np.asarray(fit_content(frame, 0).describe(frame).matrix())


def run(
    dataset: Dataset,
    held_out: np.ndarray,
    folder: Path,
    seed: int = 0,
    settings: BayesianSettings = SETTINGS,
) -> Inferred:
    kept = folder / "checkpoint"
    return infer(dataset, content(dataset), held_out, held_out, settings, seed, kept)


@pytest.fixture(scope="module")
def inferred(
    dataset: Dataset, held_out: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> Inferred:
    return run(dataset, held_out, tmp_path_factory.mktemp("inferred"))


def same(one: Inferred, other: Inferred) -> bool:
    pairs, others = one.pair._asdict(), other.pair._asdict()
    equal = all(np.array_equal(array, others[name]) for name, array in pairs.items())
    return equal and np.array_equal(one.scores, other.scores)


def test_nothing_of_a_held_out_rating_enters_what_predicts_it(
    dataset: Dataset, held_out: np.ndarray, inferred: Inferred, tmp_path: Path
) -> None:
    # Turn every held-out rating upside down: features, burn-in, early pair and scores stay.
    ratings = np.where(held_out, 6 - dataset.ratings, dataset.ratings).astype(np.float32)
    turned = replace(dataset, ratings=ratings)
    other = run(turned, held_out, tmp_path)
    np.testing.assert_array_equal(other.scores, inferred.scores)
    for name, array in other.early._asdict().items():
        np.testing.assert_array_equal(array, getattr(inferred.early, name), err_msg=name)
    assert not np.array_equal(other.pair.movies, inferred.pair.movies)  # there they count


def test_features_tell_of_training_rows_alone(dataset: Dataset, held_out: np.ndarray) -> None:
    problem = arrange(dataset, content(dataset))
    known = observed_ratings(problem, ~held_out[problem.order])
    of_users = known.user_features()[:, -len(dataset.movie_vocabulary) :].toarray()
    of_movies = known.movie_features()[:, -len(dataset.user_vocabulary) :].toarray()
    expected = np.zeros((len(dataset.user_vocabulary), len(dataset.movie_vocabulary)), dtype=bool)
    expected[dataset.users[~held_out], dataset.movies[~held_out]] = True
    np.testing.assert_array_equal(of_users > 0, expected[problem.users])
    np.testing.assert_array_equal(of_movies > 0, expected.T[problem.movies])
    for features, rated in (
        (of_users, expected[problem.users]),
        (of_movies, expected.T[problem.movies]),
    ):
        counts = rated.sum(axis=1)
        weights = features.max(axis=1)[counts > 0]
        np.testing.assert_allclose(weights, 1 / np.sqrt(counts[counts > 0]), rtol=1e-6)


@pytest.mark.parametrize(
    ("sweeps", "kept"),
    [(7, 0), (WINDOW, 0), (WINDOW + 3, WINDOW), (WINDOW + 16, WINDOW + 5 + SAVED)],
)
def test_an_interrupted_inference_goes_on_to_the_same_result(
    dataset: Dataset,
    held_out: np.ndarray,
    inferred: Inferred,
    tmp_path: Path,
    sweeps: int,
    kept: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = (dataset, content(dataset), held_out, held_out, SETTINGS, 0, tmp_path / "checkpoint")
    with pytest.raises(KeyboardInterrupt):
        infer(*asked, Interrupted(sweeps))
    made, sweep, resumed = [], Sampler.sweep, Recorded()

    def counted(sampler: Sampler) -> None:
        made.append(sampler.sweeps)
        sweep(sampler)

    monkeypatch.setattr(Sampler, "sweep", counted)
    again = infer(*asked, resumed)
    assert same(again, inferred)
    assert made == list(range(kept, SWEEPS))
    assert resumed.steps == SWEEPS  # those that were kept are done at once
    assert [name for name, _ in resumed.stages] == [PREPARING, BURNING_IN, DRAWING, COMPRESSING]


def test_a_checkpoint_of_other_data_or_another_seed_is_not_gone_on_from(
    dataset: Dataset, held_out: np.ndarray, inferred: Inferred, tmp_path: Path
) -> None:
    other = run(dataset, held_out, tmp_path, seed=1)
    assert not same(other, inferred)
    assert same(run(dataset, held_out, tmp_path), inferred)


def test_scores_are_better_than_none_and_folded_in_ones_agree(
    dataset: Dataset, held_out: np.ndarray, inferred: Inferred
) -> None:
    ratings = dataset.ratings[held_out]
    assert np.corrcoef(inferred.scores[held_out], ratings)[0, 1] > 0.4
    assert inferred.disagreement < 0.35
    assert (inferred.scores[~held_out] == 0).all()
    assert inferred.pair.class_latents.tolist() == sorted(inferred.pair.class_latents.tolist())


def test_movies_without_ratings_have_what_their_content_makes_likely(
    dataset: Dataset, held_out: np.ndarray, tmp_path: Path
) -> None:
    unrated = np.bincount(dataset.movies).argmax()
    kept = dataset.movies != unrated
    less = part(dataset, kept)
    pair = run(less, held_out[kept], tmp_path).pair
    facts = np.hstack([np.ones((len(less.movie_frame), 1)), content(less)])
    expected = facts @ pair.movie_coefficients
    others = np.setdiff1d(np.arange(len(facts)), less.movies)
    assert unrated in others
    np.testing.assert_allclose(pair.movies[others], expected[others], atol=1e-4)
    assert pair.movie_variances[unrated] > np.median(pair.movie_variances)


def test_folding_in_someone_new_agrees_with_inferring_anew(
    dataset: Dataset, held_out: np.ndarray, tmp_path: Path
) -> None:
    settings = SETTINGS.model_copy(
        update={"draws": 60}
    )  # two chains differ by chance: less so with more draws
    new = np.argsort(-np.bincount(dataset.users[~held_out]), kind="stable")[:30:3]
    kept = ~np.isin(dataset.users, new)
    less = part(dataset, kept)
    pair = run(less, held_out[kept], tmp_path / "less", settings=settings).pair
    whole = run(dataset, held_out, tmp_path / "whole", settings=settings).pair
    priors, folded = [], []
    for user in new:
        theirs = dataset.users == user
        movies, classes = dataset.movies[theirs], dataset.scale.class_of(dataset.ratings[theirs])
        expected = prior(pair, dataset.user_codes[user], dataset.user_attributes.sizes, movies)
        priors.append(expected.mean)
        folded.append(fold_in(pair, expected, movies, classes).mean)
    refitted = scores(whole, whole.users[new])
    away, usual = (scores(pair, np.array(rows)) - refitted for rows in (folded, priors))
    assert np.square(away).mean() < 0.2 * np.square(usual).mean()
    assert np.corrcoef((refitted + away).ravel(), refitted.ravel())[0, 1] > 0.95


def scores(pair: Bayesian, users: np.ndarray) -> np.ndarray:
    return np.asarray(users[:, :-1] @ pair.movies[:, :-1].T + pair.movies[:, -1] + users[:, -1:])
