"""The data of the next training: those of a run, and what its log was told since, as one folder.

    FOLDER/ratings.parquet   one row an event: user, movie, rating where there are ratings, time
    FOLDER/movies.parquet    the movies with their attributes, those that the log added too
    FOLDER/users.parquet     the users with their attributes, where any are known
    FOLDER/hidden.json       ids of movies that no list shows
    FOLDER/removed.json      ids of movies that were removed
    FOLDER/moved_movies.json when commands last hid, removed or showed movies
    FOLDER/changed_movies.json  what `rec change-movies` changed
    FOLDER/log_mark.json     how far into the log the events go
    FOLDER/rec.toml          what the columns are, for `rec train --config`

Users who were forgotten are left out. Where the data are ratings, a like counts as the highest of
the scale, and what was only watched is no rating: it stays in the log. Where they are plays, every
event is one.
"""

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from retrieval.data import columns
from retrieval.data.attributes import SEPARATOR, Attribute, AttributeKind
from retrieval.data.changes import read_changes, write_changes
from retrieval.data.frames import MovieData
from retrieval.data.kinds import attribute_values
from retrieval.data.report import Report
from retrieval.data.roles import Role
from retrieval.data.scale import HALF_STARS, WHOLE_STARS
from retrieval.data.source import DataSource, saved_source, source_of, understood
from retrieval.data.table import Table
from retrieval.data.times import COUNTERS, NO_TIME
from retrieval.data.values import lists, numbers, plain_texts
from retrieval.data.vocabulary import Id, Vocabulary, id_of
from retrieval.errors import RequestError, shown
from retrieval.options import Repeats
from retrieval.progress import SILENT, Progress
from retrieval.run.folder import CHANGED, Run, open_run
from retrieval.run.shelves import (
    HIDDEN,
    REMOVED,
    read_moves,
    read_shelves,
    write_moves,
    write_shelves,
)
from retrieval.service.admission import Admission, is_missing
from retrieval.service.catalogue import MOVIES, WHOLE, LoggedMovies, Shelf
from retrieval.service.log import EVENTS, Entry, Kind, Log, open_log, sqlite_path
from retrieval.service.mark import Mark, learned_until, read_mark, write_mark
from retrieval.storage.files import new_folder

_log = logging.getLogger(__name__)

RATINGS_FILE, MOVIES_FILE, USERS_FILE = "ratings.parquet", "movies.parquet", "users.parquet"
SETTINGS_FILE = "rec.toml"

# Rows that are written together.
ROWS = 1_000_000

# What MovieLens calls the ids: with these names, ratings can only be stars.
STARS = {columns.USER_ID: "userId", columns.MOVIE_ID: "movieId"}

Said = TypeVar("Said")


class Exported(NamedTuple):
    """What was exported."""

    source: DataSource  # how the folder is read
    events: int  # of all
    from_log: int  # of the log
    forgotten_users: int  # who were left out
    movies: int
    new_movies: int  # that the log added
    mark: Mark


def existing_log(url: str) -> Log:
    """Open a log that is there.

    Args:
        url: Path of a SQLite file, or a URL.

    Raises:
        RequestError: There is no such file.
        LogError: The database cannot be reached.
    """
    path = sqlite_path(url)
    if path is not None and not path.is_file():
        raise RequestError(f"there is no log {shown(path)}; name the database of the service")
    return open_log(url)


def recorded_source(run: Run) -> DataSource:
    """Return what a run was trained on.

    Raises:
        RequestError: The run does not say where the data can be read again, or they are not there.
    """
    config = run.config
    source = source_of(Path(config.data)) if config.source is None else saved_source(config.source)
    files = [*source.files.values(), *source.tables]
    for path in files if source.folder is None else [source.folder, *files]:
        if not path.exists():
            raise RequestError(
                f"{run.home} was trained on {shown(path)}, which is not there; name the data of "
                "the training with --data"
            )
    return source


