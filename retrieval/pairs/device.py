"""Where torch trains."""

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
