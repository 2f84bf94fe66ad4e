"""What a service does with memory that it freed."""

import os
import platform
from pathlib import Path

import pytest

from retrieval.service import memory
from retrieval.service.memory import configure_memory, give_back_freed

BLOCK, BLOCKS = 2**16, 800
MEGABYTE = 2**20


def resident() -> float:
    """Return the resident memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="there is no glibc here")
def test_what_lies_between_blocks_in_use_is_handed_back() -> None:
    blocks = [bytearray(b"x" * BLOCK) for _ in range(BLOCKS)]
    kept = blocks[::2]
    before = resident()
    del blocks
    give_back_freed()
    freed = (BLOCKS - len(kept)) * BLOCK / MEGABYTE
    assert before - resident() > 0.8 * freed


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_GLIBC", "no-such-library.so")
    configure_memory()
    give_back_freed()
