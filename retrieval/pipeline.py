"""The steps from a data folder to a run, and from a run to its index."""

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from index.flat import FlatIndex
from index.store import Card, save_index
from retrieval import columns
from retrieval.catalogue import Catalogue, Movie
from retrieval.choices import Preset, Towers
from retrieval.data.dataset import Dataset, encode
from retrieval.data.frames import MovieData
from retrieval.data.history import build_histories
from retrieval.data.split import random_rows
from retrieval.errors import DataError, Problem, RequestError
from retrieval.files import beside, new_folder
from retrieval.link import Link
from retrieval.run import (
    BAYESIAN,
    CARD,
    INDEX,
    METRICS,
    MOODS,
    USER_TOWER,
    VERSION,
    Run,
    RunConfig,
    open_run,
    seal,
    write_run,
)
from retrieval.towers.bayesian import load_bayesian, save_bayesian
from retrieval.towers.export import export_user_tower
from retrieval.towers.inputs import UserInputs
from retrieval.training.blend import fit_blend
from retrieval.training.examples import Known, held_out_examples, learn, training_examples
from retrieval.training.infer import Inferred, infer
from retrieval.training.loop import Fit, fit, predict
from retrieval.training.pairs import (
    Pair,
    has_bias,
    load_pair,
    make_pair,
    movie_vectors,
    save_pair,
    user_tower,
)
from retrieval.training.presets import Plan, plan

# Rows held out to decide when to stop: enough to tell epochs apart, too few to be missed.
VALIDATION_SHARE = 0.05
VALIDATION_ROWS = 20_000

FEWEST_RATINGS = 100

