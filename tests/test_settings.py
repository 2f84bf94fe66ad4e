import json
import platform
from importlib.metadata import version
from pathlib import Path

import pytest
from small_worlds import everybody_rates, small_world, tiny_settings

from retrieval.errors import RequestError
from retrieval.options import Preset
from retrieval.pairs.sequence.settings import NegativeSource
from retrieval.pairs.towers import PAIRS
from retrieval.pipeline.settings import (
    Settings,
    checked_pairs,
    preset_settings,
    read_config_file,
    settings_of,
)
from retrieval.pipeline.training import PACKAGES, request, train
from retrieval.run.folder import open_run

QUICK = preset_settings(Preset.QUICK)


def value(settings: Settings, name: str) -> object:
    """The value of a setting such as "sequence.epochs"."""
    return {row.name: row.value for row in settings.rows()}[name]


@pytest.mark.parametrize("preset", Preset)
def test_every_preset_is_valid_and_fits_into_a_file(preset: Preset) -> None:
    settings = preset_settings(preset)
    assert settings_of(preset.value) == settings
    assert settings.preset is preset
    for pair in settings.pairs:
        model = type(settings.of[pair])
        saved = json.loads(json.dumps(settings.saved()))[pair]
        assert model.model_validate(saved) == settings.of[pair]


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair != "notebook"])
def test_every_pair_has_settings_in_every_preset_that_goes_with_it(pair: str) -> None:
    for preset in (Preset.QUICK, Preset.DEFAULT, Preset.BEST):
        assert list(preset_settings(preset, [pair]).of) == [pair]


def test_presets_are_what_they_are_named_for() -> None:
    quick, default, best = (
        preset_settings(preset) for preset in (Preset.QUICK, Preset.DEFAULT, Preset.BEST)
    )
    for pair, name in (("sequence", "epochs"), ("bayesian", "draws"), ("bayesian", "dimension")):
        sizes = [settings.saved()[pair][name] for settings in (quick, default, best)]
        assert sizes == sorted(sizes)
        assert sizes[0] < sizes[2]
    assert quick.pairs == default.pairs == best.pairs == ("neural", "bayesian", "sequence")


def test_pairs_come_once_and_in_the_order_in_which_vectors_are_joined() -> None:
    assert checked_pairs(["sequence", "neural", "sequence"]) == ("neural", "sequence")
    assert preset_settings(Preset.QUICK, ["sequence", "neural"]).pairs == ("neural", "sequence")
    assert Settings(preset=Preset.QUICK, pairs=("bayesian", "neural"), of=QUICK.of).pairs == (
        "neural",
        "bayesian",
    )


def test_the_preset_notebook_is_one_pair() -> None:
    assert preset_settings(Preset.NOTEBOOK).pairs == ("notebook",)
    assert preset_settings(Preset.NOTEBOOK, ["notebook"]).pairs == ("notebook",)
    for pairs in (["bayesian"], ["notebook", "bayesian"]):
        with pytest.raises(RequestError, match="preset notebook is one pair: leave out --towers"):
            preset_settings(Preset.NOTEBOOK, pairs)


def test_what_is_named_later_wins() -> None:
    file = {"sequence.epochs": 11, "sequence.patience": 3}
    settings = QUICK.changed(file).changed({"sequence.epochs": "12"})
    assert value(QUICK, "sequence.epochs") == 8  # of the preset
    assert value(settings, "sequence.patience") == 3  # of the file
    assert value(settings, "sequence.epochs") == 12  # of the single change
    assert value(settings, "sequence.dropout") == 0.15  # of the preset
    assert value(settings, "sequence.blocks") == 2  # the default
    assert settings.of["neural"] == QUICK.of["neural"]


def test_changes_leave_the_settings_that_they_are_made_to_as_they_are() -> None:
    before = QUICK.saved()
    QUICK.changed({"sequence.epochs": 99})
    assert QUICK.saved() == before


@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        ("sequence.epochs", "40", 40),
        ("sequence.dropout", "0.1", 0.1),
        ("sequence.learning_rate", "1e-3", 0.001),
        ("sequence.negatives", "in-batch", NegativeSource.IN_BATCH),
        ("sequence.batch_tokens", "4096", 4096),
        ("neural.batch_size", "512", 512),
        ("bayesian.tolerance", "0", 0.0),
    ],
)
def test_text_is_read_as_what_the_setting_is(name: str, text: str, read: object) -> None:
    found = value(QUICK.changed({name: text}), name)
    assert found == read
    assert type(found) is type(read)


def test_empty_text_is_no_value() -> None:
    chosen = QUICK.changed({"sequence.batch_tokens": 64})
    assert value(chosen, "sequence.batch_tokens") == 64
    assert value(chosen.changed({"sequence.batch_tokens": ""}), "sequence.batch_tokens") is None
    with pytest.raises(RequestError, match=r"setting sequence\.epochs cannot be ''"):
        QUICK.changed({"sequence.epochs": ""})


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("sequence.epoch", "sequence.epochs"),
        ("sequnce.epochs", "sequence.epochs"),
        ("bayesian.drawn", "bayesian.draws"),
        ("neural.hiden", "neural.hidden"),
    ],
)
def test_an_unknown_setting_is_told_the_nearest_one(name: str, nearest: str) -> None:
    with pytest.raises(RequestError) as refused:
        QUICK.changed({name: 1})
    message = str(refused.value)
    assert f"unknown setting '{name}'; did you mean {nearest}?" in message


def test_a_setting_like_no_other_is_told_what_there_is() -> None:
    with pytest.raises(RequestError, match=r"unknown setting 'zzz\.qqq'; there are: neural\."):
        QUICK.changed({"zzz.qqq": 1})


