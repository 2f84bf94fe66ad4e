"""What a tower pair is to training: how it is fitted, saved, and read back for its movies."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import Tensor, nn

from retrieval.data.dataset import Dataset
from retrieval.data.history import Histories, Windows
from retrieval.data.visits import Visits
from retrieval.options import Device, Preset
from retrieval.pairs.content import Content
from retrieval.pairs.layout import Part
from retrieval.pairs.protocol import Floats, Numbers, RunFacts, UserVectors, Vectors
from retrieval.pairs.when import When
from retrieval.progress import Progress, Stage

S = TypeVar("S", bound=BaseModel)
R = TypeVar("R")

# Below so many ratings training takes little longer than an export.
WORTH_REHEARSING = 1_000_000


class TrainingData(NamedTuple):
    """What all pairs of a run are trained on."""

    dataset: Dataset
    content: Content  # of the movies
    validation: NDArray[np.bool_]  # (N,) random rows that choose epochs, burn-in and weights
    last: NDArray[np.bool_]  # (N,) last events of some users, which choose epochs and ranking
    visit_rows: NDArray[np.bool_]  # (N,) last visits of other users, which choose these too
    visits: Visits

    @property
    def unranked(self) -> NDArray[np.bool_]:
        """Rows that no pair that ranks is trained on, `(N,)`."""
        return self.last | self.visit_rows

    @property
    def held_out(self) -> NDArray[np.bool_]:
        """Rows that no pair is trained on while it is being validated, `(N,)`."""
        return self.validation | self.unranked


class Ranks(Protocol):
    """Processes that train one module together, as one of them sees the others.

    Each takes its share of every batch, and follows the mean of all gradients, so the modules of
    all stay the same.
    """

    @property
    def size(self) -> int:
        """Number of processes."""

    @property
    def rank(self) -> int:
        """Number of this one, from 0."""

    def average(self, parameters: Iterable[nn.Parameter], weight: float) -> None:
        """Replace gradients by the mean of those of all processes.

        Args:
            parameters: What is trained.
            weight: Weight of this process's gradients, as the number of rows that they are of.
        """

    def total(self, values: Sequence[float]) -> list[float]:
        """Return the sum of each value over all processes."""

    def first(self, measure: Callable[[], Sequence[float]]) -> list[float]:
        """Return what the first process measures, which the others wait for."""


class Alone:
    """One process, which changes nothing."""

    size, rank = 1, 0

    def average(self, parameters: Iterable[nn.Parameter], weight: float) -> None:
        """Leave gradients as they are."""

    def total(self, values: Sequence[float]) -> list[float]:
        """Return the values."""
        return list(values)

    def first(self, measure: Callable[[], Sequence[float]]) -> list[float]:
        """Return what is measured."""
        return list(measure())


ALONE: Ranks = Alone()


def share_of(rows: NDArray[np.int64], ranks: Ranks) -> NDArray[np.int64]:
    """Return which rows of a batch a process takes: all, of a batch too small to be shared."""
    return rows[ranks.rank :: ranks.size] if len(rows) >= ranks.size else rows


def generator_of(rng: np.random.Generator, ranks: Ranks, seed: int) -> np.random.Generator:
    """Return the generator of what a process draws for its share of a batch.

    It is that of the order of batches, which all processes must agree on, only where there is one
    process: how much is drawn from it depends on the share.
    """
    return rng if ranks.size == 1 else np.random.default_rng((seed, ranks.rank))


def torch_seed(seed: int, ranks: Ranks) -> int:
    """Return the seed of torch's draws, such as dropout, in a process."""
    return seed + 2**32 * ranks.rank


