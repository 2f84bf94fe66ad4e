"""The steps from a data folder to a run."""

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.progress import Progress

from retrieval import columns
from retrieval.blend import Ranking
from retrieval.catalogue import Catalogue, Movie
from retrieval.choices import Device, Preset, Towers
from retrieval.data.dataset import Dataset, encode
from retrieval.data.frames import MovieData
from retrieval.data.history import Histories
from retrieval.data.split import random_rows
from retrieval.errors import DataError, Problem, RequestError
from retrieval.files import beside, new_folder
from retrieval.run import (
    BAYESIAN,
    CARD,
    CONTENT,
    METRICS,
    MOODS,
    SEQUENCE_TOWER,
    SEQUENCE_USERS,
    USER_TOWER,
    VERSION,
    RunConfig,
    seal,
    write_run,
)
from retrieval.sampling.checkpoint import remove_checkpoint
from retrieval.towers.bayesian import save_bayesian
from retrieval.towers.content import learn_to_describe, save_describer
from retrieval.towers.ensemble import EnsembleUserTower
from retrieval.towers.export import export_sequence_tower, export_user_tower
from retrieval.training.device import available
from retrieval.training.infer import Inferred, infer
from retrieval.training.loop import Fit
from retrieval.training.pairs import (
    has_bias,
    movie_vectors,
    save_ensemble,
    save_pair,
    user_tower,
)
from retrieval.training.presets import plan
from retrieval.training.ranking import Choice
from retrieval.training.rating import Neural, train_neural, weigh
from retrieval.training.sequence_loop import Gains, SequenceEpoch
from retrieval.training.watch import Watching, choose_last, rank, stored_users, train_sequence

# Rows held out to decide when to stop and how to blend: enough to tell epochs apart, too few to be
# missed.
VALIDATION_SHARE = 0.03
VALIDATION_ROWS = 10_000

FEWEST_RATINGS = 100

