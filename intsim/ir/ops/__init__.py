"""The operators of the integer graph; importing this package registers them all."""

from intsim.ir.ops.add import Add
from intsim.ir.ops.avg_pool import AdaptiveAveragePool, AveragePool
from intsim.ir.ops.clamp import Clamp
from intsim.ir.ops.concat import Concat
from intsim.ir.ops.conv2d import Conv2d
from intsim.ir.ops.linear import Linear
from intsim.ir.ops.matmul import Matmul
from intsim.ir.ops.max_pool import MaxPool
from intsim.ir.ops.mul import Mul
from intsim.ir.ops.pad import Pad
from intsim.ir.ops.permute import Permute
from intsim.ir.ops.prelu import PRelu
from intsim.ir.ops.quantize import Quantize
from intsim.ir.ops.requantize_float32 import RequantizeFloat32
from intsim.ir.ops.requantize_multiplier import RequantizeMultiplier
from intsim.ir.ops.requantize_shift import RequantizeShift
from intsim.ir.ops.reshape import Reshape
from intsim.ir.ops.slice import Slice
from intsim.ir.ops.table import Table
from intsim.ir.ops.threshold import Threshold
from intsim.ir.ops.upsample import Upsample

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
