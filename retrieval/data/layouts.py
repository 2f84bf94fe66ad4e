"""Readers: a data folder, whatever its layout, becomes tables of text. Start at `read_folder`."""

import csv
import io
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from retrieval import columns
from retrieval.data.checks import Table, checked
from retrieval.data.frames import MovieData
from retrieval.errors import DataError, Problem
from retrieval.report import Report

NO_GENRES = "(no genres listed)"
GENRES_100K = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery"),
    *("Romance", "Sci-Fi", "Thriller", "War", "Western"),
)

CSV_NAMES = {"userId": columns.USER_ID, "movieId": columns.MOVIE_ID}

LOOKED_FOR = (
    "ratings.dat and movies.dat (MovieLens 1M, 10M), u.data and u.item (100K), or ratings and "
    "movies as .csv or .parquet"
)


class Layout(StrEnum):
    """How a folder is laid out."""

    DOUBLE_COLON = "1M or 10M"
    HUNDRED_K = "100K"
    TABLES = "tables"


class Separated(NamedTuple):
    """How lines of a file without a header are cut into fields."""

    separator: str
    names: Sequence[str]


def read_folder(folder: Path) -> MovieData:
    """Read and check a data folder.

    Raises:
        DataError: Everything that is wrong with it, in one report.
    """
    report = Report()
    match _layout(folder):
        case Layout.DOUBLE_COLON:
            ratings, movies, users = _read_double_colon(folder, report)
        case Layout.HUNDRED_K:
            ratings, movies, users = _read_100k(folder, report)
        case Layout.TABLES:
            ratings, movies, users = _read_tables(folder, report)
    people = _found(folder, "people")
    if people is not None:
        movies = _with_people(movies, _read_table(people, report))
    return checked(ratings, movies, users, report)


def _layout(folder: Path) -> Layout:
    if not folder.is_dir():
        raise DataError(
            [_whole(folder, "no such folder", "give a folder, or try rec data fetch ml-1m")]
        )
    if (folder / "ratings.dat").is_file() and (folder / "movies.dat").is_file():
        return Layout.DOUBLE_COLON
    if (folder / "u.data").is_file() and (folder / "u.item").is_file():
        return Layout.HUNDRED_K
    if _found(folder, "ratings") and _found(folder, "movies"):
        return Layout.TABLES
    raise DataError([_whole(folder, "no data set in the folder", f"it should hold {LOOKED_FOR}")])


def _read_double_colon(folder: Path, report: Report) -> tuple[Table, Table, Table | None]:
    ratings = _read_lines(folder / "ratings.dat", Separated("::", columns.RATINGS), report)
    names = (columns.MOVIE_ID, columns.TITLE, columns.GENRES)
    movies = _read_lines(folder / "movies.dat", Separated("::", names), report)
    users = None
    if (folder / "users.dat").is_file():
        users = _read_lines(folder / "users.dat", Separated("::", (*columns.USERS, "zip")), report)
    return ratings, _with_years(movies), users


def _read_100k(folder: Path, report: Report) -> tuple[Table, Table, Table | None]:
    ratings = _read_lines(folder / "u.data", Separated("\t", columns.RATINGS), report)
    names = [columns.MOVIE_ID, columns.TITLE, "released", "video", "url", *GENRES_100K]
    movies = _read_lines(folder / "u.item", Separated("|", names), report)
    flags = movies.frame[list(GENRES_100K[1:])].astype(str).to_numpy() == "1"
    genres = ["|".join(np.array(GENRES_100K[1:])[row]) for row in flags]
    movies = movies._replace(frame=movies.frame.assign(**{columns.GENRES: genres}))
    users = None
    if (folder / "u.user").is_file():
        names = [columns.USER_ID, columns.AGE, columns.GENDER, columns.OCCUPATION, "zip"]
        users = _read_lines(folder / "u.user", Separated("|", names), report)
    return ratings, _with_years(movies), users


def _read_tables(folder: Path, report: Report) -> tuple[Table, Table, Table | None]:
    ratings, movies, users = (
        None if path is None else _read_table(path, report)
        for path in (_found(folder, name) for name in ("ratings", "movies", "users"))
    )
    if ratings is None or movies is None:
        raise DataError([_whole(folder, "no ratings or no movies", f"it should hold {LOOKED_FOR}")])
    if columns.YEAR not in movies.frame:
        movies = _with_years(movies)
    if columns.GENRES in movies.frame:
        genres = movies.frame[columns.GENRES].replace(NO_GENRES, "")
        movies = movies._replace(frame=movies.frame.assign(**{columns.GENRES: genres}))
    return ratings, movies, users


def _found(folder: Path, name: str) -> Path | None:
    paths = (folder / f"{name}{ending}" for ending in (".csv", ".parquet"))
    return next((path for path in paths if path.is_file()), None)


