"""Tower pairs made for a data set, saved, and read back."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from safetensors.torch import load_file
from torch import nn

from retrieval.data.dataset import Dataset
from retrieval.data.demographics import AGE_EDGES
from retrieval.data.statistics import MOVIE_STATISTICS
from retrieval.errors import RequestError
from retrieval.pairs.content import Content
from retrieval.pairs.neural.examples import Known
from retrieval.pairs.neural.inputs import UserInputs
from retrieval.pairs.neural.model import (
    MovieBatch,
    NeuralPair,
    NeuralSettings,
    NeuralUserTower,
    Sizes,
)
from retrieval.pairs.notebook.model import NotebookPair, NotebookSettings, NotebookUserTower
from retrieval.pairs.onnx_tower import UserVectors
from retrieval.pairs.sequence.ensemble import SequenceEnsemble
from retrieval.pairs.sequence.model import SequencePair, SequenceSettings
from retrieval.run.folder import SEQUENCE, SEQUENCE_WEIGHTS, TOWERS, WEIGHTS, RunConfig
from retrieval.storage.arrays import save_arrays
from retrieval.storage.damage import readable

Settings = NeuralSettings | NotebookSettings
Pair = NeuralPair | NotebookPair


def make_pair(
    settings: Settings, dataset: Dataset, content: Content, known: Known, seed: int
) -> Pair:
    """Return an untrained tower pair for a data set and the content of its movies."""
    matrix = content.matrix()
    sizes = sizes_of(dataset, matrix)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        match settings:
            case NeuralSettings():
                return NeuralPair(
                    settings,
                    sizes,
                    torch.from_numpy(matrix),
                    torch.from_numpy(known.statistics),
                    torch.from_numpy(known.rated),
                )
            case NotebookSettings():
                years = np.nan_to_num((content.years - 1980) / 40)
                edges = np.array([0, 1, *AGE_EDGES], dtype=np.float32)
                return NotebookPair(
                    settings,
                    sizes,
                    torch.from_numpy(content.genres),
                    torch.from_numpy(years.astype(np.float32)),
                    torch.from_numpy(edges / max(AGE_EDGES)),
                    known.centre,
                    dataset.scale.unit,
                )


def make_sequence_pair(
    settings: SequenceSettings,
    dataset: Dataset,
    content: Content,
    rated: NDArray[np.bool_],
    seed: int,
) -> SequencePair:
    """Return an untrained sequence pair; `rated` is a mask `(M,)` of movies with training rows."""
    matrix = content.matrix()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SequencePair(
            settings, sizes_of(dataset, matrix), torch.from_numpy(matrix), torch.from_numpy(rated)
        )


def user_tower(pair: Pair, centre: float, unit: float) -> nn.Module:
    """Return what encodes users at query time."""
    match pair:
        case NeuralPair():
            return NeuralUserTower(pair, centre, unit)
        case NotebookPair():
            return NotebookUserTower(pair)


def has_bias(settings: Settings) -> bool:
    """Return whether movie vectors end in the movie's bias."""
    match settings:
        case NeuralSettings():
            return True
        case NotebookSettings():
            return False


def movie_vectors(pair: Pair | SequenceEnsemble) -> np.ndarray:
    """Return the vectors of the whole catalogue, `(M, D)`."""
    pair.eval()
    with torch.no_grad():
        return pair.movie_vectors().numpy()


def new_movie_vectors(pair: Pair | SequenceEnsemble, content: Content) -> np.ndarray:
    """Return the vectors of movies that nobody has rated, `(A, D)`, from their content."""
    matrix = torch.from_numpy(content.matrix())
    pair.eval()
    with torch.no_grad():
        match pair:
            case NeuralPair():
                unrated = MovieBatch(
                    torch.zeros(len(matrix), dtype=torch.int64),
                    torch.arange(len(matrix)),
                    torch.zeros(len(matrix), MOVIE_STATISTICS),
                )
                return pair.movie_vectors_of(unrated, pair.describe(matrix)).numpy()
            case SequenceEnsemble():
                return pair.new_movie_vectors(matrix).numpy()
            case NotebookPair():
                raise RequestError("the notebook pair knows no movie it was not trained on")


