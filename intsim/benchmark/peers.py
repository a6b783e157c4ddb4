"""Other engines, as competitors for `interleave`."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray


def torch_float32(
    model: torch.nn.Module, inputs: NDArray[np.float32], threads: int
) -> Callable[[], NDArray[np.float32]]:
    """A call that gives the float32 model's output, by PyTorch in channels last, its fast path for images on CPUs.

    threads  PyTorch has one setting for the whole process, so this sets it
    """
    torch.set_num_threads(threads)
    images = torch.from_numpy(inputs).contiguous(memory_format=torch.channels_last)
    fast = deepcopy(model).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def run() -> NDArray[np.float32]:
        return fast(images).numpy()

    return run