def export(
    folder: Path,
    log: Log,
    out: Path,
    data: DataSource | None = None,
    until: int | None = None,
    progress: Progress = SILENT,
) -> Exported:
    """Write the data of the next training into a new folder.

    Args:
        folder: Folder of the run.
        log: What the service was told.
        out: Folder to write.
        data: Data that the run was trained on; None are those that it names itself.
        until: Last entry of the log whose events are written; None is the last there is.
        progress: Who shows how far it is.

    Raises:
        RequestError: The data are not there, were exported from another log, or do not go with it.
        DataError: Something is wrong with the data.
        LogError: The log cannot be read.
        RunError: The run is missing or damaged.
        RecError: The folder to write is there and not empty.
    """
    run = open_run(folder)
    source = data or recorded_source(run)
    mark = None if source.folder is None else read_mark(source.folder)
    if mark is not None and mark.log != log.identity:
        raise RequestError(
            f"{shown(source)} was exported from another log; name that database, or with --data "
            "what was there before it"
        )
    since = 0 if mark is None else mark.until
    until = log.head() if until is None else until
    progress.stage(f"reading {source}")
    read = understood(source)
    writer = _Writer(read.data, log, since, until, any_year=read.source.any_year)
    changes = read_changes(run.folder / CHANGED)
    shelves, moves = read_shelves(run.folder), read_moves(run.folder)
    with new_folder(out) as partial:
        progress.stage("exporting", len(read.data.ratings) + until - since)
        count = writer.write_events(partial / RATINGS_FILE, progress)
        known = learned_until(run.folder, log.identity)
        logged = _logged_movies(log, until, writer, known, moves)
        movies = _movies_with(read.data, logged, writer)
        _write_frame(partial / MOVIES_FILE, movies, read.data.movie_attributes)
        users = read.data.users
        gone = writer.is_forgotten(users[columns.USER_ID])
        if not gone.all():
            _write_frame(partial / USERS_FILE, users[~gone], read.data.user_attributes)
        write_shelves(partial, _shelved(shelves, logged, writer))
        write_moves(partial, moves)
        write_changes(partial / CHANGED, changes)
        write_mark(partial, Mark(log.identity, until))
        exported = exported_source(out, read.data, read.source)
        _write_settings(partial / SETTINGS_FILE, exported)
    writer.warn()
    return Exported(
        source=exported,
        events=count,
        from_log=writer.from_log,
        forgotten_users=len(writer.forgotten),
        movies=len(movies),
        new_movies=len(movies) - len(read.data.movies),
        mark=Mark(log.identity, until),
    )


def exported_source(folder: Path, data: MovieData, source: DataSource) -> DataSource:
    """Return how an exported folder is read, so that its columns are what they were."""
    kinds = {Role.MOVIES: data.movie_attributes, Role.USERS: data.user_attributes}
    if data.users.empty:
        del kinds[Role.USERS]
    return DataSource(
        folder=folder,
        attributes={
            f"{role}.{attribute.name}": attribute.kind
            for role, attributes in kinds.items()
            for attribute in attributes
        },
        repeats=source.repeats or Repeats.LAST,
        any_year=source.any_year,
    )


def events_between(
    data: MovieData, log: Log, after: int, until: int, *, any_year: bool
) -> pd.DataFrame:
    """Return events of a log as rows of data, with the columns `columns.RATINGS`.

    Args:
        data: Data whose kinds of ids and ratings the rows have.
        log: The log.
        after: Entry after which they come.
        until: The last entry.
        any_year: Whether events may lie before 1990.
    """
    writer = _Writer(data, log, after, until, any_year=any_year)
    parts = [writer.frame_of(entries) for entries in log.through(after, until, EVENTS)]
    writer.warn()
    return pd.concat([data.ratings.iloc[:0], *parts], ignore_index=True)


