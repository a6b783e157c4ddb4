"""Sums of products: convolutions, linear layers, products of matrices."""

from __future__ import annotations

from torch.fx import Node

from intsim.frontend.operators.call import Call, Converted, converts, pair


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
    first, second = call.node.args[:2]
    if isinstance(second, Node) and second in call.constants and call.constants[second].ndim == 2:
        return call.one("linear", weight=call.constants[second].detach().float().cpu().numpy().T.copy())
    return Converted((call.value(first), call.value(second)), (("matmul", {}, {}, call.shape),))
