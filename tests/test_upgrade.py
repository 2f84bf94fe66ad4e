import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from index.store import load_index, read_card, save_index
from retrieval.data.frames import MovieData
from retrieval.errors import RunError
from retrieval.pairs.notebook.settings import Activation, NotebookSettings
from retrieval.pipeline.indexing import add_movies
from retrieval.run.folder import open_index, open_run
from retrieval.run.manifest import INDEX, INDEX_CARD, model_of
from retrieval.run.upgrade import upgrade
from retrieval.run.versions import CURRENT, LOCK, MANIFEST, current, writing
from retrieval.serving.events import Event
from retrieval.serving.recommender import Recommender
from retrieval.serving.users import Person
from retrieval.storage.arrays import save_arrays
from retrieval.storage.files import sha256

Facts = dict[str, Any]

# What the format before called things otherwise: names that it had, by names that there are.
ARRAYS = {"class_latents": "level_latents", "session_law": "mood_law"}
COLUMNS = {"classes": "levels", "codes": "people", "time_gaps": "waits", "relative_times": "lags"}
SETTINGS = {
    "neural": {
        "cold_start_weight": "strangers",
        "unrated_share": "unknown_movies",
        "norm_penalty": "penalty",
    },
    "sequence": {"unrated_share": "unknown_movies"},
}

# Settings that the cards of the format before held.
SHAPES = {
    "neural": (
        "dimension",
        "hidden",
        "heads",
        "history_length",
        "dropout",
        "cold_start_weight",
        "unrated_share",
        "norm_penalty",
    ),
    "sequence": (
        "dimension",
        "blocks",
        "heads",
        "hidden",
        "history_length",
        "dropout",
        "temperature",
        "unrated_share",
    ),
}

# Users who are asked about.
USERS = 40


def read(path: Path) -> Facts:
    facts: Facts = json.loads(path.read_text())
    return facts


def write(path: Path, facts: Facts) -> None:
    path.write_text(json.dumps(facts, indent=2) + "\n")


def turn_back(folder: Path) -> Path:
    """Make a run of all pairs one of the format before, as it was written then.

    Args:
        folder: Folder of the run.

    Returns:
        Folder of its version.
    """
    version = current(folder)
    index = load_index(version / INDEX, open_run(folder).model, mapped=False)
    config = read(version / "config.json")
    neural, sequence = (
        _card(config, pair, read(version / f"{pair}.json")) for pair in ("neural", "sequence")
    )
    for name in ("neural.json", "sequence.json", "config.json"):
        (version / name).unlink()
    write(version / "towers.json", {"pair": "neural"} | neural)
    write(
        version / "sequence.json", {"pairs": config["settings"]["sequence"]["members"]} | sequence
    )
    write(version / "config.json", _config(config))
    (version / "neural_tower.onnx").rename(version / "user_tower.onnx")
    (version / "session_effects.npy").rename(version / "history_moods.npy")
    (version / "neural.safetensors").rename(version / "weights.safetensors")
    _rename(version / "weights.safetensors", {"event_classes": "event_levels"})
    _rename(version / "bayesian.safetensors", ARRAYS)
    _rename(version / "sequence.safetensors", {".classes.": ".levels.", ".time_gaps.": ".waits."})
    model = onnx.load(version / "sequence_tower.onnx")
    for column in model.graph.input:
        column.name = COLUMNS.get(column.name, column.name)
    for node in model.graph.node:
        node.input[:] = [COLUMNS.get(name, name) for name in node.input]
    onnx.save(model, version / "sequence_tower.onnx")
    seal_as_before(version)
    save_index(version / INDEX, index, model_of(_own(version)))
    seal_as_before(version)
    return version


def _card(config: Facts, pair: str, facts: Facts) -> Facts:
    names = SETTINGS[pair]
    known = {name: config["settings"][pair][name] for name in SHAPES[pair]}
    sizes = {("levels" if name == "classes" else name): n for name, n in facts["sizes"].items()}
    return {"settings": {names.get(name, name): of for name, of in known.items()}, "sizes": sizes}


