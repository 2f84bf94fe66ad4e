"""The Bayesian pair at query time: users as inferred, new users in closed form.

A user who was there at training has a vector, the mean of the posterior. Anyone else, or a user
with other ratings, gets one from the prior that attributes and the movies rated give, and one
solve with the ratings: the posterior of a linear regression. numpy is all it needs.
"""

from copy import copy
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from retrieval.data.history import Histories
from retrieval.data.scale import RatingScale
from retrieval.data.vocabulary import UNKNOWN
from retrieval.errors import RunError
from retrieval.pairs.content import Content
from retrieval.pairs.lru_cache import LruCache
from retrieval.pairs.protocol import Questions, RunFacts, UserVectors
from retrieval.pairs.when import When
from retrieval.storage.arrays import mapped_vectors, save_arrays
from retrieval.storage.damage import readable

NAME = "bayesian"

# In the folder of a run.
ARRAYS_FILE = "bayesian.safetensors"
EFFECTS_FILE = "session_effects.npy"
FILES = (ARRAYS_FILE, EFFECTS_FILE)

Vectors = NDArray[np.float32]
Floats = NDArray[np.float64]

# Bytes of what is kept of users whose ratings are not as stored: of 500 users.
MOST_BYTES = 16 * 2**20

# Movies rated before which ones they are counts for half of what it counts for in the end; until
# then the rest is as is usual for the attributes. The first few say less of taste than of what is
# famous.
USUAL_COUNT = 10


class Bayesian(NamedTuple):
    """The pair as arrays, for U users and M movies in D dimensions and a bias."""

    users: Vectors  # (U, D + 1), the last the user's offset
    movies: Vectors  # (M, D + 1), the last the movie's bias
    user_variances: Vectors  # (U,) that uncertainty about a user adds to scores
    movie_variances: Vectors  # (M,) that uncertainty about a movie and its noise add to scores
    user_coefficients: Vectors  # (1 + attributes + M, D + 1)
    usual: Vectors  # (1 + attributes, D + 1) what attributes tell of what movies rated add
    usual_covariance: Floats  # (D + 1, D + 1) of what they do add around it
    movie_coefficients: Vectors  # (1 + F, D + 1) of content, where nobody has rated the movie
    unrated_variance: (
        Floats  # (1,) that uncertainty about an unrated movie and its noise add to scores
    )
    covariance: Floats  # (D + 1, D + 1) of a user around the mean that the coefficients give
    movie_noise: Vectors  # (M,) variance of what a rating says of its user
    movie_products: Floats  # (D + 1, D + 1) mean outer product of what users meet
    class_latents: Vectors  # (L,) the latent value that a rating of each class stands for
    session_law: Floats  # (3,) correlation and variance of slow effects, variance of quick ones


# The arrays of the pair that `prior` and `fold_in` need, and the law of session effects.
FOLD_IN = (
    *("movies", "user_coefficients", "usual", "usual_covariance", "covariance", "movie_noise"),
    *("movie_products", "class_latents", "session_law"),
)


class Belief(NamedTuple):
    """What is known of one user's vector, before ratings tell or after."""

    mean: Floats  # (D + 1,), the last the offset
    covariance: Floats  # (D + 1, D + 1)

    def score_variance(self, pair: Bayesian) -> float:
        """Return the variance that uncertainty about the user adds to scores."""
        return float((self.covariance * pair.movie_products).sum())


def save_bayesian(path: Path, pair: Bayesian) -> None:
    """Write the pair into one file."""
    save_arrays(path, pair._asdict())


def load_bayesian(path: Path) -> Bayesian:
    """Read back what `save_bayesian` wrote.

    Raises:
        RunError: The file is damaged, or its arrays do not fit together.
    """
    with readable(path):
        pair = Bayesian(**load_file(path))
        for name, shape in _shapes(pair).items():
            array = getattr(pair, name)
            if array.shape != shape or not np.isfinite(array).all():
                raise RunError(f"{name} is not of shape {shape}, or not finite")
        return pair


