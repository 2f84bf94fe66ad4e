"""Folders: which of their files are the tables of a data set."""

from collections.abc import Iterable
from pathlib import Path

from retrieval.data import columns
from retrieval.data.plain import is_there, refused
from retrieval.data.report import Report
from retrieval.data.roles import Columns, Role, called, found_columns, role_of
from retrieval.data.table import Table
from retrieval.data.tables import ENDINGS, form_of, is_table, read_table
from retrieval.errors import DataError

LOOKED_FOR = (
    "ratings.dat and movies.dat (MovieLens 1M, 10M), u.data and u.item (100K), or tables as .csv, "
    ".tsv, .jsonl or .parquet, one of them with a user and a movie in each row"
)


def check_folder(folder: Path) -> None:
    """Refuse what is no folder.

    Raises:
        DataError: It is none.
    """
    if not is_there(folder):
        raise refused(folder, "no such folder", "give a folder, or try rec data fetch ml-1m")
    if not folder.is_dir():
        what = "no folder" if folder.exists() else "link to what is not there"
        raise refused(folder, what, "give the folder that holds the ratings and the movies")


def folder_tables(
    folder: Path, said: Columns, report: Report, read: Path | None = None
) -> dict[Role, tuple[Path, Table]]:
    """Return the tables of a folder, and where they are.

    Args:
        folder: The folder.
        said: What is said of columns.
        report: Takes the notes.
        read: A table of it that is read for something else, whatever it is here.

    Raises:
        DataError: There are none, or several may be the one that is wanted.
    """
    if is_table(folder):
        return {Role.EVENTS: (folder, read_table(folder, report, said.named()))}
    ratings, movies = (named_table(folder, name, report) for name in ("ratings", "movies"))
    if ratings is not None and movies is not None:
        named = {
            Role.EVENTS: ratings,
            Role.MOVIES: movies,
            Role.USERS: named_table(folder, "users", report),
        }
        expected = said.named()
        return {
            role: (path, read_table(path, report, expected))
            for role, path in named.items()
            if path is not None
        }
    paths = [
        path
        for path in sorted(folder.iterdir())
        if not path.name.startswith((".", "_")) and _may_be_read(path)
    ]
    if not paths:
        raise refused(folder, "no data set in the folder", f"it should hold {LOOKED_FOR}")
    return sorted_out(paths, said, report, read)


def _may_be_read(path: Path) -> bool:
    """Return whether a file of a folder is a table by its name alone."""
    return is_table(path) if path.is_dir() else form_of(path).format in ENDINGS


def named_table(folder: Path, name: str, report: Report) -> Path | None:
    """Return the table of a name in a folder, whatever its format, the usual one first."""
    there = {
        path.name.lower(): path
        for path in folder.iterdir()
        if form_of(path).stem == name and form_of(path).format in ENDINGS
    }
    order = sorted(there, key=lambda each: (_place(form_of(Path(each)).format), len(each), each))
    if not order:
        return None
    for other in order[1:]:
        report.note(f"{there[order[0]].name} is read, and {there[other].name} beside it is not")
    return there[order[0]]


def _place(ending: str) -> int:
    return ENDINGS.index(ending)


def sorted_out(
    paths: Iterable[Path], said: Columns, report: Report, read: Path | None = None
) -> dict[Role, tuple[Path, Table]]:
    """Return which of several files has the events, which the movies, which the users.

    Args:
        paths: The files.
        said: What is said of columns.
        report: Takes the notes.
        read: One of them that is read for something else, whatever it is here.

    Raises:
        DataError: None has the events, or several may.
    """
    found: dict[Role, list[tuple[Path, Table, Report]]] = {role: [] for role in Role}
    others: list[tuple[Path, str]] = []
    failed: list[DataError] = []
    for path in paths:
        own = Report()
        try:
            table = read_table(path, own, said.named())
        except DataError as error:
            failed.append(error)
            others.append((path, error.problems[0].what))
            continue
        if (role := role_of(table, said)) is None:
            others.append((path, "no id of users or movies is in it"))
        else:
            found[role].append((path, table, own))
    chosen = {}
    for role, tables in found.items():
        if not tables:
            continue
        best = _best(role, tables, said)
        if len(best) > 1:
            names = ", ".join(path.name for path, _, _ in best)
            what = f"{len(best)} files may be the table of {role}"
            remedy = f"name the files: rec init {best[0][0].name} ... writes them down"
            report.add(best[0][0].name, None, names, what, remedy)
            report.raise_any()
        path, table, own = best[0]
        report.take(own)
        chosen[role] = (path, table)
        others += [
            (other, f"{path.name} has the {role}") for other, _, _ in tables if other != path
        ]
    if Role.EVENTS not in chosen:
        if failed:
            raise failed[0]
        first = next(iter(others), (Path(), ""))[0]
        what, remedy = "no table of events", "one table has to have a user and a movie in each row"
        raise refused(first, what, f"{remedy}; say which columns: --columns user_id=A,movie_id=B")
    for path, why in [other for other in others if other[0] != read]:
        report.note(f"{path.name} is left out: {why}")
    return chosen


def _best(
    role: Role, tables: list[tuple[Path, Table, Report]], said: Columns
) -> list[tuple[Path, Table, Report]]:
    """Return the tables that look most like one of a role: by what they have, then by name."""
    telling = {Role.EVENTS: columns.RATING, Role.MOVIES: columns.TITLE, Role.USERS: columns.USER_ID}

    def tells(table: Table) -> bool:
        return telling[role] in found_columns({role: table}, said, Report())[role].taken

    kept = [each for each in tables if tells(each[1])] or tables
    return [each for each in kept if called(each[1], role)] or kept