def _read_table(path: Path, report: Report) -> Table:
    """Read a file with named columns."""
    if path.suffix == ".parquet":
        try:
            frame = pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise DataError(
                [_whole(path, f"not a readable parquet file ({error})", "copy it again")]
            ) from error
        return Table(path.name, frame.rename(columns=CSV_NAMES), np.arange(1, len(frame) + 1))
    text = _decoded(path, report)
    first, _, _ = text.partition("\n")
    header = [CSV_NAMES.get(name.strip(), name.strip()) for name in next(csv.reader([first]), [])]
    fast = _fast(text, ",", header, skip=1)
    if fast is not None:
        return Table(path.name, fast, np.arange(2, len(fast) + 2))
    rows, lines = [], []
    reader = csv.reader(io.StringIO(text))
    for row in reader:
        if reader.line_num > 1 and row:
            rows.append(row)
            lines.append(reader.line_num)
    return _table(path.name, rows, lines, header, report)


def _read_lines(path: Path, layout: Separated, report: Report) -> Table:
    """Read a file without a header."""
    text, names = _decoded(path, report), list(layout.names)
    if len(layout.separator) == 1:
        frame = _fast(text, layout.separator, names, skip=0)
    else:
        # The fast parser wants one character; read at the single colons and drop what is between.
        spread = [part for name in names for part in (name, f"-{name}")][:-1]
        frame = _fast(text, layout.separator[0], spread, skip=0)
        if frame is not None and (frame[spread[1::2]] != "").to_numpy().any():
            frame = None
        if frame is not None:
            frame = frame[names]
    if frame is not None:
        return Table(path.name, frame, np.arange(1, len(frame) + 1))
    numbered = [(n, line) for n, line in enumerate(text.splitlines(), start=1) if line]
    rows = [line.split(layout.separator) for _, line in numbered]
    return _table(path.name, rows, [number for number, _ in numbered], names, report)


def _fast(text: str, separator: str, names: Sequence[str], skip: int) -> pd.DataFrame | None:
    """Parse regular text at full speed; None where it is anything but regular."""
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if separator == "," else csv.QUOTE_NONE
    if "\n\n" in text or text.startswith("\n"):
        return None
    try:
        frame = pd.read_csv(
            io.StringIO(text),
            sep=separator,
            header=None,
            names=list(names),
            skiprows=skip,
            quoting=quoting,
            keep_default_na=False,
            skip_blank_lines=False,
            index_col=False,
            on_bad_lines="error",
            low_memory=False,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, pd.errors.ParserWarning):
        return None
    # A short line is filled up with empty fields, a last field missing altogether with NaN.
    short = frame[names[-1]]
    return None if short.isna().any() else frame


def _table(
    name: str, rows: list[list[str]], lines: list[int], names: Sequence[str], report: Report
) -> Table:
    """Return the rows with the right number of fields, and report the others."""
    good = [len(row) == len(names) for row in rows]
    for row, line, whole in zip(rows, lines, good, strict=True):
        if not whole:
            report.add(
                name,
                line,
                " ".join(row)[:60],
                f"line has {len(row)} fields instead of {len(names)}",
                "it is cut off or has a stray separator; mend or drop it",
            )
    kept = [row for row, whole in zip(rows, good, strict=True) if whole]
    places = [line for line, whole in zip(lines, good, strict=True) if whole]
    return Table(name, pd.DataFrame(kept, columns=list(names), dtype=str), np.array(places, int))


def _decoded(path: Path, report: Report) -> str:
    """Return the text of a file: UTF-8 where it is valid, else latin-1 as MovieLens uses."""
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    # C1 controls come of bytes that are neither UTF-8 nor latin-1 text.
    suspects = [character for character in _SUSPECT if character in text]
    if suspects:
        for number, line in enumerate(text.split("\n"), start=1):
            if any(character in line for character in suspects):
                remedy = "save the file as UTF-8"
                report.add(path.name, number, line[:60], "line is mis-encoded", remedy)
    return text


_SUSPECT = "\0\ufffd" + "".join(map(chr, [*range(0x80, 0x85), *range(0x86, 0xA0)]))


def _with_years(movies: Table) -> Table:
    """Split `Toy Story (1995)` into title and year."""
    titles = movies.frame[columns.TITLE].astype(str).str.strip()
    parts = titles.str.extract(r"^(?P<title>.*?)\s*\((?P<year>\d{4})(?:-\d{0,4})?\)\s*$")
    split = parts[columns.YEAR].notna() & (parts[columns.TITLE] != "")
    years = parts[columns.YEAR].where(split, "")
    titles = parts[columns.TITLE].where(split, titles)
    return movies._replace(
        frame=movies.frame.assign(**{columns.TITLE: titles, columns.YEAR: years})
    )


def _with_people(movies: Table, people: Table) -> Table:
    wanted = [name for name in (columns.DIRECTORS, columns.ACTORS) if name in people.frame]
    named = people.frame.astype({columns.MOVIE_ID: str}).set_index(columns.MOVIE_ID)[wanted]
    named = named[~named.index.duplicated()]
    found = named.reindex(movies.frame[columns.MOVIE_ID].astype(str)).fillna("")
    return movies._replace(
        frame=movies.frame.assign(**{name: found[name].to_numpy() for name in wanted})
    )


def _whole(path: Path, what: str, remedy: str) -> Problem:
    return Problem(file=path.name, line=None, value=str(path), what=what, remedy=remedy)