class Weighted(Protocol):
    """A torch module, as far as its weights go."""

    def state_dict(self) -> dict[str, Any]:
        """Return parameters and buffers by their names."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> object:
        """Take parameters and buffers over."""


class Loops(Protocol):
    """Where the training loops of a pair run."""

    def run(self, module: Weighted, loop: Callable[[], R], /) -> R:
        """Return what a loop that trains a module in place returns; the module is then trained."""


class Here:
    """Loops run in this process."""

    def run(self, _module: Weighted, loop: Callable[[], R], /) -> R:
        """Run the loop."""
        return loop()


HERE: Loops = Here()


class TrainingOptions(NamedTuple):
    """What training depends on beside data and settings."""

    seed: int
    checkpoint: Path  # folder of the pair where interrupted training is kept; the caller removes it
    device: Device
    progress: Progress
    ranks: Ranks = ALONE
    loops: Loops = HERE


@dataclass(frozen=True, kw_only=True)
class LatentScale:
    """The scale of scores that are no ratings: latent values with thresholds between classes."""

    values: tuple[float, ...]  # (T + 1,) ratings of the classes that occur
    thresholds: Floats  # (T,)
    classes: NDArray[np.int8]  # (N,) of all rows, in file order
    noise: float  # the usual variance of latent values around scores


class RatingSide(Protocol):
    """What a pair that rates says of rows that it has not been trained on."""

    @property
    def scores(self) -> Floats:
        """Scores `(N,)` predicted for validation rows in file order, 0 elsewhere."""

    @property
    def latent(self) -> LatentScale | None:
        """The scale of the scores; None where they are ratings."""

    @property
    def movies(self) -> Vectors:
        """Movie vectors `(M, W)`."""

    def unrated_movies(self) -> Vectors:
        """Return what the movie vectors would be if nobody had rated them, `(M, W)`."""

    def known_users(self, users: Numbers, times: Numbers) -> UserVectors:
        """Return what the user tower says of users `(E,)` asked at times `(E,)`."""

    def new_users(self, codes: Numbers, histories: Histories, windows: Windows) -> UserVectors:
        """Return what the user tower says of E new users who have told the events of windows."""


class Asked(NamedTuple):
    """E questions of known users, asked of what a pair was trained on."""

    users: Numbers  # (E,) numbers
    when: When
    moments: Numbers  # (E,) seconds: until when it is known what is popular
    times: Numbers  # (E,) seconds of asking, which count where they are known

    def part(self, rows: slice) -> "Asked":
        """Return some of the questions."""
        return Asked(self.users[rows], self.when, self.moments[rows], self.times[rows])


class RankingSide(Protocol):
    """What a pair that ranks says of events that it has not been trained on."""

    @property
    def ndcg(self) -> float | None:
        """NDCG@10 of last events with the time of asking known; None where none are held out."""

    def logits(self, asked: Asked) -> Floats:
        """Return logits `(E, M)` of all movies to be watched next."""


class FittedPair(Protocol):
    """A pair that has been trained."""

    @property
    def part(self) -> Part:
        """Its part of the joined vectors."""

    @property
    def rating(self) -> RatingSide | None:
        """What it says of ratings, where it rates."""

    @property
    def ranking(self) -> RankingSide | None:
        """What it says of last events, where it ranks."""

    def save(self, folder: Path, histories: Histories) -> None:
        """Write the pair and its user tower into a folder.

        Args:
            folder: Folder of a version that is being written.
            histories: All events of all users, which queries are answered from.
        """

    def metrics(self) -> dict[str, object]:
        """Return what training measured, for `metrics.json`."""


class SavedPair(Protocol):
    """A pair in the folder of a run, for the movie side."""

    def movies(self) -> Vectors:
        """Return the movie vectors `(M, W)` of the catalogue that it was trained on."""

    def add_movies(self, content: Content, folder: Path) -> Vectors:
        """Return vectors `(A, W)` of movies that nobody has rated.

        Args:
            content: Content of the A movies.
            folder: Folder of the next version, into which files that change are written.

        Raises:
            RequestError: The pair knows nothing of movies that it was not trained on.
        """

    def forget_user(self, user: int, events: slice, folder: Path) -> None:
        """Write the pair anew without anything of one user; the numbers of later ones go down.

        Args:
            user: Number of the user.
            events: Where the user's events are among those of all users.
            folder: Folder of the next version, into which files that change are written.
        """


class TowerPair(Protocol[S]):
    """How a pair is trained; S are its settings."""

    @property
    def rates(self) -> bool:
        """Whether the pair predicts ratings."""

    @property
    def ranks(self) -> bool:
        """Whether the pair predicts what is watched next, so that last events are held out."""

    def settings(self, preset: Preset) -> S:
        """Return the settings of a preset."""

    def stages(self, ratings: int, settings: S) -> Sequence[Stage]:
        """Return the stages of training on so many ratings, with what they are expected to cost."""

    def rehearse(self, data: TrainingData, settings: S, seed: int) -> None:
        """Fail at once where the end of training would: a user tower that cannot be exported.

        Raises:
            RunError: It cannot be exported, or computes something else then.
        """

    def fit(self, data: TrainingData, settings: S, options: TrainingOptions) -> FittedPair:
        """Train the pair, on a CPU the same way for the same seed and number of threads.

        Raises:
            RecError: A loss or a weight is no finite number.
        """

    def saved(self, folder: Path, facts: RunFacts) -> SavedPair:
        """Open the pair in the folder of a version.

        Raises:
            RunError: A file is damaged.
        """


def rehearse_export(ratings: int, export: Callable[[Path], None]) -> None:
    """Export the user tower of an untrained pair, and forget it, where training is long.

    Args:
        ratings: Number of ratings to train on.
        export: Function that makes the tower and writes it into a folder.
    """
    if ratings >= WORTH_REHEARSING:
        with TemporaryDirectory() as scratch:
            export(Path(scratch))


class MovieTower(Protocol):
    """A torch module that holds movie vectors."""

    def eval(self) -> object:
        """Prepare for answers."""

    def movie_vectors(self) -> Tensor:
        """Return the vectors of the whole catalogue, `(M, W)`."""


def movie_vectors(tower: MovieTower) -> Vectors:
    """Return the vectors of the whole catalogue, `(M, W)`."""
    tower.eval()
    with torch.no_grad():
        vectors: Vectors = tower.movie_vectors().numpy()
    return vectors