def write_arrays(version: Path, folder: Path) -> None:
    """Write what the vector of a new user is inferred with, and nothing of users, into a folder.

    Args:
        version: Folder of the version that holds the pair.
        folder: Folder to write into.

    Raises:
        RunError: The pair is damaged.
    """
    arrays = load_bayesian(version / ARRAYS_FILE)._asdict()
    save_arrays(folder / ARRAYS_FILE, {name: arrays[name] for name in FOLD_IN})


def _shapes(pair: Bayesian) -> dict[str, tuple[int, ...]]:
    """Return the shapes that the arrays of a pair must have, by what some of them have."""
    users, movies, facts = len(pair.users), len(pair.movies), len(pair.usual)
    width = pair.users.shape[-1]  # D + 1
    square = (width, width)
    return {
        "users": (users, width),
        "movies": (movies, width),
        "user_variances": (users,),
        "movie_variances": (movies,),
        "user_coefficients": (max(facts, len(pair.user_coefficients)), width),
        "usual": (facts, width),
        "usual_covariance": square,
        "movie_coefficients": (len(pair.movie_coefficients), width),
        "unrated_variance": (1,),
        "covariance": square,
        "movie_noise": (movies,),
        "movie_products": square,
        "class_latents": (len(pair.class_latents),),
        "session_law": (3,),
    }


def unrated_vectors(coefficients: NDArray[np.floating], content: Vectors) -> Floats:
    """Return the vectors `(A, D + 1)` that content `(A, F)` makes likely for unrated movies.

    Args:
        coefficients: `Bayesian.movie_coefficients`.
        content: Content of the movies.
    """
    facts = np.hstack([np.ones((len(content), 1), np.float32), content])  # (A, 1 + F)
    return np.asarray(facts @ coefficients, dtype=np.float64)


def with_movies(pair: Bayesian, content: Vectors) -> Bayesian:
    """Return the pair with movies that nobody has rated, described by content `(A, F)`, at the end.

    Their vectors are what their content makes likely; those of unrated movies that training knew
    are as uncertain.
    """
    vectors = unrated_vectors(pair.movie_coefficients, content)
    variance = np.full(len(content), pair.unrated_variance[0], np.float32)
    effects = pair.session_law[1:].sum()
    return pair._replace(
        movies=np.vstack([pair.movies, vectors.astype(np.float32)]),
        movie_variances=np.concatenate([pair.movie_variances, variance]),
        movie_noise=np.concatenate([pair.movie_noise, variance + np.float32(effects)]),
    )


def fact_columns(codes: NDArray[np.int64], sizes: tuple[int, ...]) -> NDArray[np.int64]:
    """Return which features people have by attributes: the constant, then one of each.

    The movies rated are the features from `1 + sum(sizes)` on.

    Args:
        codes: `(..., C)` of attributes.
        sizes: How many codes each of them has.

    Returns:
        `(..., 1 + C)`.
    """
    constant = np.zeros((*codes.shape[:-1], 1), dtype=np.int64)
    return np.concatenate([constant, codes + np.cumsum([1, *sizes[:-1]])], axis=-1)


def prior(
    pair: Bayesian, codes: NDArray[np.int64], sizes: tuple[int, ...], movies: NDArray[np.int64]
) -> Belief:
    """Return what to expect of someone who rated these movies, no matter how.

    Args:
        pair: The pair.
        codes: `(C,)` of attributes.
        sizes: How many codes each of them has.
        movies: `(E,)` numbers; of those that training did not know, nothing is to be expected.
    """
    facts = fact_columns(codes, sizes)
    mean: Floats = pair.user_coefficients[facts].sum(axis=0, dtype=np.float64)
    usual: Floats = pair.usual[facts].sum(axis=0, dtype=np.float64)
    first = 1 + sum(sizes)
    movies = movies[movies < len(pair.user_coefficients) - first]
    count = len(movies)
    rated: Floats = pair.user_coefficients[first + movies].sum(axis=0, dtype=np.float64)
    share = count / (count + USUAL_COUNT)
    mean += share * rated / np.sqrt(max(count, 1)) + (1 - share) * usual
    return Belief(mean, pair.covariance + (1 - share) * pair.usual_covariance)


