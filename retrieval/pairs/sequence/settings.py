"""Settings of the sequence pair."""

import math
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, model_validator

from retrieval.options import Preset


class NegativeSource(StrEnum):
    """What the softmax of training compares the movie that came next with."""

    AUTO = "auto"  # every movie up to full_softmax_movies, beyond that a sample by popularity
    ALL = "all"  # every movie
    POPULAR = "popular"  # a sample drawn by how often movies are watched
    IN_BATCH = "in-batch"  # a sample of the batch's own movies, corrected by streaming frequencies


class SequenceSettings(BaseModel):
    """The size of the pair, how it is regularised, and how it is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dimension: int = Field(default=64, ge=1, le=4096, description="components of the vectors")
    blocks: int = Field(default=2, ge=1, le=64, description="transformer blocks")
    heads: int = Field(default=2, ge=1, description="attention heads; divides dimension")
    hidden: int = Field(
        default=256, ge=1, le=65536, description="units of the gated layer in each block"
    )
    history_length: int = Field(
        default=200, ge=1, le=10_000, description="most events that are read, the latest"
    )
    dropout: float = Field(default=0.2, ge=0, lt=1, description="share of units dropped")
    temperature: float = Field(
        default=0.05, gt=0, description="what a dot product is divided by to give a logit"
    )
    unrated_share: float = Field(
        default=0.02, ge=0, le=1, description="share of movies treated as unrated in each batch"
    )
    members: int = Field(
        default=1, ge=1, le=16, description="models trained apart whose vectors are joined"
    )
    epochs: int = Field(default=20, ge=1, description="most passes over the users")
    patience: int = Field(default=6, ge=0, description="epochs without improvement before the end")
    batch_tokens: int | None = Field(
        default=None, ge=1, description="events in a step; empty: chosen by the number of ratings"
    )
    learning_rate: float = Field(default=8e-3, gt=0, description="highest learning rate of AdamW")
    warm_up: int = Field(default=100, ge=1, description="steps before the rate is highest")
    unknown_time_share: float = Field(
        default=0.3, ge=0, le=1, description="share of users whose time of asking is hidden"
    )
    earlier_share: float = Field(
        default=0.5, ge=0, le=1, description="share of long histories cut at a random place"
    )
    full_softmax_movies: int = Field(
        default=20_000,
        ge=1,
        description="largest catalogue for which auto compares with all movies",
    )
    negatives: NegativeSource = Field(
        default=NegativeSource.AUTO, description="movies that the next one is compared with"
    )
    sampled_negatives: int = Field(
        default=2048, ge=1, description="movies sampled by popularity, and as many drawn evenly"
    )

    @model_validator(mode="after")
    def _heads_fit(self) -> "SequenceSettings":
        if self.dimension % self.heads:
            raise ValueError(f"heads {self.heads} does not divide dimension {self.dimension}")
        return self

    def tokens_in_step(self, ratings: int) -> int:
        """Return how many events are in a step, for so many ratings."""
        if self.batch_tokens is not None:
            return self.batch_tokens
        return int(min(8192, max(1024, 2 ** round(math.log2(ratings / 100)))))


def preset_settings(preset: Preset) -> SequenceSettings:
    """Return the settings of a preset."""
    match preset:
        case Preset.QUICK:
            return SequenceSettings(dropout=0.15, epochs=8)
        case Preset.BEST:
            return SequenceSettings(
                dimension=128,
                blocks=3,
                heads=4,
                hidden=256,
                dropout=0.3,
                members=2,
                epochs=40,
                patience=12,
                learning_rate=4e-3,
            )
        case Preset.DEFAULT | Preset.NOTEBOOK:
            return SequenceSettings()
