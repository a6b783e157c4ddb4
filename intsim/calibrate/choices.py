"""Choices between two neighbours on a grid, soft while they are trained and hard in the end: AdaRound's h(v).

Roundings of weights are such choices, and so are the exponents of power-of-two scales.
"""

from __future__ import annotations

import torch
from torch import Tensor

STRETCH, MARGIN = 1.1, -0.1
"""AdaRound's zeta and gamma: the sigmoid is stretched beyond 0..1 and clipped, so that it arrives at both ends."""
WARM_UP, HARDEST, SOFTEST = 0.2, 20.0, 2.0
"""Share of the iterations before choices are pushed apart, and AdaRound's beta then and at the end."""
HARD_AT = 0.9
"""Share of the iterations after which all choices are hard."""


def soft(choice: Tensor) -> Tensor:
    """AdaRound's h(v), in 0..1: clip(1.2 sigmoid(v) - 0.1, 0, 1)."""
    return torch.clamp(torch.sigmoid(choice) * (STRETCH - MARGIN) + MARGIN, 0, 1)


def choice_of(share: Tensor) -> Tensor:
    """The v with h(v) = share."""
    return torch.logit(((share - MARGIN) / (STRETCH - MARGIN)).clamp(1e-6, 1 - 1e-6))


def indecision(choice: Tensor, progress: float) -> Tensor | None:
    """AdaRound's push towards hard choices v: sum(1 - |2 h(v) - 1|**beta); None in the first fifth of the iterations.

    Exact:  beta from 20 to 2 over the rest of them
    """
    if progress < WARM_UP:
        return None
    rest = 1 - (progress - WARM_UP) / (1 - WARM_UP)
    return (1 - (2 * soft(choice) - 1).abs().pow(SOFTEST + (HARDEST - SOFTEST) * rest)).sum()


def harden_surest(choice: Tensor, progress: float) -> None:
    """Make hard the choices v that are furthest from 0, in place: infinities, which no gradient moves.

    Those that are left make up for what the others' last step did. All at once at the end, as the regulariser alone
    has it, is too late for layers with few weights: the first block of MobileNetV2 at 2 bits ends 6 dB below its
    signal, and with this 5 dB above.
    Exact:   a share of all, sqrt(progress / HARD_AT)
    Source:  ours; hardening by and by is TesseraQ's too (Li and Panda 2024)
    """
    with torch.no_grad():
        every = choice.view(-1)
        surest = every.abs().topk(int(min(1, progress / HARD_AT) ** 0.5 * len(every))).indices
        every[surest] = torch.where(every[surest] >= 0, torch.inf, -torch.inf)
