"""Small data folders of every layout, broken in every way: read, or refused in short lines."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrieval.data.dataset import encode
from retrieval.data.frames import MovieData
from retrieval.data.layouts import read_folder, read_movies
from retrieval.data.movielens import GENRES_100K
from retrieval.data.parquet import read_parquet
from retrieval.data.report import Report
from retrieval.data.scale import fits
from retrieval.errors import LONGEST_LINE, DataError, RecError

USERS, MOVIES = 9, 5
MOST_LINES = 400

ODD_VALUES = (
    *("", " ", "nan", "NaN", "inf", "-inf", "None", "null", "NA", "-1", "0", "1.0", "1e3", "1e400"),
    *(
        "0x10",
        "1_0",
        "٣",
        "½",
        " 7 ",
        "7,5",
        "5.",
        ".5",
        "99999999999999999999",
        "9007199254740993",
    ),
    *("1e-300", "-0", "55", "978300760", "1455049328000", "20160210", "2016-02-10T12:00:00Z"),
    *("2016-02-10 12:00:00", "9999-12-31", "0001-01-01", "10/02/2016", "now", "true", '"', '""'),
    *(
        "'",
        "\x1b[31m",
        "\x9b2J",
        "a\tb",
        "\u202eabc",
        "\u2028",
        "\ufeff",
        "\0",
        "x" * 10_000,
        "[/b]",
    ),
    *(
        "a|b| c||a",
        "(no genres listed)",
        "::",
        ";",
        "\x85",
        "\x0b",
        "\x1c",
        "Heat (1995)",
        "(1995)",
    ),
)
ODD_BYTES = (
    *(
        b"\r",
        b"\n",
        b"\r\n",
        b'"',
        b"\0",
        b"\xff",
        b"\xe9",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\x1f\x8b",
    ),
    *(
        b",",
        b";",
        b"\t",
        b"|",
        b"::",
        b"\x1b[2J",
        b"\xc2\x85",
        b"\xe2\x80\xae",
        b"PAR1",
        b"PK\x03\x04",
    ),
)


def ratings() -> list[tuple[int, int, int, int]]:
    return [
        (user, movie, 1 + (user * movie) % 5, 978_300_000 + 100 * user + movie)
        for user in range(1, USERS + 1)
        for movie in range(1, MOVIES + 1)
    ]


def joined(separator: str, rows: list[tuple[object, ...]], header: str = "") -> bytes:
    lines = [separator.join(map(str, row)) for row in rows]
    return ("\n".join([header, *lines] if header else lines) + "\n").encode()


def movie_rows() -> list[tuple[object, ...]]:
    return [
        (movie, f"Film é {movie} (199{movie})", "Drama|Comedy") for movie in range(1, MOVIES + 1)
    ]


def movielens_1m(folder: Path) -> None:
    (folder / "ratings.dat").write_bytes(joined("::", [*ratings()]))
    (folder / "movies.dat").write_bytes(joined("::", movie_rows()))
    people = [(user, "F", 25, 3, "12345") for user in range(1, USERS + 1)]
    (folder / "users.dat").write_bytes(joined("::", [*people]))


def movielens_100k(folder: Path) -> None:
    (folder / "u.data").write_bytes(joined("\t", [*ratings()]))
    flags = [int(genre == "Drama") for genre in GENRES_100K]
    items = [(movie, f"Film {movie} (199{movie})", "", "", "u", *flags) for movie in range(1, 6)]
    (folder / "u.item").write_bytes(joined("|", [*items]))
    people = [(user, 24, "M", "writer", "85711") for user in range(1, USERS + 1)]
    (folder / "u.user").write_bytes(joined("|", [*people]))
    named = [(genre, place) for place, genre in enumerate(GENRES_100K)]
    (folder / "u.genre").write_bytes(joined("|", [*named]))


def movielens_csv(folder: Path) -> None:
    header = "userId,movieId,rating,timestamp"
    (folder / "ratings.csv").write_bytes(joined(",", [*ratings()], header))
    rows = [(movie, f'"The ""{title}"""', genres) for movie, title, genres in movie_rows()]
    (folder / "movies.csv").write_bytes(joined(",", [*rows], "movieId,title,genres"))