class _Writer:
    """Rows of events, from data and from a log.

    Args:
        data: The data.
        log: The log.
        since: Entry of the log up to which its events are in the data.
        until: Last entry whose events are written.
        any_year: Whether events may lie before 1990.
    """

    def __init__(
        self, data: MovieData, log: Log, since: int, until: int, *, any_year: bool
    ) -> None:
        self._data, self._log, self._since, self._until = data, log, since, until
        self.rates = data.scale.tells_taste
        self.from_log = 0
        self._foreign = 0  # entries of the log that are about nobody and nothing of these data
        self._refused = 0  # events of the log that no table of these data could have
        self._admission = Admission(data.scale, any_year)
        users = pd.unique(
            pd.concat([data.ratings[columns.USER_ID], data.users[columns.USER_ID]])
        ).tolist()
        self._users, self._movies = Vocabulary(users), Vocabulary(data.movies[columns.MOVIE_ID])
        gone = log.is_forgotten(map(str, users), after=since)
        self.forgotten = {user for user in users if str(user) in gone}

    def is_forgotten(self, users: pd.Series) -> NDArray[np.bool_]:
        """Return which users of a column `(N,)` were forgotten."""
        return np.asarray(users.isin(self.forgotten), dtype=bool)

    def user_id(self, text: str | None) -> Id | None:
        """Return a user's id of the log as the data have it; None where it can be none of them."""
        return id_of(text, self._users)

    def movie_id(self, text: str | None) -> Id | None:
        """Return a movie's id of the log likewise."""
        return id_of(text, self._movies)

    def about_movies(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return entries about movies, without those whose id can be none of the data."""
        found = [entry for entry in entries if self.movie_id(entry.movie_id) is not None]
        self._foreign += len(entries) - len(found)
        return found

    def by_id(self, logged: Mapping[str, Said]) -> dict[Id, Said]:
        """Return what the log says of movies by their ids in the data."""
        found = ((self.movie_id(text), what) for text, what in logged.items())
        return {movie: what for movie, what in found if movie is not None}

    def warn(self) -> None:
        """Say how many entries of the log were skipped, if any were."""
        if self._foreign:
            _log.warning(
                "%d entries of the log were skipped: ids of the data are whole numbers, and theirs "
                "are none; is it the log of this run?",
                self._foreign,
            )
        if self._refused:
            _log.warning(
                "%d events of the log were skipped: they lie before 1990, their rating is on no "
                "step of the scale, or an id is what tables have where one is missing",
                self._refused,
            )

    def write_events(self, path: Path, progress: Progress) -> int:
        """Write the events of the data and then those of the log; return how many there are."""
        ratings = self._data.ratings
        stars = self._data.scale in {WHOLE_STARS, HALF_STARS}
        names = [STARS.get(name, name) if stars else name for name in self._columns]
        types = [_arrow_type(ratings[name]) for name in self._columns]
        schema = pa.schema(list(zip(names, types, strict=True)))
        count = 0
        with pq.ParquetWriter(path, schema) as file:
            for frame in self._frames(progress):
                rows = [frame[name] for name in self._columns]
                arrays = [pa.array(row, kind) for row, kind in zip(rows, types, strict=True)]
                file.write_table(pa.Table.from_arrays(arrays, schema=schema))
                count += len(frame)
        return count

    def frame_of(self, entries: Sequence[Entry]) -> pd.DataFrame:
        """Return entries that are events as rows of the data; what is no rating is left out."""
        rows = []
        for entry in entries:
            user, movie = self.user_id(entry.user_id), self.movie_id(entry.movie_id)
            rating = self._rating(entry)
            if user is None or movie is None:
                self._foreign += 1
            elif rating is not None:
                moment = entry.received if entry.timestamp is None else entry.timestamp
                if is_missing(str(user)) or is_missing(str(movie)):
                    self._refused += 1
                else:
                    rows.append((user, movie, rating, moment))
        frame = pd.DataFrame(rows, columns=columns.RATINGS)
        # A service of an earlier version took in any.
        fits = self._admission.fits_ratings(frame[columns.RATING].to_numpy(np.float64))
        fits &= self._admission.fits_times(frame[columns.TIMESTAMP].to_numpy(np.int64))
        self._refused += int((~fits).sum())
        return frame[fits].astype(self._data.ratings.dtypes.to_dict())

    @property
    def _columns(self) -> list[str]:
        return [name for name in columns.RATINGS if self.rates or name != columns.RATING]

    def _rating(self, entry: Entry) -> float | None:
        """Return the rating that an event is; None if it is none."""
        highest = self._data.scale.highest
        if not self.rates or entry.kind is Kind.LIKE:
            return highest
        return entry.rating if entry.kind is Kind.RATING else None

    def _frames(self, progress: Progress) -> Iterator[pd.DataFrame]:
        ratings = self._data.ratings
        for start in range(0, len(ratings), ROWS):
            part = ratings.iloc[start : start + ROWS]
            yield part[~self.is_forgotten(part[columns.USER_ID])]
            progress.advance(len(part))
        for entries in self._log.through(self._since, self._until, EVENTS):
            frame = self.frame_of(entries)
            if len(frame) and ratings[columns.TIMESTAMP].max() < COUNTERS:
                raise RequestError(
                    "the data have no times, and the events of the log do; name data with times "
                    "with --data"
                )
            self.from_log += len(frame)
            yield frame
            progress.advance(len(entries))


def _logged_movies(
    log: Log, until: int, writer: _Writer, known: int, moves: Mapping[str, float]
) -> LoggedMovies:
    """Return what a log says of movies up to an entry.

    Args:
        log: The log.
        until: The entry.
        writer: Knows the ids of the data.
        known: Entry up to which the version that answers has what is hidden and removed.
        moves: When commands last moved movies in it.
    """
    logged, since = LoggedMovies(moves=moves), min(known, until)
    for entries in log.through(0, since, MOVIES):
        logged = logged.with_entries(writer.about_movies(entries))
    logged = replace(logged, shelves={})  # what `rec hide-movies` changed since stays
    for entries in log.through(since, until, MOVIES):
        logged = logged.with_entries(writer.about_movies(entries))
    return logged


def _shelved(
    before: Mapping[str, Sequence[Id]], logged: LoggedMovies, writer: _Writer
) -> dict[str, list[Id]]:
    """Return which movies are hidden and removed: as before, and as the log says since."""
    shelves: dict[Id, str] = {}
    for name, there in before.items():
        known = ((movie, writer.movie_id(str(movie))) for movie in there)
        shelves |= {movie if own is None else own: name for movie, own in known}
    for movie, shelf in writer.by_id(logged.shelves).items():
        shelves.pop(movie, None)
        if shelf is not Shelf.LISTED:
            shelves[movie] = REMOVED if shelf is Shelf.REMOVED else HIDDEN
    return {name: [movie for movie, on in shelves.items() if on == name] for name in before}


def _movies_with(data: MovieData, logged: LoggedMovies, writer: _Writer) -> pd.DataFrame:
    """Return the movies of data with what the log says of them, those that it added last."""
    if not logged.facts:
        return data.movies
    named = writer.by_id(logged.facts)
    frame = _logged_frame(data, named)
    movies = data.movies.set_index(columns.MOVIE_ID)
    known = frame.index[frame.index.isin(movies.index)]
    for name in movies.columns:
        rows = [movie for movie in known if name in WHOLE or name in named[movie]]
        movies.loc[rows, name] = frame.loc[rows, name]
    added = frame.loc[~frame.index.isin(movies.index), movies.columns]
    whole = pd.concat([movies, added]).astype(movies.dtypes.to_dict())
    return whole.rename_axis(columns.MOVIE_ID).reset_index()


def _logged_frame(data: MovieData, logged: Mapping[Id, Mapping[str, Any]]) -> pd.DataFrame:
    """Return the facts of the log by movie, with the columns of the data; what fits in none goes.

    A value that is none of the kind of its attribute is taken for missing.
    """
    names = [name for name in data.movies.columns if name != columns.MOVIE_ID]
    raw = pd.DataFrame(
        {name: [_cell(facts.get(name)) for facts in logged.values()] for name in names},
        dtype=str,
    )
    report, table = Report(), Table("the log", raw, range(len(raw)))
    years = pd.Series(numbers(raw[columns.YEAR])).round().astype("Int64")
    titles = plain_texts(raw[columns.TITLE])
    values = {
        columns.TITLE: titles.where(titles != "", pd.Series(map(str, logged), dtype=str)),
        columns.YEAR: years,
        **{name: lists(table, name, report) for name in columns.LISTS},
        **{
            attribute.name: attribute_values(table, attribute.name, attribute.kind, report)
            for attribute in data.movie_attributes
        },
    }
    kind = data.movies[columns.MOVIE_ID].dtype
    return pd.DataFrame(values).set_index(pd.Index(list(logged), dtype=kind))


def _cell(value: object) -> str:
    """Return a fact as a table of text has it."""
    match value:
        case None:
            return ""
        case list() | tuple():
            return SEPARATOR.join(map(str, value))
        case _:
            return str(value)


def _arrow_type(column: pd.Series) -> pa.DataType:
    match column.dtype:
        case np.dtype(kind="i"):
            return pa.int64()
        case np.dtype(kind="f"):
            return pa.float32()
        case _:
            return pa.string()


def _write_frame(path: Path, frame: pd.DataFrame, attributes: Sequence[Attribute]) -> None:
    """Write movies or users, each column so that it is read as what it is."""
    kinds = {attribute.name: attribute.kind for attribute in attributes}
    arrays = {
        str(name): _attribute_array(column, kinds[str(name)])
        if name in kinds
        else pa.array(column, from_pandas=True)
        for name, column in frame.items()
    }
    pq.write_table(pa.table(arrays), path)


def _attribute_array(column: pd.Series, kind: AttributeKind) -> pa.Array:
    match kind:
        case AttributeKind.LIST:
            split = [text.split(SEPARATOR) if text else [] for text in column]
            return pa.array(split, pa.list_(pa.string()))
        case AttributeKind.YES_NO:
            said = [None if math.isnan(value) else bool(value) for value in column]
            return pa.array(said, pa.bool_())
        case AttributeKind.DATE:
            seconds = column.to_numpy()
            return pa.array(seconds, pa.timestamp("s"), mask=seconds == NO_TIME)
        case AttributeKind.NUMBER:
            return pa.array(column, pa.float64(), from_pandas=True)
        case AttributeKind.CATEGORY | AttributeKind.TEXT:
            return pa.array(column, pa.string())


def _write_settings(path: Path, source: DataSource) -> None:
    """Write what says how the folder is read, itself named from its own place."""
    lines = [
        f"# Train with: rec train --config {path.name}",
        "[data]",
        'folder = "."',
        f"repeats = {json.dumps(source.repeats)}",
        *['years = "any"'] * source.any_year,
    ]
    for role in (Role.MOVIES, Role.USERS):
        own = _of_role(source.attributes, role)
        if own:
            lines += ["", f"[data.attributes.{role}]"]
            lines += [f"{json.dumps(name)} = {json.dumps(kind)}" for name, kind in own.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _of_role(attributes: Mapping[str, Any], role: Role) -> dict[str, Any]:
    return {
        name.removeprefix(f"{role}."): kind
        for name, kind in attributes.items()
        if name.startswith(f"{role}.")
    }
