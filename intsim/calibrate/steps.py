"""The step of a uniform quantizer with the least squared error: where training begins."""

from __future__ import annotations

import torch
from torch import Tensor

CANDIDATES = 64
SAMPLE = 1 << 16


def best_step(x: Tensor, low: int, high: int) -> Tensor:
    """The best of the covering step / 64, 2 / 64, .. 64 / 64 for levels low..high; positive, () float.

    Exact: least mean (x - clip(round(x / step), low, high) * step)**2 over about 65,536 of the values, evenly spaced
    """
    sample = x.detach().flatten()
    sample = sample[:: max(1, sample.numel() // SAMPLE)]
    covering = torch.maximum(sample.max() / high, sample.min() / low if low else sample.new_zeros(()))
    if covering <= 0:
        return sample.new_ones(())
    steps = covering * torch.arange(1, CANDIDATES + 1, device=x.device) / CANDIDATES
    errors = [((sample - (sample / step).round_().clamp_(low, high) * step) ** 2).mean() for step in steps]
    return steps[torch.stack(errors).argmin()]
