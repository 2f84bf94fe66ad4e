"""Where data comes from and what its columns are; `read` makes checked frames of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from retrieval.data import columns
from retrieval.data.checks import Wanted, checked
from retrieval.data.fates import Fate, column_fates, fate_lines
from retrieval.data.folders import check_folder, folder_tables, named_table, sorted_out
from retrieval.data.frames import MovieData
from retrieval.data.movielens import layout_of, read_layout, with_years
from retrieval.data.people import with_people
from retrieval.data.plain import unreadable
from retrieval.data.report import Report
from retrieval.data.roles import NONE, OURS, Columns, Found, Role, found_columns
from retrieval.data.table import Table
from retrieval.data.tables import read_table
from retrieval.errors import LONGEST_LINE, RequestError, shown
from retrieval.options import Repeats

# Name of the table of a folder that has directors and casts.
PEOPLE = "people"


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Files of data, and what is said of them; whatever is not said is found by looking.

    Args:
        folder: Folder of a data set; None where the tables are named.
        tables: Tables of which looking tells which one has the events, which the movies, which the
            users.
        events: Table of ratings, plays or clicks: a file, or a folder of its parts.
        movies: Table of movies.
        users: Table of users.
        people: Table of the directors and casts of movies.
        columns: By our name of a column: its name in the files, or - for none. A name such as
            users.user_id is of one table alone.
        attributes: By table and column, as in movies.country: its kind, or - to leave it out.
        repeats: Which events of one movie by one user count; None is the last of ratings, all of
            plays.
        any_year: Whether times before 1990 and after 2100 are times too.
    """

    folder: Path | None = None
    tables: tuple[Path, ...] = ()
    events: Path | None = None
    movies: Path | None = None
    users: Path | None = None
    people: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    repeats: Repeats | None = None
    any_year: bool = False

    @property
    def files(self) -> dict[Role, Path]:
        """The tables that are named."""
        named = {Role.EVENTS: self.events, Role.MOVIES: self.movies, Role.USERS: self.users}
        return {role: path for role, path in named.items() if path is not None}

    def __str__(self) -> str:
        """Return how messages call it."""
        return str(self.folder or self.events or next(iter(self.tables), "data"))

    def saved(self) -> dict[str, Any]:
        """Return it as JSON holds it, files named from the root: `saved_source` reads it again."""
        paths = {str(role): path for role, path in self.files.items()}
        others = {"folder": self.folder, PEOPLE: self.people}
        paths |= {name: path for name, path in others.items() if path is not None}
        return {
            **{name: str(path.absolute()) for name, path in paths.items()},
            "tables": [str(path.absolute()) for path in self.tables],
            "columns": dict(self.columns),
            "attributes": dict(self.attributes),
            "repeats": self.repeats,
            "any_year": self.any_year,
        }


class Understood(NamedTuple):
    """Data, and what was taken for what."""

    data: MovieData
    source: DataSource  # in which everything is said
    fates: tuple[Fate, ...]
    facts: Mapping[str, int]  # counts that are of what was read, not of what it came to


def saved_source(saved: Mapping[str, Any]) -> DataSource:
    """Return the source that `DataSource.saved` wrote.

    Raises:
        RequestError: It is none.
    """
    try:
        return TypeAdapter(DataSource).validate_python(dict(saved))
    except ValidationError as error:
        what = error.errors()[0]["msg"]
        raise RequestError(f"what the run says of its data is no source: {what}") from error


def source_of(path: Path) -> DataSource:
    """Return the source that one path names: a folder, or a file of events.

    Raises:
        DataError: The system refuses to look.
    """
    try:
        return DataSource(events=path) if path.is_file() else DataSource(folder=path)
    except OSError as error:
        raise unreadable(path, error) from error


def events_like(source: DataSource, path: Path) -> DataSource:
    """Return the source of more events in another file, whose columns are called alike."""
    said = {}
    for key, name in source.columns.items():
        role, _, ours = key.rpartition(".")
        if role in ("", Role.EVENTS) and ours in OURS[Role.EVENTS]:
            said[key] = name
    return DataSource(events=path, columns=said, repeats=source.repeats, any_year=source.any_year)


