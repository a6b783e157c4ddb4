"""PyTorch as a competitor: float32 in both memory layouts, and its own int8."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Run = Callable[[], Floats]


def torch_float32(
    model: torch.nn.Module,
    inputs: Floats,
    threads: int,
    memory_format: torch.memory_format = torch.channels_last,
) -> Run:
    """A call that gives the float32 model's output, by PyTorch in channels last, its fast path for images on CPUs.

    threads  PyTorch has one setting for the whole process, so this sets it
    """
    torch.set_num_threads(threads)
    images = torch.from_numpy(inputs).contiguous(memory_format=memory_format)
    fast = deepcopy(model).eval().to(memory_format=memory_format)  # type: ignore[call-overload]

    @torch.inference_mode()
    def run() -> Floats:
        return fast(images).numpy()

    return run


def channels_last(model: torch.nn.Module, inputs: Floats, threads: int, folder: Path) -> Run:
    return torch_float32(model, inputs, threads)


def channels_first(model: torch.nn.Module, inputs: Floats, threads: int, folder: Path) -> Run:
    return torch_float32(model, inputs, threads, torch.contiguous_format)


def int8(model: torch.nn.Module, inputs: Floats, threads: int, folder: Path) -> Run:
    """Quantized by torch.ao's graph mode for x86, calibrated on the inputs, traced and frozen."""
    import warnings

    from torch.ao.quantization import get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    torch.set_num_threads(threads)
    torch.backends.quantized.engine = "x86"
    images = torch.from_numpy(inputs).contiguous(memory_format=torch.channels_last)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # deprecation in favour of torchao, which has no int8 convolution for CPUs
        prepared = prepare_fx(deepcopy(model), get_default_qconfig_mapping("x86"), (images,))
        prepared(images)
        fast = torch.jit.freeze(torch.jit.trace(convert_fx(prepared), images))

    @torch.inference_mode()
    def run() -> Floats:
        return fast(images).numpy()

    return run
