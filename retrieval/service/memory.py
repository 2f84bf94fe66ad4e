"""How glibc keeps memory for a process that lives long and takes over one version after another.

By itself glibc keeps for each thread what that thread freed, and learns to keep what was large: a
service then grows for hours, though it uses no more than at first. Where another C library is in
use, nothing is done.
"""

import ctypes
from typing import Any

_GLIBC = "libc.so.6"

# Parameters of `mallopt` (see malloc.h), and what they are set to: one heap for all threads, which
# seldom wait for it, as Python runs one of them at a time; blocks of at least so many bytes by
# themselves, to be gone when they are freed; and so many bytes that are kept at the end of a heap.
_ARENA_MAX, _ARENAS = -8, 1
_MMAP_THRESHOLD, _LARGE = -3, 2**19
_TRIM_THRESHOLD, _SPARE = -1, 2**23


def _glibc() -> Any:  # noqa: ANN401 (its functions)
    """Return glibc; None where another C library is in use."""
    try:
        found = ctypes.CDLL(_GLIBC)
        _ = found.mallopt, found.malloc_trim
    except (OSError, AttributeError):
        return None
    return found


def configure_memory() -> None:
    """Let freed memory be of use to others: called once, where the process of a service begins."""
    library = _glibc()
    if library is not None:
        library.mallopt(_ARENA_MAX, _ARENAS)
        library.mallopt(_MMAP_THRESHOLD, _LARGE)
        library.mallopt(_TRIM_THRESHOLD, _SPARE)


def give_back_freed() -> None:
    """Hand back what was freed between what is in use; takes some milliseconds."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)
