"""A pair that reads `UserInputs`, fitted: what it says of rows that it was not trained on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from retrieval.data.dataset import Dataset
from retrieval.data.history import Histories, Windows, whole_windows, windows_until
from retrieval.data.scale import RatingScale
from retrieval.pairs.device import available
from retrieval.pairs.epochs import Fit
from retrieval.pairs.export import Axes, export, longest_histories
from retrieval.pairs.layout import Part, Role
from retrieval.pairs.neural.examples import (
    TrainingStatistics,
    events_of,
    held_out_examples,
    training_examples,
)
from retrieval.pairs.neural.files import HistoryFiles
from retrieval.pairs.neural.inputs import UNKNOWN_USER, Tables, UserInputs, user_inputs
from retrieval.pairs.neural.tower import stored_users
from retrieval.pairs.neural.training import (
    EVALUATION_BATCH,
    Epoch,
    LoopSettings,
    RatingModule,
    fit,
    predict,
)
from retrieval.pairs.onnx_tower import OnnxTower
from retrieval.pairs.protocol import (
    Floats,
    Numbers,
    UserVectors,
    Vectors,
)
from retrieval.pairs.saved import without_user
from retrieval.pairs.training import LatentScale, TrainingData, TrainingOptions
from retrieval.storage.arrays import without_rows

# Users on whom an exported tower is compared with its original.
EXAMPLES = 64

# Where interrupted training is kept.
CHECKPOINT = "module.safetensors"

# An example has room for so many events: to an exporter the size 1 is special.
EVENTS = 2


@dataclass(frozen=True, kw_only=True)
class HistoryReader:
    """What such a pair was trained on, and its user tower.

    Args:
        dataset: All rows.
        statistics: What the training rows say.
        tower: Torch module called with what `Tables.columns` returns.
        tables: The embeddings of users and events.
        length: Length of the longest history.
    """

    dataset: Dataset
    statistics: TrainingStatistics
    tower: nn.Module
    tables: Tables
    length: int

    def encode(
        self, users: Numbers, codes: Numbers, histories: Histories, windows: Windows
    ) -> UserVectors:
        """Return what the tower says of users `(E,)` as `user_inputs` takes them."""
        self.tower.eval()
        parts = []
        for start in range(0, max(1, len(users)), EVALUATION_BATCH):
            rows = slice(start, start + EVALUATION_BATCH)
            inputs = self._inputs(users[rows], codes[rows], histories, windows.part(rows))
            columns = self.tables.columns(inputs)
            with torch.no_grad():
                parts.append(self.tower(*(torch.from_numpy(each) for each in columns.values())))
        vectors, offsets = (torch.cat(column).numpy() for column in zip(*parts, strict=True))
        return UserVectors(vectors, offsets, np.zeros(len(users), np.float32))

    def known(self, users: Numbers) -> Numbers:
        """Return the rows of the id embedding of users `(E,)`."""
        return np.where(self.statistics.seen_users[users], users + 1, UNKNOWN_USER)

    def example(self) -> UserInputs:
        """Return the users with the longest histories, at least two, as the tower reads them."""
        dataset = self.dataset
        return example_inputs(
            self.known(np.arange(len(dataset.user_vocabulary))),
            dataset.user_codes,
            self.statistics.histories,
            dataset.scale,
            self.statistics.centre,
            self.length,
        )

    def export(self, path: Path) -> OnnxTower:
        """Write the layers of the user tower, and return them as they were read back."""
        return export_layers(self.tower, self.tables, self.example(), path)

    def stored_users(self, tower: OnnxTower, histories: Histories) -> Vectors:
        """Return what the exported tower says of all users with these histories."""
        dataset = self.dataset
        return stored_users(
            tower,
            self.tables,
            self.known(np.arange(len(dataset.user_vocabulary))),
            dataset.user_codes,
            histories,
            dataset.scale,
            self.statistics.centre,
            self.length,
        )

    def _inputs(
        self, users: Numbers, codes: Numbers, histories: Histories, windows: Windows
    ) -> UserInputs:
        return user_inputs(
            users,
            codes,
            histories,
            windows,
            self.dataset.scale,
            self.statistics.centre,
            self.length,
        )


def example_inputs(
    id_rows: Numbers,
    codes: Numbers,
    histories: Histories,
    scale: RatingScale,
    centre: float,
    length: int,
) -> UserInputs:
    """Return the users with the longest histories, at least two, as a tower reads them.

    Args:
        id_rows: `(U,)` number of each user + 1, or `UNKNOWN_USER`.
        codes: `(U, C)` of attributes.
        histories: Of the U users.
        scale: Of the ratings.
        centre: The average rating in training.
        length: The longest history that the tower reads.
    """
    users = longest_histories(histories, EXAMPLES)
    windows = whole_windows(histories, users)
    return user_inputs(id_rows[users], codes[users], histories, windows, scale, centre, length)


def export_layers(tower: nn.Module, tables: Tables, example: UserInputs, path: Path) -> OnnxTower:
    """Write the layers of a user tower, and return them as they were read back.

    Raises:
        RunError: Torch cannot write them, or ONNX Runtime computes something else than torch.
    """
    questions, events = torch.export.Dim("questions"), torch.export.Dim("events")
    each, history = {0: questions}, {0: questions, 1: events}
    axes: Axes = (each, each, each, history, history, history)
    columns = tables.columns(example.padded(EVENTS))
    return export(tower, columns, axes, ("vectors", "offsets"), path)


@dataclass(frozen=True, kw_only=True)
class FittedHistoryPair:
    """A fitted pair, which rates.

    Args:
        name: Name of the pair.
        reader: Its user tower.
        fit: What training did.
        scores: `(N,)` ratings predicted for validation rows, 0 elsewhere.
        movies: `(M, W)` movie vectors.
        biased: Whether the last component of these is the movie's bias.
        unrated: Gives the movie vectors as if nobody had rated any.
        write: Writes the weights into a folder.
        files: Names of its files.
    """

    name: str
    reader: HistoryReader
    fit: Fit[Epoch]
    scores: Floats
    movies: Vectors
    biased: bool
    unrated: Callable[[], Vectors]
    write: Callable[[Path], None]
    files: HistoryFiles
    latent: LatentScale | None = field(default=None, init=False)
    ranking: None = field(default=None, init=False)

    @property
    def part(self) -> Part:
        """Its part of the joined vectors."""
        width = self.movies.shape[1]
        return Part(name=self.name, roles=(Role.RATES,), width=width, biased=self.biased)

    @property
    def rating(self) -> "FittedHistoryPair":
        """What it says of ratings."""
        return self

    def unrated_movies(self) -> Vectors:
        """Return what the movie vectors would be if nobody had rated them, `(M, W)`."""
        return self.unrated()

    def known_users(self, users: Numbers, times: Numbers) -> UserVectors:
        """Return what the user tower says of users `(E,)` asked at times `(E,)`."""
        reader = self.reader
        histories, codes = reader.statistics.histories, reader.dataset.user_codes[users]
        windows = windows_until(histories, users, times)
        return reader.encode(reader.known(users), codes, histories, windows)

    def new_users(self, codes: Numbers, histories: Histories, windows: Windows) -> UserVectors:
        """Return what the user tower says of E new users who have told the events of windows."""
        users = np.full(len(codes), UNKNOWN_USER)
        return self.reader.encode(users, codes, histories, windows)

    def save(self, folder: Path, histories: Histories) -> None:
        """Write the pair, its user tower, and what that says of all users, into a folder."""
        self.write(folder)
        save_tables(folder, self.files, self.reader.tables)
        tower = self.reader.export(folder / self.files.tower)
        np.save(folder / self.files.users, self.reader.stored_users(tower, histories))

    def metrics(self) -> dict[str, object]:
        """Return what training measured."""
        unit = self.reader.dataset.scale.unit
        return {
            "epochs": [
                {
                    "training_loss": round(epoch.training_loss, 4),
                    "validation_rmse": round(epoch.validation_error * unit, 4),
                }
                for epoch in self.fit.epochs
            ],
            "best_epoch": self.fit.best + 1,
        }


def save_tables(folder: Path, files: HistoryFiles, tables: Tables) -> None:
    """Write the embeddings of users and events."""
    np.save(folder / files.user_ids, tables.user_ids.stored)
    np.save(folder / files.events, tables.events.stored)


def forget_user(folder: Path, files: HistoryFiles, user: int) -> None:
    """Write the files of such a pair without what they know of a user, given by number."""
    without_user(folder / files.weights, folder / files.sizes, "user_ids.weight", 1 + user)
    without_rows(folder / files.user_ids, 1 + user)
    without_rows(folder / files.users, user)


def train_module(
    module: RatingModule,
    statistics: TrainingStatistics,
    data: TrainingData,
    length: int,
    loop: LoopSettings,
    name: str,
    options: TrainingOptions,
) -> tuple[Fit[Epoch], Floats]:
    """Train a module in place; return what training did, and ratings of validation rows `(N,)`.

    Args:
        module: Module to train.
        statistics: What the rows that are not held out say.
        data: What to train on.
        length: Length of the longest history.
        loop: Settings of the loop.
        name: Name of the pair, for messages.
        options: Seed, device, progress, and where the loop runs.
    """
    dataset = data.dataset
    events = events_of(dataset, statistics)
    examples = training_examples(dataset, statistics, events)
    validation = held_out_examples(dataset, statistics, events, data.validation)
    unit = dataset.scale.unit
    own_loop = partial(
        fit,
        module,
        examples,
        validation,
        length,
        loop,
        options.seed,
        name,
        options.progress,
        unit,
        options.ranks,
        available(options.device),
        options.checkpoint / CHECKPOINT,
    )
    fitted = options.loops.run(module, own_loop)
    scores = np.zeros(len(dataset.ratings))
    predicted = predict(module, validation, length).astype(np.float64)
    scores[data.validation] = statistics.centre + unit * predicted
    return fitted, scores
