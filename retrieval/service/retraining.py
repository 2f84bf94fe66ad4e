"""A run trained again on what its log was told, and promoted if it is not worse.

The newest events of the log are held out: the candidate is trained on all that came before them,
so that neither it nor the version that answers has seen them, and both are asked about them. One
training is enough for an honest comparison. Nothing is lost by it, as a version says how far into
the log it went (`log_mark.json`): the service brings in what came after, the events that were held
out too, and the next retraining learns from them. The alternatives are worse: trained on all of
them, the candidate would be asked about what it knows; trained twice, with and without the newest,
what is compared is not what is promoted, at double the cost.

Held out is a fifth of what came since the version that answers was trained, and not more than is
needed to tell two versions apart. Where that is too little to tell anything, nothing is held out,
and the errors on events that each held out in its own training are compared, which are of different
events: the candidate may be worse by a few percent then.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from retrieval.data import columns
from retrieval.data.dataset import encode
from retrieval.data.source import DataSource, read, saved_source
from retrieval.data.vocabulary import Id
from retrieval.errors import RequestError
from retrieval.evaluation.comparison import Comparison, compare
from retrieval.options import Device, Preset
from retrieval.pipeline.forgetting import forget_where
from retrieval.pipeline.indexing import load_into_store
from retrieval.pipeline.settings import Settings, preset_settings
from retrieval.pipeline.training import train
from retrieval.progress import SILENT, Progress
from retrieval.run.config import RunConfig
from retrieval.run.folder import Run, open_index, open_run, open_version
from retrieval.run.promotion import kept_versions, promote, versions
from retrieval.run.stores import store_of
from retrieval.run.versions import RETRAINING, current, kept, writing
from retrieval.service.export import RATINGS_FILE, events_between, export, recorded_source
from retrieval.service.log import EVENTS, Kind, Log
from retrieval.service.mark import learned_until
from retrieval.serving.encoder import Encoder
from retrieval.serving.history import StoredHistories
from retrieval.serving.snapshot import ServingSnapshot
from retrieval.storage.files import new_file, remove

# Share of the events since the last training that is held out, and how many at most.
HELD_OUT, MOST_HELD_OUT = 0.2, 20_000

# Questions about them: fewer tell nothing, more tell little, as each user is asked several.
FEWEST, MOST = 50, 5000

# Share by which the figures of two trainings may differ, each on events of its own.
OWN_TOLERANCE = 0.05

# What is kept of an interrupted retraining.
DATA, REQUEST = "data", "request.json"


@dataclass(frozen=True, kw_only=True)
class Retrained:
    """What a retraining came to.

    Args:
        current: Version that answered before.
        candidate: Version that was trained; None where there was nothing to learn.
        promoted: Whether it answers.
        why: Why, in a sentence.
        questions: Number of questions that both versions were asked.
        compared: What they scored.
        forgotten: Number of users who were taken out of versions that are kept.
    """

    current: str
    candidate: str | None
    promoted: bool
    why: str
    questions: int = 0
    compared: tuple[Comparison, ...] = ()
    forgotten: int = 0


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What one retraining works from, and what it has come to.

    Args:
        folder: Folder of what it keeps.
        source: Exported data.
        after: Entry of the log after which events are held out.
        candidate: Version that was trained on the data; None before there is one.
    """

    folder: Path
    source: DataSource
    after: int
    candidate: str | None = None

    def note(self, request: dict[str, Any]) -> None:
        """Keep it, for `_left`."""
        noted = {
            "request": request,
            "source": self.source.saved(),
            "after": self.after,
            "candidate": self.candidate,
        }
        with new_file(self.folder / REQUEST) as file:
            file.write_text(json.dumps(noted), encoding="utf-8")


