"""Running a float graph in PyTorch, one node after the other: for observation, reconstruction and plain fake-quant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from intsim.frontend.quantizers import fake_quantize
from intsim.ir.float_graph import FloatGraph, FloatNode

Visit = Callable[[str, Tensor], Tensor | None]


def run_float(graph: FloatGraph, *inputs: Tensor, visit: Visit | None = None) -> dict[str, Tensor]:
    """The graph's outputs by name.

    inputs  one tensor for each graph input, (N, ...)
    visit   called with the name and value of every input and result as it is made; what it returns, if anything, takes
            the value's place
    A `quantize` node of calibration passes its value on: only `visit` makes codes of it.
    """
    last_use = {name: node.name for node in graph.nodes for name in node.inputs}
    values: dict[str, Tensor] = {}

    def put(name: str, value: Tensor) -> None:
        replaced = visit(name, value) if visit is not None else None
        values[name] = value if replaced is None else replaced

    for name, value in zip(graph.inputs, inputs, strict=True):
        put(name, value)
    for node in graph.nodes:
        put(node.name, run_node(node, *(values[name] for name in node.inputs)))
        for name in node.inputs:
            if last_use[name] == node.name and name not in graph.outputs:
                values.pop(name, None)
    return {name: values[name] for name in graph.outputs}


def run_node(node: FloatNode, *operands: Tensor, arrays: Mapping[str, Tensor] | None = None) -> Tensor:
    """One node on tensors of any floating type; `arrays` takes the place of the node's own weight, bias, slope."""
    tensors = arrays if arrays is not None else {k: as_tensor(v).to(operands[0].dtype) for k, v in node.arrays.items()}
    return _RUN[node.op](node.attributes, tensors, *operands)


def as_tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


def along(parameter: Tensor, x: Tensor, axis: int = 1) -> Tensor:
    """A per-tensor or per-channel parameter, shaped to broadcast along an axis of x."""
    if parameter.numel() == 1:
        return parameter.reshape(())
    shape = [1] * x.ndim
    shape[axis] = parameter.numel()
    return parameter.reshape(shape)


Attributes = Mapping[str, Any]
Arrays = Mapping[str, Tensor]


def _conv2d(a: Attributes, p: Arrays, x: Tensor) -> Tensor:
    top, bottom, left, right = a["padding"]
    symmetric = top == bottom and left == right
    if not symmetric:
        x = F.pad(x, (left, right, top, bottom))
    padding = (top, left) if symmetric else (0, 0)
    return F.conv2d(x, p["weight"], p.get("bias"), a["stride"], padding, a["dilation"], a["groups"])


def _pooled(a: Attributes, x: Tensor, fill: float) -> Tensor:
    top, bottom, left, right = a["padding"]
    return F.pad(x, (left, right, top, bottom), value=fill) if any(a["padding"]) else x


def _max_pool(a: Attributes, _: Arrays, x: Tensor) -> Tensor:
    return F.max_pool2d(_pooled(a, x, -torch.inf), a["kernel"], a["stride"], dilation=a["dilation"])


def _avg_pool(a: Attributes, _: Arrays, x: Tensor) -> Tensor:
    mean = F.avg_pool2d(_pooled(a, x, 0.0), a["kernel"], a["stride"])
    if a["count_include_pad"] or not any(a["padding"]):
        return mean
    inside = F.avg_pool2d(_pooled(a, torch.ones_like(x[:1, :1]), 0.0), a["kernel"], a["stride"])
    return mean / inside


def _pad(a: Attributes, _: Arrays, x: Tensor) -> Tensor:
    pairs = list(zip(a["before"], a["after"], strict=True))
    return F.pad(x, [amount for pair in reversed(pairs) for amount in pair])


def _slice(a: Attributes, _: Arrays, x: Tensor) -> Tensor:
    ranges = [slice(*r) for r in zip(a["starts"], a["stops"], a["steps"], strict=True)]
    return x[(slice(None), *ranges[1:])]


def _upsample(a: Attributes, _: Arrays, x: Tensor) -> Tensor:
    for axis, factor in enumerate(a["factors"], start=x.ndim - len(a["factors"])):
        x = x.repeat_interleave(factor, dim=axis)
    return x


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "exp": torch.exp,
    "softplus": F.softplus,
    "elu": F.elu,
    "mish": F.mish,
}


def _quantize(a: Attributes, p: Arrays, x: Tensor) -> Tensor:
    if "thresholds" in p:
        counted = torch.bucketize(x, p["thresholds"])  # a tie does not count
        return (counted - a["zero_point"]).to(x.dtype) * p["scale"]
    return fake_quantize(x, p["scale"], **a) if "scale" in p else x


_RUN: dict[str, Callable[..., Tensor]] = {
    "conv2d": _conv2d,
    "linear": lambda a, p, x: F.linear(x, p["weight"], p.get("bias")),
    "matmul": lambda a, p, x, y: torch.matmul(x, y),
    "add": lambda a, p, x, y: a["coefficients"][0] * x + a["coefficients"][1] * y,
    "mul": lambda a, p, x: x * along(p["factor"], x),
    "affine": lambda a, p, x: x * along(p["factor"], x) + along(p["offset"], x),
    "relu": lambda a, p, x: torch.relu(x),
    "clamp": lambda a, p, x: torch.clamp(x, a["low"], a["high"]),
    "prelu": lambda a, p, x: torch.where(x >= 0, x, x * along(p["slope"], x)),
    "function": lambda a, p, x: FUNCTIONS[a["function"]](x),
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "adaptive_avg_pool": lambda a, p, x: F.adaptive_avg_pool2d(x, a["output"]),
    "concat": lambda a, p, *xs: torch.cat(xs, dim=a["axis"]),
    "slice": _slice,
    "permute": lambda a, p, x: x.permute(a["order"]).contiguous(),
    "reshape": lambda a, p, x: x.reshape([len(x) if e is None else e for e in a["shape"]]),
    "pad": _pad,
    "upsample": _upsample,
    "quantize": _quantize,
}
