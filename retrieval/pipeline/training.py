"""From data to a run: pairs trained, blended, and written with their index."""

import logging
import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import BaseModel

from retrieval.blending.blend import Ranking
from retrieval.blending.ranking import Ranker, fit_ranking
from retrieval.blending.rating import Blended, Rater, fit_blend
from retrieval.data import columns
from retrieval.data.catalogue import Catalogue
from retrieval.data.changes import Change, write_changes
from retrieval.data.dataset import Dataset, encode
from retrieval.data.frames import MovieData
from retrieval.data.history import moment_after
from retrieval.data.listing import attributes_of, listed
from retrieval.data.source import DataSource, read, source_of
from retrieval.data.split import first_of_each, last_of_each, random_rows
from retrieval.data.visits import last_visits
from retrieval.data.vocabulary import Id
from retrieval.errors import DataError, Problem, RequestError, RunError
from retrieval.options import Device
from retrieval.pairs.content import ContentEncoder, save_content
from retrieval.pairs.content_training import fit_content
from retrieval.pairs.device import available
from retrieval.pairs.table import TOWER_PAIRS
from retrieval.pairs.training import HERE, FittedPair, Loops, TrainingData, TrainingOptions
from retrieval.pipeline.card import Trained, measured, model_card
from retrieval.pipeline.changing import changes_of, with_changes
from retrieval.pipeline.indexing import STAGE as INDEXING
from retrieval.pipeline.indexing import add_again, added_before, index_version
from retrieval.pipeline.settings import Settings, settings_of
from retrieval.progress import SILENT, Progress, Stage
from retrieval.run.config import FORMAT, RunConfig
from retrieval.run.folder import (
    CARD,
    CHANGED,
    CONTENT,
    LOG_MARK,
    METRICS,
    write_run,
)
from retrieval.run.manifest import seal
from retrieval.run.shelves import HIDDEN, read_moves, read_shelves, write_moves, write_shelves
from retrieval.run.versions import current, kept, writing
from retrieval.storage.files import remove

_log = logging.getLogger(__name__)

# Rows held out to decide when to stop and how to blend: enough to tell epochs apart, too few to be
# missed.
VALIDATION_SHARE = 0.03
VALIDATION_ROWS = 10_000

# Users whose last event is held out to choose the epoch and the ranking.
VALIDATION_USERS = 2000
VALIDATION_USER_SHARE = 0.25

# Users whose last visit is held out for the same, of those who came back.
VISITS_SHARE, MOST_VISITS = 0.25, 1000

FEWEST_RATINGS = 100

# Versions that answered before which a run keeps when it is trained again.
KEPT_VERSIONS = 1

PREPARING, BLENDING, WRITING = "preparing", "blending", "writing"

# Seconds that these cost on the reference machine: for each rating, the index for each movie, and
# writing for each pair, whose user tower is exported.
PREPARING_COST, BLENDING_COST, INDEX_COST, WRITING_COST = 1e-5, 2e-5, 2e-4, 8.0

# Whose versions a run keeps.
PACKAGES = ("two-tower-rec", "torch", "numpy", "scipy", "scikit-learn", "faiss-cpu", "onnxruntime")

# Says where the loops of a pair run: its name, what it is trained on, settings and options.
LoopsOf = Callable[[str, TrainingData, BaseModel, TrainingOptions], Loops]


def loops_here(_pair: str, _data: TrainingData, _settings: BaseModel, _: TrainingOptions) -> Loops:
    """Let the training loops of every pair run in this process."""
    return HERE


