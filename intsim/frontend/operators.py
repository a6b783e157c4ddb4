"""ATen operators in normal form: one converter each, registered under the operator's name.

A converter reads the call's arguments by their names in the ATen schema and says which nodes of the float graph it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.fx import Node

from intsim.errors import CaptureError
from intsim.ir.types import Shape

Step = tuple[str, Mapping[str, Any], Mapping[str, NDArray[np.float32]], Shape]
"""Operator, attributes, arrays and shape of one node."""


@dataclass(frozen=True)
class Converted:
    """Nodes in a row: the first reads `inputs`, each other one its predecessor."""

    inputs: tuple[str, ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Call:
    """One traced operator.

    value  gives the name of the graph value that an argument is
    """

    node: Node
    constants: Mapping[Node, Tensor]
    shapes: Mapping[str, Shape]
    value: Callable[[Any], str]

    def __getitem__(self, name: str) -> Any:
        """An argument by its schema name, or its default."""
        schema = self.node.target._schema  # type: ignore[union-attr]
        for position, argument in enumerate(schema.arguments):
            if argument.name == name:
                if position < len(self.node.args):
                    return self.node.args[position]
                return self.node.kwargs.get(name, argument.default_value)
        raise KeyError(name)

    @property
    def shape(self) -> Shape:
        return self.shape_of(self.node)

    def shape_of(self, node: Node) -> Shape:
        extents = node.meta["val"].shape
        if any(not isinstance(e, int) for e in list(extents)[1:]):
            raise CaptureError(f"an extent other than the batch depends on the input: {tuple(extents)}")
        return tuple(None if i == 0 else int(e) for i, e in enumerate(extents))

    def array(self, name: str) -> NDArray[np.float32] | None:
        """A constant argument as float32, None where it is not given."""
        found = self[name]
        if found is None:
            return None
        if found not in self.constants:
            raise CaptureError(f"{name} is computed at run time; expected a parameter or a buffer")
        return self.constants[found].detach().float().cpu().numpy().copy()

    def constant(self, name: str) -> NDArray[np.float32] | None:
        """A number or a constant tensor, None for a value computed from the input."""
        found = self[name]
        if isinstance(found, int | float):
            return np.asarray(found, np.float32)
        return self.array(name) if found in self.constants else None

    def one(self, op: str, attributes: Mapping[str, Any] | None = None, **arrays: NDArray[np.float32]) -> Converted:
        """A single node that reads the first argument."""
        return Converted((self.value(self.node.args[0]),), ((op, attributes or {}, arrays, self.shape),))

    def weighted(self, op: str, attributes: Mapping[str, Any] | None = None) -> Converted:
        """A single node with a weight and, where there is one, a bias."""
        arrays = {name: found for name in ("weight", "bias") if (found := self.array(name)) is not None}
        return Converted((self.value(self.node.args[0]),), ((op, attributes or {}, arrays, self.shape),))


Converter = Callable[[Call], Converted | list[Converted]]
CONVERTERS: dict[str, Converter] = {}
IDENTITIES = frozenset(
    f"aten.{name}"
    for name in ("dropout.default", "clone.default", "contiguous.default", "detach.default", "alias.default",
                 "feature_dropout.default", "lift_fresh_copy.default", "_assert_tensor_metadata.default")
)  # fmt: skip


def converts(*names: str) -> Callable[[Converter], Converter]:
    """Register a converter for ATen operators."""

    def register(converter: Converter) -> Converter:
        CONVERTERS.update({f"aten.{name}": converter for name in names})
        return converter

    return register


def supported() -> str:
    """The operators that have an integer meaning, for error messages."""
    return ", ".join(sorted({name.removeprefix("aten.").split(".")[0].rstrip("_") for name in CONVERTERS}))


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    values = [value] if isinstance(value, int) else list(value)
    return (values[0], values[-1])


def _axis(axis: int, rank: int) -> int:
    return axis + rank if axis < 0 else axis


# --- sums of products -------------------------------------------------------------------------------------------------


@converts("conv2d.default", "conv2d.padding")
def _conv2d(call: Call) -> Converted:
    weight = call.array("weight")
    assert weight is not None
    stride, dilation = pair(call["stride"]), pair(call["dilation"])
    padding = call["padding"]
    if padding == "same":
        reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        edges = (reach[0] // 2, reach[0] - reach[0] // 2, reach[1] // 2, reach[1] - reach[1] // 2)
    else:
        vertical, horizontal = pair(0 if padding == "valid" else padding)
        edges = (vertical, vertical, horizontal, horizontal)
    attributes = {"stride": stride, "padding": edges, "dilation": dilation, "groups": call["groups"]}
    return call.weighted("conv2d", attributes)


@converts("linear.default")
def _linear(call: Call) -> Converted:
    return call.weighted("linear")


@converts("matmul.default", "bmm.default")
def _matmul(call: Call) -> Converted:
    operands = call.node.args[:2]
    return Converted(tuple(call.value(a) for a in operands), (("matmul", {}, {}, call.shape),))


# --- elementwise ------------------------------------------------------------------------------------------------------


def _per_channel(call: Call, constant: NDArray[np.float32], what: str) -> NDArray[np.float32]:
    """A constant operand as () or (C,) along axis 1."""
    if constant.size == 1:
        return constant.reshape(())
    shape = call.shape
    padded = (1,) * (len(shape) - constant.ndim) + constant.shape
    channel = 1 if len(shape) > 1 else 0
    if any(extent != 1 and axis != channel for axis, extent in enumerate(padded)):
        raise CaptureError(f"{what} varies along other axes than the channels: {constant.shape}")
    return constant.reshape(-1)


@converts("add.Tensor", "add_.Tensor", "sub.Tensor", "sub_.Tensor", "rsub.Scalar")
def _add(call: Call) -> Converted:
    negative = "sub" in str(call.node.target)
    sign = float(call["alpha"]) * (-1.0 if negative else 1.0)
    reverse = "rsub" in str(call.node.target)
    constant = call.constant("other")
    if constant is not None:
        offset = _per_channel(call, constant, "the summand")
        factor, offset = (np.float32(-1.0), offset) if reverse else (np.float32(1.0), np.float32(sign) * offset)
        return call.one("affine", factor=np.asarray(factor), offset=np.asarray(offset, np.float32))
    if call["self"] in call.constants:
        own = call.array("self")
        assert own is not None
        step: Step = (
            "affine",
            {},
            {"factor": np.asarray(np.float32(sign)), "offset": _per_channel(call, own, "the summand")},
            call.shape,
        )
        return Converted((call.value(call["other"]),), (step,))
    inputs = (call.value(call["self"]), call.value(call["other"]))
    if call.shapes[inputs[0]] != call.shapes[inputs[1]]:
        raise CaptureError(f"the summands differ in shape: {call.shapes[inputs[0]]} and {call.shapes[inputs[1]]}")
    return Converted(inputs, (("add", {"coefficients": (1.0, sign)}, {}, call.shape),))


@converts("mul.Tensor", "mul_.Tensor", "div.Tensor", "div_.Tensor")
def _mul(call: Call) -> Converted:
    divides = "div" in str(call.node.target)
    tensor, other = ("other", "self") if not divides and call["self"] in call.constants else ("self", "other")
    constant = call.constant(other)
    if constant is None:
        raise CaptureError("the product of two computed tensors; only constants multiply and divide")
    factor = _per_channel(call, constant, "the factor")
    factor = np.asarray(1 / factor if divides else factor, np.float32)
    return Converted((call.value(call[tensor]),), (("mul", {}, {"factor": factor}, call.shape),))


@converts("neg.default")
def _neg(call: Call) -> Converted:
    return call.one("mul", factor=np.asarray(-1.0, np.float32))


@converts("batch_norm.default", "_native_batch_norm_legit_no_training.default")
def _batch_norm(call: Call) -> Converted:
    mean, variance = call.array("running_mean"), call.array("running_var")
    if mean is None or variance is None:
        raise CaptureError("BatchNorm without running statistics has no constant meaning")
    weight, bias = call.array("weight"), call.array("bias")
    # In float64: the folded parameters are rounded to float32 once.
    factor = (1.0 if weight is None else weight.astype(np.float64)) / np.sqrt(variance.astype(np.float64) + call["eps"])
    offset = (0.0 if bias is None else bias.astype(np.float64)) - mean.astype(np.float64) * factor
    return call.one("affine", factor=factor, offset=offset)


@converts("relu.default", "relu_.default")
def _relu(call: Call) -> Converted:
    return call.one("relu")


def _clamp(call: Call, low: float | None, high: float | None) -> Converted:
    return call.one(
        "clamp", {"low": None if low is None else float(low), "high": None if high is None else float(high)}
    )


@converts("relu6.default", "relu6_.default")
def _relu6(call: Call) -> Converted:
    return _clamp(call, 0.0, 6.0)


@converts("hardtanh.default", "hardtanh_.default")
def _hardtanh(call: Call) -> Converted:
    return _clamp(call, call["min_val"], call["max_val"])


@converts("clamp.default", "clamp_.default", "clip.default")
def _clamp_default(call: Call) -> Converted:
    return _clamp(call, call["min"], call["max"])


@converts("clamp_min.default", "clamp_min_.default")
def _clamp_min(call: Call) -> Converted:
    return _clamp(call, call["min"], None)


@converts("prelu.default")
def _prelu(call: Call) -> Converted:
    slope = call.array("weight")
    assert slope is not None
    return call.one("prelu", slope=slope)


@converts("leaky_relu.default", "leaky_relu_.default")
def _leaky_relu(call: Call) -> Converted:
    return call.one("prelu", slope=np.asarray(call["negative_slope"], np.float32))


def _function(name: str) -> Converter:
    return lambda call: call.one("function", {"function": name})


for _name in ("sigmoid", "tanh", "silu", "hardswish", "hardsigmoid", "exp", "softplus", "elu", "mish"):
    converts(f"{_name}.default", f"{_name}_.default")(_function(_name))


@converts("gelu.default")
def _gelu(call: Call) -> Converted:
    return call.one("function", {"function": "gelu_tanh" if call["approximate"] == "tanh" else "gelu"})


# --- pooling ----------------------------------------------------------------------------------------------------------


def _windows(call: Call) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]:
    """Kernel, stride and padding (top, bottom, left, right), the last widened where ceil_mode rounds up."""
    kernel = pair(call["kernel_size"])
    stride = pair(call["stride"]) if call["stride"] else kernel
    vertical, horizontal = pair(call["padding"])
    edges = [vertical, vertical, horizontal, horizontal]
    extents = call.shapes[call.value(call.node.args[0])][2:]
    dilation = pair(call["dilation"]) if "max_pool" in str(call.node.target) else (1, 1)
    if call["ceil_mode"]:
        for axis in range(2):
            reach = (kernel[axis] - 1) * dilation[axis] + 1
            needed = (int(call.shape[2 + axis] or 0) - 1) * stride[axis] + reach
            have = int(extents[axis] or 0) + edges[2 * axis] + edges[2 * axis + 1]
            edges[2 * axis + 1] += max(0, needed - have)
    return kernel, stride, (edges[0], edges[1], edges[2], edges[3])


@converts("max_pool2d.default")
def _max_pool(call: Call) -> Converted:
    kernel, stride, padding = _windows(call)
    return call.one(
        "max_pool", {"kernel": kernel, "stride": stride, "padding": padding, "dilation": pair(call["dilation"])}
    )


@converts("avg_pool2d.default")
def _avg_pool(call: Call) -> Converted:
    if call["divisor_override"] is not None:
        raise CaptureError("divisor_override is not supported")
    if call["ceil_mode"] and call["count_include_pad"]:
        raise CaptureError("ceil_mode with count_include_pad divides by cells beyond the padding; turn one of them off")
    kernel, stride, padding = _windows(call)
    included = bool(call["count_include_pad"])
    return call.one("avg_pool", {"kernel": kernel, "stride": stride, "padding": padding, "count_include_pad": included})


@converts("adaptive_avg_pool2d.default")
def _adaptive_avg_pool(call: Call) -> Converted:
    height, width = (int(e or 0) for e in call.shapes[call.value(call.node.args[0])][2:])
    rows, columns = (int(e or 0) for e in call.shape[2:])
    if height % rows == 0 and width % columns == 0:
        kernel = (height // rows, width // columns)
        return call.one(
            "avg_pool", {"kernel": kernel, "stride": kernel, "padding": (0, 0, 0, 0), "count_include_pad": True}
        )
    return call.one("adaptive_avg_pool", {"output": (rows, columns)})


@converts("mean.dim")
def _mean(call: Call) -> Converted:
    source = call.value(call.node.args[0])
    shape = call.shapes[source]
    axes = sorted(_axis(a, len(shape)) for a in call["dim"])
    if len(shape) != 4 or axes != [2, 3]:
        raise CaptureError(f"the mean over axes {axes} of {shape}; expected height and width of (N, C, H, W)")
    kernel = (int(shape[2] or 0), int(shape[3] or 0))
    attributes = {"kernel": kernel, "stride": kernel, "padding": (0, 0, 0, 0), "count_include_pad": True}
    steps: list[Step] = [("avg_pool", attributes, {}, (*shape[:2], 1, 1))]
    if not call["keepdim"]:
        steps.append(("reshape", {"shape": call.shape}, {}, call.shape))
    return Converted((source,), tuple(steps))


# --- movement ---------------------------------------------------------------------------------------------------------


@converts("cat.default")
def _cat(call: Call) -> Converted:
    inputs = tuple(call.value(t) for t in call["tensors"])
    axis = _axis(call["dim"], len(call.shape))
    if axis == 0:
        raise CaptureError("concatenation along the batch")
    return Converted(inputs, (("concat", {"axis": axis}, {}, call.shape),))


def _slice(source: str, shape: Shape, axis: int, start: int, stop: int, step: int = 1) -> Converted:
    starts, stops, steps = [0] * len(shape), [0 if e is None else e for e in shape], [1] * len(shape)
    starts[axis], stops[axis], steps[axis] = start, stop, step
    extent = len(range(start, stop, step))
    result = (*shape[:axis], extent, *shape[axis + 1 :])
    attributes = {"starts": tuple(starts), "stops": tuple(stops), "steps": tuple(steps)}
    return Converted((source,), (("slice", attributes, {}, result),))


@converts("slice.Tensor")
def _slice_tensor(call: Call) -> Converted:
    source = call.value(call.node.args[0])
    shape = call.shapes[source]
    axis = _axis(call["dim"], len(shape))
    extent = shape[axis]
    start, stop, step = call["start"] or 0, call["end"], call["step"]
    if extent is None:
        if start == 0 and (stop is None or stop > 1 << 40) and step == 1:
            return Converted((source,), ())
        raise CaptureError("a slice of the batch")
    start, stop, step = slice(start, stop, step).indices(extent)
    return (
        Converted((source,), ())
        if (start, stop, step) == (0, extent, 1)
        else _slice(source, shape, axis, start, stop, step)
    )


@converts("split.Tensor", "chunk.default", "split_with_sizes.default", "split.sizes", "tensor_split.sections")
def _split(call: Call) -> list[Converted]:
    source = call.value(call.node.args[0])
    shape = call.shapes[source]
    axis = _axis(call["dim"], len(shape))
    sizes = [int(part.shape[axis]) for part in call.node.meta["val"]]
    ends = np.cumsum(sizes)
    return [_slice(source, shape, axis, int(end) - size, int(end)) for size, end in zip(sizes, ends, strict=True)]


@converts("permute.default")
def _permute(call: Call) -> Converted:
    rank = len(call.shape)
    return call.one("permute", {"order": tuple(_axis(a, rank) for a in call["dims"])})


@converts("transpose.int")
def _transpose(call: Call) -> Converted:
    order = list(range(len(call.shape)))
    a, b = _axis(call["dim0"], len(order)), _axis(call["dim1"], len(order))
    order[a], order[b] = order[b], order[a]
    return call.one("permute", {"order": tuple(order)})


@converts("view.default", "reshape.default", "flatten.using_ints", "squeeze.dim", "squeeze.dims", "unsqueeze.default",
          "_unsafe_view.default", "squeeze.default")  # fmt: skip
def _reshape(call: Call) -> Converted:
    source = call.value(call.node.args[0])
    before, after = (math.prod(e or 1 for e in s) for s in (call.shapes[source], call.shape))
    if before != after:
        raise CaptureError(f"a reshape that mixes the batch with other axes: {call.shapes[source]} to {call.shape}")
    return call.one("reshape", {"shape": call.shape})


@converts("pad.default", "constant_pad_nd.default")
def _pad(call: Call) -> Converted:
    if "constant_pad_nd" not in str(call.node.target) and call["mode"] != "constant":
        raise CaptureError(f"padding by {call['mode']}; only zeros pad")
    if call["value"] not in (None, 0, 0.0):
        raise CaptureError(f"padding with {call['value']}; only zeros pad")
    rank, amounts = len(call.shape), list(call["pad"])
    before, after = [0] * rank, [0] * rank
    for i in range(len(amounts) // 2):
        before[rank - 1 - i], after[rank - 1 - i] = amounts[2 * i], amounts[2 * i + 1]
    if min(before + after) < 0:
        raise CaptureError(f"negative padding {amounts}; slice instead")
    return call.one("pad", {"before": tuple(before), "after": tuple(after)})


@converts("upsample_nearest2d.default", "upsample_nearest2d.vec", "upsample_nearest1d.vec")
def _upsample(call: Call) -> Converted:
    source = call.shapes[call.value(call.node.args[0])][2:]
    factors = [int(after or 0) / int(before or 1) for before, after in zip(source, call.shape[2:], strict=True)]
    if any(f != int(f) for f in factors):
        raise CaptureError(f"nearest upsampling by {factors}; only integer factors")
    return call.one("upsample", {"factors": tuple(int(f) for f in factors)})


# --- quantizers -------------------------------------------------------------------------------------------------------


def _fake_quantize(call: Call) -> Converted:
    scale = call.array("scale")
    assert scale is not None
    attributes = {name: call[name] for name in ("zero_point", "low", "high")}
    return call.one("quantize", attributes, scale=scale.reshape(()))


CONVERTERS["intsim.fake_quantize.default"] = _fake_quantize
