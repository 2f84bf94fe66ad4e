"""Movies that a run does not know: described without what trains, and moved by first ratings."""

import logging
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from torch.nn.functional import normalize

from retrieval.data.attributes import AttributeKind
from retrieval.data.dataset import Dataset, encode
from retrieval.data.frames import MovieData
from retrieval.errors import RequestError, RunError
from retrieval.pairs.bayesian.new_movies import (
    PRIOR_FILE,
    UnratedPrior,
    fold_in_movie,
    load_unrated_prior,
)
from retrieval.pairs.bayesian.tower import BayesianTower
from retrieval.pairs.content import Content, load_content
from retrieval.pairs.content_training import fit_content, vectorizer
from retrieval.pairs.facts import FactEncoder
from retrieval.pairs.neural import new_movies as neural_movies
from retrieval.pairs.neural import pair as neural_pair
from retrieval.pairs.neural.model import tables_of
from retrieval.pairs.neural.settings import NeuralSettings
from retrieval.pairs.protocol import UserVectors
from retrieval.pairs.sequence import new_movies as sequence_movies
from retrieval.pairs.sequence import pair as sequence_pair
from retrieval.pairs.sequence.ensemble import movie_table
from retrieval.pairs.sequence.settings import SequenceSettings
from retrieval.pairs.towers import PAIRS, QuerySide
from retrieval.pairs.words import Bag
from retrieval.pipeline.indexing import add_movies
from retrieval.run.folder import CONTENT, Run, open_run
from retrieval.service.catalogue import LoggedMovies, overlaid
from retrieval.serving.encoder import questions_of
from retrieval.serving.events import Event
from retrieval.serving.new_movies import (
    HALFWAY,
    MovieFolding,
    check_facts,
    content_of,
    content_vectors,
    new_movie_variance,
    new_movie_vectors,
)
from retrieval.serving.recommender import Recommender
from retrieval.serving.users import Person, many_users, one_user

TITLE = "The Comedy of Comedies and Dramas"
FACTS: list[dict[str, object]] = [
    {"title": TITLE, "year": 2004, "genres": ["Comedy", "Drama", "Unheard of"]},
    {"title": "Nothing Known", "year": None, "directors": ["Nobody"]},
]


def frame(movies: pd.DataFrame) -> pd.DataFrame:
    """The same facts as a table of movies."""
    rows = movies.head(2).copy()
    rows["movie_id"] = [9001, 9002]
    rows["title"] = [TITLE, "Nothing Known"]
    rows["year"] = pd.array([2004, None], dtype="Int64")
    rows["genres"] = ["Comedy|Drama|Unheard of", ""]
    rows["directors"], rows["actors"] = ["", "Nobody"], ""
    return rows


@pytest.fixture(scope="module")
def opened(run: Path) -> Run:
    return open_run(run)


@pytest.fixture(scope="module")
def content(opened: Run, data: MovieData) -> Content:
    return load_content(opened.folder / CONTENT).describe(frame(data.movies))


@pytest.mark.parametrize("bag", list(Bag))
def test_words_weigh_as_scikit_learn_weighs_them(bag: Bag) -> None:
    rng = np.random.default_rng(0)
    known = [f"Wort{number}" if number % 3 else f"été {number}" for number in range(40)]
    joined = " " if bag is Bag.WORDS else "|"
    texts = [joined.join(rng.choice(known, rng.integers(0, 12))) for _ in range(300)]
    movies = pd.DataFrame(
        {"title": texts, "year": 1990.0, "genres": "", "directors": "", "actors": texts}
    )
    encoder = fit_content(movies, 0)
    words = encoder.titles if bag is Bag.WORDS else encoder.people
    asked = [*texts[:50], "", "nobody knows this", f"{texts[0]}{joined}WORT1{joined}wort1"]
    weighing: TfidfVectorizer = vectorizer(bag).fit(texts)
    expected = weighing.transform(asked) @ words.directions.T
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(words.describe(asked, bag), expected, atol=1e-6)


