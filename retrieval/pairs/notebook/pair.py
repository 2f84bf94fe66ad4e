"""The notebook pair as training knows it: fitted, saved, and read back for its movies."""

from pathlib import Path

import numpy as np
import torch

from retrieval.data.user_attributes import AGE_EDGES
from retrieval.options import Preset
from retrieval.pairs.content import Content
from retrieval.pairs.neural.examples import TrainingStatistics, training_statistics
from retrieval.pairs.neural.fitted import (
    FittedHistoryPair,
    HistoryReader,
    forget_user,
    train_module,
)
from retrieval.pairs.neural.training import LoopSettings, Optimizer
from retrieval.pairs.notebook.model import NotebookPair, NotebookUserTower, tables_of
from retrieval.pairs.notebook.settings import NotebookSettings, preset_settings
from retrieval.pairs.notebook.tower import FILES, NAME, knows_no_others
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
from retrieval.storage.damage import readable

# Seconds that a rating costs in each epoch on the reference machine.
RATING_COST = 4e-5


class NotebookTowers:
    """How the notebook pair is trained."""

    rates, ranks = True, False

    def settings(self, preset: Preset) -> NotebookSettings:
        """Return the settings of a preset."""
        return preset_settings(preset)

    def stages(self, ratings: int, settings: NotebookSettings) -> list[Stage]:
        """Return the stages of training on so many ratings, with what they are expected to cost."""
        return [Stage(f"{NAME} pair", settings.epochs * ratings * RATING_COST)]

    def rehearse(self, data: TrainingData, settings: NotebookSettings, seed: int) -> None:
        """Fail at once where the export of the user tower would."""
        dataset = data.dataset

        def export(folder: Path) -> None:
            statistics = training_statistics(dataset, np.ones(len(dataset.ratings), dtype=bool))
            module = make_module(data, settings, statistics, seed)
            _reader(module, data, statistics).export(folder / FILES.tower)

        rehearse_export(len(dataset.ratings), export)

    def fit(
        self, data: TrainingData, settings: NotebookSettings, options: TrainingOptions
    ) -> FittedHistoryPair:
        """Train the pair, on a CPU the same way for the same seed and number of threads."""
        statistics = training_statistics(data.dataset, ~data.held_out)
        module = make_module(data, settings, statistics, options.seed)
        loop = LoopSettings(
            optimizer=Optimizer.SGD,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            momentum=settings.momentum,
            warm_up=0.0,
            patience=settings.patience,
        )
        length = settings.history_length
        fit, scores = train_module(module, statistics, data, length, loop, NAME, options)
        vectors = movie_vectors(module)
        return FittedHistoryPair(
            name=NAME,
            reader=_reader(module, data, statistics),
            fit=fit,
            scores=scores,
            movies=vectors,
            biased=False,
            unrated=lambda: vectors,  # it treats a movie without ratings like any other
            write=lambda folder: save(folder, module),
            files=FILES,
        )

    def saved(self, folder: Path, facts: RunFacts) -> SavedPair:
        """Open the pair in the folder of a version."""
        return SavedNotebook(folder, facts)


class SavedNotebook:
    """The pair in the folder of a run.

    Raises:
        RunError: A file is damaged.
    """

    def __init__(self, folder: Path, facts: RunFacts) -> None:
        settings = NotebookSettings.model_validate(facts.settings)
        self._module = load(folder, settings, facts.centre, facts.scale.unit)

    def movies(self) -> Vectors:
        """Return the movie vectors `(M, W)` of the catalogue that it was trained on."""
        return movie_vectors(self._module)

    def add_movies(self, content: Content, _folder: Path) -> Vectors:
        """Raise a `RequestError`."""
        return knows_no_others(content)

    def forget_user(self, user: int, _events: slice, folder: Path) -> None:
        """Write the pair without what it knows of a user's id."""
        forget_user(folder, FILES, user)


def make_module(
    data: TrainingData, settings: NotebookSettings, statistics: TrainingStatistics, seed: int
) -> NotebookPair:
    """Return an untrained module for a data set and the content of its movies."""
    content = data.content
    years = np.nan_to_num((content.years - 1980) / 40)
    edges = np.array([0, 1, *AGE_EDGES], dtype=np.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NotebookPair(
            settings,
            sizes_of(data.dataset, content.matrix()),
            torch.from_numpy(content.genres),
            torch.from_numpy(years.astype(np.float32)),
            torch.from_numpy(edges / max(AGE_EDGES)),
            statistics.centre,
            data.dataset.scale.unit,
        )


def save(folder: Path, module: NotebookPair) -> None:
    """Write weights and sizes into a folder."""
    save_module(folder / FILES.weights, folder / FILES.sizes, module, module.sizes, {})


def load(folder: Path, settings: NotebookSettings, centre: float, unit: float) -> NotebookPair:
    """Read back what `save` wrote.

    Args:
        folder: Folder of a version.
        settings: Settings of the pair.
        centre: Average rating in training.
        unit: Ratings in a deviation of 1.

    Raises:
        RunError: A file is damaged.
    """
    sizes, weights, _ = load_module(folder / FILES.weights, folder / FILES.sizes)
    with readable(folder / FILES.weights):
        module = NotebookPair(
            settings,
            sizes,
            genres=weights["genres"],
            years=weights["years"],
            ages=weights["ages"],
            centre=centre,
            unit=unit,
        )
        module.load_state_dict(weights)
    module.eval()
    return module


def _reader(
    module: NotebookPair, data: TrainingData, statistics: TrainingStatistics
) -> HistoryReader:
    """Return the user tower of a module."""
    return HistoryReader(
        dataset=data.dataset,
        statistics=statistics,
        tower=NotebookUserTower(module),
        tables=tables_of(module),
        length=module.settings.history_length,
    )