def retrain(
    folder: Path,
    log: Log,
    data: DataSource | None = None,
    settings: Settings | None = None,
    *,
    keep: int = 3,
    tolerance: float = 0.0,
    device: Device = Device.AUTO,
    progress: Progress = SILENT,
) -> Retrained:
    """Train a run again on what its log was told, and promote what comes of it if it is not worse.

    The version that answers goes on answering until then; it is kept, and so is a candidate that is
    worse, which can be promoted by hand. Interrupted, the same call goes on from where it was.

    Args:
        folder: Folder of the run.
        log: What the service was told.
        data: Data that the run was trained on; None are those that it names itself.
        settings: How it is trained; None is as before.
        keep: Number of versions that answered before which are kept.
        tolerance: Share of its figures by which a candidate may be worse than chance explains.
        device: Device for the pairs that torch trains.
        progress: Who shows how far it is.

    Raises:
        RequestError: The data are not there, or do not go with the log.
        DataError: Something is wrong with the data.
        LogError: The log cannot be read.
        RunError: The run is missing or damaged, or somebody else is writing it.
    """
    run = open_run(folder)
    origin = data or recorded_source(run)
    chosen = settings or settings_of_run(run.config)
    since = learned_until(run.folder, log.identity)
    if data is None and settings is None and not log.entries(since, 1):
        why = "the log was told nothing since the last training"
        return Retrained(current=run.folder.name, candidate=None, promoted=False, why=why)
    asked = _request(run, log, origin, chosen)
    work = _left(folder, log, asked) or _exported(run, log, origin, asked, progress)
    if work.candidate is None:
        candidate = _trained(work, run, origin, chosen, device, progress)
        work = replace(work, candidate=candidate)
        work.note(asked)
    candidate = str(work.candidate)
    progress.stage("comparing with the version that answers")
    questions, compared = _compared(work, folder, log, candidate)
    if questions < FEWEST:
        worse = _worse_by_its_own(folder, candidate, max(tolerance, OWN_TOLERANCE))
        on = "the events that each held out in its training, as too few came since to compare on"
    else:
        worse = [_said(each) for each in compared if each.is_worse(tolerance)]
        on = f"{questions:,} events that neither was trained on"
    if not worse:
        store = store_of(run)
        promote(folder, candidate, keep)
        if store is not None:
            progress.stage("loading the store")
            load_into_store(folder, store)
    forgotten = _forget(folder, log)
    remove(work.folder)
    return Retrained(
        current=run.folder.name,
        candidate=kept(folder).others[0] if worse else current(folder).name,
        promoted=not worse,
        why=f"{'worse by ' + ' and '.join(worse) if worse else 'not worse'} on {on}",
        questions=questions,
        compared=tuple(compared),
        forgotten=forgotten,
    )


def settings_of_run(config: RunConfig) -> Settings:
    """Return the settings that a run was trained with.

    Raises:
        RequestError: This program has other settings; name a preset.
    """
    pairs = tuple(config.settings)
    try:
        settings = preset_settings(Preset(config.preset), pairs)
        return settings.changed(
            {
                f"{pair}.{field}": value
                for pair, fields in config.settings.items()
                for field, value in fields.items()
            }
        )
    except (RequestError, ValueError) as error:
        raise RequestError(
            f"the settings of the run are not those of this program ({error}); name a preset"
        ) from error


def _request(run: Run, log: Log, origin: DataSource, settings: Settings) -> dict[str, Any]:
    """Return what tells one retraining from another, as JSON reads it again."""
    asked = {
        "log": log.identity,
        "data": origin.saved(),
        "preset": settings.preset,
        "settings": settings.saved(),
        "seed": run.config.seed,
    }
    found: dict[str, Any] = json.loads(json.dumps(asked))
    return found


