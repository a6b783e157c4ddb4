"""What a user asks calibration for: the method, the widths, the kind of scales and grids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from numbers import Integral
from typing import Literal, get_args

from intsim.errors import CalibrationError

Scales = Literal["pow2", "multiplier", "threshold"]
GridKind = Literal["symmetric", "asymmetric"]
Tuning = Literal["none", "batchnorm", "bias", "both"]

BITS = range(2, 9)
"""Widths of weights and activations."""
LAST_SEED = (1 << 32) - 1


@dataclass(frozen=True)
class LayerWidths:
    """Widths that one layer has in place of the general ones; None keeps the general one."""

    weight_bits: int | None = None
    act_bits: int | None = None

    def __post_init__(self) -> None:
        check_bits("weight_bits", self.weight_bits)
        check_bits("act_bits", self.act_bits)


@dataclass(frozen=True)
class Pixels:
    """The graph takes uint8 pixels p, and the network was trained on (p / 255 - mean) / std, per channel or for all."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.mean or not self.std or any(not s > 0 for s in self.std):
            raise CalibrationError(f"input u8: expected means and positive deviations, got {self.mean} and {self.std}")


@dataclass(frozen=True)
class Settings:
    """Everything that decides a calibration, besides the network and the images.

    method           one of METHODS
    weight_bits      of every layer, 2..8
    act_bits         of the codes that a layer reads, 2..8
    scales           pow2: all scales are powers of two, requantization shifts; multiplier: integer multiplier and
                     shift; threshold: comparisons up to 6 bits, multipliers above
    first_last_bits  weights and activations of the first and the last layer
    residual_bits    of the values that additions read and make
    widths           by layer, in place of all the above
    weight_grid      symmetric: zero point 0; asymmetric: one zero point for each scale
    act_grid         of activations that can be negative; the others are unsigned with zero point 0 either way
    per_channel      a weight scale for each output channel, else one for the layer
    equalize         give every channel that a depthwise layer reads a scale of its own, within its weights' scales
    tune             after the method: scales and biases for the float network's statistics (batchnorm), biases for its
                     logits (bias), both one after the other, or none
    pixels           mean and deviation where the graph is to take uint8 pixels
    seed             of everything random
    options          hyper-parameters of the method, as text; the others keep the method's defaults
    raises           CalibrationError for widths outside 2..8, unknown kinds and a seed below 0
    """

    method: str = "mse"
    weight_bits: int = 8
    act_bits: int = 8
    scales: Scales = "multiplier"
    first_last_bits: int = 8
    residual_bits: int = 8
    widths: Mapping[str, LayerWidths] = field(default_factory=dict)
    weight_grid: GridKind = "symmetric"
    act_grid: GridKind = "asymmetric"
    per_channel: bool = True
    equalize: bool = False
    tune: Tuning = "none"
    pixels: Pixels | None = None
    seed: int = 0
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("weight_bits", "act_bits", "first_last_bits", "residual_bits"):
            check_bits(name, getattr(self, name))
        if not isinstance(self.seed, Integral) or not 0 <= self.seed <= LAST_SEED:
            raise CalibrationError(f"seed: expected a whole number from 0 to {LAST_SEED}, got {self.seed!r}")
        words = {"scales": Scales, "weight_grid": GridKind, "act_grid": GridKind, "tune": Tuning}
        for name, kinds in words.items():
            if getattr(self, name) not in get_args(kinds):
                raise CalibrationError(f"{name}: expected {' or '.join(get_args(kinds))}, got {getattr(self, name)!r}")

    @property
    def power_of_two(self) -> bool:
        return self.scales == "pow2"

    def metadata(self) -> dict[str, str]:
        """The settings as text, for the file; widths by layer show in the graph itself."""
        own = ("widths", "pixels", "options")
        text = {name: str(value) for name, value in asdict(self).items() if name not in own}
        return text | {f"options.{name}": str(value) for name, value in self.options.items()}


def check_bits(name: str, bits: int | None) -> None:
    """CalibrationError unless `bits` is a width that layers may have, or None."""
    if bits is not None and (isinstance(bits, bool) or not isinstance(bits, int) or bits not in BITS):
        raise CalibrationError(f"{name}: expected {BITS[0]} to {BITS[-1]} bits, got {bits!r}")
