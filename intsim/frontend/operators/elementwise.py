"""Element by element: additions, constants, BatchNorm, activations, quantizers."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from intsim.errors import CaptureError
from intsim.frontend.operators.call import Call, Converted, Step, converts


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
    gamma = np.ones(len(mean), np.float32) if weight is None else weight
    factor = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + call["eps"])
    offset = (0.0 if bias is None else bias.astype(np.float64)) - mean.astype(np.float64) * factor
    return call.one("affine", factor=factor, offset=offset, gamma=gamma)


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


def _function(call: Call) -> Converted:
    name = str(call.node.target).split(".")[1].rstrip("_")
    for argument in call.schema.arguments[1:]:
        if call[argument.name] != argument.default_value:
            raise CaptureError(f"{argument.name}={call[argument.name]}; only {argument.default_value}, the default")
    return call.one("function", {"function": name})


for _name in ("sigmoid", "tanh", "silu", "hardswish", "hardsigmoid", "exp", "softplus", "elu", "mish"):
    converts(f"{_name}.default", f"{_name}_.default")(_function)


@converts("gelu.default")
def _gelu(call: Call) -> Converted:
    return call.one("function", {"function": "gelu_tanh" if call["approximate"] == "tanh" else "gelu"})


@converts("to.dtype")
def _to_dtype(call: Call) -> Converted:
    if call["dtype"] is not torch.float32:
        raise CaptureError(f"a cast to {call['dtype']}; everything is float32 until calibration")
    return Converted((call.value(call.node.args[0]),), ())
