"""What a run was made of and how its numbers are to be read: `config.json`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from retrieval.blending.blend import Ranking, RatingBlend
from retrieval.blending.link import Link
from retrieval.data.scale import RatingScale
from retrieval.data.user_attributes import UserAttributes
from retrieval.errors import RunError
from retrieval.pairs.layout import Part, VectorLayout
from retrieval.storage.damage import readable

CONFIG_FILE = "config.json"

# Of the folder of a run; one that is older is written anew by `rec runs upgrade`.
FORMAT = 17
PREVIOUS_FORMAT = 16


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What a run was made of and how its numbers are to be read."""

    version: int  # of the format
    parts: tuple[Part, ...]  # of the pairs whose vectors are joined, in this order
    blend: RatingBlend  # of the scores of the pairs that rate
    ranking: Ranking | None  # of lists, where a pair ranks
    link: Link | None  # from scores to ratings; None: scores are ratings, clipped to the scale
    noise: float | None  # the usual variance of what the link takes for noise
    preset: str
    settings: Mapping[str, Mapping[str, Any]]  # of each pair, by its name
    seed: int
    data: str
    created: str  # ISO 8601
    present: int  # seconds: the moment after all events
    training_seconds: float
    scale: RatingScale
    centre: float  # the average rating in training
    user_attributes: UserAttributes
    packages: Mapping[str, str]  # versions of what trained it
    threads: int | None = None  # that trained it; another number rounds differently
    source: Mapping[str, Any] | None = None  # the data, so that it can be read again

    @property
    def layout(self) -> VectorLayout:
        """Which components of joined vectors are whose."""
        return VectorLayout(self.parts)


def read_config(version: Path) -> RunConfig:
    """Read the config in the folder of a version.

    Raises:
        RunError: It is damaged, or of another format.
    """
    with readable(version / CONFIG_FILE):
        text = (version / CONFIG_FILE).read_bytes()
    try:
        found = TypeAdapter(dict[str, Any]).validate_json(text).get("version")
        if found == PREVIOUS_FORMAT:
            raise RunError(
                f"{version} is of format {found}, the one before; write it anew with "
                f"rec runs upgrade --run {version.parent}"
            )
        if found != FORMAT:
            raise RunError(
                f"{version} is of format {str(found)[:40]}, this program reads {FORMAT}; "
                "train again"
            )
        return TypeAdapter(RunConfig).validate_json(text)
    except ValidationError as error:
        raise RunError(
            f"{version / CONFIG_FILE}: {error.errors()[0]['msg']}; train again"
        ) from error