def train(
    data: MovieData | DataSource | Path | str,
    settings: Settings | str,
    folder: Path | str,
    *,
    source: str | None = None,
    origin: DataSource | None = None,
    seed: int = 0,
    device: Device = Device.AUTO,
    index: bool = True,
    keep: int = KEPT_VERSIONS,
    answers: bool = True,
    progress: Progress = SILENT,
    loops_of: LoopsOf = loops_here,
) -> Trained:
    """Train tower pairs and write them as a run with its index: a new version of one that is there.

    Interrupted, the same call goes on from where it was.

    Data that were exported with the log of a service say how far into the log they go, which movies
    are hidden, and what was changed of them; so does the version then.

    Args:
        data: Ratings, movies and users, where they come from, or the folder that holds them.
        settings: Which pairs are trained, and how; or a preset.
        folder: Folder of the run.
        source: Name of the data in the run; None is the name of their folder, if they have one.
        origin: Where the run says that its data can be read again; None is where they are read.
        seed: Seed of everything random.
        device: Device for the pairs that torch trains.
        index: Whether to build the index, of the kind that is fastest for so many movies.
        keep: Number of versions that answered before which the run keeps.
        answers: Whether the version answers; if not, the run keeps it as a candidate.
        progress: Who shows how far it is.
        loops_of: Function that says where the training loops of a pair run.

    Raises:
        DataError: There are too few ratings, or something is wrong with the folder.
        RequestError: There is no such preset, or the device is not there.
        RunError: The folder holds something else, or somebody else is writing it.
    """
    available(device)
    home = Path(folder)
    frames, read_from = _read(data, origin)
    named = source or ("data" if isinstance(data, MovieData) else str(data))
    chosen = learnable(settings_of(settings), frames)
    if len(frames.ratings) < FEWEST_RATINGS:
        raise DataError([_too_few(named, len(frames.ratings))])
    exported = None if read_from is None else read_from.folder
    with writing(home) as writer:
        kept(home)  # which may be damaged, and is changed when all is done
        (shelves, moves), added = _shelves(home, exported), added_before(home)
        others = () if added is None else added[columns.MOVIE_ID].tolist()
        frames, changes = with_changes(frames, _changes(home, exported), others)
        writer.note(request(named, chosen, seed))
        progress.plan(stages(chosen, len(frames.ratings), len(frames.movies), index=index))
        options = TrainingOptions(seed, writer.checkpoint, device, progress)
        parts = _fit(encode(frames), chosen, options, loops_of)
        config = _config(parts, chosen, seed, named, origin or read_from)
        progress.stage(WRITING)
        with writer.new_version(keep) if answers else writer.new_candidate() as partial:
            _copy_mark(exported, partial)
            _write(partial, config, parts, shelves, changes)
            write_moves(partial, moves)
            if added is not None:
                _keep(added, partial, home)
            if index:
                progress.stage(INDEXING)
                index_version(partial, home)
        remove(writer.checkpoint)
    return parts.trained


def _read(
    data: MovieData | DataSource | Path | str, origin: DataSource | None
) -> tuple[MovieData, DataSource | None]:
    """Return data as they are, or read them; and where they come from, if anybody knows."""
    match data:
        case MovieData():
            return data, origin
        case DataSource():
            return read(data), data
        case _:
            source = source_of(Path(data))
            return read(source), source


def learnable(settings: Settings, data: MovieData) -> Settings:
    """Return settings without the pairs that learn from ratings alone where there are none.

    Raises:
        RequestError: No pair is left.
    """
    if data.scale.tells_taste:
        return settings
    left = [pair for pair in settings.pairs if not TOWER_PAIRS[pair].rates]
    if not left:
        raise RequestError(
            f"the data has no ratings, or one rating alone, from which {settings.pairs[0]} could "
            "learn; train with --towers sequence"
        )
    if len(left) < len(settings.pairs):
        named = ", ".join(left)
        _log.warning("without ratings that differ, only the pair that ranks is trained: %s", named)
    return settings.of_pairs(left)


def request(source: str, settings: Settings, seed: int) -> dict[str, object]:
    """Return what tells one training from another, so that an interrupted one is found again."""
    return {"data": source, "seed": seed, "preset": settings.preset, "settings": settings.saved()}


def stages(settings: Settings, ratings: int, movies: int, *, index: bool = True) -> list[Stage]:
    """Return the stages of a training, with what they are expected to cost.

    Args:
        settings: Settings of the training.
        ratings: Number of ratings.
        movies: Number of movies.
        index: Whether the index is built.
    """
    of_pairs = [
        stage
        for pair in settings.pairs
        for stage in TOWER_PAIRS[pair].stages(ratings, settings.of[pair])
    ]
    return [
        Stage(PREPARING, PREPARING_COST * ratings),
        *of_pairs,
        Stage(BLENDING, BLENDING_COST * ratings),
        Stage(WRITING, WRITING_COST * len(settings.pairs)),
        *[Stage(INDEXING, INDEX_COST * movies)] * index,
    ]


