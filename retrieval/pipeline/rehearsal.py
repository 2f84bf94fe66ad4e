"""The end of a training, rehearsed with untrained pairs: what cannot be exported fails at once."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from retrieval.blending.rating import example_users
from retrieval.data.dataset import Dataset
from retrieval.options import Towers
from retrieval.pairs.content import Content
from retrieval.pairs.export import check_size, export_sequence_tower, export_user_tower
from retrieval.pairs.neural import model as neural
from retrieval.pairs.neural.examples import learn
from retrieval.pairs.notebook import model as notebook
from retrieval.pairs.notebook.model import NotebookSettings
from retrieval.pairs.sequence import model as sequence
from retrieval.pairs.sequence.ensemble import EnsembleUserTower, SequenceEnsemble
from retrieval.pairs.sequence.watch import example_tokens
from retrieval.pipeline.pairs import make_pair, make_sequence_pair, sizes_of, user_tower
from retrieval.pipeline.presets import Plan

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
    _check_sizes(dataset, content, pairs, planned)
    if len(dataset.ratings) < WORTH_WHILE:
        return
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "tower.onnx"
        if Towers.NEURAL in pairs:
            _export_neural(dataset, content, planned, seed, path)
        if Towers.SEQUENCE in pairs:
            _export_sequence(dataset, content, planned, seed, path)


def _check_sizes(
    dataset: Dataset, content: Content, pairs: Sequence[Towers], planned: Plan
) -> None:
    sizes = sizes_of(dataset, content.matrix())
    if Towers.NEURAL in pairs:
        match planned.towers:
            case NotebookSettings():
                constants = notebook.exported_bytes(sizes)
            case neural.NeuralSettings():
                constants = neural.exported_bytes(planned.towers, sizes)
        what = f"{sizes.users:,} users and {sizes.movies:,} movies at {sizes.levels} levels"
        check_size(constants, Towers.NEURAL, what)
    if Towers.SEQUENCE in pairs:
        constants = planned.sequence_pairs * sequence.exported_bytes(planned.sequence, sizes)
        check_size(constants, Towers.SEQUENCE, f"{sizes.movies:,} movies")


def _export_neural(
    dataset: Dataset, content: Content, planned: Plan, seed: int, path: Path
) -> None:
    known = learn(dataset, np.ones(len(dataset.ratings), dtype=bool))
    pair = make_pair(planned.towers, dataset, content, known, seed)
    tower = user_tower(pair, known.centre, dataset.scale.unit)
    example = example_users(dataset, known, planned.towers.history_length)
    export_user_tower(tower, example, path)


def _export_sequence(
    dataset: Dataset, content: Content, planned: Plan, seed: int, path: Path
) -> None:
    rated = np.ones(len(dataset.movie_vocabulary), dtype=bool)
    pair = make_sequence_pair(planned.sequence, dataset, content, rated, seed)
    histories = dataset.histories(np.ones(len(dataset.ratings), dtype=bool))
    tower = EnsembleUserTower(SequenceEnsemble([pair]))  # others of the same form add nothing
    export_sequence_tower(tower, example_tokens(dataset, histories, planned.sequence), path)