def fold_in(
    pair: Bayesian, expected: Belief, movies: NDArray[np.int64], classes: NDArray[np.int64]
) -> Belief:
    """Return the posterior of a user, given ratings.

    Args:
        pair: The pair.
        expected: Of the user before these ratings.
        movies: `(E,)` numbers.
        classes: `(E,)` of the ratings.
    """
    met = pair.movies[movies].astype(np.float64)  # (E, D + 1)
    left = pair.class_latents[classes] - met[:, -1]
    met[:, -1] = 1.0
    left -= met @ expected.mean
    noise = pair.movie_noise[movies].astype(np.float64)
    if len(movies) < met.shape[1]:  # as many equations as there are ratings
        spread = met @ expected.covariance  # (E, D + 1)
        solved = np.linalg.solve(
            spread @ met.T + np.diag(noise), np.concatenate([left[:, None], spread], axis=1)
        )
        return Belief(
            expected.mean + solved[:, 0] @ spread, expected.covariance - spread.T @ solved[:, 1:]
        )
    weighted = met / noise[:, None]
    precision = np.eye(met.shape[1]) + expected.covariance @ (weighted.T @ met)
    covariance = np.asarray(np.linalg.solve(precision, expected.covariance), np.float64)
    return Belief(expected.mean + covariance @ (weighted.T @ left), covariance)


