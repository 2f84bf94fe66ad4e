"""Settings of the notebook pair."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from retrieval.options import Preset


class Activation(StrEnum):
    """Between the dense layers."""

    RELU = "relu"
    TANH = "tanh"
    SIGMOID = "sigmoid"


class NotebookSettings(BaseModel):
    """What the notebook left open, and how it trains."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    layers: int = Field(default=2, ge=1, le=2, description="dense layers of each tower")
    activation: Activation = Field(
        default=Activation.RELU, description="function between the layers"
    )
    history_length: int = Field(
        default=20, ge=1, le=10_000, description="latest movies that are read"
    )
    epochs: int = Field(default=1, ge=1, description="most passes over the ratings")
    patience: int = Field(
        default=2, ge=0, description="epochs without improvement before training ends"
    )
    batch_size: int = Field(default=64, ge=1, description="ratings in a step")
    learning_rate: float = Field(default=0.002, gt=0, description="learning rate of SGD")
    momentum: float = Field(default=0.05, ge=0, lt=1, description="momentum of SGD")


def preset_settings(_preset: Preset) -> NotebookSettings:
    """Return the settings of a preset, which are the same for all."""
    return NotebookSettings()