class _Parts(NamedTuple):
    """What a run is made of."""

    data: TrainingData
    encoder: ContentEncoder
    pairs: list[FittedPair]  # in the order of the settings
    blended: Blended
    trained: Trained


def _fit(
    dataset: Dataset,
    settings: Settings,
    options: TrainingOptions,
    loops_of: LoopsOf = loops_here,
) -> _Parts:
    """Train what a run is made of.

    Args:
        dataset: All ratings.
        settings: Which pairs are trained, and how.
        options: Seed, folder of all checkpoints, device, progress.
        loops_of: Function that says where the training loops of a pair run.
    """
    began = time.perf_counter()
    options.progress.stage(PREPARING)
    ranks = any(TOWER_PAIRS[pair].ranks for pair in settings.pairs)
    data, encoder = prepare(dataset, options.seed, ranks=ranks)
    for pair in settings.pairs:
        TOWER_PAIRS[pair].rehearse(data, settings.of[pair], options.seed)
    fitted = {}
    for pair in settings.pairs:
        own = options._replace(checkpoint=options.checkpoint / pair)
        own = own._replace(loops=loops_of(pair, data, settings.of[pair], own))
        fitted[pair] = TOWER_PAIRS[pair].fit(data, settings.of[pair], own)
    pairs = [fitted[pair] for pair in settings.pairs]
    options.progress.stage(BLENDING)
    raters = [Rater(pair.part, pair.rating) for pair in pairs if pair.rating is not None]
    rankers = [Ranker(pair.part, pair.ranking) for pair in pairs if pair.ranking is not None]
    blended = fit_blend(data, raters)
    choice = None
    if rankers:
        choice = fit_ranking(data, rankers, [rater.side for rater in raters], blended.blend)
    ndcgs = [ranker.side.ndcg for ranker in rankers]
    rated = data.validation & ~data.unranked
    trained = Trained(
        seconds=time.perf_counter() - began,
        validation_rows=int(rated.sum()),
        validation_error=blended.error if rated.any() else None,
        validation_errors=blended.errors,
        validation_ndcg=next((ndcg for ndcg in ndcgs if ndcg is not None), None),
        ranking=choice,
        calibration=blended.calibration,
        metrics={pair.part.name: pair.metrics() for pair in pairs},
    )
    return _Parts(data, encoder, pairs, blended, trained)


def prepare(
    dataset: Dataset, seed: int, *, ranks: bool = True
) -> tuple[TrainingData, ContentEncoder]:
    """Return what pairs are trained on, with what is held out of it, and what describes movies.

    Args:
        dataset: All ratings.
        seed: Seed of what is held out.
        ranks: Whether a pair ranks, so that last events and visits are held out too.
    """
    rng = np.random.default_rng(seed)
    count = min(VALIDATION_ROWS, int(len(dataset.ratings) * VALIDATION_SHARE))
    validation = random_rows(len(dataset.ratings), count, rng)
    visited, visits = last_visits(dataset, VISITS_SHARE * ranks, MOST_VISITS, rng)
    last = np.zeros_like(validation)
    if ranks:
        last = last_events(dataset, rng) & ~np.isin(dataset.users, visits.users)
    encoder = fit_content(dataset.movie_frame, seed, dataset.movie_attributes)
    content = encoder.describe(dataset.movie_frame)
    return TrainingData(dataset, content, validation, last, visited, visits), encoder


