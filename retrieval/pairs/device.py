"""Where and how torch computes in training."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import torch

from retrieval.errors import RequestError
from retrieval.options import Device

T = TypeVar("T")

CPU = torch.device("cpu")

# Batches that are ready before a GPU wants them.
AHEAD = 4


def available(device: Device) -> torch.device:
    """Return a device that is there.

    Raises:
        RequestError: A GPU is asked for, and torch can use none.
    """
    on_gpu = device is not Device.CPU and torch.cuda.is_available()
    if device is Device.CUDA and not on_gpu:
        raise RequestError("torch finds no GPU that it can use: ask for --device cpu, or auto")
    return torch.device("cuda", torch.cuda.current_device()) if on_gpu else CPU


def forked(device: torch.device) -> AbstractContextManager[None]:
    """Leave torch's generators, of the CPU and of a device, as they were before."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def ahead(items: Iterator[T], device: torch.device) -> Iterator[T]:
    """Give items in their order, none of which is None.

    While a GPU is at work on some, a thread makes the next ones.
    """
    if device.type == "cpu":
        yield from items
        return
    thread = ThreadPoolExecutor(1)
    try:
        ready = deque(thread.submit(next, items, None) for _ in range(AHEAD))
        while (item := ready.popleft().result()) is not None:
            ready.append(thread.submit(next, items, None))
            yield item
    finally:
        thread.shutdown(cancel_futures=True)


def mixed_precision(device: torch.device) -> AbstractContextManager[object]:
    """Let a GPU multiply numbers of 16 bits, sums of 32, where torch holds that to be safe."""
    if device.type == "cuda":
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


@contextmanager
def fast_products() -> Iterator[None]:
    """Let matrices be multiplied fast; it is for training alone, and answers do without it.

    On a CPU oneDNN multiplies them. It uses AVX-512 on processors of every maker, which torch's own
    library does not, and is two to three times as fast on those of AMD. Where a processor has units
    for it (AMX), factors are rounded to 16 bits and sums are not. For each new shape of a product
    it makes a program and keeps it in memory, so it is for products of few shapes. On a GPU factors
    are rounded to 19 bits (TF32).
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
