"""Where and how torch computes in training."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from retrieval.errors import RequestError
from retrieval.options import Device


def available(device: Device) -> torch.device:
    """Return a device that is there.

    Raises:
        RequestError: A GPU is asked for, and torch can use none.
    """
    on_gpu = device is not Device.CPU and torch.cuda.is_available()
    if device is Device.CUDA and not on_gpu:
        raise RequestError("torch finds no GPU that it can use: ask for --device cpu, or auto")
    return torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")


@contextmanager
def fast_products(device: torch.device) -> Iterator[None]:
    """Let oneDNN multiply matrices on a CPU; it is for training alone, and answers do without it.

    It uses AVX-512 on processors of every maker, which torch's own library does not, and is two to
    three times as fast on those of AMD. Where a processor has units for it (AMX), factors are
    rounded to 16 bits and sums are not, as on a GPU. For each new shape of a product it makes a
    program and keeps it in memory, so it is for products of few shapes.
    """
    before = torch.get_float32_matmul_precision()
    if device.type == "cpu":
        torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
