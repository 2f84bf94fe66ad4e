"""The end of a training, rehearsed with untrained pairs: what cannot be exported fails at once."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from retrieval.choices import Towers
from retrieval.data.dataset import Dataset
from retrieval.towers import neural, notebook, sequence
from retrieval.towers.content import Content
from retrieval.towers.ensemble import EnsembleUserTower, SequenceEnsemble
from retrieval.towers.export import check_size, export_sequence_tower, export_user_tower
from retrieval.towers.notebook import NotebookSettings
from retrieval.training.examples import learn
from retrieval.training.pairs import make_pair, make_sequence_pair, user_tower
from retrieval.training.presets import Plan
from retrieval.training.rating import example_users
from retrieval.training.watch import example_tokens

# Below so many ratings training takes little longer than an export: only sizes are looked at.
WORTH_WHILE = 1_000_000


def rehearse(
    dataset: Dataset, content: Content, pairs: Sequence[Towers], planned: Plan, seed: int
) -> None:
    """Export the user towers of untrained pairs, and forget them.

    Args:
        dataset: All rows.
        content: Of the movies.
        pairs: Which will be trained.
        planned: How.
        seed: Of the untrained pairs.

    Raises:
        RequestError: A user tower would be larger than a file can be.
        RunError: One cannot be exported, or computes something else then.
    """
    whole = len(dataset.ratings) >= WORTH_WHILE
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "tower.onnx" if whole else None
        if Towers.NEURAL in pairs:
            _neural(dataset, content, planned, seed, path)
        if Towers.SEQUENCE in pairs:
            _sequence(dataset, content, planned, seed, path)


def _neural(
    dataset: Dataset, content: Content, planned: Plan, seed: int, path: Path | None
) -> None:
    settings = planned.towers
    known = learn(dataset, np.ones(len(dataset.ratings), dtype=bool))
    pair = make_pair(settings, dataset, content, known, seed)
    sizes = pair.sizes
    match settings:
        case NotebookSettings():
            constants = notebook.exported_bytes(sizes)
        case neural.NeuralSettings():
            constants = neural.exported_bytes(settings, sizes)
    what = f"{sizes.users:,} users and {sizes.movies:,} movies at {sizes.levels} levels"
    check_size(constants, Towers.NEURAL, what)
    if path is not None:
        tower = user_tower(pair, known.centre, dataset.scale.unit)
        export_user_tower(tower, example_users(dataset, known, settings.history_length), path)


def _sequence(
    dataset: Dataset, content: Content, planned: Plan, seed: int, path: Path | None
) -> None:
    settings, movies = planned.sequence, len(dataset.movie_vocabulary)
    pair = make_sequence_pair(settings, dataset, content, np.ones(movies, dtype=bool), seed)
    constants = planned.sequence_pairs * sequence.exported_bytes(settings, pair.sizes)
    check_size(constants, Towers.SEQUENCE, f"{movies:,} movies")
    if path is not None:
        histories = dataset.histories(np.ones(len(dataset.ratings), dtype=bool))
        tower = EnsembleUserTower(SequenceEnsemble([pair]))  # others of the same form add nothing
        export_sequence_tower(tower, example_tokens(dataset, histories, settings), path)
