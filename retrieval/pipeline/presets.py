"""Presets: how much to spend on training."""

import math
from dataclasses import dataclass
from enum import StrEnum

from retrieval.options import Preset, Towers
from retrieval.pairs.bayesian.inference import BayesianSettings
from retrieval.pairs.neural.model import NeuralSettings
from retrieval.pairs.notebook.model import NotebookSettings
from retrieval.pairs.sequence.model import SequenceSettings
from retrieval.pairs.sequence.training import SequenceLoopSettings


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
    """Which tower pairs are trained, if nobody says, and how."""

    pairs: tuple[Towers, ...]
    towers: NeuralSettings | NotebookSettings
    loop: LoopSettings
    bayesian: BayesianSettings
    sequence: SequenceSettings
    sequence_loop: SequenceLoopSettings
    sequence_pairs: int = 1  # that are trained apart and joined


def plan(preset: Preset, ratings: int) -> Plan:
    """Return what a preset stands for on a data set of so many ratings."""
    batch_size = min(4096, max(256, 2 ** round(math.log2(ratings / 200))))
    every = (Towers.NEURAL, Towers.BAYESIAN, Towers.SEQUENCE)
    tokens = min(8192, max(1024, 2 ** round(math.log2(ratings / 100))))
    match preset:
        case Preset.QUICK:
            return Plan(
                pairs=every,
                towers=NeuralSettings(history_length=20),
                loop=LoopSettings(epochs=2, batch_size=batch_size),
                bayesian=BayesianSettings(dimension=16, most_windows=3, draws=30, spacing=1),
                sequence=SequenceSettings(dropout=0.15),
                sequence_loop=SequenceLoopSettings(epochs=8, tokens=tokens),
            )
        case Preset.DEFAULT:
            return Plan(
                pairs=every,
                towers=NeuralSettings(),
                loop=LoopSettings(batch_size=batch_size),
                bayesian=BayesianSettings(),
                sequence=SequenceSettings(),
                sequence_loop=SequenceLoopSettings(tokens=tokens),
            )
        case Preset.BEST:
            return Plan(
                pairs=every,
                towers=NeuralSettings(),
                loop=LoopSettings(batch_size=batch_size),
                bayesian=BayesianSettings(
                    dimension=64, most_windows=12, tolerance=1e-4, draws=200, spacing=3
                ),
                sequence=SequenceSettings(
                    dimension=128, blocks=3, heads=4, hidden=256, dropout=0.3
                ),
                sequence_loop=SequenceLoopSettings(
                    epochs=40, tokens=tokens, learning_rate=4e-3, patience=12
                ),
                sequence_pairs=2,
            )
        case Preset.NOTEBOOK:
            return Plan(
                pairs=(Towers.NEURAL,),
                towers=NotebookSettings(),
                loop=LoopSettings(
                    optimizer=Optimizer.SGD,
                    epochs=1,
                    batch_size=64,
                    learning_rate=0.002,
                    momentum=0.05,
                ),
                bayesian=BayesianSettings(),
                sequence=SequenceSettings(),
                sequence_loop=SequenceLoopSettings(),
            )