# Beside the run: what an interrupted training goes on from.
CHECKPOINT = ".checkpoint"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What training came to."""

    seconds: float
    validation_rows: int
    validation_errors: dict[str, float]  # root mean square, of each pair and of their blend
    epochs: Fit | None  # of the neural pair
    inferred: Inferred | None  # the Bayesian pair

    @property
    def validation_error(self) -> float:
        """The error of what the run answers with."""
        return list(self.validation_errors.values())[-1]


class _Neural(NamedTuple):
    """The neural pair, trained."""

    pair: Pair
    known: Known
    fit: Fit
    scores: NDArray[np.float64]  # (V,) of the validation rows: ratings less the centre
    example: UserInputs  # a few real users


def train(
    data: MovieData,
    source: str,
    folder: Path,
    preset: Preset,
    seed: int,
    progress: Progress,
    towers: Sequence[Towers] = (),
) -> Trained:
    """Train tower pairs and write them as a run, which replaces one of the same name when whole.

    Interrupted while the Bayesian pair is inferred, the same call goes on from there.

    Args:
        data: What to learn from.
        source: What to call the data in the run.
        folder: Of the run.
        preset: How much to spend.
        seed: Of everything random.
        progress: Where to show how far it is.
        towers: Which pairs; none leaves it to the preset.

    Raises:
        DataError: There are too few ratings.
        RequestError: The preset does not go with the towers.
    """
    began = time.perf_counter()
    dataset = encode(data)
    if len(dataset.ratings) < FEWEST_RATINGS:
        raise DataError([_too_few(source, len(dataset.ratings))])
    planned = plan(preset, len(dataset.ratings))
    pairs = tuple(sorted(set(towers or planned.pairs), key=list(Towers).index))
    if preset is Preset.NOTEBOOK and pairs != planned.pairs:
        raise RequestError("the preset notebook is one pair: leave out --towers, or the preset")
    rows = random_rows(
        len(dataset.ratings),
        min(VALIDATION_ROWS, int(len(dataset.ratings) * VALIDATION_SHARE)),
        np.random.default_rng(seed),
    )
    checkpoint = beside(folder, CHECKPOINT)
    inferred, neural = None, None
    if Towers.BAYESIAN in pairs:
        inferred = infer(dataset, rows, planned.bayesian, seed, checkpoint, progress)
    if Towers.NEURAL in pairs:
        neural = _train_neural(dataset, rows, planned, seed, progress)
    answers = _blend(dataset, rows, neural, inferred)
    seconds = time.perf_counter() - began
    config = RunConfig(
        version=VERSION,
        towers=pairs,
        weights=answers.weights,
        link=answers.link,
        noise=None if inferred is None else float(inferred.validation_variances.mean()),
        preset=preset,
        seed=seed,
        data=source,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        training_seconds=round(seconds, 1),
        scale=dataset.scale,
        centre=float(dataset.ratings[~rows].mean(dtype=np.float64)),
        demographics=dataset.demographics,
        history_length=planned.towers.history_length,
        biases=_biases(planned, neural, inferred),
    )
    trained = Trained(
        seconds=seconds,
        validation_rows=int(rows.sum()),
        validation_errors=answers.errors,
        epochs=None if neural is None else neural.fit,
        inferred=inferred,
    )
    with new_folder(folder) as partial:
        seen = np.bincount(dataset.users[~rows], minlength=len(dataset.user_vocabulary)) > 0
        _write_data(partial, config, dataset, seen)
        if neural is not None:
            save_pair(partial, neural.pair)
            tower = user_tower(neural.pair, neural.known.centre, dataset.scale.unit)
            export_user_tower(tower, neural.example, partial / USER_TOWER)
        if inferred is not None:
            save_bayesian(partial / BAYESIAN, inferred.pair)
            np.save(partial / MOODS, inferred.moods)
        (partial / METRICS).write_text(json.dumps(_metrics(trained, dataset), indent=2) + "\n")
        (partial / CARD).write_text(_card(config, trained, dataset))
        seal(partial)
    shutil.rmtree(checkpoint, ignore_errors=True)
    return trained


def _train_neural(
    dataset: Dataset, rows: NDArray[np.bool_], planned: Plan, seed: int, progress: Progress
) -> _Neural:
    known = learn(dataset, ~rows)
    examples = training_examples(dataset, known, ~rows)
    validation = held_out_examples(dataset, known, rows)
    pair = make_pair(planned.towers, dataset, known, seed)
    length = planned.towers.history_length
    fitted = fit(pair, examples, validation, length, planned.loop, seed, progress)
    batch = validation.batch(np.arange(min(64, len(validation))), length)
    scores = predict(pair, validation, length).astype(np.float64) * dataset.scale.unit
    example = UserInputs(*(column.numpy() for column in batch.users))
    return _Neural(pair, known, fitted, scores, example)


class _Answers(NamedTuple):
    """How scores of the pairs become ratings."""

    weights: tuple[float, ...]
    link: Link | None
    errors: dict[str, float]


def _blend(
    dataset: Dataset,
    rows: NDArray[np.bool_],
    neural: _Neural | None,
    inferred: Inferred | None,
) -> _Answers:
    """Fit how the pairs are blended, each alone too, to say what it is worth."""
    true = dataset.ratings[rows].astype(np.float64)
    errors: dict[str, float] = {}
    if neural is not None:
        predicted = dataset.scale.clip(neural.known.centre + neural.scores)
        errors[Towers.NEURAL] = _root_mean_square(predicted - true)
    if inferred is None:
        return _Answers((1.0,), None, errors)
    fitted = fit_blend(
        inferred.validation_scores[:, None],
        inferred.validation_levels,
        inferred.values,
        inferred.thresholds,
        [1.0],
    )
    predicted = fitted.link.ratings(inferred.validation_scores * fitted.weights[0])
    errors[Towers.BAYESIAN] = _root_mean_square(predicted - true)
    if neural is None:
        return _Answers(fitted.weights, fitted.link, errors)
    scores = np.stack([neural.scores, inferred.validation_scores], axis=1)  # in the order of Towers
    fitted = fit_blend(
        scores, inferred.validation_levels, inferred.values, inferred.thresholds, [0.0, 1.0]
    )
    predicted = fitted.link.ratings(scores @ np.array(fitted.weights))
    errors["blend"] = _root_mean_square(predicted - true)
    return _Answers(fitted.weights, fitted.link, errors)


def _root_mean_square(errors: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(errors**2))) if len(errors) else 0.0


def _biases(planned: Plan, neural: _Neural | None, inferred: Inferred | None) -> tuple[int, ...]:
    """Return which components of the joined movie vectors are biases."""
    biases, width = [], 0
    if neural is not None:
        width = movie_vectors(neural.pair).shape[1]
        biases += [width - 1] if has_bias(planned.towers) else []
    if inferred is not None:
        biases.append(width + inferred.pair.movies.shape[1] - 1)
    return tuple(biases)


def build_index(folder: Path) -> Card:
    """Embed the whole catalogue of a run and index it; an index that was there is replaced.

    Raises:
        RunError: The run is missing or damaged.
    """
    run = open_run(folder)
    parts = [_movie_vectors(run, towers) for towers in run.config.towers]
    index = FlatIndex.build(run.catalogue.vocabulary.ids, np.hstack(parts))
    with new_folder(folder / INDEX) as partial:
        return save_index(partial, index, run.model)


def _movie_vectors(run: Run, towers: Towers) -> NDArray[np.float32]:
    match towers:
        case Towers.NEURAL:
            return movie_vectors(load_pair(run.folder, run.config))
        case Towers.BAYESIAN:
            return load_bayesian(run.folder / BAYESIAN).movies


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
    metrics: dict[str, object] = {
        "protocol": "random rows of the data, held out to choose epochs, burn-in and weights",
        "validation_rows": trained.validation_rows,
        "validation_rmse": round(trained.validation_error, 4),
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
    return metrics


def _card(config: RunConfig, trained: Trained, dataset: Dataset) -> str:
    rating = "clip(offset + user vector . movie vector)"
    if config.link is not None:
        rating = "link(offset + user vector . movie vector), the link in `config.json`"
    return f"""# A two-tower movie model

Trained on {config.data}: {len(dataset.ratings):,} ratings from {config.scale.lowest:g} to
{config.scale.highest:g} by {len(dataset.user_vocabulary):,} users, in a catalogue of
{len(dataset.movie_vocabulary):,} movies. Tower pairs: {", ".join(config.towers)}. Preset
`{config.preset}`, seed {config.seed}, {config.training_seconds:.0f} s on {config.created[:10]}.

Root mean square error {trained.validation_error:.4f} on {trained.validation_rows:,} random ratings
held out. They chose epochs, burn-in and weights, so expect a little more on ratings never looked
at.

A rating is `{rating}`. `MANIFEST.json` holds the sha256 of every file; `index/` is built by
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
