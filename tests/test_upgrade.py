import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from small_worlds import everybody_watches, tiny_settings

from index.store import load_index, read_card, save_index
from retrieval.data.frames import MovieData
from retrieval.errors import RunError
from retrieval.options import Preset
from retrieval.pairs.sequence.files import CONTINUATION_FILE, TOWER_FILE
from retrieval.pairs.towers import PAIRS
from retrieval.pipeline.indexing import add_movies
from retrieval.pipeline.settings import preset_settings
from retrieval.pipeline.training import train
from retrieval.pipeline.upgrading import upgrade
from retrieval.run.folder import open_index, open_run
from retrieval.run.manifest import INDEX, model_of, write_sums
from retrieval.run.versions import CURRENT, LOCK, MANIFEST, current, writing
from retrieval.serving.events import Event
from retrieval.serving.recommender import Recommender
from retrieval.serving.users import Person
from retrieval.storage.arrays import replace_array
from retrieval.storage.files import sha256

Facts = dict[str, Any]

# Users who are asked about, and the size of the world.
USERS, MOVIES, EACH = 40, 40, 16


@pytest.fixture(scope="module")
def data() -> MovieData:
    """A world in which everybody has watched as much."""
    return everybody_watches(USERS + 10, MOVIES, EACH)


@pytest.fixture(scope="module")
def run(data: MovieData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all pairs, with its index."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(data, tiny_settings().changed({"sequence.members": "2"}), folder)
    return folder


def read(path: Path) -> Facts:
    facts: Facts = json.loads(path.read_text())
    return facts


def write(path: Path, facts: Facts) -> None:
    path.write_text(json.dumps(facts, indent=2) + "\n")


def turn_back(folder: Path) -> Path:
    """Make a run one of the format before, as it was written then.

    Args:
        folder: Folder of the run.

    Returns:
        Folder of its version.
    """
    version = current(folder)
    index = load_index(version / INDEX, open_run(folder).model, mapped=False)
    rewrite(version / "config.json", read(version / "config.json") | {"version": 16})
    (version / CONTINUATION_FILE).unlink(missing_ok=True)
    for path in version.glob(TOWER_FILE):
        path.unlink()
        path.write_bytes(b"layers that read whole histories")
    save_index(version / INDEX, index, model_of(own_sums(version)))
    reseal(version)
    return version


def rewrite(path: Path, facts: Facts) -> None:
    """Write a file in place of one that other versions may share."""
    path.unlink()
    write(path, facts)


def own_sums(version: Path) -> dict[str, str]:
    """Return the sums of the files of a version but for its index."""
    files = [path for path in version.iterdir() if path.is_file() and path.name != MANIFEST]
    return {path.name: sha256(path) for path in sorted(files)}


def reseal(version: Path) -> None:
    """Make the sums of a version right."""
    write_sums(version, own_sums(version))


@pytest.fixture(scope="module")
def previous(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of all pairs in the format before."""
    folder = tmp_path_factory.mktemp("previous") / "run"
    shutil.copytree(run, folder)
    turn_back(folder)
    return folder


@pytest.fixture
def folder(previous: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(previous, tmp_path / "run"))


@pytest.fixture(scope="module")
def upgraded(previous: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of all pairs, upgraded; nobody writes it."""
    folder = Path(shutil.copytree(previous, tmp_path_factory.mktemp("upgraded") / "run"))
    assert upgrade(folder)
    return folder


@pytest.fixture(scope="module")
def previous_that_rates(data: MovieData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the Bayesian pair alone, which is soon upgraded, in the format before."""
    folder = tmp_path_factory.mktemp("rating") / "run"
    train(data, tiny_settings(["bayesian"]), folder)
    turn_back(folder)
    return folder


@pytest.fixture
def folder_that_rates(previous_that_rates: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(previous_that_rates, tmp_path / "run"))


def answers(folder: Path) -> dict[str, NDArray[Any]]:
    """Ratings and lists of some users of a run, by every ranking, with and without a time."""
    of = Recommender.load(folder)
    users, movies = of.run.users.ids[:USERS], of.run.catalogue.vocabulary.ids
    asked = np.resize(movies, len(users))
    # Somebody else, and a known user without a single rating.
    histories = {10**6: [Event(int(movies[3]), 5.0), Event(int(movies[8]), 2.0)], int(users[0]): []}
    found: dict[str, NDArray[Any]] = {}
    later = np.full(len(users), of.run.histories.timestamps.max() + 3600)
    for name, times in (("untimed", None), ("timed", later)):
        rated = of.rate_many(users, asked, times=times, histories=histories)
        assert rated.deviations is not None
        assert rated.chances is not None
        found |= {
            f"ratings {name}": rated.ratings,
            f"deviations {name}": rated.deviations,
            f"chances {name}": rated.chances,
        }
        for rank_by in of.encoder.rankings:
            listed = of.topk_many(users, 15, times=times, histories=histories, rank_by=rank_by)
            found[f"lists by {rank_by} {name}"] = listed.movie_ids
            found[f"scores by {rank_by} {name}"] = listed.scores
    found["lists in the sitting"] = of.topk_many(users, 15, in_sitting=True).movie_ids
    new = of.topk(Person(history=histories[10**6]), 15)
    found["list of a new user"] = np.array([row.movie.id for row in new])
    explained = of.explain(int(users[1]), int(movies[0]))
    found["effects"] = np.array([row.effect for row in explained.influences])
    return found


def embeddings(version: Path) -> dict[str, NDArray[Any]]:
    """Return the tables from which towers look up."""
    names = [name for pair in PAIRS.values() for name in pair.tables.values()]
    return {name: np.load(version / name) for name in names if (version / name).exists()}


def assert_same(found: dict[str, NDArray[Any]], expected: dict[str, NDArray[Any]]) -> None:
    """Assert that arrays are the same to the last bit."""
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.fixture(scope="module")
def expected(run: Path) -> dict[str, NDArray[Any]]:
    """What the run answers before it is turned back."""
    return answers(run)


def whole(folder: Path) -> dict[str, str]:
    """Return the sum of every file of a run by its name."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != LOCK]
    return {str(path.relative_to(folder)): sha256(path) for path in paths}


def test_a_run_of_the_format_before_is_told_how_to_upgrade(folder: Path) -> None:
    with pytest.raises(RunError, match=rf"format 16, the one before; .*upgrade --run {folder}"):
        open_run(folder)


def test_an_upgraded_run_answers_the_same_to_the_last_bit(
    previous: Path, upgraded: Path, expected: dict[str, NDArray[Any]]
) -> None:
    assert current(upgraded).name != current(previous).name
    assert [path.name for path in upgraded.glob("v*")] == [current(upgraded).name]
    assert_same(answers(upgraded), expected)


def test_an_upgraded_run_holds_the_files_and_facts_of_one_that_was_trained(
    run: Path, upgraded: Path
) -> None:
    old, fresh = current(run), current(upgraded)
    there = [{path.name for path in version.iterdir()} for version in (old, fresh)]
    assert there[0] == there[1]
    assert CONTINUATION_FILE in there[0]
    for name in sorted(there[0] - {INDEX, MANIFEST, "config.json"}):
        assert (fresh / name).read_bytes() == (old / name).read_bytes(), name
    assert open_run(upgraded).config == open_run(run).config


def test_movies_are_added_to_an_upgraded_run_as_to_any(
    run: Path, upgraded: Path, data: MovieData, tmp_path: Path
) -> None:
    more = data.movies.head(3).assign(movie_id=[9001, 9002, 9003])
    added = []
    for name, folder in (("trained", run), ("upgraded", upgraded)):
        each = Path(shutil.copytree(folder, tmp_path / name))
        assert add_movies(each, more) == 3
        added.append(open_run(each).added)
    np.testing.assert_array_equal(added[0], added[1])


def test_movies_that_were_added_before_stay(run: Path, data: MovieData, tmp_path: Path) -> None:
    with_more = tmp_path / "run"
    shutil.copytree(run, with_more)
    add_movies(with_more, data.movies.head(1).assign(movie_id=9001))
    before, tables = answers(with_more), embeddings(current(with_more))
    turn_back(with_more)
    upgrade(with_more)
    assert 9001 in open_run(with_more).catalogue.vocabulary.ids
    assert_same(answers(with_more), before)
    assert_same(embeddings(current(with_more)), tables)  # so that histories may hold it


def test_the_index_is_carried_over_and_not_built_again(folder_that_rates: Path) -> None:
    folder = folder_that_rates
    version = current(folder)
    source = read_card(version / INDEX).source
    index = load_index(version / INDEX, source, mapped=False)
    nudged = np.full((1, index.dimension), 0.125, np.float32)
    index.put(index.ids[:1].copy(), nudged)  # what no building would make
    save_index(version / INDEX, index, source)
    reseal(version)
    upgrade(folder)
    run = open_run(folder)
    carried = open_index(run)
    np.testing.assert_array_equal(carried.ids, index.ids)
    np.testing.assert_array_equal(carried.vectors, index.vectors)
    assert (carried.vectors == nudged).all(axis=1).sum() == 1
    assert read_card(run.folder / INDEX).source == run.model


def without_index(version: Path) -> None:
    shutil.rmtree(version / INDEX)


def of_another_model(version: Path) -> None:
    index = load_index(version / INDEX, read_card(version / INDEX).source, mapped=False)
    save_index(version / INDEX, index, "another model")


def damaged(version: Path) -> None:
    (version / INDEX / "ids.npy").write_bytes(b"nothing")


@pytest.mark.parametrize("lose", [without_index, of_another_model, damaged])
def test_without_an_index_of_its_own_a_run_is_upgraded_and_has_none(
    folder_that_rates: Path, lose: Callable[[Path], None]
) -> None:
    folder = folder_that_rates
    lose(current(folder))
    reseal(current(folder))
    assert upgrade(folder)
    with pytest.raises(RunError, match=r"no index yet; build it with rec build-index"):
        open_index(open_run(folder))


def test_there_is_nothing_to_do_twice(upgraded: Path) -> None:
    once = whole(upgraded)
    assert not upgrade(upgraded)
    assert whole(upgraded) == once


def test_a_run_of_this_format_is_left_as_it_is(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    assert not upgrade(tmp_path / "run")
    assert whole(tmp_path / "run") == whole(run)


def test_a_run_that_does_not_rank_is_upgraded_too(data: MovieData, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(data, tiny_settings(["bayesian"]), folder)
    before = answers(folder)
    turn_back(folder)
    assert upgrade(folder)
    assert open_run(folder).config.ranking is None
    assert_same(answers(folder), before)


def test_a_run_of_the_notebook_pair_is_upgraded_too(data: MovieData, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(data, preset_settings(Preset.NOTEBOOK).changed({"notebook.epochs": "1"}), folder)
    listed = Recommender.load(folder).topk(1, 5)
    turn_back(folder)
    assert upgrade(folder)
    assert Recommender.load(folder).topk(1, 5) == listed
    assert len(listed) == 5


def cut(name: str) -> Callable[[Path], None]:
    """Return what halves a file of a version, whose sum is as it was."""

    def done(version: Path) -> None:
        content = (version / name).read_bytes()
        (version / name).write_bytes(content[: len(content) // 2])

    return done


def lost(name: str) -> Callable[[Path], None]:
    """Return what removes a file of a version."""

    def done(version: Path) -> None:
        (version / name).unlink()

    return done


def sealed(change: Callable[[Path], None]) -> Callable[[Path], None]:
    """Return what changes a version and makes the sums right."""

    def done(version: Path) -> None:
        change(version)
        reseal(version)

    return done


def said(name: str, change: Callable[[Facts], object]) -> Callable[[Path], None]:
    """Return what changes the facts in a file of a version, with right sums."""

    def done(version: Path) -> None:
        facts = read(version / name)
        change(facts)
        write(version / name, facts)

    return sealed(done)


def content(name: str, text: bytes) -> Callable[[Path], None]:
    """Return what writes a file of a version, with right sums."""

    def done(version: Path) -> None:
        (version / name).write_bytes(text)

    return sealed(done)


def array(name: str, value: int) -> Callable[[Path], None]:
    """Return what writes another first number into an array of a version, with right sums."""

    def done(version: Path) -> None:
        numbers = np.load(version / name)
        numbers.flat[0] = value
        replace_array(version / name, numbers)

    return sealed(done)


def listed(name: str) -> Callable[[Path], None]:
    """Return what lists a file in a manifest that is none of the version."""

    def done(version: Path) -> None:
        sums = read(version / MANIFEST)
        write(version / MANIFEST, sums | {name: sums["users.npy"]})

    return done


def linked(version: Path) -> None:
    (version / "users.npy").rename(version.parent.parent / "users.npy")
    (version / "users.npy").symlink_to(version.parent.parent / "users.npy")


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (cut("users.npy"), r"users\.npy is not what was written"),
        (cut("config.json"), r"config\.json cannot be read"),
        (cut("sequence.json"), r"sequence\.json is not what was written"),
        (cut(MANIFEST), r"MANIFEST\.json cannot be read"),
        (lost("neural.safetensors"), r"neural\.safetensors is missing"),
        (lost(MANIFEST), r"MANIFEST\.json cannot be read"),
        (listed("../users.npy"), r"lists '\.\./users\.npy', no file of a run"),
        (listed("/etc/hostname"), "lists '/etc/hostname', no file of a run"),
        (linked, r"lists 'users\.npy', no file of a run"),
        (said("config.json", lambda of: of.update(version=11)), "of format 11; train again"),
        (said("config.json", lambda of: of.update(version=18)), "of format 18; train again"),
        (said("config.json", lambda of: of.update(version="x" * 999)), "of format x{40}; train"),
        (said("config.json", lambda of: of.pop("version")), "cannot be read"),
        (said("config.json", lambda of: of.pop("ranking")), r"config\.json"),
        (said("config.json", lambda of: of.pop("parts")), "cannot be read"),
        (said("config.json", lambda of: of["ranking"].pop("rating_weight")), r"config\.json"),
        (said("config.json", lambda of: of["blend"].pop("origins")), r"config\.json"),
        (said("config.json", lambda of: of["link"].update(values="many")), r"config\.json"),
        (content("config.json", b"["), r"config\.json cannot be read"),
        (content("sequence.safetensors", b"nothing"), r"sequence\.safetensors cannot be read"),
        (content("trained_users.npy", b"nothing"), "cannot be read"),
        (array("history_movies.npy", 10**6), "its histories"),
        (array("user_codes.npy", 10**6), "nothing it has names for"),
        (
            said("config.json", lambda of: of["settings"]["sequence"].update(history_length=0)),
            "read",
        ),
        (sealed(lost("history_movies.npy")), r"history_movies\.npy"),
    ],
)
def test_what_cannot_be_upgraded_is_refused_on_one_line_and_left_as_it_is(
    folder: Path, spoil: Callable[[Path], None], complaint: str
) -> None:
    spoil(current(folder))
    before = whole(folder)
    with pytest.raises(RunError, match=complaint) as refused:
        upgrade(folder)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 1000
    assert whole(folder) == before
    assert (folder / CURRENT).read_text().strip() in {path.name for path in folder.iterdir()}


def test_what_is_no_run_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no run"):
        upgrade(tmp_path / "nothing")
    with pytest.raises(RunError, match="is not a run"):
        upgrade(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_somebody_writes_is_not_upgraded(folder_that_rates: Path) -> None:
    folder = folder_that_rates
    with writing(folder), pytest.raises(RunError, match="being written by another process"):
        upgrade(folder)
    assert upgrade(folder)