def test_a_setting_of_a_pair_that_is_not_trained_is_refused_with_the_remedy() -> None:
    with pytest.raises(RequestError, match=r"'notebook\.epochs' is of a pair that is not trained"):
        QUICK.changed({"notebook.epochs": 2})
    alone = preset_settings(Preset.QUICK, ["bayesian"])
    with pytest.raises(RequestError, match="add sequence to --towers, or leave the setting out"):
        alone.changed({"sequence.epochs": 2})


def test_unknown_pairs_and_presets_are_told_the_nearest_one() -> None:
    with pytest.raises(RequestError, match=r"'bayesan'; did you mean bayesian\?"):
        preset_settings(Preset.QUICK, ["neural", "bayesan"])
    with pytest.raises(RequestError, match=r"there are: neural, notebook, bayesian, sequence"):
        checked_pairs(["zzz"])
    with pytest.raises(RequestError, match=r"unknown preset 'defalt'; did you mean default\?"):
        settings_of("defalt")
    with pytest.raises(RequestError, match="here are: quick, default, best, notebook"):
        settings_of("zzz")


@pytest.mark.parametrize(
    ("name", "impossible"),
    [
        ("sequence.epochs", "0"),
        ("sequence.epochs", "many"),
        ("sequence.epochs", "1.5"),
        ("sequence.dropout", "1"),
        ("sequence.dropout", "nan"),
        ("sequence.heads", "3"),  # does not divide the dimension
        ("neural.heads", 5),
        ("sequence.temperature", 0),
        ("sequence.negatives", "unpopular"),
        ("sequence.history_length", 10**9),
        ("sequence.epochs", True),
        ("sequence.dropout", False),
        ("bayesian.dimension", -1),
        ("bayesian.draws", [1]),
        ("bayesian.draws", {"a": 1}),
    ],
)
def test_impossible_values_are_refused_on_one_line(name: str, impossible: object) -> None:
    with pytest.raises(RequestError, match=rf"setting {name} cannot be '") as refused:
        QUICK.changed({name: impossible})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", [row.name for row in QUICK.rows()])
@pytest.mark.parametrize("endless", ["inf", "nan", float("inf")])
def test_no_setting_is_endless(name: str, endless: object) -> None:
    with pytest.raises(RequestError, match=rf"setting {name} cannot be '"):
        QUICK.changed({name: endless})


def test_what_a_terminal_should_not_be_given_is_escaped() -> None:
    with pytest.raises(RequestError) as refused:
        QUICK.changed({"sequence.epochs\x1b[31m": 1})
    assert "\x1b" not in str(refused.value)
    assert r"\x1b" in str(refused.value)


def test_a_file_of_tables_is_read(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(
        'preset = "best"\npairs = ["bayesian", "sequence"]\n"bayesian.draws" = 7\n'
        '[sequence]\nepochs = 40\nnegatives = "in-batch"\ndropout = 0.1\n'
    )
    found = read_config_file(path)
    assert found == {
        "preset": "best",
        "pairs": ["bayesian", "sequence"],
        "bayesian.draws": 7,
        "sequence.epochs": 40,
        "sequence.negatives": "in-batch",
        "sequence.dropout": 0.1,
    }
    del found["preset"], found["pairs"]
    settings = preset_settings(Preset.BEST, ["bayesian", "sequence"]).changed(found)
    assert value(settings, "sequence.negatives") is NegativeSource.IN_BATCH
    assert value(settings, "bayesian.draws") == 7


@pytest.mark.parametrize(
    "content", [b"[sequence\nepochs = 40\n", b"epochs", b'a = "\xff"', b"[a]\n[a]\n"]
)
def test_a_broken_file_is_named_on_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(content)
    with pytest.raises(RequestError, match=r"settings\.toml cannot be read as TOML") as refused:
        read_config_file(path)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"none\.toml cannot be read"):
        read_config_file(tmp_path / "none.toml")
    with pytest.raises(RequestError, match="cannot be read"):
        read_config_file(tmp_path)


def test_tables_within_tables_are_no_settings(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("[sequence.epochs]\nfirst = 1\n")
    with pytest.raises(RequestError, match=r"sequence\.epochs cannot be"):
        QUICK.changed(read_config_file(path))


@pytest.mark.parametrize("preset", Preset)
def test_every_setting_is_described(preset: Preset) -> None:
    settings = preset_settings(preset)
    rows = settings.rows()
    fields = [
        f"{pair}.{name}" for pair in settings.pairs for name in type(settings.of[pair]).model_fields
    ]
    assert [row.name for row in rows] == fields
    assert all(row.meaning for row in rows)


def test_a_run_keeps_its_settings_and_the_versions_that_trained_it(tmp_path: Path) -> None:
    settings = tiny_settings(["bayesian"]).changed({"bayesian.draws": "4"})
    train(small_world(everybody_rates(12, 10)), settings, tmp_path / "run", index=False)
    config = open_run(tmp_path / "run").config
    assert config.preset == Preset.QUICK
    assert config.settings == settings.saved()
    assert config.settings["bayesian"]["draws"] == 4
    assert config.packages["python"] == platform.python_version()
    assert {name: config.packages[name] for name in PACKAGES} == {
        name: version(name) for name in PACKAGES
    }


def test_a_training_with_other_settings_is_another_one() -> None:
    same = request("data", preset_settings(Preset.QUICK), 0)
    assert json.loads(json.dumps(same)) == json.loads(json.dumps(request("data", QUICK, 0)))
    others = [
        request("other", QUICK, 0),
        request("data", QUICK, 1),
        request("data", QUICK.changed({"sequence.epochs": 9}), 0),
        request("data", preset_settings(Preset.QUICK, ["bayesian"]), 0),
    ]
    assert same not in others
