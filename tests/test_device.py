"""Tests of where torch trains."""

from collections.abc import Iterator
from threading import Event

import pytest
import torch

from retrieval.errors import RequestError
from retrieval.options import Device
from retrieval.pairs.device import AHEAD, CPU, ahead, available, fast_products


def test_without_a_gpu_training_is_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert available(Device.AUTO) == available(Device.CPU) == torch.device("cpu")
    with pytest.raises(RequestError, match="--device cpu"):
        available(Device.CUDA)


def test_a_gpu_is_used_unless_the_cpu_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert available(Device.AUTO) == available(Device.CUDA) == torch.device("cuda", 1)
    assert available(Device.CPU) == torch.device("cpu")


def test_products_are_fast_inside_alone_and_hardly_less_exact() -> None:
    factors = torch.randn(2, 64, 64, generator=torch.Generator().manual_seed(0))
    exact = factors[0].double() @ factors[1].double()
    before = torch.get_float32_matmul_precision()
    with pytest.raises(ValueError, match="stop"), fast_products():  # noqa: PT012 (both are needed)
        assert torch.get_float32_matmul_precision() == "medium"
        error = (factors[0] @ factors[1] - exact).abs().max()
        raise ValueError("stop")
    assert torch.get_float32_matmul_precision() == before
    assert error < 0.1  # 16 bits of a factor, of sums of 64


def test_for_a_gpu_batches_are_made_ahead_in_their_order() -> None:
    second = Event()

    def items() -> Iterator[int]:
        for number in range(3 * AHEAD):
            if number == 2:
                second.set()
            yield number

    given = ahead(items(), torch.device("cuda"))
    assert next(given) == 0
    assert second.wait(10)  # while nobody has asked for more
    assert list(given) == list(range(1, 3 * AHEAD))


def test_an_error_of_a_batch_made_ahead_is_raised_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("the second")

    given = ahead(items(), torch.device("cuda"))
    assert next(given) == 1
    with pytest.raises(ValueError, match="the second"):
        next(given)


def test_on_a_cpu_nothing_is_made_ahead() -> None:
    numbers = iter(range(3))
    assert next(ahead(numbers, CPU)) == 0
    assert next(numbers) == 1
