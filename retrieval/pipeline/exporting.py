"""An export: what answers lists and ratings without this package, as one folder.

    FOLDER/manifest.json     what the files are, and how scores and ratings follow from them
    FOLDER/movies.parquet    one row a movie: id, title, year, genres, attributes, vector
    FOLDER/users.parquet     one row a question: user, time of asking, vectors, movies seen
    FOLDER/*.npy             the same numbers as arrays, row by row
    FOLDER/towers/           the user towers, for users and histories that are not in the export

`docs/export.md` says what each column and each input of a tower holds.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from retrieval.data.attributes import AttributeColumns, AttributeKind
from retrieval.data.times import NO_TIME
from retrieval.data.vocabulary import UNKNOWN, Ids, Vocabulary
from retrieval.errors import RequestError, shown
from retrieval.options import RankBy
from retrieval.pairs.onnx_tower import onnx_runtime
from retrieval.pairs.towers import PAIRS
from retrieval.progress import SILENT, Progress, Stage
from retrieval.run.folder import Run
from retrieval.serving.arguments import checked_ids, checked_times
from retrieval.serving.batching import parts_of, shared, times_of
from retrieval.serving.lists import ListQueries, encode_lists
from retrieval.serving.snapshot import ServingSnapshot
from retrieval.serving.users import many_users, selected, unknown_users
from retrieval.storage.arrays import mapped_array
from retrieval.storage.files import check_free, new_folder, sha256

# Of the manifest; it grows when a file, a key or a column goes or changes its meaning.
SCHEMA = 3

# What a manifest says it is of.
KIND = "two-tower-rec export"

MANIFEST, MOVIES, USERS, TOWERS = "manifest.json", "movies.parquet", "users.parquet", "towers"

# Movies, and questions, that are written together: bounds the memory for their vectors.
MOVIE_ROWS, USER_ROWS = 16_384, 4_096

# Questions that are encoded together: bounds the memory for their histories.
ENCODED = 64

# Seconds that a thousand movies, and a thousand questions, are expected to take.
MOVIE_COST, USER_COST = 0.03, 1.0

WRITE_MOVIES, WRITE_USERS, WRITE_TOWERS = "writing movies", "writing users", "writing towers"

ARROW: Mapping[AttributeKind, pa.DataType] = {
    AttributeKind.CATEGORY: pa.string(),
    AttributeKind.NUMBER: pa.float64(),
    AttributeKind.LIST: pa.list_(pa.string()),
    AttributeKind.YES_NO: pa.bool_(),
    AttributeKind.DATE: pa.string(),
}

# Attributes that the movies of the catalogue have as columns of their own.
OWN = ("year", "genres")


class Exported(NamedTuple):
    """What was exported."""

    folder: Path
    movies: int
    users: int  # questions of users
    dimension: int  # components of a vector
    rank_by: RankBy  # what the query vectors rank by
    bytes: int  # of all files


class Column(NamedTuple):
    """A column of a Parquet file and, where it has one, the array of the same values."""

    name: str
    type: pa.DataType
    array: str | None = None  # name of its file, without the ending
    dtype: np.dtype[Any] | None = None  # of the array
    width: int | None = None  # of a row of the array, if it is no single value


def export(
    run: Path | str,
    out: Path | str,
    *,
    users: ArrayLike | None = None,
    at: ArrayLike | None = None,
    rank_by: RankBy | None = None,
    in_sitting: bool = False,
    threads: int = 1,
    progress: Progress = SILENT,
) -> Exported:
    """Write what answers lists and ratings into a new folder, which is whole or not there.

    Args:
        run: Folder of the run.
        out: Folder to write; it may be there if it is empty.
        users: Ids of the users whose query vectors are written, repeated or not; None is all users
            of the run, an empty list is none.
        at: Time of asking, in seconds, one for all users or one for each; None is before each user
            comes back.
        rank_by: Score that the query vectors rank by; None is what validation chose.
        in_sitting: Whether users who are asked at no time have just had their last event and go on
            watching.
        threads: Number of threads that share the encoding of users.
        progress: Who shows how far it is.

    Raises:
        RequestError: An unknown user, a ranking that the run's pairs cannot give, an impossible
            time, or a folder inside that of the run.
        RunError: The run or its index is missing, damaged or stale.
        RecError: The folder to write is there and not empty.
    """
    target = Path(out).resolve()
    check_free(target)
    snapshot = ServingSnapshot.load(run, vector_store=False)
    if snapshot.run.home.resolve() in target.parents:
        raise RequestError(f"{shown(out)} lies in the folder of the run; name one outside of it")
    ranking = snapshot.encoder.ranking(rank_by)
    questions = _questions(snapshot.run, users, at, in_sitting=in_sitting)
    count = len(snapshot.run.catalogue)
    progress.plan(
        [
            Stage(WRITE_MOVIES, MOVIE_COST * count / 1000),
            Stage(WRITE_USERS, USER_COST * len(questions.ids) / 1000),
            Stage(WRITE_TOWERS, 0.5),
        ]
    )
    with new_folder(target) as partial:
        _write_movies(partial, snapshot, progress)
        _write_users(partial, snapshot, questions, ranking, threads, progress)
        progress.stage(WRITE_TOWERS)
        towers = _write_towers(partial, snapshot.run, questions)
        manifest = _manifest(partial, snapshot, questions, ranking, towers)
        text = json.dumps(manifest, indent=2, allow_nan=False) + "\n"
        (partial / MANIFEST).write_text(text, encoding="utf-8")
        size = sum(path.stat().st_size for path in partial.rglob("*") if path.is_file())
    dimension = snapshot.index.dimension
    return Exported(Path(out), count, len(questions.ids), dimension, ranking, size)


class _Questions(NamedTuple):
    ids: Ids  # (Q,)
    times: NDArray[np.int64] | None  # (Q,) seconds or `NO_TIME`; None is no time for any
    in_sitting: bool

    def trained(self, run: Run) -> NDArray[np.int64]:
        """Return the numbers of the distinct users whose ids were trained, ascending."""
        numbers = np.unique(run.users.numbers(self.ids))
        return numbers[run.trained_users[numbers]]


def _questions(
    run: Run, users: ArrayLike | None, at: ArrayLike | None, *, in_sitting: bool
) -> _Questions:
    """Return the questions whose vectors are written, checked."""
    ids = run.users.ids if users is None else checked_ids(users, "user", run.users)
    missing = run.users.numbers(ids) == UNKNOWN
    if missing.any():
        raise unknown_users(run, np.unique(ids[missing]).tolist())
    if at is None:
        return _Questions(ids, None, in_sitting)
    moments = np.full(len(ids), at) if np.ndim(at) == 0 else at
    times = checked_times(moments, len(ids))
    if times is not None and in_sitting:
        raise RequestError("at and in_sitting are two moments; leave one out")
    return _Questions(ids, times, in_sitting)


def _write_movies(folder: Path, snapshot: ServingSnapshot, progress: Progress) -> None:
    run, encoder = snapshot.run, snapshot.encoder
    catalogue, attributes = run.catalogue, run.attributes
    further = _further(attributes)
    progress.stage(WRITE_MOVIES, len(catalogue))
    with _table(folder / MOVIES, len(catalogue), movie_columns(snapshot)) as write:
        for start in range(0, len(catalogue), MOVIE_ROWS):
            numbers = np.arange(start, min(start + MOVIE_ROWS, len(catalogue)))
            movies = catalogue.movies[start : start + MOVIE_ROWS]
            rows: dict[str, Any] = {
                "movie_id": catalogue.vocabulary.ids[numbers],
                "title": [movie.title for movie in movies],
                "year": [movie.year for movie in movies],
                "genres": [movie.genres for movie in movies],
                "hidden": run.hidden[numbers],
                "vector": snapshot.vectors_of(numbers),
            }
            if _says_how_sure(run):
                variances = np.zeros(len(numbers))
                for part in encoder.layout.rating:
                    variances += encoder.tower(part.name).movie_variances(numbers)
                rows["variance"] = variances
            if further:
                rows["attributes"] = [
                    {name: attributes.columns[name].value(number) for name in further}
                    for number in numbers.tolist()
                ]
            write(rows)
            progress.advance(len(numbers))


def _write_users(
    folder: Path,
    snapshot: ServingSnapshot,
    questions: _Questions,
    ranking: RankBy,
    threads: int,
    progress: Progress,
) -> None:
    """Write the vectors of users, and of each the movies of the history, which no list repeats."""
    run, count = snapshot.run, len(questions.ids)
    progress.stage(WRITE_USERS, count)
    movie_ids = run.catalogue.vocabulary.ids
    numbers, trained = run.users.numbers(questions.ids), questions.trained(run)
    seen = int((run.histories.offsets[numbers + 1] - run.histories.offsets[numbers]).sum())
    with ExitStack() as files:
        write = files.enter_context(_table(folder / USERS, count, user_columns(snapshot)))
        ends = files.enter_context(_array(folder / "seen_offsets.npy", np.int64, (count + 1,)))
        movies = files.enter_context(_array(folder / "seen_movies.npy", np.int32, (seen,)))
        ends(np.zeros(1))
        before = 0
        for start in range(0, count, USER_ROWS):
            part = slice(start, start + USER_ROWS)
            times = None if questions.times is None else questions.times[part]
            encoded = _encoded(
                snapshot, questions._replace(ids=questions.ids[part], times=times), ranking, threads
            )
            flat = np.concatenate(encoded.seen)
            own = np.cumsum([len(each) for each in encoded.seen])
            ends(before + own)
            movies(flat)
            before += len(flat)
            places = 1 + np.searchsorted(trained, numbers[part])
            rows = {
                "user_id": questions.ids[part],
                "timestamp": _moments(times, len(own)),
                "query_vector": encoded.queries,
                "seen": pa.ListArray.from_arrays(
                    pa.array(np.append(0, own), pa.int32()), pa.array(movie_ids[flat])
                ),
                "tower_number": np.where(run.trained_users[numbers[part]], places, 0),
                "codes": run.user_codes[numbers[part]],
            }
            if snapshot.encoder.rates:
                rows["rating_vector"] = encoded.encoded.vectors
                rows["rating_offset"] = encoded.encoded.offsets
            if _says_how_sure(run):
                rows["variance"] = encoded.encoded.variances
            write(rows)
            progress.advance(len(own))


def _encoded(
    snapshot: ServingSnapshot, questions: _Questions, ranking: RankBy, threads: int
) -> ListQueries:
    """Encode questions as lists do, in their order."""
    ids, times = questions.ids, questions.times
    users, rows = many_users(snapshot.run, ids, {}, times, snapshot.histories)

    def encode(part: NDArray[np.int64]) -> ListQueries:
        some, each = selected(users, rows[part])
        at, sitting = times_of(part, times), questions.in_sitting
        return encode_lists(snapshot, some, each, at, ranking, in_sitting=sitting)

    # Histories of one length together: nothing is padded.
    order = np.argsort(np.diff(users.histories.offsets)[rows], kind="stable")
    parts = parts_of(order, times, ENCODED)
    made = shared(encode, parts, threads)
    back = np.argsort(np.concatenate(parts))
    seen = [movies for each in made for movies in each.seen]
    columns = zip(*(each.encoded for each in made), strict=True)
    return ListQueries(
        encoded=type(made[0].encoded)(*(np.concatenate(column)[back] for column in columns)),
        queries=np.concatenate([each.queries for each in made])[back],
        seen=[seen[place] for place in back.tolist()],
    )


def _moments(times: NDArray[np.int64] | None, count: int) -> pa.Array:
    """Return times of asking as a column, null where there is none."""
    moments = np.full(count, NO_TIME) if times is None else times
    return pa.array(moments, pa.int64(), mask=moments == NO_TIME)


def movie_columns(snapshot: ServingSnapshot) -> list[Column]:
    """Return the columns of the movies of an export."""
    run, dimension = snapshot.run, snapshot.index.dimension
    columns = [
        _id_column("movie_id", "movie_ids", run.catalogue.vocabulary),
        Column("title", pa.string()),
        Column("year", pa.int32()),
        Column("genres", pa.list_(pa.string())),
        Column("hidden", pa.bool_(), "movie_hidden", np.dtype(np.bool_)),
        _vector_column("vector", "movie_vectors", dimension),
    ]
    if _says_how_sure(run):
        columns.append(Column("variance", pa.float64(), "movie_variances", np.dtype(np.float64)))
    if further := _further(run.attributes):
        columns.append(Column("attributes", pa.struct(list(further.items()))))
    return columns


def user_columns(snapshot: ServingSnapshot) -> list[Column]:
    """Return the columns of the questions of an export."""
    run, dimension = snapshot.run, snapshot.index.dimension
    whole, codes = np.dtype(np.int64), run.user_codes.shape[1]
    columns = [
        _id_column("user_id", "user_ids", run.users),
        Column("timestamp", pa.int64()),
        _vector_column("query_vector", "query_vectors", dimension),
    ]
    if snapshot.encoder.rates:
        offset = Column("rating_offset", pa.float64(), "rating_offsets", np.dtype(np.float64))
        columns += [_vector_column("rating_vector", "rating_vectors", dimension), offset]
    if _says_how_sure(run):
        columns.append(Column("variance", pa.float32(), "user_variances", np.dtype(np.float32)))
    return [
        *columns,
        Column("seen", pa.list_(_id_type(run.catalogue.vocabulary))),
        Column("tower_number", pa.int64(), "tower_numbers", whole),
        Column("codes", pa.list_(pa.int64(), codes), "user_codes", whole, codes),
    ]


def _id_type(vocabulary: Vocabulary) -> pa.DataType:
    return pa.string() if vocabulary.texts else pa.int64()


def _id_column(name: str, array: str, vocabulary: Vocabulary) -> Column:
    return Column(name, _id_type(vocabulary), array, vocabulary.ids.dtype)


def _vector_column(name: str, array: str, dimension: int) -> Column:
    kind = pa.list_(pa.float32(), dimension)
    return Column(name, kind, array, np.dtype(np.float32), dimension)


def _further(attributes: AttributeColumns) -> dict[str, pa.DataType]:
    """Return the types of what else is known of movies; of texts nothing is kept."""
    kinds = {name: kind for name, kind in attributes.attributes if name not in OWN}
    return {name: ARROW[kind] for name, kind in kinds.items() if kind in ARROW}


def _says_how_sure(run: Run) -> bool:
    """Return whether deviations of ratings are known to differ between questions."""
    return run.config.link is not None and run.config.noise is not None


@contextmanager
def _array(
    path: Path, dtype: np.dtype[Any] | type[np.generic], shape: tuple[int, ...]
) -> Iterator[Callable[[NDArray[Any]], None]]:
    """Give a function that appends rows to an array in a file, whose shape is known before."""
    kind = np.dtype(dtype)
    header = {"descr": kind.str, "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)

        def write(rows: NDArray[Any]) -> None:
            file.write(np.ascontiguousarray(rows, kind).tobytes())

        yield write


@contextmanager
def _table(
    path: Path, rows: int, columns: Sequence[Column]
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Give a function that appends rows to a Parquet file, and to the arrays of its columns."""
    schema = pa.schema([(column.name, column.type) for column in columns])
    with ExitStack() as files:
        table = files.enter_context(pq.ParquetWriter(path, schema))
        arrays = {}
        for column in columns:
            if column.array is not None and column.dtype is not None:
                shape = (rows,) if column.width is None else (rows, column.width)
                file = path.with_name(f"{column.array}.npy")
                arrays[column.name] = files.enter_context(_array(file, column.dtype, shape))

        def write(values: Mapping[str, Any]) -> None:
            cells = [_cells(values[column.name], column.type) for column in columns]
            table.write_table(pa.Table.from_arrays(cells, schema=schema))
            for name, append in arrays.items():
                append(values[name])

        yield write