# Beside the run: what an interrupted training goes on from.
CHECKPOINT, DRAWS, SEQUENCE_PAIRS = ".checkpoint", "draws", "sequence-pairs"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What training came to."""

    seconds: float
    validation_rows: int
    validation_errors: dict[str, float]  # root mean square, of each pair and of their blend
    epochs: Fit | None  # of the neural pair
    inferred: Inferred | None  # the Bayesian pair
    watching: Watching | None  # the sequence pairs
    ranking: Choice | None  # of lists, where there is a sequence pair

    @property
    def validation_error(self) -> float | None:
        """The error of the ratings that the run answers with, if it predicts ratings."""
        return next(reversed(self.validation_errors.values()), None)


def train(
    data: MovieData,
    source: str,
    folder: Path,
    preset: Preset,
    seed: int,
    progress: Progress,
    towers: Sequence[Towers] = (),
    device: Device = Device.AUTO,
) -> Trained:
    """Train tower pairs and write them as a run, which replaces one of the same name when whole.

    Interrupted, the same call goes on with the Bayesian and the sequence pair from where they were:
    what is done is kept beside the folder.

    Args:
        data: What to learn from.
        source: What to call the data in the run.
        folder: Of the run.
        preset: How much to spend.
        seed: Of everything random.
        progress: Where to show how far it is.
        towers: Which pairs; none leaves it to the preset.
        device: Where the sequence pair is trained.

    Raises:
        DataError: There are too few ratings.
        RequestError: The preset does not go with the towers, or the device is not there.
    """
    began, where = time.perf_counter(), available(device)
    dataset = encode(data)
    if len(dataset.ratings) < FEWEST_RATINGS:
        raise DataError([_too_few(source, len(dataset.ratings))])
    planned = plan(preset, len(dataset.ratings))
    pairs = tuple(sorted(set(towers or planned.pairs), key=list(Towers).index))
    if preset is Preset.NOTEBOOK and pairs != planned.pairs:
        raise RequestError("the preset notebook is one pair: leave out --towers, or the preset")
    rng = np.random.default_rng(seed)
    count = min(VALIDATION_ROWS, int(len(dataset.ratings) * VALIDATION_SHARE))
    validation = random_rows(len(dataset.ratings), count, rng)
    last = np.zeros_like(validation)
    if Towers.SEQUENCE in pairs:
        last = choose_last(dataset, rng)
    held_out = validation | last
    checkpoint = beside(folder, CHECKPOINT)
    describer = learn_to_describe(dataset.movie_frame, seed)
    content = describer.describe(dataset.movie_frame)
    inferred, neural, watching, choice = None, None, None, None
    if Towers.BAYESIAN in pairs:
        inferred = infer(
            dataset,
            content.matrix(),
            validation,
            held_out,
            planned.bayesian,
            seed,
            checkpoint / DRAWS,
            progress,
        )
    if Towers.NEURAL in pairs:
        neural = train_neural(dataset, content, validation, held_out, planned, seed, progress)
    answers = weigh(dataset, validation & ~last, held_out, content, neural, inferred)
    if Towers.SEQUENCE in pairs:
        watching = train_sequence(
            dataset, content, last, planned, seed, checkpoint / SEQUENCE_PAIRS, where, progress
        )
        choice = rank(dataset, watching, neural, inferred, answers)
    widths = _widths(neural, inferred, watching)
    seconds = time.perf_counter() - began
    config = RunConfig(
        version=VERSION,
        towers=pairs,
        blend=answers.blend,
        ranking=_ranking(watching, choice),
        link=answers.link,
        noise=None if inferred is None else inferred.noise,
        preset=preset,
        seed=seed,
        data=source,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        training_seconds=round(seconds, 1),
        scale=dataset.scale,
        centre=float(dataset.ratings[~held_out].mean(dtype=np.float64)),
        demographics=dataset.demographics,
        history_length=planned.towers.history_length,
        widths=widths,
        biases=_biases(pairs, widths, neural),
    )
    trained = Trained(
        seconds=seconds,
        validation_rows=int((validation & ~last).sum()),
        validation_errors=answers.errors,
        epochs=None if neural is None else neural.fit,
        inferred=inferred,
        watching=watching,
        ranking=choice,
    )
    with new_folder(folder) as partial:
        seen = np.bincount(dataset.users[~held_out], minlength=len(dataset.user_vocabulary)) > 0
        histories = dataset.histories(np.ones(len(dataset.users), dtype=bool))
        _write_data(partial, config, dataset, seen, histories)
        save_describer(partial / CONTENT, describer)
        _write_pairs(partial, config, histories, neural, inferred, watching)
        (partial / METRICS).write_text(json.dumps(_metrics(trained, dataset), indent=2) + "\n")
        (partial / CARD).write_text(_card(config, trained, dataset))
        seal(partial)
    remove_checkpoint(checkpoint / DRAWS)
    shutil.rmtree(checkpoint, ignore_errors=True)
    return trained


def _write_pairs(
    folder: Path,
    config: RunConfig,
    histories: Histories,
    neural: Neural | None,
    inferred: Inferred | None,
    watching: Watching | None,
) -> None:
    """Write the pairs that were trained, and what encodes users at query time."""
    if neural is not None:
        save_pair(folder, neural.pair)
        tower = user_tower(neural.pair, neural.known.centre, config.scale.unit)
        export_user_tower(tower, neural.example, folder / USER_TOWER)
    if inferred is not None:
        save_bayesian(folder / BAYESIAN, inferred.pair)
        np.save(folder / MOODS, inferred.moods)
    if watching is not None:
        save_ensemble(folder, watching.ensemble)
        path = folder / SEQUENCE_TOWER
        export_sequence_tower(EnsembleUserTower(watching.ensemble), watching.example, path)
        np.save(folder / SEQUENCE_USERS, stored_users(watching, histories))


def _widths(
    neural: Neural | None, inferred: Inferred | None, watching: Watching | None
) -> tuple[int, ...]:
    """Return how many components of a movie vector each pair has: one for offsets, to rate."""
    widths = []
    if neural is not None:
        widths.append(movie_vectors(neural.pair).shape[1] + 1)
    if inferred is not None:
        widths.append(inferred.pair.movies.shape[1] + 1)
    if watching is not None:
        widths.append(watching.ensemble.dimension)
    return tuple(widths)


def _biases(
    towers: Sequence[Towers], widths: Sequence[int], neural: Neural | None
) -> tuple[int, ...]:
    """Return which components of the joined movie vectors are biases, or meet users' offsets.

    They are the last ones of the pairs that rate.
    """
    biases = []
    for pair, end in zip(towers, np.cumsum(widths).tolist(), strict=True):
        if pair is Towers.BAYESIAN or (
            pair is Towers.NEURAL and neural is not None and has_bias(neural.pair.settings)
        ):
            biases.append(end - 2)
        if pair is not Towers.SEQUENCE:
            biases.append(end - 1)
    return tuple(biases)


def _ranking(watching: Watching | None, choice: Choice | None) -> Ranking | None:
    if watching is None or choice is None:
        return None
    return Ranking(
        rank_by=choice.rank_by,
        rating_weight=choice.weight,
        temperature=watching.ensemble.temperature,
        history_length=watching.ensemble.settings.history_length,
    )


def _write_data(
    folder: Path,
    config: RunConfig,
    dataset: Dataset,
    trained_users: NDArray[np.bool_],
    histories: Histories,
) -> None:
    """Write the data a run answers from: all of it, validation rows too."""
    write_run(
        folder,
        config,
        Catalogue(listed(dataset.movie_frame)),
        dataset.user_vocabulary,
        dataset.user_codes,
        trained_users,
        histories,
    )


def listed(frame: pd.DataFrame) -> list[Movie]:
    """Return the movies of a frame with the columns `columns.MOVIES`."""
    years = frame[columns.YEAR].astype(object).where(frame[columns.YEAR].notna(), None)
    return [
        Movie(int(movie), str(title), year, tuple(genre for genre in genres.split("|") if genre))
        for movie, title, year, genres in zip(
            frame[columns.MOVIE_ID],
            frame[columns.TITLE],
            years,
            frame[columns.GENRES],
            strict=True,
        )
    ]


def _metrics(trained: Trained, dataset: Dataset) -> dict[str, object]:
    unit, error = dataset.scale.unit, trained.validation_error
    metrics: dict[str, object] = {
        "protocol": "random rows of the data, held out to choose epochs, burn-in and weights",
        "validation_rows": trained.validation_rows,
        "validation_rmse": None if error is None else round(error, 4),
        "validation_rmse_of": {
            name: round(error, 4) for name, error in trained.validation_errors.items()
        },
    }
    if trained.epochs is not None:
        metrics["epochs"] = [
            {
                "training_loss": round(epoch.training_loss, 4),
                "validation_rmse": round(epoch.validation_error * unit, 4),
            }
            for epoch in trained.epochs.epochs
        ]
        metrics["best_epoch"] = trained.epochs.best + 1
    if trained.inferred is not None:
        metrics["burn_in_rmse"] = [round(error, 4) for error in trained.inferred.errors]
        metrics["sweeps"] = trained.inferred.sweeps
        metrics["folded_in_against_stored"] = round(trained.inferred.disagreement, 4)
    if trained.watching is not None:
        metrics["sequence_pairs"] = [
            {"epochs": [_rounded(epoch) for epoch in fit.epochs], "best_epoch": fit.best + 1}
            for fit in trained.watching.fits
        ]
        metrics["sequence_device"] = trained.watching.device
        metrics["sequence_ndcg"] = _rounded(trained.watching.gains)
    if trained.ranking is not None:
        metrics["ndcg_by_weight_of_rating"] = [
            {"weight": str(gain.weight), "liked": round(gain.liked, 4), "all": round(gain.all, 4)}
            for gain in trained.ranking.gains
        ]
    return metrics


def _rounded(row: SequenceEpoch | Gains) -> dict[str, float]:
    return {name: round(value, 4) for name, value in row._asdict().items()}


def _card(config: RunConfig, trained: Trained, dataset: Dataset) -> str:
    quality = rating = "It predicts no ratings."
    if trained.validation_error is not None:
        quality = (
            f"Root mean square error {trained.validation_error:.4f} on {trained.validation_rows:,} "
            "random ratings held out.\nThey chose epochs, burn-in and weights, so expect a little "
            "more on ratings never looked at."
        )
        rating = "A rating is `clip(offset + user vector . movie vector)`."
    if config.link is not None:
        rating = (
            "A rating is `link(offset + user vector . movie vector)`, the link in `config.json`."
        )
    return f"""# A two-tower movie model

Trained on {config.data}: {len(dataset.ratings):,} ratings from {config.scale.lowest:g} to
{config.scale.highest:g} by {len(dataset.user_vocabulary):,} users, in a catalogue of
{len(dataset.movie_vocabulary):,} movies. Tower pairs: {", ".join(config.towers)}. Preset
`{config.preset}`, seed {config.seed}, {config.training_seconds:.0f} s on {config.created[:10]}.

{quality}

{rating} `MANIFEST.json` holds the sha256 of every file; `index/` is built by
`rec build-index`.
"""


def _too_few(source: str, count: int) -> Problem:
    return Problem(
        file=source,
        line=None,
        value=str(count),
        what="too few ratings to train on",
        remedy=f"give at least {FEWEST_RATINGS}; rec data synth makes a world to try things on",
    )
