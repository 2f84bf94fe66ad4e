"""Readers: a data folder becomes tables, whatever its layout; `read_folder` is the way in."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as arrow_csv

from retrieval import columns
from retrieval.data.checks import Table, checked, checked_movies, complain
from retrieval.data.frames import MovieData
from retrieval.errors import DataError, Problem
from retrieval.report import Report

NO_GENRES = "(no genres listed)"
GENRES_100K = [
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance"),
    *("Sci-Fi", "Thriller", "War", "Western"),
]

# Every other column is text: a title may be 007 and an occupation 01.
NUMBERS = {
    columns.USER_ID: pa.int64(),
    columns.MOVIE_ID: pa.int64(),
    columns.RATING: pa.float64(),
    columns.TIMESTAMP: pa.int64(),
}

# They come of bytes that are no latin-1 text, quotes of Windows for one.
C1_CONTROLS = "".join(map(chr, range(0x80, 0xA0)))

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
    layout = _layout(folder)
    match layout:
        case Layout.DOUBLE_COLON:
            ratings, movies, users = _read_double_colon(folder, report)
        case Layout.HUNDRED_K:
            ratings, movies, users = _read_100k(folder, report)
        case Layout.TABLES:
            ratings, movies, users = _read_tables(folder, report)
    people = _found(folder, "people")
    if people is not None:
        movies = _with_people(movies, _read_table(people, report), report)
    stars = layout is not Layout.TABLES or _is_movielens_csv(folder)
    data = checked(ratings, movies, users, report, stars=stars)
    if _is_listed_by_movie(data.ratings):
        shuffled = data.ratings.sample(frac=1.0, random_state=0, ignore_index=True)
        return replace(data, ratings=shuffled)
    return data


def read_movies(path: Path) -> pd.DataFrame:
    """Read and check movies alone: a .csv or .parquet with named columns, or a movies.dat.

    Returns:
        A frame with the columns `columns.MOVIES`.

    Raises:
        DataError: Everything that is wrong with it, in one report.
    """
    report = Report()
    if not path.is_file():
        raise DataError([_whole(path, "no such file", "give movies as .csv, .parquet or .dat")])
    if path.suffix == ".dat":
        names = (columns.MOVIE_ID, columns.TITLE, columns.GENRES)
        lines = _read_lines(path, Separated("::", names), report)
        return checked_movies(_with_years(lines), report)
    return checked_movies(_tidy(_read_table(path, report)), report)


def _is_listed_by_movie(ratings: pd.DataFrame) -> bool:
    """Whether each user's rows ascend by movie, as in MovieLens 10M and later, times being equal.

    Then the order of ratings of one second is not that of rating them, and gives the last one away.
    """
    names = (columns.USER_ID, columns.MOVIE_ID, columns.TIMESTAMP)
    users, movies, times = (np.diff(ratings[name].to_numpy()) for name in names)
    return bool((movies[users == 0] > 0).all() and (times[users == 0] == 0).any())


def _layout(folder: Path) -> Layout:
    if not folder.is_dir():
        remedy = "give a folder, or try rec data fetch ml-1m"
        raise DataError([_whole(folder, "no such folder", remedy)])
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
    genres = GENRES_100K
    if (folder / "u.genre").is_file():
        named = _read_lines(folder / "u.genre", Separated("|", ("genre", "number")), report)
        genres = named.frame["genre"].to_list()
    names = [columns.MOVIE_ID, columns.TITLE, "released", "video", "url", *genres]
    movies = _read_lines(folder / "u.item", Separated("|", names), report)
    # The first flag says that no genre is known.
    flags = movies.frame[genres[1:]].to_numpy() == "1"
    joined = ["|".join(compress(genres[1:], row)) for row in flags]
    movies = movies._replace(frame=movies.frame.assign(**{columns.GENRES: joined}))
    users = None
    if (folder / "u.user").is_file():
        names = [columns.USER_ID, columns.AGE, columns.GENDER, columns.OCCUPATION, "zip"]
        users = _read_lines(folder / "u.user", Separated("|", names), report)
    return ratings, _with_years(movies), users


def _read_tables(folder: Path, report: Report) -> tuple[Table, Table, Table | None]:
    ratings, movies, users = (
        None if (path := _found(folder, name)) is None else _read_table(path, report)
        for name in ("ratings", "movies", "users")
    )
    if ratings is None or movies is None:
        raise DataError([_whole(folder, "no ratings or no movies", f"it should hold {LOOKED_FOR}")])
    return ratings, _tidy(movies), users


def _tidy(movies: Table) -> Table:
    """Bring a movies table with named columns to years and genres of their own."""
    if columns.YEAR not in movies.frame:
        movies = _with_years(movies)
    if columns.GENRES in movies.frame:
        genres = movies.frame[columns.GENRES].replace(NO_GENRES, "")
        movies = movies._replace(frame=movies.frame.assign(**{columns.GENRES: genres}))
    return movies


def _is_movielens_csv(folder: Path) -> bool:
    """Whether ratings.csv has the header of a MovieLens release."""
    path = folder / "ratings.csv"
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(7) == b"userId,"


def _found(folder: Path, name: str) -> Path | None:
    paths = (folder / f"{name}{ending}" for ending in (".csv", ".parquet"))
    return next((path for path in paths if path.is_file()), None)


def _read_table(path: Path, report: Report) -> Table:
    """Read a file with named columns."""
    if path.suffix == ".parquet":
        try:
            stored = pd.read_parquet(path)
        except (OSError, ValueError) as error:
            what = f"not a readable parquet file ({error})"
            raise DataError([_whole(path, what, "copy it again")]) from error
        return Table(path.name, stored.rename(columns=CSV_NAMES), np.arange(1, len(stored) + 1))
    text = _decoded(path, report, latin_1=False)
    first = text.partition("\n")[0]
    header = [CSV_NAMES.get(name.strip(), name.strip()) for name in next(csv.reader([first]), [])]
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        what, remedy = "a column comes twice", "keep one of them"
        report.add(path.name, 1, ",".join(repeated), what, remedy)
        report.raise_any()
    frame = _fast(text, ",", header, skip=1)
    if frame is not None:
        return Table(path.name, frame, np.arange(2, len(frame) + 2))
    return _table(path.name, list(_csv_rows(text))[1:], header, report)


def _read_lines(path: Path, layout: Separated, report: Report) -> Table:
    """Read a file without a header."""
    text, names = _decoded(path, report, latin_1=True), list(layout.names)
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
    # Not splitlines, which cuts at characters that may stand in a title.
    numbered = enumerate(text.split("\n"), start=1)
    return _table(
        path.name,
        [(n, line.split(layout.separator)) for n, line in numbered if line],
        names,
        report,
    )


def _csv_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, each with the line it begins on."""
    reader, begins = csv.reader(io.StringIO(text)), 1
    for row in reader:
        if row:
            yield begins, row
        begins = reader.line_num + 1