def encode_users(tower: nn.Module, inputs: UserInputs) -> UserVectors:
    """Return what a user tower gives B users."""
    tower.eval()
    with torch.no_grad():
        vectors, offsets = tower(*(torch.from_numpy(column) for column in inputs))
    return UserVectors(vectors.numpy(), offsets.numpy())


def save_pair(folder: Path, pair: Pair) -> None:
    """Write weights and shape into an existing folder."""
    _save(folder / WEIGHTS, folder / TOWERS, pair, {"pair": _name(pair)})


def save_ensemble(folder: Path, ensemble: SequenceEnsemble) -> None:
    """Do the same with sequence pairs."""
    count = len(ensemble.pairs)
    _save(folder / SEQUENCE_WEIGHTS, folder / SEQUENCE, ensemble, {"pairs": count})


def load_ensemble(folder: Path) -> SequenceEnsemble:
    """Read back what `save_ensemble` wrote.

    Raises:
        RunError: A file is damaged.
    """
    with readable(folder / SEQUENCE):
        return _ensemble(folder)


def _ensemble(folder: Path) -> SequenceEnsemble:
    card: dict[str, Any] = json.loads((folder / SEQUENCE).read_text())
    weights = load_file(folder / SEQUENCE_WEIGHTS)
    settings = TypeAdapter(SequenceSettings).validate_python(card["settings"])
    ensemble = SequenceEnsemble(
        [
            SequencePair(
                settings,
                Sizes(**card["sizes"]),
                content=weights[f"pairs.{place}.content"],
                rated=weights[f"pairs.{place}.rated"],
            )
            for place in range(card["pairs"])
        ]
    )
    ensemble.load_state_dict(weights)
    ensemble.eval()
    return ensemble


def load_pair(folder: Path, config: RunConfig) -> Pair:
    """Read back what `save_pair` wrote.

    Raises:
        RunError: A file is damaged.
    """
    with readable(folder / TOWERS):
        return _pair(folder, config)


def _pair(folder: Path, config: RunConfig) -> Pair:
    card: dict[str, Any] = json.loads((folder / TOWERS).read_text())
    weights = load_file(folder / WEIGHTS)
    sizes = Sizes(**card["sizes"])
    pair: Pair
    if card["pair"] == "neural":
        pair = NeuralPair(
            TypeAdapter(NeuralSettings).validate_python(card["settings"]),
            sizes,
            content=weights["content"],
            statistics=weights["statistics"],
            rated=weights["rated"],
        )
    else:
        pair = NotebookPair(
            TypeAdapter(NotebookSettings).validate_python(card["settings"]),
            sizes,
            genres=weights["genres"],
            years=weights["years"],
            ages=weights["ages"],
            centre=config.centre,
            unit=config.scale.unit,
        )
    pair.load_state_dict(weights)
    pair.eval()
    return pair


def sizes_of(dataset: Dataset, content: NDArray[np.float32]) -> Sizes:
    """Return what a data set, and the content of its movies `(M, F)`, fix of a pair."""
    genders, ages, occupations = dataset.demographics.sizes()
    return Sizes(
        users=len(dataset.user_vocabulary),
        movies=len(dataset.movie_vocabulary),
        content=content.shape[1],
        genders=genders,
        ages=ages,
        occupations=occupations,
        levels=dataset.scale.levels,
    )


def _save(
    weights: Path, card: Path, pair: Pair | SequenceEnsemble, more: dict[str, str | int]
) -> None:
    save_arrays(weights, {name: value.numpy() for name, value in pair.state_dict().items()})
    shape = {"settings": asdict(pair.settings), "sizes": pair.sizes._asdict()}
    card.write_text(json.dumps(more | shape, indent=2) + "\n")


def _name(pair: Pair) -> str:
    match pair:
        case NeuralPair():
            return "neural"
        case NotebookPair():
            return "notebook"
