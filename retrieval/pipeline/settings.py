"""Settings of a training: one frozen model a pair, from a preset, a file and single changes.

What is named later wins: defaults, then the preset, then the file, then single changes.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, SerializeAsAny, ValidationError, field_validator

from retrieval.data.section import SECTION
from retrieval.errors import RequestError, shown, unknown
from retrieval.options import Preset
from retrieval.pairs.table import TOWER_PAIRS
from retrieval.pairs.towers import PAIRS


class Settings(BaseModel):
    """What is trained, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Preset  # that the settings began from
    pairs: tuple[str, ...]  # in the order in which their vectors are joined
    of: Mapping[str, SerializeAsAny[BaseModel]]  # settings of each pair, by its name

    @field_validator("pairs")
    @classmethod
    def _known(cls, pairs: tuple[str, ...]) -> tuple[str, ...]:
        return checked_pairs(pairs)

    def changed(self, changes: Mapping[str, object]) -> "Settings":
        """Return the settings with changes.

        Args:
            changes: Values by names such as "sequence.epochs"; text is read as what the setting is,
                and empty text as no value.

        Raises:
            RequestError: A setting is unknown, of a pair that is not trained, or impossible.
        """
        of = dict(self.of)
        for name, value in changes.items():
            pair, _, field = name.partition(".")
            if pair not in of or field not in type(of[pair]).model_fields:
                raise _unknown_setting(name, self)
            of[pair] = _with(of[pair], name, field, value)
        return self.model_copy(update={"of": of})

    def of_pairs(self, pairs: Sequence[str]) -> "Settings":
        """Return the settings of some of the pairs alone."""
        return self.model_copy(
            update={"pairs": tuple(pairs), "of": {pair: self.of[pair] for pair in pairs}}
        )

    def rows(self) -> "list[SettingRow]":
        """Return every setting with its value and its meaning."""
        return [
            SettingRow(f"{pair}.{name}", getattr(self.of[pair], name), field.description or "")
            for pair in self.pairs
            for name, field in type(self.of[pair]).model_fields.items()
        ]

    def saved(self) -> dict[str, dict[str, Any]]:
        """Return the settings of each pair as JSON can hold them."""
        return {pair: self.of[pair].model_dump(mode="json") for pair in self.pairs}


class SettingRow(NamedTuple):
    """One setting."""

    name: str
    value: object
    meaning: str


def preset_settings(preset: Preset, pairs: Sequence[str] = ()) -> Settings:
    """Return what a preset stands for.

    Args:
        preset: The preset.
        pairs: Names of the pairs; none leaves them to the preset.

    Raises:
        RequestError: There is no such pair, or the preset does not go with the pairs.
    """
    chosen = checked_pairs(pairs) if pairs else _pairs_of(preset)
    if preset is Preset.NOTEBOOK and chosen != _pairs_of(preset):
        raise RequestError("the preset notebook is one pair: leave out --towers, or the preset")
    of = {pair: TOWER_PAIRS[pair].settings(preset) for pair in chosen}
    return Settings(preset=preset, pairs=chosen, of=of)


def settings_of(chosen: Settings | str) -> Settings:
    """Return settings as they are, or those of a preset.

    Raises:
        RequestError: There is no such preset.
    """
    if isinstance(chosen, Settings):
        return chosen
    if chosen not in list(Preset):
        raise unknown("preset", chosen, Preset)
    return preset_settings(Preset(chosen))


def checked_pairs(names: Iterable[str]) -> tuple[str, ...]:
    """Return names of pairs, each once, in the order in which their vectors are joined.

    Raises:
        RequestError: There is no such pair.
    """
    wanted = list(names)
    for name in wanted:
        if name not in TOWER_PAIRS:
            raise unknown("tower pair", name, TOWER_PAIRS)
    return tuple(name for name in PAIRS if name in wanted)


def read_config_file(path: Path) -> dict[str, object]:
    """Return the settings in a TOML file: "preset", "pairs", and such as "sequence.epochs".

    Its section [data] says where data comes from, and is read by `retrieval.data.section`.

    Raises:
        RequestError: The file cannot be read, or is no TOML of tables of settings.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RequestError(f"{path} cannot be read as TOML: {shown(error)}") from error
    flat: dict[str, object] = {}
    for name, value in found.items():
        if name == SECTION:
            continue
        if isinstance(value, dict):
            flat |= {f"{name}.{field}": each for field, each in value.items()}
        else:
            flat[name] = value
    return flat


def _pairs_of(preset: Preset) -> tuple[str, ...]:
    match preset:
        case Preset.NOTEBOOK:
            return ("notebook",)
        case Preset.QUICK | Preset.DEFAULT | Preset.BEST:
            return ("neural", "bayesian", "sequence")


def _with(settings: BaseModel, name: str, field: str, value: object) -> BaseModel:
    """Return the settings of a pair with another value of a field."""
    given = None if value == "" else value
    if isinstance(value, bool):  # which would count as 0 or 1
        raise RequestError(f"setting {name} cannot be '{shown(value)}': no setting is yes or no")
    try:
        return type(settings).model_validate(settings.model_dump() | {field: given})
    except ValidationError as error:
        what = error.errors()[0]["msg"]
        raise RequestError(f"setting {name} cannot be '{shown(value)}': {what}") from error


def _unknown_setting(name: str, settings: Settings) -> RequestError:
    names = [row.name for row in settings.rows()]
    pair = name.partition(".")[0]
    if pair in TOWER_PAIRS and pair not in settings.pairs:
        return RequestError(
            f"setting '{shown(name)}' is of a pair that is not trained; "
            f"add {pair} to --towers, or leave the setting out"
        )
    return unknown("setting", name, names)
