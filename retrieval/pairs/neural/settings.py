"""Settings of the neural pair."""

import math

from pydantic import BaseModel, ConfigDict, Field, model_validator

from retrieval.options import Preset


class NeuralSettings(BaseModel):
    """The size of the pair, how it is regularised, and how it is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dimension: int = Field(default=64, ge=1, le=4096, description="components of the vectors")
    hidden: int = Field(default=128, ge=1, le=65536, description="units of each hidden layer")
    heads: int = Field(
        default=4, ge=1, description="attention heads over the history; divides dimension"
    )
    history_length: int = Field(
        default=30, ge=1, le=10_000, description="latest ratings that are read"
    )
    dropout: float = Field(
        default=0.2, ge=0, lt=1, description="share of units dropped in training"
    )
    cold_start_weight: float = Field(
        default=0.3, ge=0, le=1, description="weight of the loss on users whose id is hidden"
    )
    unrated_share: float = Field(
        default=0.05, ge=0, le=1, description="share of rows whose movie is treated as unrated"
    )
    norm_penalty: float = Field(
        default=0.01, ge=0, description="weight of the mean squared norm of the vectors in the loss"
    )
    epochs: int = Field(default=5, ge=1, description="most passes over the ratings")
    patience: int = Field(
        default=2, ge=0, description="epochs without improvement before training ends"
    )
    batch_size: int | None = Field(
        default=None, ge=1, description="ratings in a step; empty: chosen by the number of ratings"
    )
    learning_rate: float = Field(default=4e-3, gt=0, description="highest learning rate of Adam")
    warm_up: float = Field(
        default=0.15, ge=0, le=1, description="share of the steps before the rate is highest"
    )

    @model_validator(mode="after")
    def _heads_fit(self) -> "NeuralSettings":
        if self.dimension % self.heads:
            raise ValueError(f"heads {self.heads} does not divide dimension {self.dimension}")
        return self

    def rows_in_step(self, ratings: int) -> int:
        """Return the batch size for so many ratings."""
        if self.batch_size is not None:
            return self.batch_size
        return int(min(4096, max(256, 2 ** round(math.log2(ratings / 200)))))


def preset_settings(preset: Preset) -> NeuralSettings:
    """Return the settings of a preset."""
    match preset:
        case Preset.QUICK:
            return NeuralSettings(history_length=20, epochs=2)
        case Preset.DEFAULT | Preset.BEST | Preset.NOTEBOOK:
            return NeuralSettings()
