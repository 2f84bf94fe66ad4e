"""Closed choices that the command line offers."""

from enum import StrEnum


class Preset(StrEnum):
    """How much to spend on training."""

    QUICK = "quick"
    DEFAULT = "default"
    BEST = "best"
    NOTEBOOK = "notebook"  # the published model, to the letter


class Towers(StrEnum):
    """Tower pairs."""

    NEURAL = "neural"
