import hashlib
import json
import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from index.exact import exact_search
from index.faiss_backend import FaissBackend, embedded
from index.faiss_kinds import empty_index
from index.kinds import Kind, SearchParameters
from index.search import Index
from index.store import StaleIndexError, load_index, read_card, save_index
from index.transform import Transform

COUNT, DIMENSION = 40, 5
PARAMETERS = SearchParameters(nprobe=7, ef=9, oversampling=3)
FILES = ("index.json", "index.faiss", "ids.npy", "matrix.npy", "vectors.npy")
KINDS = pytest.mark.parametrize("kind", Kind)
MAPPED = pytest.mark.parametrize("mapped", [False, True])


def saved(folder: Path, kind: Kind, seed: int = 0, source: str = "model") -> Path:
    """Save a small index of which two vectors were removed."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(COUNT, DIMENSION)).astype(np.float32)
    index = Index.build(np.arange(COUNT) * 3, vectors, kind, PARAMETERS)
    index.remove([3, 9])
    folder.mkdir()
    save_index(folder, index, source)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, tuple[Path, Path]]:
    """Return two indexes of each kind that are never written to."""
    root = tmp_path_factory.mktemp("indexes")
    return {
        kind: (saved(root / f"{kind}", kind), saved(root / f"{kind}-other", kind, seed=1))
        for kind in Kind
    }


@pytest.fixture
def copy(folders: dict[Kind, tuple[Path, Path]], tmp_path: Path) -> Callable[[Kind], Path]:
    def make(kind: Kind) -> Path:
        return Path(shutil.copytree(folders[kind][0], tmp_path / "index", dirs_exist_ok=True))

    return make


def refused(folder: Path, *, mapped: bool = True) -> str:
    """Return the one line with which a folder is refused."""
    with pytest.raises(ValueError, match=re.escape(str(folder))) as error:
        load_index(folder, "model", mapped=mapped)
    said = str(error.value)
    assert "\n" not in said
    assert len(said) < 2 * len(str(folder)) + 300
    return said


@KINDS
@MAPPED
def test_an_index_comes_back_from_disk(
    folders: dict[Kind, tuple[Path, Path]], kind: Kind, *, mapped: bool
) -> None:
    folder = folders[kind][0]
    index = load_index(folder, "model", mapped=mapped)
    card = read_card(folder)
    assert (card.kind, card.count, card.dimension) == (kind, COUNT - 2, DIMENSION)
    assert (index.kind, index.snapshot.parameters) == (kind, PARAMETERS)
    assert {path.name for path in folder.iterdir()} == {"index.json", *card.files}
    queries = np.random.default_rng(2).normal(size=(4, DIMENSION)).astype(np.float32)
    found = index.search(queries, 5)
    wanted = exact_search(index.ids, index.vectors, queries, 5)
    if kind is Kind.EXACT:
        np.testing.assert_array_equal(found.ids, wanted.ids)
    assert len(index) == COUNT - 2
    assert 3 not in index.ids


def test_an_index_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "index", Kind.EXACT, source="another")
    with pytest.raises(StaleIndexError, match="another model"):
        load_index(folder, "model")


def damages(whole: bytes, other: bytes, draw: random.Random) -> Iterator[tuple[str, bytes | None]]:
    """Yield what may become of a file; None is that it is gone."""
    place = draw.randrange(len(whole))
    for name, at in (("first", 0), ("any", place), ("last", len(whole) - 1)):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << draw.randrange(8)
        yield f"a bit of the {name} byte", bytes(flipped)
    yield "cut", whole[:place]
    yield "cut by one byte", whole[:-1]
    yield "zeros at the end", whole[:place] + bytes(len(whole) - place)
    yield "zeros", bytes(len(whole))
    yield "nothing", b""
    yield "more", whole + b"\0"
    yield "gone", None
    yield "another's", other


def damaged(folder: Path, name: str, other: Path, draw: random.Random) -> Iterator[str]:
    """Yield what was done to a file each time, and mend it in the end."""
    path = folder / name
    whole = path.read_bytes()
    for how, content in damages(whole, (other / name).read_bytes(), draw):
        if content == whole:  # as are zeros where there were zeros, and another's ids
            continue
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        yield how
    path.write_bytes(whole)


@KINDS
@pytest.mark.parametrize("name", FILES)
@MAPPED
def test_any_damage_to_any_file_gives_one_line(
    folders: dict[Kind, tuple[Path, Path]],
    copy: Callable[[Kind], Path],
    kind: Kind,
    name: str,
    *,
    mapped: bool,
) -> None:
    folder, other = copy(kind), folders[kind][1]
    if not (folder / name).exists():
        assert (kind, name) == (Kind.EXACT, "vectors.npy")
        return
    for _ in damaged(folder, name, other, random.Random(f"{kind} {name}")):  # noqa: S311
        refused(folder, mapped=mapped)
    load_index(folder, "model", mapped=mapped)


@pytest.mark.slow
@KINDS
def test_thousands_of_damages_give_one_line(
    folders: dict[Kind, tuple[Path, Path]], copy: Callable[[Kind], Path], kind: Kind
) -> None:
    folder, other, tried = copy(kind), folders[kind][1], 0
    names = [name for name in FILES if (folder / name).exists()]
    for seed in range(60):
        for name in names:
            for _ in damaged(folder, name, other, random.Random(seed)):  # noqa: S311
                refused(folder, mapped=bool(seed % 2))
                tried += 1
    assert tried > 2000


@KINDS
def test_every_bit_of_the_card_counts(copy: Callable[[Kind], Path], kind: Kind) -> None:
    folder = copy(kind)
    whole = (folder / "index.json").read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        (folder / "index.json").write_bytes(changed)
        with pytest.raises(ValueError, match=r"index\.json is "):
            read_card(folder)


def rewrite(folder: Path, **changes: object) -> None:
    """Change a card and write it as if that were right."""
    facts = json.loads((folder / "index.json").read_text())
    del facts["sha256"]
    facts.update(changes)
    for name in facts["files"] if isinstance(facts["files"], dict) else ():
        if (folder / name).is_file():
            facts["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    whole = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    text = json.dumps(facts | {"sha256": whole}, indent=2) + "\n"
    (folder / "index.json").write_text(text)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 1},
        {"version": None},
        {"version": "x" * 100_000},
        {"version": 2},
        {"version": 3},
        {"version": 4.0},
        {"version": 5},
        {"kind": "sq8"},
        {"kind": "flat"},
        {"kind": ["ivf"]},
        {"metric": "euclidean"},
        {"dimension": DIMENSION + 1},
        {"dimension": "5"},
        {"dimension": 10**30},
        {"dimension": -1},
        {"count": COUNT},
        {"count": -1},
        {"count": 38.0},
        {"count": float("nan")},
        {"count": 10**400},
        {"removed": 0},
        {"removed": 3},
        {"parameters": {"nprobe": 0, "ef": 8, "oversampling": 1}},
        {"parameters": {"nprobe": 8, "ef": 10**12, "oversampling": 1}},
        {"parameters": {"nprobe": True, "ef": 8, "oversampling": 1}},
        {"parameters": {"nprobe": 8}},
        {"parameters": {"nprobe": 8, "ef": 8, "oversampling": 1, "more": 1}},
        {"parameters": None},
        {"effort": {"breadth": 8, "oversampling": 1}},
        {"files": {}},
        {"files": None},
        {"files": {"../outside": "0"}},
        {"source": 3},
        {"more": 1},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_a_card_that_says_something_else_is_refused(
    copy: Callable[[Kind], Path], changes: dict[str, object]
) -> None:
    folder = copy(Kind.IVF)
    rewrite(folder)
    load_index(folder, "model")  # the test's own sums are right
    rewrite(folder, **changes)
    refused(folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "3",
        '"x"',
        "[" * 60_000,
        '{"a":' * 10_000,
        "[" * 1_000_000,
        "{}",
        "\ufeff{}",
        '{"version": 3}',
        '{"version": 3, "effort": {"breadth": 8, "oversampling": 1}}',
        '{"version": 4}',
        '{"version": NaN}',
        '{"version": ' + "9" * 60_000 + "}",
        '{"version": 4, "kind": "\\ud800"}',
    ],
    ids=range(16),
)
def test_what_is_no_card_is_refused(copy: Callable[[Kind], Path], text: str) -> None:
    folder = copy(Kind.IVF)
    (folder / "index.json").write_text(text, encoding="utf-8")
    refused(folder)
    (folder / "index.json").write_bytes(text.encode("utf-16"))
    refused(folder)


def test_no_depth_is_too_much(copy: Callable[[Kind], Path]) -> None:
    folder = copy(Kind.IVF)
    for depth in range(100, 2000, 7):
        deep = "[" * depth + "]" * depth
        for text in (f'{{"version": {deep}}}', f'{{"version": 4, "kind": {deep}}}'):
            (folder / "index.json").write_text(text)
            refused(folder)


def as_version_3(folder: Path, **changes: object) -> None:
    """Write an index as the version before did, its card changed or not, with its right sums."""
    facts = json.loads((folder / "index.json").read_text())
    matrix = np.load(folder / "matrix.npy")
    (folder / "matrix.npy").unlink()
    np.save(folder / "scale.npy", np.diag(matrix))
    if facts["kind"] == Kind.IVFPQ:  # which had a code for each component
        transform = Transform(Kind.IVFPQ, matrix, coded=1)
        held = transform.of_vectors(np.load(folder / "vectors.npy"))
        index = empty_index(Kind.IVFPQ, len(held), transform.width, coded=1)
        index.train(held)
        index.add(held)
        FaissBackend(transform, index).write(folder / "index.faiss")
    names = {name.replace("matrix", "scale") for name in facts["files"]}
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    del facts["sha256"]
    facts |= {"version": 3, "files": sums} | changes
    whole = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    (folder / "index.json").write_text(json.dumps(facts | {"sha256": whole}, indent=2) + "\n")


@KINDS
@MAPPED
def test_an_index_of_the_version_before_is_read(
    folders: dict[Kind, tuple[Path, Path]],
    copy: Callable[[Kind], Path],
    kind: Kind,
    *,
    mapped: bool,
) -> None:
    folder = copy(kind)
    as_version_3(folder)
    card, index = read_card(folder), load_index(folder, "model", mapped=mapped)
    assert (card.version, card.kind) == (3, kind)
    wanted = load_index(folders[kind][0], "model")
    queries = np.random.default_rng(2).normal(size=(4, DIMENSION)).astype(np.float32)
    np.testing.assert_array_equal(index.search(queries, 5).ids, wanted.search(queries, 5).ids)
    again = folder.parent / "again"
    again.mkdir()
    save_index(again, index, "model")
    assert read_card(again).version == 4
    reread = load_index(again, "model", mapped=mapped)
    np.testing.assert_array_equal(index.search(queries, 5).ids, reread.search(queries, 5).ids)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 3.0},
        {"version": 4},
        {"version": 2},
        {"parameters": {"nprobe": 0, "ef": 8, "oversampling": 1}},
        {"parameters": {"nprobe": 8.0, "ef": 8, "oversampling": 1}},
        {"parameters": {"nprobe": 8}},
        {"parameters": None},
        {"effort": {"breadth": 8, "oversampling": 1}},
        {"files": {}},
        {"source": 3},
        {"more": 1},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_a_card_of_the_version_before_that_says_something_else_is_refused(
    copy: Callable[[Kind], Path], changes: dict[str, object]
) -> None:
    folder = copy(Kind.IVF)
    as_version_3(folder, **changes)
    refused(folder)


def test_any_bit_of_a_card_of_the_version_before_counts(copy: Callable[[Kind], Path]) -> None:
    folder = copy(Kind.IVF)
    as_version_3(folder)
    whole = (folder / "index.json").read_bytes()
    for place in range(0, len(whole), 3):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        (folder / "index.json").write_bytes(changed)
        with pytest.raises(ValueError, match=r"index\.json is "):
            read_card(folder)


def test_a_card_without_a_version_is_of_another_format(copy: Callable[[Kind], Path]) -> None:
    folder = copy(Kind.IVF)
    facts = json.loads((folder / "index.json").read_text())
    for added in ("version", "sha256", "files"):
        del facts[added]
    (folder / "index.json").write_text(json.dumps(facts, indent=2))
    with pytest.raises(ValueError, match="another format than this program reads, 3 or 4"):
        read_card(folder)


Arrays = dict[str, np.ndarray[Any, Any]]


def crafted() -> dict[str, tuple[str, Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]]]:
    """Return changes to arrays that no sum tells of."""

    def put(place: int, value: float) -> Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
        def change(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            array = array.copy()
            array.flat[place] = value
            return array

        return change

    return {
        "an id twice": ("ids.npy", put(4, 0)),
        "a negative id": ("ids.npy", put(4, -2)),
        "an id less": ("ids.npy", put(4, -1)),
        "fewer ids": ("ids.npy", lambda ids: ids[:-1]),
        "ids of 32 bits": ("ids.npy", lambda ids: ids.astype(np.int32)),
        "a matrix of ids": ("ids.npy", lambda ids: ids[None]),
        "a matrix without inverse": ("matrix.npy", put(0, 0)),
        "a matrix of NaN": ("matrix.npy", put(0, np.nan)),
        "an infinite matrix": ("matrix.npy", put(0, np.inf)),
        "a shorter matrix": ("matrix.npy", lambda matrix: matrix[:-1]),
        "a scale for a matrix": ("matrix.npy", np.diag),
        "a matrix in double precision": ("matrix.npy", lambda matrix: matrix.astype(np.float64)),
        "a vector of NaN": ("vectors.npy", put(7, np.nan)),
        "an infinite vector": ("vectors.npy", put(7, -np.inf)),
        "a vector beyond bounds": ("vectors.npy", put(7, 1e30)),
        "fewer vectors": ("vectors.npy", lambda vectors: vectors[:-1]),
        "narrower vectors": ("vectors.npy", lambda vectors: vectors[:, :-1]),
        "vectors by column": ("vectors.npy", np.asfortranarray),
        "vectors of whole numbers": ("vectors.npy", lambda vectors: vectors.astype(np.int32)),
    }


@pytest.mark.parametrize("how", crafted())
@MAPPED
def test_arrays_that_do_not_fit_are_refused_though_sums_are_right(
    copy: Callable[[Kind], Path], how: str, *, mapped: bool
) -> None:
    folder = copy(Kind.IVF)
    name, change = crafted()[how]
    np.save(folder / name, change(np.load(folder / name)))
    rewrite(folder)
    assert name in refused(folder, mapped=mapped)


def others(kind: Kind) -> dict[str, FaissBackend | faiss.Index]:
    """Return candidates that are not those of an index of the kind."""
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(COUNT, DIMENSION)).astype(np.float32)
    made: dict[str, FaissBackend | faiss.Index] = {
        f"kind {other}": FaissBackend.build(other, vectors) for other in Kind if other is not kind
    }
    made["one more row"] = FaissBackend.build(kind, np.vstack([vectors, vectors[:1]]))
    made["no rows"] = FaissBackend.build(kind, vectors[:0])
    made["one more component"] = FaissBackend.build(kind, np.hstack([vectors, vectors[:, :1]] * 4))
    for metric in (faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT):
        for text in ("Flat", "HNSW16", "IVF4,Flat", "IVF4,SQ8", "SQ4", "IVF4,PQ5x4fs"):
            index = faiss.index_factory(DIMENSION, text, metric)
            index.train(np.resize(vectors, (700, DIMENSION)))
            index.add(vectors)
            made[f"{text} {metric}"] = index
    # These are of the kind, if not made as here.
    for same in {Kind.EXACT: ["Flat 0"], Kind.HNSW: ["HNSW16 0"]}.get(kind, []):
        del made[same]
    return made


@KINDS
def test_another_index_is_refused_though_sums_are_right(
    copy: Callable[[Kind], Path], kind: Kind
) -> None:
    folder = copy(kind)
    for other in others(kind).values():
        if isinstance(other, FaissBackend):
            other.write(folder / "index.faiss")
        else:
            faiss.write_index(other, str(folder / "index.faiss"))
        rewrite(folder)
        for mapped in (False, True):
            refused(folder, mapped=mapped)


@KINDS
def test_what_faiss_cannot_read_is_refused_though_sums_are_right(
    copy: Callable[[Kind], Path], kind: Kind
) -> None:
    folder = copy(kind)
    whole = (folder / "index.faiss").read_bytes()
    # A mapped ivf may lack 7 bytes, which are zeros, for all that FAISS sees; sums see it.
    for content in (b"", b"IxFI", whole[:-8], whole[: len(whole) // 2], bytes(100), b"{}"):
        (folder / "index.faiss").write_bytes(content)
        rewrite(folder)
        for mapped in (False, True):
            refused(folder, mapped=mapped)


def test_a_graph_or_lists_that_lead_nowhere_are_refused(copy: Callable[[Kind], Path]) -> None:
    def write(folder: Path, index: faiss.Index) -> None:
        faiss.write_index(index, str(folder / "index.faiss"))
        rewrite(folder)
        assert "parts do not fit" in refused(folder)

    folder = copy(Kind.HNSW)
    for name, value in (("entry_point", -1), ("max_level", 5), ("max_level", -1)):
        index = faiss.read_index(str(folder / "index.faiss"))
        whole = getattr(index.hnsw, name)
        setattr(index.hnsw, name, value)
        write(folder, index)
        setattr(index.hnsw, name, whole)
        faiss.write_index(index, str(folder / "index.faiss"))
    folder = copy(Kind.IVF)
    for row in (0, COUNT, -1, 2**40):
        index = faiss.read_index(str(folder / "index.faiss"))
        fullest = max(range(index.nlist), key=index.invlists.list_size)
        held = faiss.rev_swig_ptr(index.invlists.get_ids(fullest), 2)
        held[:] = row
        write(folder, index)
    for name, value in (("is_trained", False), ("ntotal", COUNT + 1)):
        index = faiss.read_index(str(copy(Kind.IVF) / "index.faiss"))
        setattr(index, name, value)
        faiss.write_index(index, str(folder / "index.faiss"))
        rewrite(folder)
        refused(folder)


@KINDS
@pytest.mark.parametrize("name", FILES)
def test_no_link_is_followed(copy: Callable[[Kind], Path], kind: Kind, name: str) -> None:
    folder = copy(kind)
    if (folder / name).exists():
        (folder / name).rename(folder.parent / name)
        (folder / name).symlink_to(folder.parent / name)
        assert "no plain file" in refused(folder)
        (folder / name).unlink()
        (folder / name).mkdir()
        assert "no plain file" in refused(folder)


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    assert "does not hold an index" in refused(tmp_path)
    assert "does not hold an index" in refused(tmp_path / "missing")


@KINDS
def test_a_file_that_cannot_be_written_is_an_os_error(kind: Kind, tmp_path: Path) -> None:
    index = Index.build(np.arange(COUNT), np.ones((COUNT, DIMENSION)), kind)
    with pytest.raises(OSError, match="No such file"):
        save_index(tmp_path / "missing", index, "model")
    with pytest.raises(OSError, match="No space left"):
        embedded(index.snapshot.backend).write(Path("/dev/full"))
