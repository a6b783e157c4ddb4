"""An ordinary float network made trainable at few bits: its layers and its ReLUs get quantizers that learn.

A ReLU that only quantized layers read becomes their quantizer. One that a residual stream carries stays, and the
quantizer stands where a layer reads the stream, which calibration keeps at 8 bits, like the first and the last layer:
those remain as they are here.
"""

from __future__ import annotations

import operator
from copy import deepcopy
from typing import Any, Literal, get_args

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import register_parametrization

from intsim.calibrate.lsq import StepQuantizer, StepWeight
from intsim.calibrate.n2uq import EntropyWeight, RPReLU, ThresholdQuantizer
from intsim.calibrate.settings import check_bits
from intsim.errors import CalibrationError, one_of

Trainer = Literal["n2uq", "lsq"]
Order = Literal["ordinary", "paper"]
TRAINERS: tuple[str, ...] = get_args(Trainer)
"""What can be trained, by name."""
ORDERS: tuple[str, ...] = get_args(Order)

_RELU_MODULES = (nn.ReLU, nn.ReLU6)
_RELU_FUNCTIONS = (torch.relu, torch.relu_, F.relu, F.relu_, F.relu6)
_RELU_METHODS = ("relu", "relu_")
_SIGN_KEEPING_MODULES = (
    nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Dropout, nn.Dropout2d, nn.Flatten,
    nn.Identity, nn.ZeroPad2d, nn.ChannelShuffle, nn.PixelShuffle, nn.PixelUnshuffle,
)  # fmt: skip
_SIGN_KEEPING_CALLS = (
    F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d, F.dropout, torch.flatten, torch.cat,
    torch.concat, operator.getitem, torch.mean, torch.chunk, torch.split, torch.reshape, torch.permute, torch.transpose,
    "flatten", "reshape", "view", "mean", "contiguous", "permute", "transpose", "chunk", "split", "squeeze",
    "unsqueeze",
)  # fmt: skip
"""Of values that are not negative all results are not: modules, and functions and methods."""
_ADDITIONS = (torch.add, operator.add, operator.iadd, "add", "add_")
"""So are these, but for a constant or a factor that may be negative."""


def convert(
    network: nn.Module,
    weight_bits: int,
    act_bits: int,
    method: Trainer = "n2uq",
    rprelu: bool = False,
    order: Order = "ordinary",
) -> fx.GraphModule:
    """A copy of a network that trains with quantizers of its own; the network is left as it was.

    weight_bits, act_bits  of every Conv2d and Linear but the first and the last, 2..8
    method                 n2uq: thresholds, and weights without zero; lsq: learned steps
    rprelu                 the paper's nonlinearity, RPReLU, in front of every quantizer
    order                  ordinary: ReLUs stay where a residual stream carries them; paper: they become RPReLU too
    returns                the same modules under the same names, and a quantizer "<layer>_input" in front of each
                           layer, shared by all that read the same value; `fit` sets where they begin
    raises                 CalibrationError for a network that torch.fx cannot trace, or without layers to quantize
    """
    one_of("method", method, TRAINERS, CalibrationError)
    one_of("order", order, ORDERS, CalibrationError)
    check_bits("weight_bits", weight_bits)
    check_bits("act_bits", act_bits)
    traced = _trace(deepcopy(network))
    layers = [node for node in traced.graph.nodes if isinstance(_module(node), nn.Conv2d | nn.Linear)]
    inner = layers[1:-1]
    if not inner:
        raise CalibrationError(
            f"{type(network).__name__}: expected layers between the first and the last, which keep 8 bits; it has "
            f"{len(layers)} layers in all"
        )
    quantized: dict[fx.Node, fx.Node] = {}
    for layer in inner:
        value = layer.all_input_nodes[0]
        if value not in quantized:
            quantized[value] = _quantize(layer, value, set(inner), act_bits, method, rprelu)
        layer.replace_input_with(value, quantized[value])
    for value in quantized:
        if not value.users:
            traced.graph.erase_node(value)
    if order == "paper":
        for relu in [node for node in traced.graph.nodes if _is_relu(node)]:
            relu.replace_all_uses_with(_insert(relu, f"{relu.name}_rprelu", RPReLU(_channels(relu)), relu.args[0]))
            traced.graph.erase_node(relu)
    for module in {_module(layer) for layer in inner}:
        weight = module.weight
        own = EntropyWeight(weight_bits) if method == "n2uq" else StepWeight(weight_bits, weight.detach())
        register_parametrization(module, "weight", own)
    traced.graph.lint()
    traced.recompile()
    return traced