def _fast(text: str, separator: str, names: Sequence[str], skip: int) -> pd.DataFrame | None:
    """Parse regular text at full speed; None where it is anything but regular.

    Arrow refuses a line with too few or too many fields; pandas fills up the one and cuts the
    other.
    """
    text = text.rstrip("\n")
    for numbers in (NUMBERS, {}):  # where a number is malformed, text, which the checks report
        try:
            table = arrow_csv.read_csv(
                pa.py_buffer(text.encode()),
                arrow_csv.ReadOptions(use_threads=False, column_names=names, skip_rows=skip),
                arrow_csv.ParseOptions(
                    delimiter=separator,
                    quote_char='"' if separator == "," else False,
                ),
                arrow_csv.ConvertOptions(
                    column_types={name: numbers.get(name, pa.string()) for name in names},
                    null_values=[],
                ),
            )
        except pa.ArrowInvalid:
            continue
        # Blank lines and quoted fields over many lines would put rows on wrong line numbers.
        if table.num_rows + skip == text.count("\n") + 1:
            frame: pd.DataFrame = table.to_pandas()
            return frame
    return None


def _table(
    name: str, rows: list[tuple[int, list[str]]], names: Sequence[str], report: Report
) -> Table:
    """Return the rows with the right number of fields, and report the others."""
    for line, row in rows:
        if len(row) != len(names):
            report.add(
                name,
                line,
                " ".join(row)[:60],
                f"line does not have {len(names)} fields",
                f"it has {len(row)}: cut off, or a stray separator; mend or drop it",
            )
    kept = [row for _, row in rows if len(row) == len(names)]
    lines = np.array([line for line, row in rows if len(row) == len(names)], dtype=np.int64)
    return Table(name, pd.DataFrame(kept, columns=list(names), dtype=str), lines)


