"""The operators of the integer graph; importing this package registers them all."""

from intsim.ir.ops.add import Add
from intsim.ir.ops.clamp import Clamp
from intsim.ir.ops.conv2d import Conv2d
from intsim.ir.ops.linear import Linear
from intsim.ir.ops.matmul import Matmul
from intsim.ir.ops.movement import Concat, Pad, Permute, Reshape, Slice, Upsample
from intsim.ir.ops.mul import Mul
from intsim.ir.ops.pool import AdaptiveAveragePool, AveragePool, MaxPool
from intsim.ir.ops.prelu import PRelu
from intsim.ir.ops.quantize import Quantize
from intsim.ir.ops.requantize import RequantizeFloat32, RequantizeMultiplier, RequantizeShift
from intsim.ir.ops.table import Table
from intsim.ir.ops.threshold import Threshold

__all__ = [
    "AdaptiveAveragePool",
    "Add",
    "AveragePool",
    "Clamp",
    "Concat",
    "Conv2d",
    "Linear",
    "Matmul",
    "MaxPool",
    "Mul",
    "PRelu",
    "Pad",
    "Permute",
    "Quantize",
    "RequantizeFloat32",
    "RequantizeMultiplier",
    "RequantizeShift",
    "Reshape",
    "Slice",
    "Table",
    "Threshold",
    "Upsample",
]