def new_vectors(run: Run, facts: list[dict[str, Any]]) -> np.ndarray:
    return new_movie_vectors(run, content_of(run, facts))


def first_content_vector(run: Run) -> np.ndarray:
    vector: np.ndarray = content_vectors(run, content_of(run, FACTS))[0]
    return vector


def test_plain_facts_say_the_same_as_a_frame(opened: Run, data: MovieData) -> None:
    encoder = load_content(opened.folder / CONTENT)
    table: dict[str, list[Any]] = {
        "title": [TITLE, "Nothing Known"],
        "year": [2004, np.nan],
        "genres": ["Comedy|Drama|Unheard of", ""],
        "directors": ["", "Nobody"],
        "actors": ["", ""],
    }
    for one, other in zip(
        encoder.describe(table), encoder.describe(frame(data.movies)), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert encoder.describe(table).genres.sum() == 2


def test_new_movies_get_the_vectors_that_adding_them_gives(
    run: Path, opened: Run, data: MovieData, tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "run")
    assert add_movies(tmp_path / "run", frame(data.movies)) == 2
    after = Recommender.load(tmp_path / "run")
    numbers = np.array([after.run.catalogue.number(movie) for movie in (9001, 9002)])
    made = new_vectors(opened, FACTS)
    np.testing.assert_allclose(made, after.index.vectors_of(numbers), atol=1e-5)
    assert np.abs(made[0] - made[1]).max() > 0.01
    tower = after.snapshot.encoder.tower("bayesian")
    variances = tower.movie_variances(numbers)
    np.testing.assert_allclose(new_movie_variance(opened), variances, rtol=1e-5)


def test_numpy_says_of_new_movies_what_torch_says(opened: Run, content: Content) -> None:
    neural, _, sequence = opened.config.parts
    matrix = torch.from_numpy(content.matrix())
    settings = NeuralSettings.model_validate(opened.config.settings["neural"])
    module = neural_pair.load(opened.folder, settings)
    made = neural_movies.new_movie_vectors(opened.folder, opened.facts(neural), content)
    np.testing.assert_allclose(made, neural_pair.unrated_vectors(module, content), atol=1e-5)
    own = SequenceSettings.model_validate(opened.config.settings["sequence"])
    members = sequence_pair.load(opened.folder, own).members()
    with torch.no_grad():
        said = torch.cat([normalize(pair.describe(matrix), dim=1) for pair in members], dim=1)
    made = sequence_movies.new_movie_vectors(opened.folder, opened.facts(sequence), content)
    assert made.shape == (2, sequence.width)
    np.testing.assert_allclose(made[:, : said.shape[1]], said.numpy(), atol=1e-5)


def test_towers_read_of_new_movies_what_torch_would(opened: Run, data: MovieData) -> None:
    """Of movies that training knew, and that nobody had rated: their content is all there is."""
    content = load_content(opened.folder / CONTENT).describe(data.movies)
    settings = NeuralSettings.model_validate(opened.config.settings["neural"])
    module = neural_pair.load(opened.folder, settings)
    module.rated[:] = False
    module.statistics[:] = 0
    expected = tables_of(module).events.stored
    made = neural_movies.new_event_rows(opened.folder, content)
    np.testing.assert_allclose(made, expected, atol=1e-5)
    own = SequenceSettings.model_validate(opened.config.settings["sequence"])
    ensemble = sequence_pair.load(opened.folder, own)
    for pair in ensemble.members():
        pair.rated[:] = False
    rows = sequence_movies.new_movie_rows(opened.folder, content)
    np.testing.assert_allclose(rows, movie_table(ensemble).stored[1:], atol=1e-5)


def test_a_live_movie_in_a_history_says_what_an_added_one_does(
    run: Path, opened: Run, data: MovieData, tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "run")
    add_movies(tmp_path / "run", frame(data.movies))
    added = Recommender.load(tmp_path / "run").snapshot
    base = Recommender.load(run).snapshot
    named = {str(movie): facts for movie, facts in zip((9001, 9002), FACTS, strict=True)}
    live = overlaid(base, LoggedMovies(named)).snapshot
    first = opened.catalogue.movies[0].id
    person = Person(history=[Event(9002, 5.0), Event(first, 1.0), Event(9001, 2.0)])
    for part in opened.config.parts:
        one, other = (
            snapshot.encoder.tower(part.name)
            .encode(
                questions_of(one_user(snapshot.run, person), np.zeros(1, np.int64), None).questions
            )
            .vectors
            for snapshot in (added, live)
        )
        np.testing.assert_allclose(one, other, atol=1e-5, err_msg=part.name)


def test_a_process_that_describes_movies_has_imported_nothing_that_trains(run: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from retrieval.run.folder import open_run
from retrieval.serving.new_movies import content_of, new_movie_vectors
run = open_run(Path({str(run)!r}))
new_movie_vectors(run, content_of(run, [{{"title": "A"}}]))
print([name for name in ("torch", "pandas", "sklearn", "scipy", "numba") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, "title is 'None'"),
        ({"title": "  "}, "give the title"),
        ("A title", "give a mapping"),
        ({"title": "A", "year": "1999"}, r"year '1999' is not a number"),
        ({"title": "A", "year": 99}, "year 99 is impossible; give four digits"),
        ({"title": "A", "genres": "Drama"}, "genres 'Drama' is not a list of texts"),
        ({"title": "A", "genres": ["Drama|War"]}, "give each by itself"),
        ({"title": "A" * 1001}, "title is longer than 1,000 letters; shorten it"),
        ({"title": "A\x1b[2J"}, "control characters; leave them out"),
        ({"title": "A", "gernes": []}, "did you mean genres"),
    ],
)
def test_bad_facts_are_refused_with_a_remedy(opened: Run, facts: object, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        check_facts(opened, facts)


def test_facts_that_fit_are_taken_and_others_count_as_not_known(opened: Run) -> None:
    for facts in FACTS:
        check_facts(opened, facts)
    other = {**FACTS[0], "year": "soon", "director's cut": True, "actors": 7}
    without = {**FACTS[0], "year": None}
    np.testing.assert_array_equal(
        new_vectors(opened, [other]),
        new_vectors(opened, [without]),
    )


def test_attributes_of_every_kind_are_described() -> None:
    kinds: dict[str, tuple[AttributeKind, list[Any]]] = {
        "minutes": (AttributeKind.NUMBER, [90.0, 120.0, np.nan]),
        "tags": (AttributeKind.LIST, ["a|b", "b", ""]),
        "seen": (AttributeKind.YES_NO, [1.0, 0.0, np.nan]),
        "rated": (AttributeKind.CATEGORY, ["PG", "R", ""]),
    }
    cells = {name: values for name, (_, values) in kinds.items()} | {"title": ["x", "y", "z"]}
    names = {"tags": ("a", "b"), "rated": ("PG", "R")}
    for name, (kind, _) in kinds.items():
        encoder = FactEncoder(name, kind, names.get(name, ()), 100.0, 10.0)
        plain, framed = encoder.describe(cells), encoder.describe(pd.DataFrame(cells))
        np.testing.assert_array_equal(plain, framed)
        assert plain[:2].any()
        assert not plain[2].any()


def test_a_pair_that_knows_no_new_movies_says_so(
    opened: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = PAIRS["neural"]
    monkeypatch.setitem(PAIRS, "neural", QuerySide(own.files, own.open_tower))
    for ask in (
        lambda: check_facts(opened, FACTS[0]),
        lambda: new_vectors(opened, FACTS),
    ):
        with pytest.raises(RequestError, match="neural pair knows no movie it was not trained on"):
            ask()


def planted(width: int) -> tuple[UnratedPrior, np.ndarray]:
    """A prior, and what movies are around it."""
    root = np.random.default_rng(0).standard_normal((width, width)) / 2
    prior = UnratedPrior(
        covariance=root @ root.T, user_products=np.eye(width), noise=np.array([0.7])
    )
    return prior, root


def test_folding_in_is_the_posterior_of_a_regression(recommender: Recommender) -> None:
    tower = recommender.snapshot.encoder.tower("bayesian")
    assert isinstance(tower, BayesianTower)
    pair, rng = tower.pair, np.random.default_rng(1)
    width = pair.movies.shape[1]
    prior, _ = planted(width)
    mean, count = rng.standard_normal((width,)), 9
    vectors = rng.standard_normal((count, width)).astype(np.float32)
    offsets, variances = rng.standard_normal(count), rng.gamma(2.0, size=count).astype(np.float32)
    classes = rng.integers(0, len(pair.class_latents), count)
    users = UserVectors(vectors, offsets, variances)
    folded = fold_in_movie(pair, prior, mean, users, classes)
    # The same by conditioning the joint normal of the vector and the ratings.
    gain = (
        prior.covariance
        @ vectors.T
        @ np.linalg.inv(vectors @ prior.covariance @ vectors.T + np.diag(prior.noise + variances))
    )
    left = pair.class_latents[classes] - offsets - vectors @ mean
    np.testing.assert_allclose(folded.vector, mean + gain @ left, atol=1e-6)
    after = prior.covariance - gain @ vectors @ prior.covariance
    assert folded.variance == pytest.approx(np.trace(after) + 0.7, rel=1e-6)


def test_with_ratings_a_vector_goes_where_the_movie_is(recommender: Recommender) -> None:
    tower = recommender.snapshot.encoder.tower("bayesian")
    assert isinstance(tower, BayesianTower)
    pair, rng = tower.pair, np.random.default_rng(2)
    width = pair.movies.shape[1]
    prior, root = planted(width)
    latents = np.linspace(-60, 60, 60_001)
    pair = pair._replace(class_latents=latents.astype(np.float32))
    errors, variances = [], []
    movies = rng.standard_normal((10, width)) @ root.T
    for count in (0, 5, 50, 500):
        squares = []
        for movie in movies:
            vectors = rng.standard_normal((count, width)).astype(np.float32)
            values = vectors @ movie / 10 + np.sqrt(0.7) * rng.standard_normal(count)
            classes = np.searchsorted(latents, values)
            users = UserVectors(
                vectors / np.float32(10), np.zeros(count), np.zeros(count, np.float32)
            )
            found = fold_in_movie(pair, prior, np.zeros(width), users, classes)
            squares.append(float(((found.vector - movie) ** 2).sum()))
        errors.append(np.mean(squares))
        variances.append(found.variance)
    assert errors == sorted(errors, reverse=True)
    assert variances == sorted(variances, reverse=True)
    assert errors[-1] < 0.3 * errors[0]


def folding(recommender: Recommender) -> MovieFolding:
    found = MovieFolding.of(recommender.run, recommender.snapshot.encoder)
    assert found is not None
    return found


def raters(recommender: Recommender, count: int) -> UserVectors:
    run, encoder = recommender.run, recommender.snapshot.encoder
    users, rows = many_users(run, run.users.ids[:count], {})
    return encoder.tower("bayesian").encode(questions_of(users, rows, None).questions)


def test_without_ratings_a_movie_is_as_its_content_says(
    recommender: Recommender, opened: Run
) -> None:
    vector = first_content_vector(opened)
    moved = folding(recommender).moved(vector, raters(recommender, 0), np.zeros(0))
    np.testing.assert_allclose(moved.vector, new_vectors(opened, FACTS)[0], atol=1e-6)
    assert moved.variance == pytest.approx(new_movie_variance(opened), rel=1e-5)


def test_good_ratings_lift_a_movie_and_bad_ones_sink_it(
    recommender: Recommender, opened: Run
) -> None:
    encoder, vector = (
        recommender.snapshot.encoder,
        first_content_vector(opened),
    )
    users, rows = many_users(opened, opened.users.ids[-40:], {})
    encoded = encoder.encode(questions_of(users, rows, None))

    def rated(stars: float, count: int) -> tuple[float, float]:
        given = np.full(count, stars)
        moved = folding(recommender).moved(vector, raters(recommender, count), given)
        scores = encoded.vectors @ moved.vector
        predicted = encoder.ratings(encoded.offsets, scores.astype(np.float64)).mean()
        return float(predicted), moved.variance

    (bad, _), (one, sure), (good, surer) = rated(1, 10), rated(5, 1), rated(5, 20)
    (unrated, unsure) = rated(5, 0)
    assert bad < unrated < one < good
    assert surer < sure < unsure
    assert good > 4


def test_with_ratings_the_bayesian_pair_takes_over(recommender: Recommender, opened: Run) -> None:
    layout, blend = opened.config.layout, opened.config.blend
    neural, bayesian = layout.rating
    vector = first_content_vector(opened)
    moved = folding(recommender).moved(vector, raters(recommender, 30), np.full(30, 3.0)).vector
    share = HALFWAY / (30 + HALFWAY)
    own = layout.columns(neural)
    factor = share * blend.unrated_factors[0]
    np.testing.assert_allclose(moved[own], factor * vector[own], rtol=1e-4, atol=1e-6)
    # What both said of the user's offset before, the Bayesian pair says now.
    whole = min(sum(blend.weights) / blend.weights[1], 2.0) if blend.weights[1] > 0 else 2.0
    offset = share * blend.unrated_offset_factors[1] + (1 - share) * whole - 1
    assert moved[layout.columns(bayesian).stop] == pytest.approx(offset, rel=1e-4)
    ranked = layout.columns(layout.ranking[0])
    np.testing.assert_array_equal(moved[ranked], vector[ranked])


def test_a_run_of_before_lists_new_movies_and_says_that_ratings_move_none(
    run: Path, recommender: Recommender, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "version"
    shutil.copytree(recommender.run.folder, folder)
    (folder / PRIOR_FILE).unlink()
    old = replace(recommender.run, folder=folder, home=run)
    assert new_vectors(old, FACTS).shape == (2, old.config.layout.dimension)
    with caplog.at_level(logging.WARNING):
        assert MovieFolding.of(old, recommender.snapshot.encoder) is None
    assert "count from the next training on" in caplog.text


def test_a_damaged_prior_is_refused(recommender: Recommender, tmp_path: Path) -> None:
    path = recommender.run.folder / PRIOR_FILE
    width = recommender.run.config.layout.rating[1].width
    assert load_unrated_prior(path, width).noise > 0
    with pytest.raises(RunError, match="not of vectors of 3 components"):
        load_unrated_prior(path, 3)
    (tmp_path / PRIOR_FILE).write_bytes(b"nothing")
    with pytest.raises(RunError):
        load_unrated_prior(tmp_path / PRIOR_FILE, width)


def test_runs_without_the_bayesian_pair_move_nothing(recommender: Recommender, opened: Run) -> None:
    config = opened.config
    blend = replace(config.blend, unrated_factors=(1.0,), unrated_offset_factors=(1.0,))
    alone = replace(opened, config=replace(config, parts=config.parts[:1], blend=blend))
    assert alone.config.layout.names == ("neural",)
    assert MovieFolding.of(alone, recommender.snapshot.encoder) is None
    assert new_movie_variance(alone) == 0
    assert new_vectors(alone, FACTS).shape == (
        2,
        config.parts[0].width + 1,
    )


def test_the_prior_is_what_lies_between_rated_movies_and_their_content(
    recommender: Recommender, data: MovieData
) -> None:
    dataset: Dataset = encode(data)
    tower = recommender.snapshot.encoder.tower("bayesian")
    assert isinstance(tower, BayesianTower)
    pair, run = tower.pair, recommender.run
    prior = load_unrated_prior(run.folder / PRIOR_FILE, pair.movies.shape[1])
    matrix = load_content(run.folder / CONTENT).describe(dataset.movie_frame).matrix()
    expected = np.hstack([np.ones((len(matrix), 1)), matrix]) @ pair.movie_coefficients
    counts = np.bincount(dataset.movies, minlength=len(matrix))
    away = (pair.movies - expected) * np.sqrt(counts)[:, None]
    np.testing.assert_allclose(prior.covariance, away.T @ away / counts.sum(), atol=1e-4)
