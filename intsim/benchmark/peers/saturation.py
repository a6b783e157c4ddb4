"""Whether an engine's integer sums are exact: where products overflow 16 bits in pairs, some engines saturate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from intsim.benchmark.peers import Peer

CHANNELS, SIZE = 64, 8


def largest_error(peer: Peer, folder: Path) -> float:
    """How far an engine's output leaves the true sums on extreme codes, as a share of the largest sum.

    Inputs are 0 or 1 and weights -1 or 1, so that every grid has them at its ends and the true sums are integers.
    Rounding the output to 8 bits costs at most 1/255, a weight grid whose end is 127.5 for 127 another 1/255; a pair
    of products that saturates, 255 * 127 * 2 cut to 32,767, about half of the sum.
    """
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 2, (1, CHANNELS, SIZE, SIZE)).astype(np.float32)
    signs = rng.choice([-1.0, 1.0], (CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
    signs[: CHANNELS // 2] = 1  # sums as large as they get
    conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
    conv.weight = nn.Parameter(torch.from_numpy(signs))
    with torch.inference_mode():
        exact = conv(torch.from_numpy(inputs)).numpy()  # integers below 2**24: exact in float32
    run = peer.prepare(nn.Sequential(conv).eval(), inputs, 1, folder)
    return float(np.abs(run() - exact).max() / np.abs(exact).max())


SATURATES = 0.05
"""Errors above this share are no rounding."""