def _config(config: Facts) -> Facts:
    widths, biases = [], []
    for part in config["parts"]:
        rates = part["roles"] == ["rates"]
        widths.append(part["width"] + rates)
        biases += [sum(widths) - 2, sum(widths) - 1] if rates else []
    blend, of = config["blend"], config["settings"]
    names = ("noise", "preset", "seed", "data", "created", "training_seconds", "scale", "centre")
    kept = ("weights", "halfway", "unrated_factors", "unrated_offset_factors", "unrated_shift")
    return {
        "version": 11,
        "towers": [part["name"] for part in config["parts"]],
        "blend": {name: blend[name] for name in kept}
        | {
            "newcomer_weights": blend["new_user_weights"],
            "newcomer_offset": blend["new_user_offset"],
            "origin": blend["origins"][0],
        },
        "ranking": config["ranking"]
        | {
            "temperature": config["parts"][-1]["temperature"],
            "history_length": of["sequence"]["history_length"],
        },
        "link": {"stars": config["link"]["values"], "thresholds": config["link"]["thresholds"]},
        **{name: config[name] for name in (*names, "demographics", "threads")},
        "history_length": of["neural"]["history_length"],
        "widths": widths,
        "biases": biases,
    }


def _rename(path: Path, names: dict[str, str]) -> None:
    arrays = load_file(path)
    for part, other in names.items():
        assert any(part in name for name in arrays)
        arrays = {name.replace(part, other): array for name, array in arrays.items()}
    path.unlink()
    save_arrays(path, arrays)


def _own(version: Path) -> dict[str, str]:
    files = [path for path in version.iterdir() if path.is_file() and path.name != MANIFEST]
    return {path.name: sha256(path) for path in sorted(files)}


def seal_as_before(version: Path) -> None:
    """Write the manifest as the format before had it: a sum a name, and nothing else."""
    sums = _own(version)
    if (version / INDEX_CARD).is_file():
        sums[INDEX_CARD] = sha256(version / INDEX_CARD)
    write(version / MANIFEST, sums)


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
    shutil.copytree(previous, tmp_path / "run")
    return tmp_path / "run"


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
    new = of.topk(Person(history=histories[10**6]), 15)
    found["list of a new user"] = np.array([row.movie.id for row in new])
    explained = of.explain(int(users[1]), int(movies[0]))
    found["effects"] = np.array([row.effect for row in explained.influences])
    return found


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
    with pytest.raises(RunError, match=rf"format 11, the one before; .*upgrade --run {folder}"):
        open_run(folder)


def test_an_upgraded_run_answers_the_same_to_the_last_bit(
    folder: Path, expected: dict[str, NDArray[Any]]
) -> None:
    before = current(folder)
    assert upgrade(folder)
    assert current(folder) != before
    assert [path.name for path in folder.glob("v*")] == [current(folder).name]
    assert_same(answers(folder), expected)


def test_an_upgraded_run_holds_the_files_and_facts_of_one_that_was_trained(
    run: Path, folder: Path
) -> None:
    upgrade(folder)
    old, fresh = current(run), current(folder)
    there = [{path.name for path in version.iterdir()} for version in (old, fresh)]
    assert there[0] == there[1]
    for name in ("neural.json", "sequence.json", "metrics.json", "movies.json", "README.md"):
        assert (fresh / name).read_text() == (old / name).read_text()
    for name in ("neural.safetensors", "bayesian.safetensors", "sequence.safetensors"):
        assert_same(load_file(fresh / name), load_file(old / name))
    config, trained = open_run(folder).config, open_run(run).config
    for fact in ("parts", "blend", "ranking", "link", "noise", "scale", "centre", "demographics"):
        assert getattr(config, fact) == getattr(trained, fact)
    for fact in ("preset", "seed", "data", "created", "training_seconds", "threads"):
        assert getattr(config, fact) == getattr(trained, fact)
    assert config.packages == {}  # nobody wrote them down
    # Of what nobody wrote down, the settings are those of the preset.
    assert config.settings == trained.settings


def test_movies_are_added_to_an_upgraded_run_as_to_any(
    run: Path, folder: Path, data: MovieData, tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "other")
    upgrade(folder)
    more = data.movies.head(3).assign(movie_id=[9001, 9002, 9003])
    added = []
    for each in (folder, tmp_path / "other"):
        assert add_movies(each, more) == 3
        added.append(open_run(each).added)
    np.testing.assert_array_equal(added[0], added[1])


def test_movies_that_were_added_before_stay(run: Path, data: MovieData, tmp_path: Path) -> None:
    with_more = tmp_path / "run"
    shutil.copytree(run, with_more)
    add_movies(with_more, data.movies.head(1).assign(movie_id=9001))
    before = answers(with_more)
    turn_back(with_more)
    upgrade(with_more)
    assert 9001 in open_run(with_more).catalogue.vocabulary.ids
    assert_same(answers(with_more), before)


