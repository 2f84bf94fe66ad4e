"""Damaged files: what reading them can raise, turned into one error that names the file."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from retrieval.errors import RunError, shown

_log = logging.getLogger(__name__)

# What reading a damaged file of arrays, or of JSON, can raise.
DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError)

# What libraries raise of files that are damaged, or made to do harm.
DAMAGED = (*DAMAGE, IndexError, RuntimeError, MemoryError)

AGAIN = "train again, or copy the run again from where it is whole"


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn whatever is wrong with a file or folder of a run into a `RunError` that names it."""
    try:
        yield
    except (RunError, *DAMAGED) as error:
        raise RunError(
            f"{path} cannot be read: {error or type(error).__name__}; {AGAIN}"
        ) from error


def warn_of_damage(checkpoint: Path, error: Exception) -> None:
    """Say that training cannot go on from a checkpoint, and why."""
    why = shown(error) or type(error).__name__
    _log.warning("%s is damaged (%s): this training begins anew", shown(checkpoint), why)