def fit(network: nn.Module, images: Tensor) -> None:
    """Set every quantizer of a converted network to what it sees in one batch, from the first to the last.

    images  (N, ...), as the network takes them; BatchNorm keeps its statistics
    """

    def first_fit(module: Any, inputs: tuple[Tensor, ...]) -> None:
        module.fit(inputs[0])

    quantizers = [m for m in network.modules() if isinstance(m, ThresholdQuantizer | StepQuantizer)]
    hooks = [module.register_forward_pre_hook(first_fit) for module in quantizers]
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(images)
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()


def _trace(network: nn.Module) -> fx.GraphModule:
    try:
        return fx.symbolic_trace(network)
    except Exception as error:  # tracing runs the user's forward, which may raise anything
        reason = " ".join(str(error).split())
        raise CalibrationError(f"{type(network).__name__} cannot be traced by torch.fx: {reason[:200]}") from None


def _quantize(
    layer: fx.Node, value: fx.Node, inner: set[fx.Node], act_bits: int, method: Trainer, rprelu: bool
) -> fx.Node:
    """A quantizer for what a layer reads: in the place of a ReLU that only quantized layers read, else behind it."""
    source = value.all_input_nodes[0] if _is_relu(value) and set(value.users) <= inner else value
    name, signed = f"{layer.target}_input", not _is_non_negative(value)
    if rprelu:  # moves and bends whatever comes: thresholds are learned where they are wanted
        module = _module(layer)
        channels = module.in_channels if isinstance(module, nn.Conv2d) else module.in_features
        source, signed = _insert(layer, f"{name}_rprelu", RPReLU(channels), source), False
    quantizer = ThresholdQuantizer if method == "n2uq" else StepQuantizer
    return _insert(layer, name, quantizer(act_bits, signed), source)


def _insert(before: fx.Node, name: str, module: nn.Module, source: Any) -> fx.Node:
    traced = before.graph.owning_module
    assert traced is not None
    traced.add_submodule(name, module)
    with before.graph.inserting_before(before):
        return before.graph.call_module(name, (source,))


def _module(node: fx.Node) -> Any:
    """The module that a node calls, None for functions and methods."""
    traced = node.graph.owning_module
    return traced.get_submodule(str(node.target)) if traced is not None and node.op == "call_module" else None


def _is_relu(node: fx.Node) -> bool:
    function = node.op == "call_function" and node.target in _RELU_FUNCTIONS
    method = node.op == "call_method" and node.target in _RELU_METHODS
    return function or method or isinstance(_module(node), _RELU_MODULES)


def _is_non_negative(value: fx.Node) -> bool:
    """Whether a value cannot be negative: a ReLU's, and what only selects, averages, adds or joins such values."""
    if _is_relu(value) or isinstance(_module(value), nn.Sigmoid | nn.Hardsigmoid):
        return True
    if value.op == "call_module":
        keeps = isinstance(_module(value), _SIGN_KEEPING_MODULES)
    elif value.target in _ADDITIONS:
        keeps = all(isinstance(operand, fx.Node) for operand in value.args) and not value.kwargs
    else:
        keeps = value.target in _SIGN_KEEPING_CALLS
    return keeps and bool(value.all_input_nodes) and all(map(_is_non_negative, value.all_input_nodes))


def _channels(value: fx.Node) -> int:
    """Channels of a value: those of the last module behind it that states them; joined values have their sum."""
    module = _module(value)
    for attribute in ("out_channels", "num_features", "out_features"):
        if hasattr(module, attribute):
            return int(getattr(module, attribute))
    if not value.all_input_nodes:
        raise CalibrationError(
            f"'{value}': RPReLU needs to know its channels, and no module in front of it states them"
        )
    together = sum if value.target in (torch.cat, torch.concat) else max  # a sum's shortcut may have fewer
    return together(map(_channels, value.all_input_nodes))
