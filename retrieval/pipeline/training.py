"""The steps from a data folder to a run."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress

from retrieval.blending.blend import Ranking
from retrieval.blending.ranking import Choice
from retrieval.blending.rating import Answers, Neural, train_neural, weigh
from retrieval.data.catalogue import Catalogue
from retrieval.data.dataset import Dataset, encode
from retrieval.data.frames import MovieData
from retrieval.data.history import Histories
from retrieval.data.listing import listed
from retrieval.data.split import random_rows
from retrieval.errors import DataError, Problem, RequestError
from retrieval.options import Device, Preset, Towers
from retrieval.pairs.bayesian.inference import Inferred, infer
from retrieval.pairs.bayesian.tower import save_bayesian
from retrieval.pairs.content import Describer, learn_to_describe, save_describer
from retrieval.pairs.device import available
from retrieval.pairs.export import export_sequence_tower, export_user_tower
from retrieval.pairs.neural.training import Fit
from retrieval.pairs.sequence.ensemble import EnsembleUserTower
from retrieval.pairs.sequence.training import Gains, SequenceEpoch
from retrieval.pairs.sequence.watch import Watching, choose_last, rank, stored_users, train_sequence
from retrieval.pipeline.indexing import index_version
from retrieval.pipeline.pairs import (
    has_bias,
    movie_vectors,
    save_ensemble,
    save_pair,
    user_tower,
)
from retrieval.pipeline.presets import Plan, plan
from retrieval.pipeline.rehearsal import rehearse
from retrieval.run.folder import (
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
from retrieval.run.versions import writing
from retrieval.storage.files import remove

# Rows held out to decide when to stop and how to blend: enough to tell epochs apart, too few to be
# missed.
VALIDATION_SHARE = 0.03
VALIDATION_ROWS = 10_000

FEWEST_RATINGS = 100

# What an interrupted training goes on from, in the folder of checkpoints.
DRAWS, SEQUENCE_PAIRS = "draws", "sequence-pairs"


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
        """The error of the ratings that the run answers with, if there were any to look at."""
        if not self.validation_rows:
            return None
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
    *,
    index: bool = True,
) -> Trained:
    """Train tower pairs and write them as a run with its index: a new version of one that is there.

    Interrupted, the same call goes on with the Bayesian and the sequence pair from where they were:
    what is done is kept in the folder.

    Args:
        data: What to learn from.
        source: What to call the data in the run.
        folder: Of the run.
        preset: How much to spend.
        seed: Of everything random.
        progress: Where to show how far it is.
        towers: Which pairs; none leaves it to the preset.
        device: Where the sequence pair is trained.
        index: Whether to build the index, of the kind that is fastest for so many movies.

    Raises:
        DataError: There are too few ratings.
        RequestError: The preset does not go with the towers, or the device is not there.
        RunError: The folder holds something else, or somebody else is writing it.
    """
    where = available(device)
    planned = plan(preset, len(data.ratings))
    pairs = tuple(sorted(set(towers or planned.pairs), key=list(Towers).index))
    if preset is Preset.NOTEBOOK and pairs != planned.pairs:
        raise RequestError("the preset notebook is one pair: leave out --towers, or the preset")
    if len(data.ratings) < FEWEST_RATINGS:
        raise DataError([_too_few(source, len(data.ratings))])
    with writing(folder) as writer:
        writer.note(request(source, preset, seed, towers))
        parts = _fit(encode(data), pairs, planned, seed, writer.checkpoint, where, progress)
        config = _config(parts, planned, preset, seed, source)
        with writer.new_version() as partial:
            _write(partial, config, parts)
            if index:
                task = progress.add_task("building the index", total=None)
                index_version(partial, folder)
                progress.remove_task(task)
        remove(writer.checkpoint)
    return parts.trained


def request(source: str, preset: Preset, seed: int, towers: Sequence[Towers]) -> dict[str, object]:
    """Return what tells one training from another, so that an interrupted one is found again."""
    return {"data": source, "preset": preset, "seed": seed, "towers": list(towers)}


class _Parts(NamedTuple):
    """What a run is made of."""

    dataset: Dataset
    pairs: tuple[Towers, ...]
    held_out: NDArray[np.bool_]  # (N,) ratings that no pair was trained on
    describer: Describer
    neural: Neural | None
    answers: Answers
    trained: Trained


def _fit(
    dataset: Dataset,
    pairs: tuple[Towers, ...],
    planned: Plan,
    seed: int,
    checkpoint: Path,
    device: torch.device,
    progress: Progress,
) -> _Parts:
    """Train what a run is made of.

    Args:
        dataset: All ratings.
        pairs: Which pairs.
        planned: How.
        seed: Of everything random.
        checkpoint: Folder where interrupted training is kept.
        device: Where the sequence pair is trained.
        progress: Where to show how far it is.
    """
    began = time.perf_counter()
    rng = np.random.default_rng(seed)
    count = min(VALIDATION_ROWS, int(len(dataset.ratings) * VALIDATION_SHARE))
    validation = random_rows(len(dataset.ratings), count, rng)
    last = np.zeros_like(validation)
    if Towers.SEQUENCE in pairs:
        last = choose_last(dataset, rng)
    held_out = validation | last
    describer = learn_to_describe(dataset.movie_frame, seed)
    content = describer.describe(dataset.movie_frame)
    rehearse(dataset, content, pairs, planned, seed)
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
        pairs_folder = checkpoint / SEQUENCE_PAIRS
        watching = train_sequence(
            dataset, content, last, planned, seed, pairs_folder, device, progress
        )
        choice = rank(dataset, watching, neural, inferred, answers)
    trained = Trained(
        seconds=time.perf_counter() - began,
        validation_rows=int((validation & ~last).sum()),
        validation_errors=answers.errors,
        epochs=None if neural is None else neural.fit,
        inferred=inferred,
        watching=watching,
        ranking=choice,
    )
    return _Parts(dataset, pairs, held_out, describer, neural, answers, trained)


def _config(parts: _Parts, planned: Plan, preset: Preset, seed: int, source: str) -> RunConfig:
    """Return what a run was made of; see `train`."""
    dataset, trained, answers = parts.dataset, parts.trained, parts.answers
    widths = _widths(parts.neural, trained.inferred, trained.watching)
    return RunConfig(
        version=VERSION,
        towers=parts.pairs,
        blend=answers.blend,
        ranking=_ranking(trained.watching, trained.ranking),
        link=answers.link,
        noise=None if trained.inferred is None else trained.inferred.noise,
        preset=preset,
        seed=seed,
        data=source,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        training_seconds=round(trained.seconds, 1),
        scale=dataset.scale,
        centre=float(dataset.ratings[~parts.held_out].mean(dtype=np.float64)),
        demographics=dataset.demographics,
        history_length=planned.towers.history_length,
        widths=widths,
        biases=_biases(parts.pairs, widths, parts.neural),
        threads=torch.get_num_threads(),
    )


def _write(folder: Path, config: RunConfig, parts: _Parts) -> None:
    """Write everything but the index into the folder of a version, and seal it."""
    dataset, trained = parts.dataset, parts.trained
    users = dataset.users[~parts.held_out]
    seen = np.bincount(users, minlength=len(dataset.user_vocabulary)) > 0
    histories = dataset.histories(np.ones(len(dataset.users), dtype=bool))
    _write_data(folder, config, dataset, seen, histories)
    save_describer(folder / CONTENT, parts.describer)
    _write_pairs(folder, config, histories, parts.neural, trained.inferred, trained.watching)
    metrics = json.dumps(_metrics(trained, dataset), indent=2) + "\n"
    (folder / METRICS).write_text(metrics, encoding="utf-8")
    (folder / CARD).write_text(_card(config, trained, dataset), encoding="utf-8")
    seal(folder)


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
        held_out = trained.watching.last.any()
        metrics["sequence_ndcg"] = _rounded(trained.watching.gains) if held_out else None
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
    if trained.validation_errors:
        rating = "A rating is `clip(offset + user vector . movie vector)`."
        quality = "There were too few ratings to hold any out, so nobody knows how good it is."
    if trained.validation_error is not None:
        quality = (
            f"Root mean square error {trained.validation_error:.4f} on {trained.validation_rows:,} "
            "random ratings held out.\nThey chose epochs, burn-in and weights, so expect a little "
            "more on ratings never looked at."
        )
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

{rating} `MANIFEST.json` holds the sha256 of every file.
"""


def _too_few(source: str, count: int) -> Problem:
    return Problem(
        file=source,
        line=None,
        value=str(count),
        what="too few ratings to train on",
        remedy=f"give at least {FEWEST_RATINGS}; rec data synth makes a world to try things on",
    )
