"""Presets: how much to spend on training."""

import math
from dataclasses import dataclass
from enum import StrEnum

from retrieval.choices import Preset
from retrieval.towers.neural import NeuralSettings
from retrieval.towers.notebook import NotebookSettings


class Optimizer(StrEnum):
    """How weights follow gradients."""

    ADAM = "adam"
    SGD = "sgd"


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How a tower pair is trained."""

    optimizer: Optimizer = Optimizer.ADAM
    epochs: int = 5
    batch_size: int = 4096
    learning_rate: float = 4e-3
    momentum: float = 0.9
    warm_up: float = 0.15  # share of the steps before the learning rate is at its highest
    patience: int = 2  # epochs without improvement before training stops


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A tower pair and how it is trained."""

    towers: NeuralSettings | NotebookSettings
    loop: LoopSettings


def plan(preset: Preset, ratings: int) -> Plan:
    """Return what a preset stands for on a data set of so many ratings."""
    batch_size = min(4096, max(256, 2 ** round(math.log2(ratings / 200))))
    match preset:
        case Preset.QUICK:
            return Plan(
                towers=NeuralSettings(history_length=20),
                loop=LoopSettings(epochs=3, batch_size=batch_size),
            )
        case Preset.DEFAULT:
            return Plan(towers=NeuralSettings(), loop=LoopSettings(batch_size=batch_size))
        case Preset.BEST:
            return Plan(
                towers=NeuralSettings(dimension=128, hidden=256, history_length=100),
                loop=LoopSettings(epochs=8, batch_size=batch_size),
            )
        case Preset.NOTEBOOK:
            return Plan(
                towers=NotebookSettings(),
                loop=LoopSettings(
                    optimizer=Optimizer.SGD,
                    epochs=1,
                    batch_size=64,
                    learning_rate=0.002,
                    momentum=0.05,
                ),
            )
