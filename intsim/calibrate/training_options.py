"""Hyper-parameters that every reconstruction has; free of PyTorch, so that `intsim methods` can list them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from intsim.errors import CalibrationError

Start = Literal["mse", "least_squares"]
"""The method without training that says where training begins."""


def check_counts(options: object, least: int, *names: str) -> None:
    """CalibrationError for the first of these options that is below `least`."""
    for name in names:
        if getattr(options, name) < least:
            raise CalibrationError(f"{name}: expected at least {least}, got {getattr(options, name)}")


def check_shares(options: object, *names: str) -> None:
    """CalibrationError for the first of these options that is not in 0..1."""
    for name in names:
        if not 0 <= getattr(options, name) <= 1:
            raise CalibrationError(f"{name}: expected 0 to 1, got {getattr(options, name)}")


def check_rates(options: object) -> None:
    """CalibrationError for the first learning rate, or weight of a regulariser, that is below 0 or no finite number."""
    for name, value in vars(options).items():
        if (name.endswith("_rate") or name == "regulariser") and not 0 <= value < math.inf:
            raise CalibrationError(f"{name}: expected a finite number of at least 0, got {value}")


@dataclass(frozen=True)
class TrainingOptions:
    """Iterations of each unit, and learning rates of each kind of parameter.

    Rates are changes per iteration (Adam's) at the start of a cosine to 0: of weights and zero points in quantization
    steps, of scales in shares of themselves, of biases in units of what rounding the layer's inputs does to its result.
    start: the method whose codes, scales and zero points training begins with.
    An iteration has `batch` images, fewer where feature maps are larger than 32x32, whose positions blur less.
    raises  CalibrationError for counts below 1 and rates below 0
    """

    iterations: int = 500
    batch: int = 32
    weight_rate: float = 1e-2
    weight_scale_rate: float = 1e-3
    bias_rate: float = 1e-2
    act_scale_rate: float = 1e-3
    act_zero_point_rate: float = 1e-2
    start: Start = "mse"

    def __post_init__(self) -> None:
        check_counts(self, 1, "iterations", "batch")
        check_rates(self)

    @property
    def rates(self) -> dict[str, float]:
        """Learning rates by the kind of parameter, as trainable quantizers name them."""
        return {
            "weight": self.weight_rate,
            "weight_scale": self.weight_scale_rate,
            "bias": self.bias_rate,
            "act_scale": self.act_scale_rate,
            "act_zero_point": self.act_zero_point_rate,
        }