def general_csv(folder: Path) -> None:
    header = "user_id,movie_id,rating,timestamp"
    (folder / "ratings.csv").write_bytes(joined(",", [*ratings()], header))
    rows: list[tuple[object, ...]] = [(movie, "Film", 1990, "Drama") for movie in range(1, 6)]
    (folder / "movies.csv").write_bytes(joined(",", rows, "movie_id,title,year,genres"))
    rows = [(user, "F", 30, "writer") for user in range(1, USERS + 1)]
    (folder / "users.csv").write_bytes(joined(",", rows, "user_id,gender,age,occupation"))
    rows = [(movie, "Jane Doe|John Doe", "A") for movie in range(1, 4)]
    (folder / "people.csv").write_bytes(joined(",", rows, "movie_id,directors,actors"))


def parquet(folder: Path) -> None:
    users, movies, stars, times = zip(*ratings(), strict=True)
    ids, titles, genres = zip(*movie_rows(), strict=True)
    write(folder, "ratings", user_id=users, movie_id=movies, rating=stars, timestamp=times)
    write(folder, "movies", movie_id=ids, title=titles, year=[1990] * MOVIES, genres=genres)
    write(folder, "users", user_id=range(1, 10), gender="F" * 9, age=[30] * 9, occupation=[3] * 9)


def write(folder: Path, name: str, **table: Sequence[object]) -> None:
    columns = {column: list(values) for column, values in table.items()}
    pq.write_table(pa.table(columns), folder / f"{name}.parquet")


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "1M": movielens_1m,
    "100K": movielens_100k,
    "latest": movielens_csv,
    "general": general_csv,
    "parquet": parquet,
}


def break_bytes(draw: st.DataObject, content: bytes) -> bytes:
    """Flip, put in, cut out or cut off bytes."""
    start = draw.draw(st.integers(0, max(0, len(content) - 1)))
    end = min(len(content), start + draw.draw(st.integers(0, 40)))
    match draw.draw(st.sampled_from(["flip", "insert", "delete", "cut", "head", "repeat"])):
        case "flip":
            bit = draw.draw(st.integers(0, 7))
            changed = bytes([content[start] ^ (1 << bit)]) if content else b""
            return content[:start] + changed + content[start + 1 :]
        case "insert":
            return content[:start] + draw.draw(st.sampled_from(ODD_BYTES)) + content[start:]
        case "delete":
            return content[:start] + content[end:]
        case "cut":
            return content[:start]
        case "head":
            return draw.draw(st.sampled_from(ODD_BYTES)) + content
        case _:
            return content[:end] + content[start:]


def break_line(draw: st.DataObject, content: bytes, separator: bytes) -> bytes:
    """Change one line or one field of a text file."""
    lines = content.split(b"\n")
    row = draw.draw(st.integers(0, len(lines) - 1))
    odd = draw.draw(st.sampled_from(ODD_VALUES)).encode()
    match draw.draw(st.sampled_from(["field", "field", "quoted", "copy", "drop", "blank", "line"])):
        case "field" | "quoted" as kind:
            fields = lines[row].split(separator)
            place = draw.draw(st.integers(0, len(fields) - 1))
            fields[place] = odd if kind == "field" else b'"' + odd + b'"'
            lines[row] = separator.join(fields)
        case "copy":
            lines.insert(draw.draw(st.integers(0, len(lines))), lines[row])
        case "drop":
            del lines[row]
        case "blank":
            lines[row : row + 1] = [b"", b" ", lines[row]]
        case _:
            lines[row] = odd
    return b"\n".join(lines)


def break_columns(draw: st.DataObject, content: bytes, separator: bytes) -> bytes:
    """Change a column, the separator, the ends of lines or the encoding of a text file."""
    lines = content.split(b"\n")
    place = draw.draw(st.integers(0, 4))
    match draw.draw(
        st.sampled_from(["values", "without", "twice", "ends", "separator", "encoding"])
    ):
        case "values":
            odd = draw.draw(st.sampled_from(ODD_VALUES)).encode()
            first = draw.draw(st.integers(0, 1))
            lines[first:] = [with_field(line, separator, place, odd) for line in lines[first:]]
        case "without":
            cut = [line.split(separator) for line in lines]
            lines = [separator.join(fields[:place] + fields[place + 1 :]) for fields in cut]
        case "twice":
            lines = [line + separator + line.split(separator)[0] for line in lines]
        case "ends":
            return content.replace(b"\n", draw.draw(st.sampled_from([b"\r", b"\r\n", b"\r\r\n"])))
        case "separator":
            other = draw.draw(st.sampled_from([b";", b"\t", b"|", b",", b"::", b", "]))
            return content.replace(separator, other)
        case _:
            kind = draw.draw(st.sampled_from(["utf-16", "utf-16-le", "utf-32", "cp1252", "utf-7"]))
            return content.decode(errors="replace").encode(kind, "replace")
    return b"\n".join(lines)


