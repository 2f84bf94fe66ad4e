"""The Bayesian pair as training knows it: inferred, saved, and read back for its movies."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict

from index.arrays import load_array
from retrieval.data.dataset import Dataset
from retrieval.data.history import Histories, Windows, whole_windows
from retrieval.data.vocabulary import UNKNOWN
from retrieval.options import Preset
from retrieval.pairs.bayesian.inference import (
    BURNING_IN,
    COMPRESSING,
    DRAWING,
    PREPARING,
    WINDOW,
    Inferred,
    infer,
)
from retrieval.pairs.bayesian.new_movies import PRIOR_FILE, save_unrated_prior
from retrieval.pairs.bayesian.settings import BayesianSettings, preset_settings
from retrieval.pairs.bayesian.tower import (
    ARRAYS_FILE,
    EFFECTS_FILE,
    NAME,
    BayesianTower,
    load_bayesian,
    save_bayesian,
    with_movies,
)
from retrieval.pairs.content import Content
from retrieval.pairs.layout import Part, Role
from retrieval.pairs.protocol import (
    Floats,
    Numbers,
    Questions,
    RunFacts,
    UserVectors,
    Vectors,
)
from retrieval.pairs.training import LatentScale, SavedPair, TrainingData, TrainingOptions
from retrieval.pairs.when import When
from retrieval.progress import Stage
from retrieval.storage.arrays import replace_array
from retrieval.storage.files import new_file

# Parts of the catalogue, each of which the others say something about.
FOLDS = 10

# Seconds of a sweep for each rating and component on the reference machine, and of the rest.
SWEEP_COST, FEATURES_COST, COMPRESSION_COST = 4e-8, 3e-5, 2e-6


class BayesianTowers:
    """How the Bayesian pair is trained."""

    rates, ranks = True, False

    def settings(self, preset: Preset) -> BayesianSettings:
        """Return the settings of a preset."""
        return preset_settings(preset)

    def stages(self, ratings: int, settings: BayesianSettings) -> list[Stage]:
        """Return the stages of training on so many ratings, with what they are expected to cost."""
        sweep = SWEEP_COST * ratings * settings.dimension
        return [
            Stage(PREPARING, FEATURES_COST * ratings),
            Stage(BURNING_IN, sweep * WINDOW * settings.burn_in_windows),
            Stage(DRAWING, sweep * settings.spacing * settings.draws),
            Stage(COMPRESSING, COMPRESSION_COST * ratings * settings.compressed),
        ]

    def rehearse(self, data: TrainingData, settings: BayesianSettings, seed: int) -> None:
        """Do nothing: the user tower is no file that has to be exported."""

    def fit(
        self, data: TrainingData, settings: BayesianSettings, options: TrainingOptions
    ) -> "FittedBayesian":
        """Infer the pair, the same for the same seed, in one go or in several."""
        content = data.content.matrix()
        inferred = infer(
            data.dataset,
            content,
            data.validation,
            data.held_out,
            settings,
            options.seed,
            options.checkpoint,
            options.progress,
        )
        return FittedBayesian(dataset=data.dataset, content=content, inferred=inferred)

    def saved(self, folder: Path, facts: RunFacts) -> SavedPair:
        """Open the pair in the folder of a version."""
        return SavedBayesian(folder, facts)


@dataclass(frozen=True, kw_only=True)
class FittedBayesian:
    """The inferred pair, which rates.

    Args:
        dataset: All rows.
        content: `(M, F)` features of the movies.
        inferred: What inference came to.
    """

    dataset: Dataset
    content: NDArray[np.float32]
    inferred: Inferred
    ranking: None = field(default=None, init=False)

    @property
    def part(self) -> Part:
        """Its part of the joined vectors."""
        width = self.inferred.pair.movies.shape[1]
        return Part(name=NAME, roles=(Role.RATES,), width=width, biased=True)

    @property
    def rating(self) -> "FittedBayesian":
        """What it says of ratings."""
        return self

    @property
    def scores(self) -> Floats:
        """Scores `(N,)` predicted for validation rows, 0 elsewhere."""
        return self.inferred.scores

    @property
    def latent(self) -> LatentScale:
        """The scale of the scores."""
        inferred = self.inferred
        return LatentScale(
            values=inferred.values,
            thresholds=inferred.thresholds,
            classes=inferred.classes,
            noise=inferred.noise,
        )

    @property
    def movies(self) -> Vectors:
        """Movie vectors `(M, W)` before the pair saw the rows held out."""
        return self.inferred.early.movies

    def unrated_movies(self) -> Vectors:
        """Return what the movie vectors would be if nobody had rated them, `(M, W)`."""
        return guessed(self.content, self.movies)

    def known_users(self, users: Numbers, times: Numbers) -> UserVectors:
        """Return what the user tower says of users `(E,)`, whenever they ask."""
        nothing = Histories(
            np.zeros(2, np.int64),
            np.zeros(0, np.int32),
            np.zeros(0, np.float32),
            np.zeros(0, np.int64),
        )
        windows = whole_windows(nothing, np.zeros(len(users), np.int64))._replace(times=times)
        codes = self.dataset.user_codes[users]
        nobody = np.full(len(users), UNKNOWN)
        return self._early(nothing).encode(
            Questions(users, nobody, users, codes, nothing, windows, When.COMING_BACK)
        )

    def new_users(self, codes: Numbers, histories: Histories, windows: Windows) -> UserVectors:
        """Return what the user tower says of E new users who have told the events of windows."""
        nobody = np.full(len(codes), UNKNOWN)
        questions = Questions(nobody, nobody, nobody, codes, histories, windows, When.COMING_BACK)
        return self._early(histories).encode(questions)

    def save(self, folder: Path, _histories: Histories) -> None:
        """Write the pair, which is its own user tower, into a folder."""
        save_bayesian(folder / ARRAYS_FILE, self.inferred.pair)
        np.save(folder / EFFECTS_FILE, self.inferred.effects)
        save_unrated_prior(folder / PRIOR_FILE, self.inferred.unrated)

    def metrics(self) -> dict[str, object]:
        """Return what training measured."""
        return {
            "burn_in_rmse": [round(error, 4) for error in self.inferred.errors],
            "sweeps": self.inferred.sweeps,
            "folded_in_against_stored": round(self.inferred.disagreement, 4),
        }

    def _early(self, histories: Histories) -> BayesianTower:
        """Return the user tower as it was before it saw the rows held out."""
        sizes = self.dataset.user_attributes.sizes
        effects = np.zeros((2, 0), np.float32)
        return BayesianTower(self.inferred.early, effects, histories, sizes, self.dataset.scale)


class SavedBayesian:
    """The pair in the folder of a run.

    Raises:
        RunError: The file is damaged.
    """

    def __init__(self, folder: Path, facts: RunFacts) -> None:
        self._pair, self._added = load_bayesian(folder / ARRAYS_FILE), facts.added

    def movies(self) -> Vectors:
        """Return the movie vectors `(M, W)` of the catalogue that it was trained on."""
        return self._pair.movies[: -self._added or None]

    def add_movies(self, content: Content, folder: Path) -> Vectors:
        """Return vectors `(A, W)` of movies that nobody has rated, which the pair then holds."""
        pair = with_movies(self._pair, content.matrix())
        with new_file(folder / ARRAYS_FILE) as partial:
            save_bayesian(partial, pair)
        return pair.movies[len(self._pair.movies) :]

    def forget_user(self, user: int, events: slice, folder: Path) -> None:
        """Write the pair without the vector of a user and the effects of the user's events."""
        users, variances = self._pair.users, self._pair.user_variances
        pair = self._pair._replace(
            users=np.delete(users, user, axis=0), user_variances=np.delete(variances, user)
        )
        with new_file(folder / ARRAYS_FILE) as partial:
            save_bayesian(partial, pair)
        effects = np.delete(load_array(folder / EFFECTS_FILE), events, axis=1)
        replace_array(folder / EFFECTS_FILE, effects)


def guessed(content: NDArray[np.float32], vectors: Vectors) -> Vectors:
    """Return what content `(M, F)` says of movie vectors `(M, W)`, learned from other movies.

    From these alone: the coefficients of the pair know already what they are to guess. Where there
    are no others, nothing is guessed.
    """
    if len(vectors) < 2:
        return np.zeros_like(vectors)
    folds = KFold(min(FOLDS, len(vectors)), shuffle=True, random_state=0)
    guesses: Vectors = cross_val_predict(Ridge(), content, vectors, cv=folds)
    return guesses
