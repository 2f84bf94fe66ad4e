"""User towers as ONNX files, checked against torch before they are trusted."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from retrieval.errors import RunError
from retrieval.towers.inputs import UserInputs
from retrieval.towers.query import QueryTower
from retrieval.towers.tokens import Tokens

TOLERANCE = 1e-5


def export_user_tower(tower: nn.Module, example: UserInputs, path: Path) -> None:
    """Write a user tower and read it back: both must give the same vectors.

    Args:
        tower: Called with the columns of `UserInputs`, gives vectors `(B, D)` and offsets `(B,)`.
        example: At least two users with at least two events, real ones.
        path: Of the file.

    Raises:
        RunError: What ONNX Runtime computes is not what torch computes.
    """
    people, events = torch.export.Dim("people"), torch.export.Dim("events")
    each, history = {0: people}, {0: people, 1: events}
    shapes = (each, each, each, history, history, history)
    _export(tower, example, shapes, ["vectors", "offsets"], path)


def export_sequence_tower(tower: nn.Module, example: Tokens, path: Path) -> None:
    """Do the same with a user tower called with the columns of `Tokens`, which gives vectors."""
    people, places = torch.export.Dim("people"), torch.export.Dim("places")
    each, history = {0: people}, {0: people, 1: places}
    shapes = (history, history, each, history, {**history, 2: places}, each)
    exported = _export(tower, example, shapes, ["vectors"], path)
    count = example.movies.shape[1]
    for places in {2, max(2, count - 1)}:
        _check(exported, tower, example.until(places))


def _export(
    tower: nn.Module,
    example: UserInputs | Tokens,
    shapes: tuple[dict[int, Any], ...],
    outputs: list[str],
    path: Path,
) -> QueryTower:
    """Write a tower and return what was read back, once both give the same vectors."""
    tower.eval()
    columns = tuple(torch.from_numpy(column) for column in example)
    with torch.no_grad(), _quiet():
        torch.onnx.export(
            tower,
            columns,
            path,
            input_names=list(example._fields),
            output_names=outputs,
            dynamic_shapes=shapes,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    # One user alone too: an exporter can take the size of its example for the only one.
    exported = QueryTower(path)
    for inputs in (example, example.part(slice(1))):
        _check(exported, tower, inputs)
    return exported


def _check(exported: QueryTower, tower: nn.Module, inputs: UserInputs | Tokens) -> None:
    """Raise a `RunError` where an exported tower does not give the vectors of its original."""
    with torch.no_grad():
        expected = tower(*(torch.from_numpy(column) for column in inputs))
    expected = expected if isinstance(expected, tuple) else (expected,)
    for made, wanted in zip(exported.run(inputs), expected, strict=True):
        error = float(np.abs(made - wanted.numpy()).max())
        if not error <= TOLERANCE:
            raise RunError(f"the exported user tower differs from torch by {error:.2g}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's own affairs (deprecations, packages it could use) from the terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