def with_field(line: bytes, separator: bytes, place: int, value: bytes) -> bytes:
    fields = line.split(separator)
    if place < len(fields) and line:
        fields[place] = value
    return separator.join(fields)


def odd_column(draw: st.DataObject, rows: int) -> pa.Array:
    """Return a column of a type that nobody expects there, with gaps or without."""
    day = datetime(2016, 2, 10)  # noqa: DTZ001 (Arrow takes it so)
    value, kind = draw.draw(
        st.sampled_from(
            [
                *((5, pa.int8()), (2**64 - 1, pa.uint64()), (-5, pa.int64()), (2.5, pa.float16())),
                *((1.5, pa.float32()), (float("nan"), pa.float64()), (True, pa.bool_())),
                *((Decimal("3.0"), pa.decimal128(10, 1)), (Decimal(10) ** 40, pa.decimal256(50))),
                *((b"\xff\xfe", pa.binary()), (b"7", pa.binary(1)), ("7", pa.large_string())),
                *(("\x1b[2J", pa.string()), ("x" * 2000, pa.string()), (None, pa.null())),
                *((day, pa.timestamp("s")), (day, pa.timestamp("ns", "Europe/Berlin"))),
                *((day, pa.date32()), (day, pa.date64()), (10**12, pa.duration("s"))),
                *((2**62, pa.timestamp("s")), (-(2**62), pa.timestamp("ms")), (5, pa.time64("us"))),
                *((["a", " a", ""], pa.list_(pa.string())), ([1, None], pa.list_(pa.int64()))),
                *(([["a"]], pa.list_(pa.list_(pa.string()))), ({"a": 1}, pa.struct({"a": "i8"}))),
                *(([("a", 1)], pa.map_(pa.string(), pa.int8())), (10**15, pa.int64())),
                *((1e300, pa.float64()), (1e-300, pa.float64()), (978_300_760, pa.float64())),
            ]
        )
    )
    gap = draw.draw(st.booleans())
    values = [None if gap and row % 3 == 1 else value for row in range(rows)]
    column = pa.array(values, kind)
    if draw.draw(st.booleans()) and pa.types.is_string(kind):
        return column.dictionary_encode()
    return column


def break_parquet(draw: st.DataObject, path: Path) -> None:
    """Change a column's values, type, name or number in a Parquet file."""
    table = pq.read_table(path)
    if not table.num_columns:
        return
    place = draw.draw(st.integers(0, table.num_columns - 1))
    name = table.column_names[place]
    match draw.draw(st.sampled_from(["type", "type", "type", "name", "twice", "none", "metadata"])):
        case "type":
            table = table.set_column(place, name, odd_column(draw, table.num_rows))
        case "name":
            names = ["userId", "movieId", "rating", "title", "", " year ", "x.y", "\x1b", "genres"]
            renamed = draw.draw(st.sampled_from(names))
            table = table.rename_columns(
                [renamed if column == name else column for column in table.column_names]
            )
        case "twice":
            table = table.append_column(name, table.column(place))
        case "none":
            table = table.slice(0, 0) if draw.draw(st.booleans()) else table.select([])
        case _:
            wrong = draw.draw(st.sampled_from([b"{", b"\xff", b"{}", b'{"columns": 5}', b"[]"]))
            table = table.replace_schema_metadata({b"pandas": wrong})
    pq.write_table(table, path)


