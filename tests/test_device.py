"""Tests of where torch trains."""

import pytest
import torch

from retrieval.errors import RequestError
from retrieval.options import Device
from retrieval.pairs.device import available


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
