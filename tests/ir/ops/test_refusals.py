"""Every operator says which operand does not fit, and why: each refusal once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from intsim.arithmetic.requantize import EngineRule
from intsim.arithmetic.rounding import Rounding
from intsim.dtypes import S32, IntType
from intsim.errors import GraphError
from intsim.ir import ops
from intsim.ir.check import check
from intsim.ir.graph import Graph, Node
from intsim.ir.types import Grid, Scale, TensorType, Value, plain

pytestmark = pytest.mark.torchless

U4, S8, U1 = IntType(False, 4), IntType(True, 8), IntType(False, 1)
CODES = Grid(U4, Scale((0.5,)))
TWO_SCALES = Grid(U4, Scale((0.5, 0.25)))
TWO_ZEROS = Grid(U4, Scale((0.5,)), (1, 2))
ODD = Grid(IntType(True, 2), Scale((0.5,)), (-1,), step=2)
WIDE = Grid(IntType(True, 40), Scale((0.5,)))
EVEN = Rounding.HALF_EVEN


def codes(*shape: int, grid: Grid = CODES) -> TensorType:
    return TensorType(grid, (None, *shape))


def plain_type(*shape: int, element: IntType = S32) -> TensorType:
    return TensorType(plain(element), shape)


IMAGE, KERNEL, REALS = codes(2, 6, 6), plain_type(4, 2, 3, 3, element=S8), TensorType(None, (None, 2, 6, 6))
ONE, FLAG = plain_type(1), plain_type(1, element=U1)


@pytest.mark.parametrize(
    ("op", "operands", "message"),
    [
        (ops.Conv2d(), (codes(2, 6), KERNEL), r"expected x \(N, C, H, W\) and weight"),
        (ops.Conv2d(stride=(0, 1)), (IMAGE, KERNEL), "stride and dilation are positive"),
        (ops.Conv2d(padding=(-1, 0, 0, 0)), (IMAGE, KERNEL), "padding is not negative"),
        (ops.Conv2d(), (codes(3, 6, 6), KERNEL), "with 1 groups but the input has 3 channels"),
        (ops.Conv2d(groups=3), (codes(6, 6, 6), KERNEL), "with 3 groups but the input has 6 channels"),
        (ops.Conv2d(pad_code=16), (IMAGE, KERNEL), "pad_code 16 is not a u4"),
        (ops.Conv2d(padding=(0, 0, 1, 0)), (codes(2, 6, 6, grid=ODD), KERNEL), "has no zero to pad with: give a pad"),
        (ops.Conv2d(dilation=(3, 1)), (IMAGE, KERNEL), "the kernel 3x3 does not fit the padded input"),
        (ops.Conv2d(), (IMAGE, KERNEL, plain_type(3)), r"bias: expected shape \[4\]"),
        (ops.Conv2d(), (IMAGE, KERNEL, TensorType(CODES, (4,))), "bias: expected plain integers"),
        (ops.Conv2d(), (codes(2, 6, 6, grid=TWO_SCALES), KERNEL), "the input has 2 scales"),
        (ops.Conv2d(), (IMAGE, TensorType(Grid(S8, Scale((0.5, 1.0))), (2, 2, 3, 3))), "scales along axis 1"),
        (ops.Conv2d(), (REALS, KERNEL), "expected integer codes, got float32"),
        (ops.Linear(), (codes(6), plain_type(6)), r"expected x \(N, .., K\) and weight \(O, K\)"),
        (ops.Linear(), (codes(6), plain_type(4, 5)), "the input's last axis has 6 entries"),
        (ops.Linear(), (codes(2, grid=TWO_ZEROS), plain_type(4, 2)), "one grid per channel"),
        (ops.Matmul(), (codes(4, 5), codes(4, 5)), r"expected a \(N, .., M, K\) and b \(N, .., K, L\)"),
        (ops.Matmul(), (codes(2, 5, grid=TWO_ZEROS), codes(5, 2)), "both operands need one grid per tensor"),
        (ops.Add(CODES, EVEN), (IMAGE, ONE), "expected n tensors, n multipliers and a shift"),
        (ops.Add(CODES, EVEN), (IMAGE, codes(2, 6, 5), ONE, ONE, ONE), "the terms differ in shape"),
        (ops.Add(CODES, EVEN), (IMAGE, plain_type(3), ONE), r"multiplier: expected shape \[1\] or \[2\]"),
        (ops.Add(CODES, EVEN), (IMAGE, ONE, TensorType(CODES, (1,))), "shift: expected plain integers"),
        (ops.Add(TWO_SCALES, EVEN), (IMAGE, ONE, ONE), "the result needs one scale, one zero point and step 1"),
        (ops.Clamp(3, 2), (IMAGE,), r"bounds 3..2 leave u4"),
        (ops.Clamp(0, 16), (IMAGE,), r"bounds 0..16 leave u4"),
        (ops.Mul(), (IMAGE, plain_type(3)), r"factor: expected shape \[1\] or \[2\]"),
        (ops.PRelu(32), (IMAGE, ONE), r"fraction_bits: expected 0..31"),
        (ops.PRelu(4), (IMAGE, plain_type(3)), r"slope: expected shape \[1\] or \[2\]"),
        (ops.Quantize(CODES), (IMAGE,), "expected float32, got u4"),
        (ops.Quantize(ODD), (REALS,), "one zero point and step 1"),
        (ops.Quantize(WIDE), (REALS,), "float32 gives at most 32 bits"),
        (ops.RequantizeShift(CODES, EVEN), (REALS, ONE), "expected integer codes, got float32"),
        (ops.RequantizeShift(CODES, EVEN), (IMAGE, plain_type(2, 1)), "shift: expected shape"),
        (ops.RequantizeShift(CODES, EVEN, low=-1), (IMAGE, ONE), r"bounds -1..None leave u4"),
        (ops.RequantizeMultiplier(ODD, EVEN), (IMAGE, ONE, ONE), "the result needs one scale"),
        (ops.RequantizeMultiplier(CODES, EVEN), (IMAGE, plain_type(3), ONE), "multiplier: expected shape"),
        (ops.RequantizeMultiplier(CODES, EngineRule.RUY, True), (IMAGE, ONE, ONE), "adds the zero point after"),
        (ops.RequantizeFloat32(CODES, (1.0,) * 3), (IMAGE,), "expected 1 or 2 factors, got 3"),
        (ops.RequantizeFloat32(CODES, (float("nan"),)), (IMAGE,), "a factor is NaN or infinite as float32"),
        (ops.RequantizeFloat32(CODES, (1e39,)), (IMAGE,), "a factor is NaN or infinite as float32"),
        (ops.RequantizeFloat32(WIDE, (1.0,)), (IMAGE,), "float32 gives at most 32 bits"),
        (ops.Threshold(ODD), (IMAGE, plain_type(1, 3), ONE, FLAG, FLAG), "the result needs one scale"),
        (ops.Threshold(CODES), (IMAGE, plain_type(3, 3), ONE, FLAG, FLAG), r"thresholds: expected shape \[1 or 2, L\]"),
        (ops.Threshold(CODES), (IMAGE, TensorType(CODES, (1, 3)), ONE, FLAG, FLAG), "thresholds: expected plain"),
        (ops.Threshold(CODES), (IMAGE, plain_type(1, 3), plain_type(3), FLAG, FLAG), "base: expected shape"),
        (ops.Threshold(CODES), (IMAGE, plain_type(1, 3), ONE, ONE, FLAG), "strict and descending are u1 flags"),
        (ops.Table(CODES), (codes(2, grid=Grid(IntType(True, 13), Scale((1.0,)))), ONE), "is too large"),
        (ops.Table(CODES), (IMAGE, plain_type(15, element=U4)), "expected a table of 16 entries"),
        (ops.Table(CODES), (IMAGE, plain_type(16, element=S8)), "expected u4 entries"),
        (ops.MaxPool((2, 2), (1, 1)), (codes(6, 6),), r"expected \(N, C, H, W\)"),
        (ops.MaxPool((2, 2), (1, 1)), (REALS,), "expected integer codes, got float32"),
        (ops.MaxPool((0, 2), (1, 1)), (IMAGE,), "kernel, stride and dilation are positive"),
        (ops.MaxPool((2, 2), (1, 1), (2, 0, 0, 0)), (IMAGE,), "is not smaller than the kernel"),
        (ops.MaxPool((7, 2), (1, 1)), (IMAGE,), "does not fit the padded input"),
        (ops.AveragePool(CODES, EVEN, (2, 2), (1, 1)), (codes(2, 6, 6, grid=TWO_ZEROS),), "on one grid"),
        (ops.AveragePool(ODD, EVEN, (2, 2), (1, 1)), (IMAGE,), "the result needs one scale"),
        (ops.AveragePool(CODES, EVEN, (2, 0), (1, 1)), (IMAGE,), "kernel and stride are positive"),
        (ops.AveragePool(CODES, EVEN, (2, 2), (1, 1), (0, 0, 0, 2)), (IMAGE,), "is not smaller than the kernel"),
        (ops.AveragePool(CODES, EVEN, (7, 1), (1, 1)), (IMAGE,), "no window fits"),
        (ops.AveragePool(CODES, EVEN, (2, 2), (1, 1), multiplier=1 << 58), (IMAGE,), "leave int64"),
        (ops.AveragePool(CODES, EVEN, (2, 2), (1, 1), shift=61), (IMAGE,), "leave int64"),
        (ops.AdaptiveAveragePool(CODES, EVEN, (7, 1)), (IMAGE,), r"output \(7, 1\) exceeds"),
        (ops.Concat(1), (), "expected at least one tensor"),
        (ops.Concat(0), (IMAGE,), r"axis 0 of .*: expected 1..3"),
        (ops.Concat(1), (IMAGE, codes(2, 6, 6, grid=ODD)), "grids differ"),
        (ops.Concat(1), (IMAGE, codes(2, 5, 6)), "do not fit along axis 1"),
        (ops.Concat(2), (codes(2, 6, grid=TWO_ZEROS),), "expected one scale and zero point per tensor"),
        (ops.Slice((0,), (1,), (1,)), (IMAGE,), "expected one range for each axis"),
        (ops.Slice((0, 0), (0, 7), (1, 1)), (codes(6),), "range 0:7:1 leaves an axis of 6"),
        (ops.Slice((0, 0), (0, 6), (1, 0)), (codes(6),), "range 0:6:0 leaves an axis of 6"),
        (ops.Permute((0, 1)), (IMAGE,), "is no permutation of 4 axes"),
        (ops.Permute((1, 0)), (codes(6),), "the batch stays the first axis"),
        (ops.Reshape((72, 1)), (IMAGE,), "the batch stays the first axis"),
        (ops.Reshape((None, 71)), (IMAGE,), "has 72 elements an image"),
        (ops.Pad((0, 0), (0, 0)), (IMAGE,), "expected one amount for each axis"),
        (ops.Pad((0, -1), (0, 0)), (codes(6),), "amounts of padding are not negative"),
        (ops.Pad((0, 0), (1, 0)), (codes(6),), "the batch cannot be padded"),
        (ops.Pad((0, 0), (0, 1), 16), (codes(6),), "code 16 is not a u4"),
        (ops.Pad((0, 0), (0, 1)), (codes(6, grid=ODD),), "has no zero to pad with: give a code"),
        (ops.Upsample((2, 2)), (codes(6),), "do not fit"),
        (ops.Upsample((0,)), (codes(6),), "do not fit"),
    ],
)  # fmt: skip
def test_a_type_rule_refuses(op: Any, operands: tuple[TensorType, ...], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        op.infer(*operands)


def constant(values: object, element: IntType = S32) -> Value:
    array = np.asarray(values, element.storage)
    return Value(TensorType(plain(element), array.shape), array)


ZERO, NOT, U3 = constant([0]), constant([0], U1), Grid(IntType(False, 3), Scale((0.5,)))
LONG = IntType(True, 40)


@pytest.mark.parametrize(
    ("op", "parameters", "message"),
    [
        (ops.RequantizeShift(CODES, EVEN), (constant([32]),), r"shifts 32..32 leave -31..31"),
        (ops.RequantizeMultiplier(CODES, EVEN), (constant([1 << 31], LONG), ZERO), "multipliers .* leave"),
        (ops.RequantizeMultiplier(CODES, EngineRule.RUY), (constant([-1]), ZERO), r"multipliers -1..-1 leave 0.."),
        (ops.RequantizeMultiplier(CODES, EVEN), (ZERO, constant([63])), r"shifts 63..63 leave -31..62"),
        (ops.Add(CODES, EVEN), (constant([-(1 << 32)], LONG), ZERO), "multipliers .* leave"),
        (ops.Add(CODES, EVEN), (ZERO, constant([-32])), r"shifts -32..-32 leave -31..62"),
        (ops.Threshold(CODES), (constant([[1, 2], [2, 1]]), ZERO, NOT, NOT), "thresholds of channel 1 are not sorted"),
        (ops.Threshold(U3), (constant([range(8)]), ZERO, NOT, NOT), "codes from 0 to 8, base and thresholds, leave u3"),
        (ops.Threshold(U3), (constant([[1]]), constant([-1]), NOT, NOT), "codes from -1 to 0"),
    ],
)
def test_parameters_that_an_operator_does_not_define_are_refused(
    op: Any, parameters: tuple[Value, ...], message: str
) -> None:
    constants = {f"p{i}": value for i, value in enumerate(parameters)}
    graph = Graph({"x": codes(2, 6, 6)}, constants, (Node("y", op, ("x", *constants)),), ("y",))
    with pytest.raises(GraphError, match=rf"{op.mnemonic} 'y': {message}"):
        check(graph)


def test_thresholds_that_only_fill_a_row_count_no_code() -> None:
    filled = constant([[-5, S32.max, S32.max], [S32.min, S32.min, 5]])
    operands = filled, ZERO, NOT, constant([0, 1], U1)
    ops.Threshold(Grid(U1, Scale((0.5,)))).check_parameters(*operands)


def test_parameters_must_be_constants() -> None:
    inputs = {"x": codes(2, 6, 6), "shift": TensorType(plain(S32), (1,))}
    op = ops.RequantizeShift(CODES, EVEN)
    with pytest.raises(GraphError, match="'shift' must be a constant"):
        check(Graph(inputs, {}, (Node("y", op, ("x", "shift")),), ("y",)))


def test_the_number_of_operands_is_part_of_the_type() -> None:
    with pytest.raises(GraphError, match="clamp 'y': does not take 2 operands"):
        check(Graph({"x": codes(2)}, {}, (Node("y", ops.Clamp(), ("x", "x")),), ("y",)))