def _cells(values: object, kind: pa.DataType) -> pa.Array:
    """Return rows as Arrow has them."""
    if isinstance(values, pa.Array):
        return values
    if isinstance(values, np.ndarray) and values.ndim == 2:
        flat = pa.array(np.ascontiguousarray(values).ravel(), kind.value_type)
        return pa.FixedSizeListArray.from_arrays(flat, type=kind)
    return pa.array(values, kind)


def _write_towers(folder: Path, run: Run, questions: _Questions) -> dict[str, object]:
    """Copy the user towers of a run into an export; return what they are asked and say.

    Args:
        folder: Folder of the export.
        run: The run.
        questions: Questions of the users whose own embeddings go along.
    """
    (folder / TOWERS).mkdir()
    config = run.config
    rating = {
        part.name: {"weight": weight, "new_user_weight": new, "origin": origin}
        for part, weight, new, origin in zip(
            config.layout.rating,
            config.blend.weights,
            config.blend.new_user_weights,
            config.blend.origins,
            strict=True,
        )
    }
    towers: dict[str, object] = {}
    for part in config.parts:
        columns = config.layout.columns(part)
        facts: dict[str, object] = {
            "roles": list(part.roles),
            "columns": [columns.start, columns.stop],
            "offset_column": columns.stop if part.rates else None,
            "history_length": config.settings.get(part.name, {}).get("history_length"),
            "temperature": part.temperature if part.ranks else None,
            **rating.get(part.name, {}),
        }
        query_side = PAIRS[part.name]
        if (name := query_side.onnx) is not None:
            shutil.copyfile(run.folder / name, folder / TOWERS / name)
            facts |= {"file": f"{TOWERS}/{name}"} | _described(folder / TOWERS / name)
        for column, name in query_side.tables.items():
            if column == "users":  # unknown users, then those who are asked about
                rows = np.append(0, 1 + questions.trained(run))
                np.save(folder / TOWERS / name, mapped_array(run.folder / name)[rows])
            else:
                shutil.copyfile(run.folder / name, folder / TOWERS / name)
        if query_side.tables:
            tables = {column: f"{TOWERS}/{name}" for column, name in query_side.tables.items()}
            facts["tables"] = tables
        if (events := query_side.tables.get("events")) is not None:
            codes = len(run.catalogue) * config.scale.classes
            facts["codes_per_row"] = codes // len(mapped_array(run.folder / events))
        if query_side.write_arrays is not None:
            query_side.write_arrays(run.folder, folder / TOWERS)
        towers[part.name] = facts
    return towers


