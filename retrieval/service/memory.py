"""Memory that was freed and is of use to others, handed back to the system."""

import ctypes
from collections.abc import Callable

_GLIBC = "libc.so.6"


def _trim() -> Callable[[int], int] | None:
    """Return glibc's `malloc_trim`; None where another C library is in use."""
    try:
        found: Callable[[int], int] = ctypes.CDLL(_GLIBC).malloc_trim
    except (OSError, AttributeError):
        return None
    return found


_malloc_trim = _trim()


def give_back_freed() -> None:
    """Hand freed memory back to the system, that between what is in use as well.

    glibc keeps it otherwise, and a process that takes over one version after another grows, though
    it uses no more than before. Takes some milliseconds.
    """
    if _malloc_trim is not None:
        _malloc_trim(0)