def _left(folder: Path, log: Log, asked: dict[str, Any]) -> _Work | None:
    """Return what an interrupted retraining left, if it was of this request.

    Data that hold somebody who was forgotten since are not gone on from.
    """
    left = folder / RETRAINING
    try:
        noted = json.loads((left / REQUEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if noted["request"] != asked:
        return None
    users = pq.read_table(left / DATA / RATINGS_FILE).column(0).unique().to_pylist()
    if log.is_forgotten(map(str, users), after=noted["after"]):
        return None
    return _Work(
        folder=left,
        source=replace(saved_source(noted["source"]), folder=left / DATA),
        after=noted["after"],
        candidate=noted["candidate"] if noted["candidate"] in kept(folder).others else None,
    )


def _exported(
    run: Run, log: Log, origin: DataSource, asked: dict[str, Any], progress: Progress
) -> _Work:
    """Export the data, but for the events that are held out."""
    folder = run.home / RETRAINING
    with writing(run.home):
        remove(folder)
        until = _last_learned(
            log, learned_until(run.folder, log.identity), rates=run.config.scale.tells_taste
        )
        done = export(run.home, log, folder / DATA, origin, until, progress)
        work = _Work(folder=folder, source=done.source, after=until)
        work.note(asked)
    return work


def _last_learned(log: Log, since: int, *, rates: bool) -> int:
    """Return the entry after which events are held out; the last one where they are too few.

    Args:
        log: The log.
        since: Entry up to which the version that answers was trained.
        rates: Whether only ratings and likes are learned from.
    """
    kinds = EVENTS - {Kind.PLAY} if rates else EVENTS
    head = log.head()
    parts = log.through(since, kinds=kinds)
    places = [entry.sequence for entries in parts for entry in entries]
    count = min(MOST_HELD_OUT, int(HELD_OUT * len(places)))
    return head if count < FEWEST else places[-count] - 1


def _trained(
    work: _Work,
    run: Run,
    origin: DataSource,
    settings: Settings,
    device: Device,
    progress: Progress,
) -> str:
    """Train a candidate on the exported data; return its name."""
    train(
        work.source,
        settings,
        run.home,
        source=run.config.data,
        origin=origin,
        seed=run.config.seed,
        device=device,
        answers=False,
        progress=progress,
    )
    return kept(run.home).others[0]


def _compared(work: _Work, folder: Path, log: Log, candidate: str) -> tuple[int, list[Comparison]]:
    """Ask the version that answers and the candidate about what neither was trained on."""
    data = read(work.source)
    any_year = work.source.any_year
    later = events_between(data, log, work.after, log.head(), any_year=any_year)
    later = later[later[columns.MOVIE_ID].isin(data.movies[columns.MOVIE_ID])]
    if later.empty:
        return 0, []
    ratings = pd.concat([data.ratings, later], ignore_index=True)
    held_out = np.arange(len(ratings)) >= len(data.ratings)
    return compare(
        encode(replace(data, ratings=ratings)),
        held_out,
        _snapshot(current(folder), folder),
        _snapshot(folder / candidate, folder),
        MOST,
        np.random.default_rng(0),
    )


def _snapshot(version: Path, home: Path) -> ServingSnapshot:
    run = open_version(version, home)
    return ServingSnapshot(
        run=run,
        encoder=Encoder(run),
        index=open_index(run).snapshot,
        histories=StoredHistories(run),
        open_store=StoredHistories,
    )


def _said(comparison: Comparison) -> str:
    """Return one measure in words."""
    was, found = comparison.current, comparison.candidate
    return f"{comparison.measure} {found:.4f} instead of {was:.4f}"


def _worse_by_its_own(folder: Path, candidate: str, tolerance: float) -> list[str]:
    """Return by what a candidate is worse, in words, as each version measured in its training."""
    found = {version.name: version for version in versions(folder)}
    was, now = found[current(folder).name], found[candidate]
    worse = []
    for measure, before, after, sign in (
        ("RMSE", was.validation_rmse, now.validation_rmse, 1),
        ("NDCG@10", was.validation_ndcg, now.validation_ndcg, -1),
    ):
        if before is None or after is None:
            continue
        if sign * (after - before) > tolerance * before:
            worse.append(f"{measure} {after:.4f} instead of {before:.4f}")
    return worse


def _forget(folder: Path, log: Log) -> int:
    """Take whom the log forgot out of every version that still holds them; return how many.

    A user who came again is taken out of the versions alone that were trained before.
    """

    def gone(run: Run) -> list[Id]:
        users = run.users.ids.tolist()
        forgotten = log.is_forgotten(map(str, users), after=learned_until(run.folder, log.identity))
        return [user for user in users if str(user) in forgotten]

    found = {user for run in (open_run(folder), *kept_versions(folder)) for user in gone(run)}
    if found:
        forget_where(folder, gone)
    return len(found)