def test_the_index_is_carried_over_and_not_built_again(folder: Path) -> None:
    version = current(folder)
    source = read_card(version / INDEX).source
    index = load_index(version / INDEX, source, mapped=False)
    nudged = np.full((1, index.dimension), 0.125, np.float32)
    index.put(index.ids[:1].copy(), nudged)  # what no building would make
    save_index(version / INDEX, index, source)
    seal_as_before(version)
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


@pytest.mark.parametrize("lose", [without_index, of_another_model])
def test_without_an_index_of_its_own_a_run_is_upgraded_and_has_none(
    folder: Path, lose: Callable[[Path], None]
) -> None:
    lose(current(folder))
    seal_as_before(current(folder))
    assert upgrade(folder)
    with pytest.raises(RunError, match=r"no index yet; build it with rec build-index"):
        open_index(open_run(folder))


def test_there_is_nothing_to_do_twice(folder: Path) -> None:
    assert upgrade(folder)
    once = whole(folder)
    assert not upgrade(folder)
    assert whole(folder) == once


def test_a_run_of_this_format_is_left_as_it_is(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    assert not upgrade(tmp_path / "run")
    assert whole(tmp_path / "run") == whole(run)


def test_a_run_of_the_preset_notebook_keeps_its_pair(
    folder: Path, expected: dict[str, NDArray[Any]]
) -> None:
    version = current(folder)
    card = read(version / "towers.json")
    # A notebook's user tower is a file of the same columns, so that of the neural pair serves.
    card |= {"pair": "notebook"}
    card["settings"] = {"layers": 1, "activation": "tanh", "history_length": 20}
    assert card["settings"]["history_length"] == read(version / "config.json")["history_length"]
    write(version / "towers.json", card)
    index = load_index(version / INDEX, read_card(version / INDEX).source, mapped=False)
    save_index(version / INDEX, index, model_of(_own(version)))
    seal_as_before(version)
    upgrade(folder)
    config = open_run(folder).config
    assert config.layout.names == ("notebook", "bayesian", "sequence")
    notebook = NotebookSettings(layers=1, activation=Activation.TANH, history_length=20)
    assert config.settings["notebook"] == notebook.model_dump(mode="json")
    assert "neural" not in config.settings
    names = {path.name for path in current(folder).iterdir()}
    assert {"notebook_tower.onnx", "notebook.safetensors", "notebook.json"} <= names
    assert not {name for name in names if name.startswith("neural")}
    assert_same(answers(folder), expected)


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
        seal_as_before(version)

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
        (cut("towers.json"), r"towers\.json is not what was written"),
        (cut("index/index.json"), r"index\.json is not what was written"),
        (cut(MANIFEST), r"MANIFEST\.json cannot be read"),
        (lost("user_tower.onnx"), r"user_tower\.onnx"),
        (lost(MANIFEST), r"MANIFEST\.json cannot be read"),
        (listed("../users.npy"), "is not what was written"),
        (listed("/etc/hostname"), "is not what was written"),
        (linked, r"users\.npy is not what was written"),
        (said("config.json", lambda of: of.update(version=10)), "of format 10; train again"),
        (said("config.json", lambda of: of.update(version=13)), "of format 13; train again"),
        (said("config.json", lambda of: of.update(version="x" * 999)), "of format x{40}; train"),
        (said("config.json", lambda of: of.pop("version")), "cannot be read"),
        (said("config.json", lambda of: of.pop("towers")), "cannot be read"),
        (said("config.json", lambda of: of.update(preset="fast")), "'fast' is not a valid Preset"),
        (said("config.json", lambda of: of["blend"].pop("origin")), "cannot be read"),
        (said("config.json", lambda of: of["link"].update(stars="many")), r"config\.json"),
        (said("config.json", lambda of: of.update(widths=[66, 66])), "cannot be read"),
        (said("towers.json", lambda of: of.pop("pair")), "cannot be read"),
        (said("towers.json", lambda of: of["settings"].update(heads=7)), "cannot be read"),
        (said("towers.json", lambda of: of["settings"].update(wings=2)), "cannot be read"),
        (said("sequence.json", lambda of: of.pop("pairs")), "cannot be read"),
        (content("config.json", b"["), r"config\.json cannot be read"),
        (content("bayesian.safetensors", b"nothing"), "cannot be read"),
        (content("sequence_tower.onnx", b"nothing"), "cannot be read"),
        (sealed(lost("weights.safetensors")), r"weights\.safetensors"),
        (sealed(lost("history_moods.npy")), r"history_moods\.npy"),
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


def test_a_run_that_somebody_writes_is_not_upgraded(folder: Path) -> None:
    with writing(folder), pytest.raises(RunError, match="being written by another process"):
        upgrade(folder)
    assert upgrade(folder)
