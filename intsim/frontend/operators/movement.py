"""Whatever moves values and changes none: concatenation, slices, axes, shapes, padding, upsampling."""

from __future__ import annotations

import math

import numpy as np

from intsim.errors import CaptureError
from intsim.frontend.operators.call import Call, Converted, Step, axis_of, converts
from intsim.ir.types import Shape


@converts("cat.default")
def _cat(call: Call) -> Converted:
    inputs = tuple(call.value(t) for t in call["tensors"])
    axis = axis_of(call["dim"], len(call.shape))
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
    axis = axis_of(call["dim"], len(shape))
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
    axis = axis_of(call["dim"], len(shape))
    sizes = [int(part.shape[axis]) for part in call.node.meta["val"]]
    ends = np.cumsum(sizes)
    return [_slice(source, shape, axis, int(end) - size, int(end)) for size, end in zip(sizes, ends, strict=True)]


@converts("permute.default")
def _permute(call: Call) -> Converted:
    rank = len(call.shape)
    return call.one("permute", {"order": tuple(axis_of(a, rank) for a in call["dims"])})


@converts("transpose.int")
def _transpose(call: Call) -> Converted:
    order = list(range(len(call.shape)))
    a, b = axis_of(call["dim0"], len(order)), axis_of(call["dim1"], len(order))
    order[a], order[b] = order[b], order[a]
    return call.one("permute", {"order": tuple(order)})


@converts("mT.default", "t.default")
def _matrix_transpose(call: Call) -> Converted:
    *leading, rows, columns = range(len(call.shape))
    return call.one("permute", {"order": (*leading, columns, rows)})


@converts("select.int")
def _select(call: Call) -> Converted:
    source = call.value(call.node.args[0])
    shape = call.shapes[source]
    axis = axis_of(call["dim"], len(shape))
    extent = shape[axis]
    if extent is None:
        raise CaptureError("a single image of the batch")
    index = axis_of(call["index"], extent)
    steps = _slice(source, shape, axis, index, index + 1).steps
    return Converted((source,), (*steps, ("reshape", {"shape": call.shape}, {}, call.shape)))


@converts("channel_shuffle.default")
def _channel_shuffle(call: Call) -> Converted:
    source = call.value(call.node.args[0])
    batch, channels, height, width = call.shape
    groups, each = call["groups"], int(channels or 0) // call["groups"]
    split, turned = (batch, groups, each, height, width), (batch, each, groups, height, width)
    steps: tuple[Step, ...] = (
        ("reshape", {"shape": split}, {}, split),
        ("permute", {"order": (0, 2, 1, 3, 4)}, {}, turned),
        ("reshape", {"shape": call.shape}, {}, call.shape),
    )
    return Converted((source,), steps)


@converts("view.default", "reshape.default", "flatten.using_ints", "squeeze.dim", "squeeze.dims", "unsqueeze.default",
          "_unsafe_view.default", "squeeze.default", "unflatten.int")  # fmt: skip
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


@converts("upsample_nearest2d.default", "upsample_nearest2d.vec", "upsample_nearest1d.vec",
          "_upsample_nearest_exact2d.vec")  # fmt: skip
def _upsample(call: Call) -> Converted:
    source = call.shapes[call.value(call.node.args[0])][2:]
    factors = [int(after or 0) / int(before or 1) for before, after in zip(source, call.shape[2:], strict=True)]
    if any(f != int(f) for f in factors):
        raise CaptureError(f"nearest upsampling by {factors}; only integer factors")
    return call.one("upsample", {"factors": tuple(int(f) for f in factors)})
