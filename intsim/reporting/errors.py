"""What roundings do to every layer, file by file: the page of `intsim report` where it is given a network and data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from intsim.reporting.figures import BOTTOM, LEFT, RIGHT, TOP, Curve, LinearAxis, curve


@dataclass(frozen=True)
class LayerErrors:
    """Signal to quantization noise, in dB, against the float network; more is better, 6 dB are a bit.

    images   that were measured
    files    file -> layer -> dB, errors of all layers before it included; infinite where nothing was lost. The same
             layers in each, in order. The first file is what the others are compared with.
    """

    images: int
    files: Mapping[str, Mapping[str, float]]

    @cached_property
    def layers(self) -> tuple[str, ...]:
        return tuple(self.files[self.first])

    @property
    def first(self) -> str:
        return next(iter(self.files))

    def gains(self, file: str) -> list[float]:
        """By how many dB each layer of a file is better than in the first file; 0 where both lost nothing."""
        before, after = self.files[self.first], self.files[file]
        return [0.0 if before[name] == after[name] else after[name] - before[name] for name in self.layers]

    def median_gain(self, file: str) -> float:
        return median(self.gains(file))

    @staticmethod
    def text(decibels: float) -> str:
        """ "exact" where nothing was lost, "none" for noise without a signal."""
        return f"{decibels:.1f}" if math.isfinite(decibels) else "exact" if decibels > 0 else "none"

    @cached_property
    def x(self) -> LinearAxis:
        """Numbers of layers, from 1."""
        return LinearAxis(0.5, len(self.layers) + 0.5, LEFT, RIGHT)

    @cached_property
    def y(self) -> LinearAxis:
        """In dB."""
        finite = [value for values in self.files.values() for value in values.values() if math.isfinite(value)] or [0.0]
        return LinearAxis(min(*finite, 0.0), max(finite) + 1, BOTTOM, TOP)

    @property
    def curves(self) -> list[Curve]:
        return [curve(file, list(values.values()), self.x, self.y) for file, values in self.files.items()]
