"""Pools and means over the image."""

from __future__ import annotations

from intsim.errors import CaptureError
from intsim.frontend.operators.call import Call, Converted, Step, axis_of, converts, pair


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
    kernel, stride, padding = _windows(call)
    top, bottom, left, right = padding
    # Cells beyond the padding, which only ceil_mode reads, count in no case.
    included = bool(call["count_include_pad"]) and any(pair(call["padding"]))
    if included and (top, left) != (bottom, right):
        raise CaptureError("ceil_mode with count_include_pad counts some cells outside the image and not others")
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
    axes = sorted(axis_of(a, len(shape)) for a in call["dim"])
    if len(shape) != 4 or axes != [2, 3]:
        raise CaptureError(f"the mean over axes {axes} of {shape}; expected height and width of (N, C, H, W)")
    kernel = (int(shape[2] or 0), int(shape[3] or 0))
    attributes = {"kernel": kernel, "stride": kernel, "padding": (0, 0, 0, 0), "count_include_pad": True}
    steps: list[Step] = [("avg_pool", attributes, {}, (*shape[:2], 1, 1))]
    if not call["keepdim"]:
        steps.append(("reshape", {"shape": call.shape}, {}, call.shape))
    return Converted((source,), tuple(steps))