def _described(path: Path) -> dict[str, object]:
    """Return the inputs and outputs of an ONNX file."""
    session = onnx_runtime().InferenceSession(str(path), providers=["CPUExecutionProvider"])
    sides = {"inputs": session.get_inputs(), "outputs": session.get_outputs()}
    return {
        side: [{"name": one.name, "type": one.type, "shape": one.shape} for one in each]
        for side, each in sides.items()
    }


def _manifest(
    folder: Path,
    snapshot: ServingSnapshot,
    questions: _Questions,
    ranking: RankBy,
    towers: Mapping[str, object],
) -> dict[str, object]:
    """Return what says what the files are, and what their numbers mean."""
    run, config = snapshot.run, snapshot.run.config
    times = questions.times
    return {
        "kind": KIND,
        "schema": SCHEMA,
        "run": {"version": run.folder.name, "model": run.model, "created": config.created},
        "movies": len(run.catalogue),
        "trained_movies": len(run.catalogue) - run.catalogue.added,
        "dimension": snapshot.index.dimension,
        "users": len(questions.ids),
        "rank_by": ranking,
        "in_sitting": questions.in_sitting,
        "asked_at_a_time": 0 if times is None else int((times != NO_TIME).sum()),
        "score": {
            "formula": "query_vectors[user] . movie_vectors[movie]",
            "unit": SCORE_UNITS[ranking],
            "order": "highest first, equal scores by the row of the movie",
            "left_out": "movies that are seen or hidden",
        },
        "rating": _rating(snapshot),
        "towers": towers,
        "blend": {
            "halfway": config.blend.halfway,
            "new_user_offset": config.blend.new_user_offset,
            "ranking": None if config.ranking is None else asdict(config.ranking),
        },
        "present": config.present,
        "scale": asdict(config.scale)
        | {"unit": config.scale.unit, "classes": config.scale.classes, "centre": config.centre},
        "user_attributes": [
            asdict(each) | {"size": each.size} for each in config.user_attributes.coded
        ],
        "files": {
            path.relative_to(folder).as_posix(): _facts(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
    }


SCORE_UNITS: Mapping[RankBy, str] = {
    RankBy.RATING: "latent rating, as in rating.latent, without the user's offset",
    RankBy.WATCH: "logit of what is watched next, up to a number that is one for all movies",
    RankBy.BLEND: "logit of what is watched next and a weighed latent rating, added",
}


def _rating(snapshot: ServingSnapshot) -> dict[str, object] | None:
    """Return how ratings follow from the files; None where no pair predicts any."""
    config = snapshot.run.config
    if not snapshot.encoder.rates:
        return None
    latent = "rating_offsets[user] + rating_vectors[user] . movie_vectors[movie]"
    if config.link is None:
        limits = {"lowest": config.scale.lowest, "highest": config.scale.highest}
        return {"latent": latent, "formula": "clip(latent, lowest, highest)", **limits}
    return {
        "latent": latent,
        "formula": "values[0] + sum over i of (values[i + 1] - values[i]) Phi(latent - t[i])",
        "variance": "1"
        if config.noise is None
        else "(user_variances[user] + movie_variances[movie]) / usual_variance",
        "chance_at_most": "Phi((t[i] - latent) / sqrt(variance)) of values[i] and below",
        "deviation": "root of the sum of chance[i] (values[i] - rating)^2",
        "values": config.link.values,
        "t": config.link.thresholds,
        "usual_variance": config.noise,
    }


def _facts(path: Path) -> dict[str, object]:
    """Return what a file of an export is."""
    facts: dict[str, object] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    if path.suffix == ".npy":
        array = np.load(path, mmap_mode="r")
        facts |= {"dtype": array.dtype.str, "shape": list(array.shape)}
    if path.suffix == ".parquet":
        schema = pq.read_schema(path)
        facts["columns"] = {field.name: str(field.type) for field in schema}
    return facts