def read(source: DataSource) -> MovieData:
    """Read and check data.

    Raises:
        DataError: Everything that is wrong with it, in one report.
        RequestError: What is said of it does not go with the files.
    """
    return understood(source).data


def understood(source: DataSource) -> Understood:
    """Read and check data, and say what was taken for what.

    Raises:
        DataError: Everything that is wrong with it, in one report.
        RequestError: What is said of it does not go with the files.
    """
    try:
        return _understood(source, Report())
    except (OSError, MemoryError) as error:
        raise unreadable(Path(str(source)), error) from error


def _understood(source: DataSource, report: Report) -> Understood:
    said = Columns(source.columns)
    folder, layout = source.folder, None
    if folder is not None:
        check_folder(folder)
        layout = layout_of(folder)
    people = _people(source, report)
    if folder is not None and layout is not None:
        if source.columns or source.attributes:
            raise RequestError(f"{shown(folder)} is MovieLens {layout}: its columns are known")
        raw = read_layout(folder, layout, report)
        movies = raw.movies
        if people is not None:
            movies = with_people(movies, _as_ours(read_table(people, report)), report)
        wanted = Wanted(stars=True, repeats=source.repeats, any_year=source.any_year)
        data = checked(raw.ratings, movies, raw.users, report, wanted)
        return Understood(data, source, (), report.facts)
    files = source.files
    if folder is not None or source.tables:
        tables = (
            sorted_out(source.tables, said, report)
            if folder is None
            else folder_tables(folder, said, report, people)
        )
        files = {role: path for role, (path, _) in tables.items()}
        found = found_columns({role: table for role, (_, table) in tables.items()}, said, report)
    else:
        if Role.EVENTS not in files:
            raise RequestError("no events are named; give --data FILE, or events in the settings")
        expected = said.named()
        read = {role: read_table(path, report, expected) for role, path in files.items()}
        found = found_columns(read, said, report)
    said.check([each.table for each in found.values()])
    kinds, fates = column_fates(found, source.attributes)
    for line in fate_lines(fates):
        report.note(line, LONGEST_LINE)
    renamed = {role: each.renamed(list(kinds[role])) for role, each in found.items()}
    catalogue = renamed.get(Role.MOVIES)
    if catalogue is not None and columns.YEAR not in catalogue.frame:
        catalogue = with_years(catalogue)
    if catalogue is not None and people is not None:
        catalogue = with_people(catalogue, _as_ours(read_table(people, report)), report)
    events = renamed[Role.EVENTS]
    wanted = Wanted(
        stars=events.header.startswith("userId,"),
        repeats=source.repeats,
        any_year=source.any_year,
        movie_attributes=kinds.get(Role.MOVIES, {}),
        user_attributes=kinds.get(Role.USERS, {}),
    )
    data = checked(events, catalogue, renamed.get(Role.USERS), report, wanted)
    resolved = _resolved(source, files, people, found, fates)
    return Understood(data, resolved, tuple(fates), report.facts)


def _people(source: DataSource, report: Report) -> Path | None:
    """Return the table of directors and casts, if there is one."""
    if source.people is not None or source.folder is None:
        return source.people
    return named_table(source.folder, PEOPLE, report)


def _as_ours(table: Table) -> Table:
    """Return a table with our names where MovieLens has others."""
    return table._replace(frame=table.frame.rename(columns=columns.MOVIELENS))


def _resolved(
    source: DataSource,
    files: Mapping[Role, Path],
    people: Path | None,
    found: Mapping[Role, Found],
    fates: Iterable[Fate],
) -> DataSource:
    """Return the source with everything said that was found."""
    said = {
        f"{role}.{name}": column
        for role, each in found.items()
        for name, column in each.taken.items()
    }
    attributes = {
        f"{fate.role}.{fate.column}": fate.meaning or NONE
        for fate in fates
        if fate.role is not Role.EVENTS and fate.meaning not in OURS[fate.role]
    }
    plays = columns.RATING not in found[Role.EVENTS].ours.values()
    return replace(
        source,
        folder=None,
        tables=(),
        events=files[Role.EVENTS],
        movies=files.get(Role.MOVIES),
        users=files.get(Role.USERS),
        people=people,
        columns=said,
        attributes=attributes,
        repeats=source.repeats or (Repeats.ALL if plays else Repeats.LAST),
    )
