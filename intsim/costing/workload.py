"""What a layer asks of an accelerator: its extents and widths, and the matrix multiplication that it is.

Everything here is per sample; the batch is an argument of the estimate, because a graph does not know it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from intsim.errors import CostError


def ceil_div(a: int, b: int) -> int:
    """Smallest integer that is at least a / b, for b > 0."""
    return -(-a // b)


@dataclass(frozen=True)
class Gemm:
    """`count` independent products of an (m, k) by a (k, n) matrix."""

    m: int
    k: int
    n: int
    count: int = 1

    @property
    def macs(self) -> int:
        return self.count * self.m * self.k * self.n


@dataclass(frozen=True)
class Layer:
    """One layer with multiply-accumulates: a convolution, a linear layer or a product of two activations.

    name          the layer's name; layers that differ in nothing else, or in live_bits, cost the same and compare equal
    kind          conv, linear (a 1x1 convolution over `out_width` positions), or matmul (the second operand is an
                  activation too, one per group and sample, so the batch multiplies `groups` instead of the rows)
    in_channels, out_channels    over all groups
    in_height, in_width          input positions that are stored, padding excluded
    out_height, out_width        output positions
    kernel, stride, dilation     (vertical, horizontal)
    weight_bits, act_bits, out_bits    widths of the second operand, the first and the result as stored
    from_input    the activations are the network's input (Bit Fusion treats such a convolution apart)
    act_groups    of real activations, taken as a serial target loads them: how many groups need 1, 2, .. act_bits bits;
                  empty where they are not known (trimming.py)
    input_on_chip, output_on_chip    what it reads and what it makes never leave the chip (residency.py)
    live_bits     of all activations that must be kept until the next layer begins, per sample; 0 where not known
    raises        CostError if an extent is below 1 or the groups do not divide the channels
    """

    name: str = field(compare=False)
    kind: Literal["conv", "linear", "matmul"]
    in_channels: int
    out_channels: int
    weight_bits: int
    act_bits: int
    out_bits: int
    in_height: int = 1
    in_width: int = 1
    out_height: int = 1
    out_width: int = 1
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    from_input: bool = False
    act_groups: tuple[int, ...] = ()
    input_on_chip: bool = False
    output_on_chip: bool = False
    live_bits: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        extents = [self.in_channels, self.out_channels, self.weight_bits, self.act_bits, self.out_bits, self.groups]
        extents += [self.in_height, self.in_width, self.out_height, self.out_width]
        extents += [*self.kernel, *self.stride, *self.dilation]
        if min(extents) < 1:
            raise CostError(f"layer '{self.name}': every extent and width must be at least 1, got {min(extents)}")
        if self.act_groups and (len(self.act_groups) > self.act_bits or sum(self.act_groups) == 0):
            raise CostError(
                f"layer '{self.name}': expected groups of at most {self.act_bits} bits, got {self.act_groups}"
            )
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise CostError(
                f"layer '{self.name}': {self.groups} groups do not divide its {self.in_channels} input and "
                f"{self.out_channels} output channels"
            )

    @property
    def group_in_channels(self) -> int:
        return self.in_channels // self.groups

    @property
    def group_out_channels(self) -> int:
        return self.out_channels // self.groups

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one sample, products with padding included."""
        return self.gemm(1).macs

    def gemm(self, batch: int) -> Gemm:
        """M output pixels of the batch, K = input channels of a group x kernel, N output channels of a group."""
        pixels = self.out_height * self.out_width
        depth = self.group_in_channels * self.kernel[0] * self.kernel[1]
        if self.kind == "matmul":
            return Gemm(pixels, depth, self.group_out_channels, self.groups * batch)
        return Gemm(batch * pixels, depth, self.group_out_channels, self.groups)

    def input_bits(self, gemm: Gemm, rows: int) -> int:
        """Bits of stored input, of one group, that a tile of `rows` rows of the matrix view can need.

        Tiles begin at multiples of their rows. Lines between the first and the last that a tile needs are counted too.
        """
        pixels = self.out_height * self.out_width
        images = min(gemm.m // pixels, _spanned(rows, pixels))
        stored = images * self.in_height
        if rows < pixels:
            lines = _spanned(rows, self.out_width)
            window = (self.kernel[0] - 1) * self.dilation[0] + 1
            stored = min(stored, (lines - images) * self.stride[0] + images * window)
        return stored * self.in_width * self.group_in_channels * self.act_bits


def _spanned(count: int, size: int) -> int:
    """Pieces of `size` that `count` items can touch, beginning at a multiple of `count`."""
    if count % size == 0 or size % count == 0:
        return ceil_div(count, size)
    return ceil_div(count - 1, size) + 1