def last_events(dataset: Dataset, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return a mask `(N,)` of the last events of random users, of movies not seen before."""
    columns = dataset.users, dataset.movies, dataset.timestamps
    last = last_of_each(dataset.users, dataset.timestamps) & first_of_each(*columns)
    several = np.bincount(dataset.users, minlength=len(dataset.user_vocabulary)) > 1
    users = np.unique(dataset.users[last & several[dataset.users]])
    count = min(VALIDATION_USERS, int(len(users) * VALIDATION_USER_SHARE))
    return last & np.isin(dataset.users, rng.choice(users, count, replace=False))


def _config(
    parts: _Parts, settings: Settings, seed: int, source: str, origin: DataSource | None
) -> RunConfig:
    """Return what a run was made of; see `train`."""
    dataset, choice = parts.data.dataset, parts.trained.ranking
    ranking = (
        None
        if choice is None
        else Ranking(
            rank_by=choice.rank_by,
            rating_weight=choice.weight,
            sitting_weight=choice.sitting_weight,
        )
    )
    return RunConfig(
        version=FORMAT,
        parts=tuple(pair.part for pair in parts.pairs),
        blend=parts.blended.blend,
        ranking=ranking,
        link=parts.blended.link,
        noise=parts.blended.noise,
        preset=settings.preset,
        settings=settings.saved(),
        seed=seed,
        data=source,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        present=moment_after(dataset.timestamps),
        training_seconds=round(parts.trained.seconds, 1),
        scale=dataset.scale,
        centre=float(dataset.ratings[~parts.data.held_out].mean(dtype=np.float64)),
        user_attributes=dataset.user_attributes,
        packages={"python": platform.python_version()}
        | {package: _installed(package) for package in PACKAGES},
        threads=torch.get_num_threads(),
        source=None if origin is None else origin.saved(),
    )


def _keep(added: pd.DataFrame, version: Path, home: Path) -> None:
    """Add movies that were added to the version before, or say why they are left out."""
    try:
        add_again(version, home, added)
    except RequestError as error:
        _log.warning("%s movies that were added are left out: %s", len(added), error)


def _shelves(home: Path, exported: Path | None) -> tuple[dict[str, list[Id]], dict[str, float]]:
    """Return which movies are hidden and removed, by the names of the files, and `read_moves`.

    They are what the data say, and what commands have said since the data were exported; without
    data that say anything, what they were before.
    """
    try:
        version = current(home)
        before, moves = read_shelves(version), read_moves(version)
    except RunError:
        before, moves = {}, {}
    if exported is None or not (exported / HIDDEN).is_file():
        return before, moves
    shelves, then = read_shelves(exported), read_moves(exported)
    since = {movie for movie, moment in moves.items() if then.get(movie) != moment}
    for name, ids in before.items():
        left = [movie for movie in shelves[name] if str(movie) not in since]
        shelves[name] = left + [movie for movie in ids if str(movie) in since]
    return shelves, then | moves


def _changes(home: Path, exported: Path | None) -> list[Change]:
    """Return what was changed of movies: in the run, else in that which data were exported from."""
    try:
        return changes_of(current(home))
    except RunError:
        return [] if exported is None else changes_of(exported)


def _copy_mark(exported: Path | None, version: Path) -> None:
    """Take over how far into the log of a service the data go, if they say."""
    if exported is not None and (exported / LOG_MARK).is_file():
        shutil.copyfile(exported / LOG_MARK, version / LOG_MARK)


def _write(
    folder: Path,
    config: RunConfig,
    parts: _Parts,
    shelves: Mapping[str, Sequence[Id]],
    changes: Sequence[Change],
) -> None:
    """Write everything but the index into the folder of a version, and seal it."""
    data, dataset = parts.data, parts.data.dataset
    users = dataset.users[~data.held_out]
    trained_users = np.bincount(users, minlength=len(dataset.user_vocabulary)) > 0
    histories = dataset.histories(np.ones(len(dataset.users), dtype=bool))
    write_run(
        folder,
        config,
        Catalogue(listed(dataset.movie_frame)),
        dataset.user_vocabulary,
        attributes_of(dataset.movie_frame, dataset.movie_attributes),
        dataset.user_codes,
        trained_users,
        histories,
    )
    write_shelves(folder, shelves)
    write_changes(folder / CHANGED, changes)
    save_content(folder / CONTENT, parts.encoder)
    for pair in parts.pairs:
        pair.save(folder, histories)
    (folder / METRICS).write_text(measured(parts.trained), encoding="utf-8")
    (folder / CARD).write_text(model_card(config, dataset, parts.trained), encoding="utf-8")
    seal(folder)


def _installed(package: str) -> str:
    """Return the version of a package; distributions of other names provide some of them too."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _too_few(source: str, count: int) -> Problem:
    return Problem(
        file=source,
        line=None,
        value=str(count),
        what="too few ratings to train on",
        remedy=f"give at least {FEWEST_RATINGS}; rec data synth makes a world to try things on",
    )