class BayesianTower:
    """The user tower of one run.

    Args:
        pair: The pair.
        effects: `(2, N)` slow and quick session effects of the events of the histories.
        histories: Of the U users, as stored.
        sizes: How many codes each attribute has.
        scale: Of the ratings.
    """

    def __init__(
        self,
        pair: Bayesian,
        effects: Vectors,
        histories: Histories,
        sizes: tuple[int, ...],
        scale: RatingScale,
    ) -> None:
        self.pair = pair
        self._effects, self._histories = effects, histories
        self._sizes, self._scale = sizes, scale
        self.forget()

    def encode(self, questions: Questions) -> UserVectors:
        """Return what the tower says of Q questions."""
        stored = questions.stored != UNKNOWN
        rows = np.zeros((len(stored), self.pair.users.shape[1]))
        variances = np.zeros(len(stored))
        rows[stored] = self.pair.users[questions.stored[stored]]
        variances[stored] = self.pair.user_variances[questions.stored[stored]]
        folded: dict[tuple[int, ...], tuple[Floats, float]] = {}
        windows, codes = questions.windows, questions.codes
        for place in np.flatnonzero(~stored).tolist():
            # The same ratings are folded in once, whenever and whatever is asked.
            key = (int(windows.starts[place]), int(windows.ends[place]), *codes[place].tolist())
            if key not in folded:
                belief = self._belief(questions, place)
                folded[key] = belief.mean, belief.score_variance(self.pair)
            rows[place], variances[place] = folded[key]
        offsets = rows[:, -1] + self._session_effects(questions)
        rows[:, -1] = 1.0
        _, slow, quick = self.pair.session_law
        return UserVectors(
            rows.astype(np.float32),
            offsets,
            (variances + slow + quick).astype(np.float32),
        )

    def with_movies(self, content: Content) -> "BayesianTower":
        """Return the tower with movies, after all others, that it knows by their content alone."""
        tower = copy(self)  # with the same cache: of users it knows no more
        tower.pair = with_movies(self.pair, content.matrix())
        return tower

    def forget(self) -> None:
        """Keep nothing of what is known of users whose ratings are not as stored."""
        # Another cache, so that whoever is about to fill the one before fills nothing.
        self._beliefs: LruCache[int, Belief] = LruCache(
            lambda belief: belief.covariance.nbytes, MOST_BYTES
        )

    def movie_variances(self, numbers: NDArray[np.int64]) -> Floats:
        """Return what uncertainty about movies `(C,)` adds to the variance of scores, `(C,)`."""
        return self.pair.movie_variances[numbers].astype(np.float64)

    def _belief(self, questions: Questions, place: int) -> Belief:
        """Return what is known of who asks, whose ratings are not as stored."""
        start, end = int(questions.windows.starts[place]), int(questions.windows.ends[place])
        codes, histories = questions.codes[place], questions.histories
        user, beliefs = int(questions.grown[place]), self._beliefs
        if user == UNKNOWN:
            return self._folded_in(None, codes, histories, start, end)
        # What training inferred still holds, and says more than the same ratings folded in anew.
        first, last = self._histories.offsets[user : user + 2].tolist()
        belief = beliefs.get(user)
        if belief is None:
            folded = self._folded_in(None, codes, self._histories, first, last)
            belief = Belief(self.pair.users[user].astype(np.float64), folded.covariance)
            beliefs.put(user, belief)
        return self._folded_in(belief, codes, histories, start + last - first, end)

    def _folded_in(
        self,
        expected: Belief | None,
        codes: NDArray[np.int64],
        histories: Histories,
        start: int,
        end: int,
    ) -> Belief:
        """Return a belief after the ratings from a start to an end; None is before any rating."""
        movies = histories.movies[start:end].astype(np.int64)
        classes = self._scale.class_of(histories.ratings[start:end])
        if expected is None:
            expected = prior(self.pair, codes, self._sizes, movies)
        return fold_in(self.pair, expected, movies, classes)

    def _session_effects(self, questions: Questions) -> Floats:
        """Return the effects `(Q,)` of stored users at the time of asking, 0 where it is not given.

        On a group that was rated it is the group's; between two groups, or after the last one, what
        the slow session effect of the neighbours makes likely.
        """
        effects = np.zeros(len(questions.stored))
        if questions.when is not When.AT or not len(self._histories.timestamps):
            return effects
        asked = np.flatnonzero(questions.stored != UNKNOWN)
        users = questions.stored[asked]
        first, end = self._histories.offsets[users], self._histories.offsets[users + 1]
        windows = questions.windows
        after = first + windows.ends[asked] - windows.starts[asked]  # the first event after
        last = len(self._histories.timestamps) - 1
        before = np.maximum(after - 1, 0)
        in_group = (after > first) & (self._histories.timestamps[before] == windows.times[asked])
        slow, quick = self._effects
        early = np.where(after > first, slow[before], 0.0)
        late = np.where(after < end, slow[np.minimum(after, last)], 0.0)
        correlation = self.pair.session_law[0]
        between = (after > first) & (after < end)
        share = np.where(between, correlation / (1 + correlation**2), correlation)
        effects[asked] = np.where(in_group, early + quick[before], share * (early + late))
        return effects


def open_tower(folder: Path, facts: RunFacts) -> BayesianTower:
    """Open the user tower in the folder of a version.

    Raises:
        RunError: A file is damaged, or of other users, movies or ratings than the run.
    """
    pair, events = load_bayesian(folder / ARRAYS_FILE), len(facts.histories.movies)
    constants = 1 + sum(facts.attributes)
    fits = (
        pair.users.shape == (facts.users, facts.part.width)
        and len(pair.movies) == facts.movies
        and pair.usual.shape[0] == constants
        and pair.user_coefficients.shape[0] == constants + facts.movies - facts.added
        and len(pair.class_latents) == facts.scale.classes
    )
    if not fits:
        raise RunError(f"{folder / ARRAYS_FILE} is of another run than the rest; train again")
    effects = mapped_vectors(folder / EFFECTS_FILE, (2, events), "session effects")
    return BayesianTower(pair, effects, facts.histories, facts.attributes, facts.scale)
