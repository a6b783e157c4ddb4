"""How many bits real activations need, in the groups that a serial target takes in one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim.costing.target import SerialTarget
from intsim.costing.workload import Layer


def trimmed_layers(layers: Sequence[Layer], codes: Mapping[str, NDArray[Any]], target: SerialTarget) -> list[Layer]:
    """The layers with the widths that their real activations need on `target`; those without codes stay as they are.

    codes   by layer what it reads, integers (N, channels, ..)
    """
    lanes, columns = target.throughput(layers[0]).k if layers else 1, target.size.columns
    return [
        replace(layer, act_groups=act_groups(codes[layer.name], layer.act_bits, lanes, columns))
        if layer.name in codes
        else layer
        for layer in layers
    ]


def act_groups(codes: NDArray[Any], bits: int, lanes: int, columns: int) -> tuple[int, ...]:
    """How many groups need 1, 2, .. `bits` bits: the highest bit set in any of `lanes` channels of `columns` positions,
    and one more where one is negative.

    codes   integers (N, channels, ..); positions are those of the input, in order: with a stride, neighbouring windows
            are further apart than that
    """
    flat = codes.reshape(*codes.shape[:2], -1).astype(np.int64)
    images, channels, positions = flat.shape
    padded = np.pad(flat, ((0, 0), (0, -channels % lanes), (0, -positions % columns)))
    groups = padded.reshape(images, -1, lanes, padded.shape[2] // columns, columns)
    magnitude = np.abs(groups).max(axis=(2, 4))
    needed = np.frexp(magnitude.astype(np.float64))[1] + (groups < 0).any(axis=(2, 4))
    counts = np.bincount(np.clip(needed, 1, bits).ravel(), minlength=bits + 1)[1:]
    return tuple(int(count) for count in counts)