def _decoded(path: Path, report: Report, *, latin_1: bool) -> str:
    """Return the text of a file: UTF-8, or latin-1 where it is allowed and no line is UTF-8."""
    raw = path.read_bytes()
    suspects = "\0\ufffd"
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        if latin_1 and not any(_beyond_ascii(line) for line in raw.split(b"\n")):
            text = raw.decode("latin-1")
            suspects += C1_CONTROLS
        else:
            text = raw.decode("utf-8-sig", errors="replace")
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    if any(suspect in text for suspect in suspects):
        for number, line in enumerate(text.split("\n"), start=1):
            if any(suspect in line for suspect in suspects):
                what, remedy = "line is mis-encoded", "save the file as UTF-8"
                report.add(path.name, number, line[:60], what, remedy)
    return text


def _beyond_ascii(line: bytes) -> bool:
    """Return whether a line is UTF-8 that latin-1 text would hardly be by chance."""
    try:
        return not line.isascii() and bool(line.decode())
    except UnicodeDecodeError:
        return False


def _with_years(movies: Table) -> Table:
    """Split `Toy Story (1995)` into title and year."""
    if columns.TITLE not in movies.frame:
        return movies
    titles = movies.frame[columns.TITLE].fillna("").astype(str).str.strip()
    parts = titles.str.extract(
        r"^(?P<title>.*?)\s*\((?P<year>\d{4})(?:[-\u2013]\d{0,4})?\)\s*$", flags=re.DOTALL
    )
    split = parts[columns.YEAR].notna() & (parts[columns.TITLE] != "")
    years = parts[columns.YEAR].where(split, "")
    titles = parts[columns.TITLE].where(split, titles)
    return movies._replace(
        frame=movies.frame.assign(**{columns.TITLE: titles, columns.YEAR: years})
    )


def _with_people(movies: Table, people: Table, report: Report) -> Table:
    """Add what is known of people; movies that are not in the catalogue are passed over."""
    if columns.MOVIE_ID not in people.frame:
        header = ",".join(map(str, people.frame.columns))
        what, remedy = f"column {columns.MOVIE_ID} is missing", f"name it {columns.MOVIE_ID}"
        report.add(people.file, 1, header, what, remedy)
    if columns.MOVIE_ID not in people.frame or columns.MOVIE_ID not in movies.frame:
        return movies
    repeated = people.frame.duplicated(columns.MOVIE_ID).to_numpy()
    what, remedy = f"{columns.MOVIE_ID} comes twice", "keep one row for each id"
    complain(report, people, columns.MOVIE_ID, repeated, what, remedy)
    wanted = [name for name in (columns.DIRECTORS, columns.ACTORS) if name in people.frame]
    named = people.frame[~repeated].astype({columns.MOVIE_ID: str})
    named = named.set_index(columns.MOVIE_ID)[wanted]
    found = named.reindex(movies.frame[columns.MOVIE_ID].astype(str)).fillna("")
    return movies._replace(
        frame=movies.frame.assign(**{name: found[name].to_numpy() for name in wanted})
    )


def _whole(path: Path, what: str, remedy: str) -> Problem:
    return Problem(file=path.name, line=None, value=str(path), what=what, remedy=remedy)
