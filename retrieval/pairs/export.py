"""User towers as ONNX files, checked against torch before they are trusted."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from retrieval.data.history import Histories
from retrieval.errors import RunError, shown
from retrieval.pairs.onnx_tower import Columns, OnnxTower

# By which share of its largest component, or of 1 if that is smaller, an output may differ. After
# training on ten million events, sums in 32 bits differed by a tenth of it.
TOLERANCE = 1e-4

# They warn of what is the exporter's own affair.
LOGGERS = ("torch.onnx", "onnxscript", "onnx_ir")


# Of each column, the dimensions that may have another size, and their names.
Axes = tuple[dict[int, Any], ...]


def longest_histories(histories: Histories, count: int) -> NDArray[np.int64]:
    """Return the users with the longest histories, at least two and so many at most."""
    users = np.argsort(-np.diff(histories.offsets), kind="stable")[:count]
    return np.resize(users, max(2, len(users)))


def export(
    tower: nn.Module, example: Columns, axes: Axes, outputs: Sequence[str], path: Path
) -> OnnxTower:
    """Write a user tower and read it back: both must give the same vectors.

    Args:
        tower: Module called with the columns of the example.
        example: Columns of at least two users, real ones, in the order of the tower's arguments.
        axes: Dimensions of each column that may have another size.
        outputs: Names of what the tower returns.
        path: File to write.

    Returns:
        The tower that was read back.

    Raises:
        RunError: Torch cannot write it, or ONNX Runtime computes something else than torch.
    """
    tower.eval()
    columns = tuple(torch.from_numpy(column) for column in example.values())
    try:
        with torch.no_grad(), _quiet():
            torch.onnx.export(
                tower,
                columns,
                path,
                input_names=list(example),
                output_names=list(outputs),
                dynamic_shapes=axes,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise RunError(
            f"torch {torch.__version__} cannot export the user tower ({shown(error)}); install the "
            "versions that this package asks for"
        ) from error
    _forget_origin(path)
    # One user alone too: an exporter can take the size of its example for the only one.
    exported = OnnxTower(path, list(example))
    for inputs in (example, {name: column[:1] for name, column in example.items()}):
        check(exported, tower, inputs)
    return exported


def _forget_origin(path: Path) -> None:
    """Remove from a file what the exporter notes of the code: stack traces, with paths in them."""
    model = onnx.load(path)
    graph = model.graph
    values = (*graph.value_info, *graph.input, *graph.output, *graph.initializer)
    for part in (model, graph, *graph.node, *values, *model.functions):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    onnx.save(model, path)


def check(exported: OnnxTower, tower: nn.Module, inputs: Columns) -> None:
    """Raise a `RunError` where an exported tower does not give the vectors of its original."""
    with torch.no_grad():
        expected = tower(*(torch.from_numpy(column) for column in inputs.values()))
    expected = expected if isinstance(expected, tuple) else (expected,)
    for made, wanted in zip(exported.run(inputs), (each.numpy() for each in expected), strict=True):
        error = float(np.abs(made - wanted).max())
        if not error <= TOLERANCE * max(1.0, float(np.abs(wanted).max())):
            raise RunError(
                f"the exported user tower differs from torch by {error:.2g}, and its largest "
                f"component is {np.abs(wanted).max():.2g}; report this, with the versions of torch "
                "and onnxruntime"
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's own affairs (deprecations, packages it could use) from the terminal."""
    with ExitStack() as after:
        for logger in map(logging.getLogger, LOGGERS):
            after.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.ERROR)
        after.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield
