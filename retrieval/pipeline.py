"""The steps from a data folder to a run, and from a run to its index."""

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from index.flat import FlatIndex
from index.store import Card, save_index
from retrieval import columns
from retrieval.catalogue import Catalogue, Movie
from retrieval.choices import Preset
from retrieval.data.dataset import Dataset, encode
from retrieval.data.frames import MovieData
from retrieval.data.history import build_histories
from retrieval.data.split import random_rows
from retrieval.errors import DataError, Problem
from retrieval.files import new_folder
from retrieval.run import (
    CARD,
    INDEX,
    METRICS,
    USER_TOWER,
    VERSION,
    RunConfig,
    open_run,
    seal,
    write_run,
)
from retrieval.towers.export import export_user_tower
from retrieval.towers.inputs import UserInputs
from retrieval.training.examples import held_out_examples, learn, training_examples
from retrieval.training.loop import Fit, fit
from retrieval.training.pairs import (
    directions,
    load_pair,
    make_pair,
    movie_vectors,
    save_pair,
    user_tower,
)
from retrieval.training.presets import plan

# Rows held out to decide when to stop: enough to tell epochs apart, too few to be missed.
VALIDATION_SHARE = 0.05
VALIDATION_ROWS = 20_000

FEWEST_RATINGS = 100


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What training came to."""

    fit: Fit
    seconds: float
    validation_rows: int


def train(
    data: MovieData, source: str, folder: Path, preset: Preset, seed: int, progress: Progress
) -> Trained:
    """Train a tower pair and write it as a run, which replaces one of the same name when whole.

    Args:
        data: What to learn from.
        source: What to call the data in the run.
        folder: Of the run.
        preset: How much to spend.
        seed: Of the validation rows, of the first weights and of the order of rows.
        progress: Where to show how far it is.

    Raises:
        DataError: There are too few ratings.
    """
    began = time.perf_counter()
    dataset = encode(data)
    if len(dataset.ratings) < FEWEST_RATINGS:
        raise DataError([_too_few(source, len(dataset.ratings))])
    planned = plan(preset, len(dataset.ratings))
    rows = random_rows(
        len(dataset.ratings),
        min(VALIDATION_ROWS, int(len(dataset.ratings) * VALIDATION_SHARE)),
        np.random.default_rng(seed),
    )
    known = learn(dataset, ~rows)
    examples, validation = (
        training_examples(dataset, known, ~rows),
        held_out_examples(dataset, known, rows),
    )
    pair = make_pair(planned.towers, dataset, known, seed)
    length = planned.towers.history_length
    fitted = fit(pair, examples, validation, length, planned.loop, seed, progress)
    seconds = time.perf_counter() - began
    trained = Trained(fit=fitted, seconds=seconds, validation_rows=int(rows.sum()))
    config = RunConfig(
        version=VERSION,
        towers=("neural",),
        preset=preset,
        seed=seed,
        data=source,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        training_seconds=round(seconds, 1),
        scale=dataset.scale,
        centre=known.centre,
        demographics=dataset.demographics,
        history_length=length,
        directions=directions(planned.towers, movie_vectors(pair).shape[1]),
    )
    with new_folder(folder) as partial:
        _write_data(partial, config, dataset, known.seen_users)
        save_pair(partial, pair)
        batch = validation.batch(np.arange(min(64, len(validation))), length)
        export_user_tower(
            user_tower(pair, known.centre, dataset.scale.unit),
            UserInputs(*(column.numpy() for column in batch.users)),
            partial / USER_TOWER,
        )
        (partial / METRICS).write_text(json.dumps(_metrics(trained, dataset), indent=2) + "\n")
        (partial / CARD).write_text(_card(config, trained, dataset))
        seal(partial)
    return trained


def build_index(folder: Path) -> Card:
    """Embed the whole catalogue of a run and index it; an index that was there is replaced.

    Raises:
        RunError: The run is missing or damaged.
    """
    run = open_run(folder)
    vectors = movie_vectors(load_pair(folder, run.config))
    index = FlatIndex.build(run.catalogue.vocabulary.ids, vectors)
    with new_folder(folder / INDEX) as partial:
        return save_index(partial, index, run.model)


def _write_data(
    folder: Path, config: RunConfig, dataset: Dataset, trained_users: NDArray[np.bool_]
) -> None:
    """Write the data a run answers from: all of it, validation rows too."""
    write_run(
        folder,
        config,
        _catalogue(dataset),
        dataset.user_vocabulary,
        dataset.user_codes,
        trained_users,
        build_histories(
            dataset.users,
            dataset.movies,
            dataset.ratings,
            dataset.timestamps,
            len(dataset.user_vocabulary),
        ),
    )


def _catalogue(dataset: Dataset) -> Catalogue:
    frame = dataset.movie_frame
    years = frame[columns.YEAR].astype(object).where(frame[columns.YEAR].notna(), None)
    return Catalogue(
        [
            Movie(
                int(movie), str(title), year, tuple(genre for genre in genres.split("|") if genre)
            )
            for movie, title, year, genres in zip(
                frame[columns.MOVIE_ID],
                frame[columns.TITLE],
                years,
                frame[columns.GENRES],
                strict=True,
            )
        ]
    )


def _metrics(trained: Trained, dataset: Dataset) -> dict[str, object]:
    unit = dataset.scale.unit
    best = trained.fit.epochs[trained.fit.best]
    return {
        "protocol": "random rows of the data, held out from training and used to choose the epoch",
        "validation_rows": trained.validation_rows,
        "validation_rmse": round(best.validation_error * unit, 4),
        "epochs": [
            {
                "training_loss": round(epoch.training_loss, 4),
                "validation_rmse": round(epoch.validation_error * unit, 4),
            }
            for epoch in trained.fit.epochs
        ],
        "best_epoch": trained.fit.best + 1,
    }


def _card(config: RunConfig, trained: Trained, dataset: Dataset) -> str:
    best = trained.fit.epochs[trained.fit.best]
    return f"""# A two-tower movie model

Trained on {config.data}: {len(dataset.ratings):,} ratings from {config.scale.lowest:g} to
{config.scale.highest:g} by {len(dataset.user_vocabulary):,} users, in a catalogue of
{len(dataset.movie_vocabulary):,} movies. Preset `{config.preset}`, seed {config.seed},
{config.training_seconds:.0f} s on {config.created[:10]}.

Root mean square error {best.validation_error * dataset.scale.unit:.4f} on
{trained.validation_rows:,} random ratings held out from training. They chose the epoch, so expect
a little more on ratings never looked at.

A rating is `clip(offset of the user + user vector . movie vector)`. `MANIFEST.json` holds the
sha256 of every file; `index/` is built by `rec build-index`.
"""


def _too_few(source: str, count: int) -> Problem:
    return Problem(
        file=source,
        line=None,
        value=str(count),
        what="too few ratings to train on",
        remedy=f"give at least {FEWEST_RATINGS}; rec data synth makes a world to try things on",
    )
