"""The neural pair as training knows it: fitted, saved, and read back for its movies."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from retrieval.data.statistics import MOVIE_STATISTICS
from retrieval.options import Preset
from retrieval.pairs.content import Content
from retrieval.pairs.neural.examples import TrainingStatistics, training_statistics
from retrieval.pairs.neural.files import FILES, NAME
from retrieval.pairs.neural.fitted import (
    FittedHistoryPair,
    HistoryReader,
    forget_user,
    train_module,
)
from retrieval.pairs.neural.model import MovieBatch, NeuralPair, NeuralUserTower, tables_of
from retrieval.pairs.neural.new_movies import new_event_rows, new_movie_vectors
from retrieval.pairs.neural.settings import NeuralSettings, preset_settings
from retrieval.pairs.neural.training import LoopSettings
from retrieval.pairs.protocol import RunFacts, Vectors
from retrieval.pairs.saved import load_module, save_module
from retrieval.pairs.sizes import sizes_of
from retrieval.pairs.training import (
    SavedPair,
    TrainingData,
    TrainingOptions,
    movie_vectors,
    rehearse_export,
)
from retrieval.progress import Stage
from retrieval.storage.arrays import append_rows
from retrieval.storage.damage import readable

# Seconds that a rating costs in each epoch on the reference machine.
RATING_COST = 1.5e-5


class NeuralTowers:
    """How the neural pair is trained."""

    rates, ranks = True, False

    def settings(self, preset: Preset) -> NeuralSettings:
        """Return the settings of a preset."""
        return preset_settings(preset)

    def stages(self, ratings: int, settings: NeuralSettings) -> list[Stage]:
        """Return the stages of training on so many ratings, with what they are expected to cost."""
        return [Stage(f"{NAME} pair", settings.epochs * ratings * RATING_COST)]

    def rehearse(self, data: TrainingData, settings: NeuralSettings, seed: int) -> None:
        """Fail at once where the export of the user tower would."""
        dataset = data.dataset

        def export(folder: Path) -> None:
            statistics = training_statistics(dataset, np.ones(len(dataset.ratings), dtype=bool))
            module = make_module(data, settings, statistics, seed)
            _reader(module, data, statistics).export(folder / FILES.tower)

        rehearse_export(len(dataset.ratings), export)

    def fit(
        self, data: TrainingData, settings: NeuralSettings, options: TrainingOptions
    ) -> FittedHistoryPair:
        """Train the pair, on a CPU the same way for the same seed and number of threads."""
        statistics = training_statistics(data.dataset, ~data.held_out)
        module = make_module(data, settings, statistics, options.seed)
        loop = LoopSettings(
            epochs=settings.epochs,
            batch_size=settings.rows_in_step(len(data.dataset.ratings)),
            learning_rate=settings.learning_rate,
            warm_up=settings.warm_up,
            patience=settings.patience,
        )
        length = settings.history_length
        fit, scores = train_module(module, statistics, data, length, loop, NAME, options)
        return FittedHistoryPair(
            name=NAME,
            reader=_reader(module, data, statistics),
            fit=fit,
            scores=scores,
            movies=movie_vectors(module),
            biased=True,
            unrated=lambda: unrated_vectors(module, data.content),
            write=lambda folder: save(folder, module),
            files=FILES,
        )

    def saved(self, folder: Path, facts: RunFacts) -> SavedPair:
        """Open the pair in the folder of a version."""
        return SavedNeural(folder, facts)


class SavedNeural:
    """The pair in the folder of a run.

    Raises:
        RunError: A file is damaged.
    """

    def __init__(self, folder: Path, facts: RunFacts) -> None:
        self._folder, self._facts = folder, facts
        self._module = load(folder, NeuralSettings.model_validate(facts.settings))

    def movies(self) -> Vectors:
        """Return the movie vectors `(M, W)` of the catalogue that it was trained on."""
        return movie_vectors(self._module)

    def add_movies(self, content: Content, folder: Path) -> Vectors:
        """Write embeddings of the events of new movies; return the movies' vectors `(A, W)`."""
        append_rows(folder / FILES.events, new_event_rows(self._folder, content))
        return new_movie_vectors(self._folder, self._facts, content)

    def forget_user(self, user: int, _events: slice, folder: Path) -> None:
        """Write the pair without what it knows of a user's id."""
        forget_user(folder, FILES, user)


def make_module(
    data: TrainingData, settings: NeuralSettings, statistics: TrainingStatistics, seed: int
) -> NeuralPair:
    """Return an untrained module for a data set and the content of its movies."""
    matrix = data.content.matrix()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NeuralPair(
            settings,
            sizes_of(data.dataset, matrix),
            torch.from_numpy(matrix),
            torch.from_numpy(statistics.movies),
            torch.from_numpy(statistics.rated),
        )


def unrated_vectors(module: NeuralPair, content: Content) -> NDArray[np.float32]:
    """Return the vectors of movies that nobody has rated, `(A, W)`, from their content."""
    matrix = torch.from_numpy(content.matrix())
    count = len(matrix)
    movies = MovieBatch(
        torch.zeros(count, dtype=torch.int64),
        torch.arange(count),
        torch.zeros(count, MOVIE_STATISTICS),
    )
    module.eval()
    with torch.no_grad():
        vectors: NDArray[np.float32] = module.movie_vectors_of(
            movies, module.describe(matrix)
        ).numpy()
    return vectors


def save(folder: Path, module: NeuralPair) -> None:
    """Write weights and sizes into a folder."""
    save_module(folder / FILES.weights, folder / FILES.sizes, module, module.sizes, {})


def load(folder: Path, settings: NeuralSettings) -> NeuralPair:
    """Read back what `save` wrote.

    Raises:
        RunError: A file is damaged.
    """
    sizes, weights, _ = load_module(folder / FILES.weights, folder / FILES.sizes)
    with readable(folder / FILES.weights):
        module = NeuralPair(
            settings,
            sizes,
            content=weights["content"],
            statistics=weights["statistics"],
            rated=weights["rated"],
        )
        module.load_state_dict(weights)
    module.eval()
    return module


def _reader(
    module: NeuralPair, data: TrainingData, statistics: TrainingStatistics
) -> HistoryReader:
    """Return the user tower of a module, which may not be trained any more."""
    return HistoryReader(
        dataset=data.dataset,
        statistics=statistics,
        tower=NeuralUserTower(module, statistics.centre, data.dataset.scale.unit),
        tables=tables_of(module),
        length=module.settings.history_length,
    )
