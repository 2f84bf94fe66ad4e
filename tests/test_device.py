"""Tests of where torch trains."""

import pytest
import torch

from retrieval.errors import RequestError
from retrieval.options import Device
from retrieval.pairs.device import available, fast_products


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
    factors, cpu = (
        torch.randn(2, 64, 64, generator=torch.Generator().manual_seed(0)),
        torch.device("cpu"),
    )
    exact = factors[0].double() @ factors[1].double()
    before = torch.get_float32_matmul_precision()
    with pytest.raises(ValueError, match="stop"), fast_products(cpu):  # noqa: PT012 (both are needed)
        assert torch.get_float32_matmul_precision() == "medium"
        error = (factors[0] @ factors[1] - exact).abs().max()
        raise ValueError("stop")
    assert torch.get_float32_matmul_precision() == before
    assert error < 0.1  # 16 bits of a factor, of sums of 64
    with fast_products(torch.device("cuda")):
        assert torch.get_float32_matmul_precision() == before
