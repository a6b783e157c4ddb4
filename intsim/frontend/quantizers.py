"""Quantizers as torch custom operators: capture keeps each as one node, training passes a gradient through them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


@torch.library.custom_op("intsim::fake_quantize", mutates_args=())
def fake_quantize(x: Tensor, scale: Tensor, zero_point: int, low: int, high: int) -> Tensor:
    """Round a tensor to a grid and back.

    x           float (N, ...)
    scale       float (), positive
    zero_point  the code of real zero
    low, high   smallest and largest code
    Exact:      (clip(round(x / scale) + zero_point, low, high) - zero_point) * scale, ties to even
    Gradient:   straight through between the bounds; for the scale that of LSQ (Esser et al. 2020), without its factor
    """
    codes = torch.clamp(torch.round(x / scale) + zero_point, low, high)
    return (codes - zero_point) * scale


@fake_quantize.register_fake
def _shape(x: Tensor, scale: Tensor, zero_point: int, low: int, high: int) -> Tensor:
    return torch.empty_like(x)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, scale, ctx.zero_point, ctx.low, ctx.high = inputs
    ctx.save_for_backward(x, scale)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
    x, scale = ctx.saved_tensors
    low, high = ctx.low - ctx.zero_point, ctx.high - ctx.zero_point
    level = x / scale
    rounded = torch.round(level)
    inside = (rounded >= low) & (rounded <= high)
    by_scale = torch.where(inside, rounded - level, rounded.clamp(low, high))
    return gradient * inside, (gradient * by_scale).sum().reshape(scale.shape), None, None, None


fake_quantize.register_autograd(_backward, setup_context=_remember)
