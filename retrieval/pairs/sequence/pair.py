"""The sequence pair as training knows it: fitted, saved, and read back for its movies."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from retrieval.data.dataset import Dataset
from retrieval.data.history import Histories, moment_after, whole_windows
from retrieval.data.scale import RatingScale
from retrieval.data.sittings import sittings
from retrieval.options import Preset
from retrieval.pairs.content import Content
from retrieval.pairs.device import available
from retrieval.pairs.epochs import Fit
from retrieval.pairs.export import Axes, check, export, longest_histories
from retrieval.pairs.layout import Part, Role
from retrieval.pairs.lookup import EmbeddingTable
from retrieval.pairs.onnx_tower import Columns
from retrieval.pairs.protocol import Floats, Numbers, RunFacts, Vectors, history_length
from retrieval.pairs.saved import load_module, save_module
from retrieval.pairs.sequence.batches import Sequences
from retrieval.pairs.sequence.ensemble import (
    EnsembleContinuation,
    EnsembleUserTower,
    SequenceEnsemble,
    movie_table,
)
from retrieval.pairs.sequence.files import (
    CONTINUATION_FILE,
    MOVIES_FILE,
    NAME,
    SIZES_FILE,
    TOWER_FILE,
    USERS_FILE,
    WEIGHTS_FILE,
)
from retrieval.pairs.sequence.model import SequencePair
from retrieval.pairs.sequence.new_movies import new_movie_rows, new_movie_vectors
from retrieval.pairs.sequence.settings import SequenceSettings, preset_settings
from retrieval.pairs.sequence.tokens import CONTINUED, Tokens, tokens
from retrieval.pairs.sequence.training import (
    Gains,
    HeldOut,
    LastEvents,
    SequenceEpoch,
    fit_sequences,
    sequence_logits,
    sequence_vectors,
    validation_gains,
)
from retrieval.pairs.sequence.trends import Trends, movie_trends
from retrieval.pairs.sizes import sizes_of
from retrieval.pairs.training import (
    Asked,
    SavedPair,
    TrainingData,
    TrainingOptions,
    movie_vectors,
    rehearse_export,
)
from retrieval.pairs.when import When
from retrieval.progress import Stage
from retrieval.storage.arrays import append_rows, without_rows
from retrieval.storage.damage import readable

# Users on whom an exported tower is compared with its original.
EXAMPLES = 8

# An example has room for so many tokens, whose halves are met apart: to an exporter the size 1 is
# special.
TOKENS = 4

# Sittings that are not their user's first one, from which can be learned what brings users back.
FEWEST_RETURNS = 50

# Where interrupted training of each member is kept.
CHECKPOINT = "pair-{}.safetensors"

# What the layers of a user tower return.
OUTPUTS = ("vectors", "states")

# Seconds of an epoch for each rating and component on the reference machine.
RATING_COST = 4e-7


class SequenceTowers:
    """How the sequence pair is trained."""

    rates, ranks = False, True

    def settings(self, preset: Preset) -> SequenceSettings:
        """Return the settings of a preset."""
        return preset_settings(preset)

    def stages(self, ratings: int, settings: SequenceSettings) -> list[Stage]:
        """Return the stages of training on so many ratings, with what they are expected to cost."""
        epoch = RATING_COST * ratings * settings.dimension * settings.blocks / 2
        return [
            Stage(_stage(member, settings), settings.epochs * epoch)
            for member in range(settings.members)
        ]

    def rehearse(self, data: TrainingData, settings: SequenceSettings, seed: int) -> None:
        """Fail at once where the export of the user tower would."""
        dataset = data.dataset

        def export(folder: Path) -> None:
            rated = np.ones(len(dataset.movie_vocabulary), dtype=bool)
            histories = dataset.histories(np.ones(len(dataset.ratings), dtype=bool))
            trends = trends_of(histories, data.content.years)
            pair = make_pair(data, settings, rated, trends, seed)
            example = example_tokens(
                dataset.user_codes, dataset.scale, histories, settings.history_length
            )
            # Members of the same form would add nothing.
            ensemble = SequenceEnsemble([pair])
            write_layers(folder, ensemble, movie_table(ensemble), example)

        rehearse_export(len(dataset.ratings), export)

    def fit(
        self, data: TrainingData, settings: SequenceSettings, options: TrainingOptions
    ) -> "FittedSequence":
        """Train as many members as the settings say, one after the other.

        On a CPU, training is the same for the same seed and number of threads.
        """
        dataset, device = data.dataset, available(options.device)
        histories = dataset.histories(~data.unranked)
        sequences = Sequences(
            histories=histories,
            codes=dataset.user_codes,
            scale=dataset.scale,
            length=settings.history_length,
            trends=trends_of(histories, data.content.years),
        )
        rated = sequences.shares(len(dataset.movie_vocabulary)) > 0
        last = LastEvents(
            dataset.users[data.last], dataset.movies[data.last], dataset.timestamps[data.last]
        )
        held_out = HeldOut(last, data.visits)
        members, fits = [], []
        for place in range(settings.members):
            seed = options.seed + place
            pair = make_pair(data, settings, rated, sequences.trends, seed)
            loop = partial(
                fit_sequences,
                pair,
                sequences,
                held_out,
                settings,
                seed,
                options.checkpoint / CHECKPOINT.format(place),
                device,
                settings.tokens_in_step(len(dataset.ratings)),
                options.progress,
                _stage(place, settings),
                options.ranks,
            )
            fits.append(options.loops.run(pair, loop))
            members.append(pair)
        ensemble = SequenceEnsemble(members)
        return FittedSequence(
            dataset=dataset,
            ensemble=ensemble,
            sequences=sequences,
            fits=fits,
            gains=validation_gains(ensemble, sequences, held_out) if len(last.users) else None,
            device=device.type,
            years=data.content.years,
        )

    def saved(self, folder: Path, facts: RunFacts) -> SavedPair:
        """Open the pair in the folder of a version."""
        return SavedSequence(folder, facts)


@dataclass(frozen=True, kw_only=True)
class FittedSequence:
    """The fitted pair, which ranks.

    Args:
        dataset: All rows.
        ensemble: Its members.
        sequences: Histories that it was trained on.
        fits: What training did, one for each member.
        gains: NDCG of all members together; None where no last events are held out.
        device: Device that it was trained on.
        years: `(M,)` of release of the movies, NaN where unknown.
    """

    dataset: Dataset
    ensemble: SequenceEnsemble
    sequences: Sequences
    fits: list[Fit[SequenceEpoch]]
    gains: Gains | None
    device: str
    years: Vectors
    rating: None = field(default=None, init=False)

    @property
    def part(self) -> Part:
        """Its part of the joined vectors."""
        ensemble = self.ensemble
        return Part(
            name=NAME,
            roles=(Role.RANKS,),
            width=ensemble.dimension,
            temperature=ensemble.temperature,
            trends=ensemble.trends,
        )

    @property
    def ranking(self) -> "FittedSequence":
        """What it says of last events."""
        return self

    @property
    def ndcg(self) -> float | None:
        """NDCG@10 of last events with the time of asking known; None where none are held out."""
        return None if self.gains is None else self.gains.timed

    def logits(self, asked: Asked) -> Floats:
        """Return logits `(E, M)` of all movies to be watched next."""
        return sequence_logits(self.ensemble, self.sequences, asked)

    def save(self, folder: Path, histories: Histories) -> None:
        """Write the pair, its user tower, and what that says of all users, into a folder.

        Movies have the trends after all events, those held out included.
        """
        trends = trends_of(histories, self.years)
        if self.sequences.trends is not None and trends is not None:
            for pair in self.ensemble.members():
                pair.trends.copy_(torch.from_numpy(trends.features[-1]))
        unwatched = [] if trends is None else trends.unwatched.tolist()
        present = 0 if trends is None else trends.present
        save(folder, self.ensemble, {"unwatched": unwatched, "present": present})
        dataset, length = self.dataset, self.sequences.length
        example = example_tokens(
            dataset.user_codes, dataset.scale, self.sequences.histories, length
        )
        write_tower(folder, self.ensemble, example)
        np.save(folder / USERS_FILE, self.stored_users(histories))

    def stored_users(self, histories: Histories) -> NDArray[np.float32]:
        """Return the vectors `(U, W)` of all users with these histories, who come back."""
        whole = replace(self.sequences, histories=histories)
        users = np.arange(len(histories.offsets) - 1)
        present = np.full(len(users), moment_after(histories.timestamps))
        asked = Asked(users, When.COMING_BACK, present, present)
        return sequence_vectors(self.ensemble, whole, asked)

    def metrics(self) -> dict[str, object]:
        """Return what training measured."""
        return {
            "members": [
                {"epochs": [_rounded(epoch) for epoch in fit.epochs], "best_epoch": fit.best + 1}
                for fit in self.fits
            ],
            "device": self.device,
            "ndcg": None if self.gains is None else _rounded(self.gains),
        }


class SavedSequence:
    """The pair in the folder of a run.

    Raises:
        RunError: A file is damaged.
    """

    def __init__(self, folder: Path, facts: RunFacts) -> None:
        settings = SequenceSettings.model_validate(facts.settings)
        self._folder, self._facts = folder, facts
        self._ensemble = load(folder, settings)

    def movies(self) -> Vectors:
        """Return the movie vectors `(M, W)` of the catalogue that it was trained on."""
        return movie_vectors(self._ensemble)

    def add_movies(self, content: Content, folder: Path) -> Vectors:
        """Write embeddings of new movies for the tower; return their vectors `(A, W)`."""
        append_rows(folder / MOVIES_FILE, new_movie_rows(self._folder, content))
        return new_movie_vectors(self._folder, self._facts, content)

    def write_layers(self, folder: Path) -> None:
        """Write the layers of the user tower into a version that has none."""
        facts = self._facts
        codes = np.zeros((facts.users, len(facts.attributes)), np.int64)
        length = history_length(facts.settings)
        example = example_tokens(codes, facts.scale, facts.histories, length)
        write_layers(folder, self._ensemble, movie_table(self._ensemble), example)

    def forget_user(self, user: int, _events: slice, folder: Path) -> None:
        """Write the vectors of users without that of one; the towers know no user."""
        without_rows(folder / USERS_FILE, user)


def make_pair(
    data: TrainingData,
    settings: SequenceSettings,
    rated: NDArray[np.bool_],
    trends: Trends | None,
    seed: int,
) -> SequencePair:
    """Return an untrained pair.

    Args:
        data: What it is to be trained on.
        settings: Its shape.
        rated: `(M,)` whether a movie has training rows.
        trends: Trends of the movies; None where nobody comes back.
        seed: Seed of its weights.
    """
    matrix = data.content.matrix()
    sizes = sizes_of(data.dataset, matrix)
    nothing = np.zeros((sizes.movies, 0), np.float32)
    last = nothing if trends is None else trends.features[-1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SequencePair(
            settings,
            sizes,
            torch.from_numpy(matrix),
            torch.from_numpy(rated),
            torch.from_numpy(last.copy()),
        )


def trends_of(histories: Histories, years: Vectors) -> Trends | None:
    """Return the trends of movies `(M,)` by their years; None where too few users come back."""
    parts = sittings(histories)
    if len(parts.openings) < FEWEST_RETURNS:
        return None
    return movie_trends(histories, parts, years)


def example_tokens(codes: Numbers, scale: RatingScale, histories: Histories, length: int) -> Tokens:
    """Return the users with the longest histories, at least two, as a user tower reads them.

    Args:
        codes: `(U, C)` of attributes.
        scale: Of the ratings.
        histories: Of the U users.
        length: The longest history that the tower reads.
    """
    users = longest_histories(histories, EXAMPLES)
    return tokens(
        codes[users],
        histories,
        whole_windows(histories, users),
        np.arange(len(users)) % 2 == 0,
        scale,
        length,
        np.arange(2 * len(users)).reshape(-1, 2) // 2 % 2,  # every other one comes back
    )


def write_tower(folder: Path, ensemble: SequenceEnsemble, example: Tokens) -> None:
    """Write the user tower, and the embeddings of movies that it looks up, into a folder."""
    table = movie_table(ensemble)
    write_layers(folder, ensemble, table, example)
    np.save(folder / MOVIES_FILE, table.stored)


def write_layers(
    folder: Path, ensemble: SequenceEnsemble, table: EmbeddingTable, example: Tokens
) -> None:
    """Write the layers of a user tower, and read them back: both must give the same vectors.

    Args:
        folder: Folder to write into.
        ensemble: Its pairs.
        table: What `movie_table` says of them.
        example: At least two users.

    Raises:
        RunError: Torch cannot write it, or ONNX Runtime computes something else than torch.
    """
    questions, places = torch.export.Dim("questions"), torch.export.Dim("places")
    each, history = {0: questions}, {0: questions, 1: places}
    axes: Axes = (history, history, each, history, {**history, 2: places}, each, each)
    tower, example = EnsembleUserTower(ensemble), example.padded(TOKENS)
    columns = example.columns(table)
    exported = export(tower, columns, axes, OUTPUTS, folder / TOWER_FILE)
    for count in (2, example.movies.shape[1] - 1):
        check(exported, tower, example.until(count).columns(table))
    _write_continuation(folder, ensemble, columns, exported.run(columns)[1])


def _write_continuation(
    folder: Path, ensemble: SequenceEnsemble, columns: Columns, states: Vectors
) -> None:
    """Write the layers for a few tokens after others, and read them back.

    Args:
        folder: Folder to write into.
        ensemble: The pairs.
        columns: What the layers for all tokens are given.
        states: `(B, T, S)` of the tokens, as those layers say.
    """

    def last(count: int) -> Columns:
        parts = {name: columns[name][:, -count:] for name in CONTINUED if name in columns}
        parts |= {"asked": columns["asked"], "read": states[:, :-count]}
        return {name: np.ascontiguousarray(parts[name]) for name in CONTINUED}

    dynamic = torch.export.Dim.DYNAMIC
    each = {0: torch.export.Dim("questions")}
    some = {**each, 1: torch.export.Dim("places")}
    axes: Axes = (some, some, some, {**some, 2: dynamic}, each, {**each, 1: dynamic})
    further = EnsembleContinuation(ensemble)
    exported = export(further, last(2), axes, OUTPUTS, folder / CONTINUATION_FILE)
    for count in (1, states.shape[1] - 1):
        check(exported, further, last(count))


def save(folder: Path, ensemble: SequenceEnsemble, more: Mapping[str, object]) -> None:
    """Write weights and sizes of all members, and more facts, into a folder."""
    facts = {"members": len(ensemble.pairs), **more}
    save_module(folder / WEIGHTS_FILE, folder / SIZES_FILE, ensemble, ensemble.sizes, facts)


def load(folder: Path, settings: SequenceSettings) -> SequenceEnsemble:
    """Read back the pair that `save` wrote.

    Raises:
        RunError: A file is damaged.
    """
    sizes, weights, facts = load_module(folder / WEIGHTS_FILE, folder / SIZES_FILE)
    with readable(folder / WEIGHTS_FILE):
        ensemble = SequenceEnsemble(
            [
                SequencePair(
                    settings,
                    sizes,
                    content=weights[f"pairs.{place}.content"],
                    rated=weights[f"pairs.{place}.rated"],
                    trends=weights[f"pairs.{place}.trends"],
                )
                for place in range(facts["members"])
            ]
        )
        ensemble.load_state_dict(weights)
    ensemble.eval()
    return ensemble


def _stage(member: int, settings: SequenceSettings) -> str:
    """Return words for the training of one member."""
    if settings.members == 1:
        return f"{NAME} pair"
    return f"{NAME} pair, member {member + 1} of {settings.members}"


def _rounded(row: SequenceEpoch | Gains) -> dict[str, float]:
    return {name: round(value, 4) for name, value in row._asdict().items()}