def check_sane(data: MovieData) -> None:
    stars = data.ratings["rating"].to_numpy()
    assert np.isfinite(stars).all()
    assert fits(stars, data.scale).all()
    assert data.scale.lowest <= data.scale.highest
    assert str(data.scale)
    classes = data.scale.class_of(stars)
    assert ((classes >= 0) & (classes < data.scale.classes)).all()
    kinds = [str(kind) for kind in data.ratings.dtypes]
    assert {*kinds[:2]} <= {"int64", "str"}
    assert kinds[2:] == ["float32", "int64"]
    assert str(data.movies["movie_id"].dtype) == kinds[1]
    assert (data.ratings["timestamp"] >= 0).all()
    plays = any("there is no rating" in note for note in data.notes)
    assert plays or not data.ratings.duplicated(["user_id", "movie_id"]).any()
    assert data.movies["movie_id"].is_unique
    for ids in (data.ratings["user_id"], data.movies["movie_id"]):
        assert all(0 < len(str(each)) <= 200 and str(each).strip() == str(each) for each in ids)
    assert data.ratings["movie_id"].isin(data.movies["movie_id"]).all()
    titles = data.movies["title"].tolist()
    assert all(0 < len(title) <= 1000 for title in titles)
    texts = data.movies[["title", "genres", "directors", "actors"]].to_numpy().ravel().tolist()
    texts += data.users[["gender", "occupation"]].to_numpy().ravel().tolist()
    texts += [str(each) for each in (*data.ratings["user_id"], *data.movies["movie_id"])]
    for frame, attributes in (
        (data.movies, data.movie_attributes),
        (data.users, data.user_attributes),
    ):
        assert [name for name, _ in attributes] == list(frame)[
            len(frame.columns) - len(attributes) :
        ]
    assert not any(
        ord(letter) < 32 or 127 <= ord(letter) < 160 for text in texts for letter in text
    )
    for genres in data.movies["genres"]:
        entries = genres.split("|") if genres else []
        assert entries == list(dict.fromkeys(entry.strip() for entry in entries if entry.strip()))
    assert all(note.isprintable() and len(note) <= LONGEST_LINE for note in data.notes)
    dataset = encode(data)
    assert len(dataset.ratings) == len(data.ratings)


def check_short(error: RecError) -> None:
    lines = str(error).split("\n")
    assert isinstance(error, DataError)
    assert len(lines) == min(len(error.problems), MOST_LINES)
    for line in lines:
        assert line.isprintable()
        assert len(line) <= LONGEST_LINE


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_broken_folder_is_read_or_refused_in_short_lines(layout: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        sound = Path(scratch) / "sound"
        sound.mkdir()
        LAYOUTS[layout](sound)
        check_sane(read_folder(sound))
        names = sorted(path.name for path in sound.iterdir())

        @settings(
            derandomize=True,
            deadline=None,
            database=None,
            max_examples=150,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.data())
        def broken(draw: st.DataObject) -> None:
            folder = Path(scratch) / "broken"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(sound, folder)
            path = folder / draw.draw(st.sampled_from(names))
            for _ in range(draw.draw(st.integers(1, 3))):
                if layout == "parquet" and draw.draw(st.booleans()):
                    try:
                        break_parquet(draw, path)
                    except (pa.ArrowException, OSError, KeyError):
                        return  # the bytes that were broken before are no table
                elif layout == "parquet" or draw.draw(st.booleans()):
                    path.write_bytes(break_bytes(draw, path.read_bytes()))
                else:
                    separator = {"1M": b"::", "100K": b"|" if "data" not in path.name else b"\t"}
                    change = break_line if draw.draw(st.booleans()) else break_columns
                    cut = separator.get(layout, b",")
                    path.write_bytes(change(draw, path.read_bytes(), cut))
            try:
                check_sane(read_folder(folder))
            except RecError as error:
                check_short(error)
            try:
                read_movies(path)
            except RecError as error:
                check_short(error)

        broken()


@pytest.mark.slow
def test_any_byte_at_the_end_of_a_parquet_file_may_be_wrong(tmp_path: Path) -> None:
    parquet(tmp_path)
    path = tmp_path / "users.parquet"
    sound = path.read_bytes()
    footer = int.from_bytes(sound[-8:-4], "little")
    refused = 0
    for place in range(len(sound) - 8 - footer, len(sound)):
        for bit in (1, 4, 16):
            broken = bytearray(sound)
            broken[place] ^= bit
            path.write_bytes(broken)
            try:
                read_parquet(path, Report())
            except DataError as error:
                check_short(error)
                refused += 1
    assert refused > footer
