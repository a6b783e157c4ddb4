"""Small modules that between them use every operator that capture knows, in module and in functional form."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Lambda(nn.Module):
    """A function as a module, with the layers that it uses."""

    def __init__(self, function: Callable[..., Tensor], **layers: nn.Module):
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def conv(inputs: int, outputs: int, **options: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, **options)  # type: ignore[arg-type]


def shuffle(net: nn.Module, x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    x = x.view(batch, 2, channels // 2, height, width).transpose(1, 2)
    return x.reshape(batch, channels, height, width)


def attention(net: nn.Module, x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    scores = tokens @ tokens.transpose(1, 2)
    return torch.bmm(scores, tokens) / 8


class Block(nn.Module):
    """A residual block that shrinks its input, BatchNorm with real statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(6, 8, stride=2, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = conv(8, 8, padding=1), nn.BatchNorm2d(8)
        self.down = nn.Sequential(nn.Conv2d(6, 8, 1, stride=2, bias=False), nn.BatchNorm2d(8))
        for bn in (self.bn1, self.bn2, self.down[1]):
            nn.init.uniform_(bn.running_mean, -1, 1)
            nn.init.uniform_(bn.running_var, 0.5, 2)
            nn.init.uniform_(bn.weight, -1, 1)
            nn.init.uniform_(bn.bias, -1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.down(x))


MODULES: dict[str, Callable[[], nn.Module]] = {
    "residual block with BatchNorm": Block,
    "BatchNorm that nothing folds": lambda: nn.Sequential(nn.ReLU(), nn.BatchNorm2d(6), nn.ReLU()),
    "dilated grouped convolution": lambda: conv(6, 9, dilation=2, groups=3, padding=2),
    "depthwise convolution, same padding": lambda: nn.Conv2d(6, 12, 4, groups=6, padding="same"),
    "asymmetric padding": lambda: nn.Sequential(nn.ZeroPad2d((0, 1, 2, 1)), conv(6, 4, stride=2)),
    "functional padding": lambda: Lambda(lambda net, x: net.conv(F.pad(x, (1, 2, 0, 1))), conv=conv(6, 4)),
    "padding of channels": lambda: Lambda(lambda net, x: F.pad(x[:, :, ::2, 1::2], (0, 0, 0, 0, 2, 1))),
    "ReLU6, hardtanh, clamp": lambda: Lambda(
        lambda net, x: F.relu6(x * 4) + F.hardtanh(x, -0.5, 0.7) + x.clamp(min=-0.2) + torch.clamp(x, -1, 1)
    ),
    "PReLU and LeakyReLU": lambda: nn.Sequential(nn.PReLU(6, 0.3), nn.LeakyReLU(0.1), nn.PReLU()),
    "functions": lambda: Lambda(
        lambda net, x: torch.sigmoid(x) + torch.tanh(x) + F.gelu(x) + F.silu(x) + F.hardswish(x) + F.elu(x)
    ),
    "GELU by tanh": lambda: nn.GELU(approximate="tanh"),
    "max pool with ceil_mode": lambda: nn.MaxPool2d(3, 2, padding=1, ceil_mode=True),
    "dilated max pool": lambda: nn.MaxPool2d(2, 1, dilation=2),
    "average pool counting its padding": lambda: nn.AvgPool2d(3, 2, padding=1),
    "average pool inside the image": lambda: nn.AvgPool2d(3, 2, padding=1, count_include_pad=False),
    "average pool with ceil_mode": lambda: nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False),
    "average pool with ceil_mode, no padding to count": lambda: nn.AvgPool2d(2, 2, ceil_mode=True),
    "adaptive pool that divides": lambda: nn.AdaptiveAvgPool2d((3, 1)),
    "adaptive pool that does not": lambda: nn.AdaptiveAvgPool2d((4, 5)),
    "global average and linear": lambda: Lambda(lambda net, x: net.fc(x.mean((2, 3))), fc=nn.Linear(6, 5)),
    "global average that keeps its axes": lambda: Lambda(lambda net, x: x.mean([-1, -2], keepdim=True)),
    "flatten, dropout, linear": lambda: nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(6 * 9 * 9, 3)),
    "channel shuffle": lambda: Lambda(shuffle),
    "channel shuffle as one operator": lambda: nn.ChannelShuffle(3),
    "chunk, split and concat": lambda: Lambda(
        lambda net, x: torch.cat([*x.chunk(2, dim=1), *torch.split(x, [1, 5], dim=1)], dim=1)
    ),
    "one channel": lambda: Lambda(lambda net, x: x[:, -1] + x.select(1, 2)),
    "slices": lambda: Lambda(lambda net, x: x[:, 1:-1, 2:, :-1]),
    "nearest upsampling": lambda: Lambda(lambda net, x: F.interpolate(x, scale_factor=2, mode="nearest")),
    "nearest neighbours to a size": lambda: Lambda(
        lambda net, x: F.interpolate(x, size=(27, 18), mode="nearest-exact")
    ),
    "attention": lambda: Lambda(attention),
    "a product with a parameter": lambda: Lambda(lambda net, x: x.mT @ net.fc.weight, fc=nn.Linear(4, 9)),
    "a weight computed from parameters": lambda: nn.utils.parametrizations.weight_norm(conv(6, 4)),
    "residual connection of tokens": lambda: Lambda(
        lambda net, x: (y := x.flatten(2).transpose(1, 2)) + net.fc(F.relu(y)), fc=nn.Linear(6, 6)
    ),
    "arithmetic with constants": lambda: Lambda(lambda net, x: (2 * x - 0.5) / 4 + 1 - (3 - x)),
    "in place": lambda: Lambda(lambda net, x: F.relu_(net.conv(x).mul_(2).flatten(1)), conv=conv(6, 4)),
    "subtraction": lambda: Lambda(lambda net, x: F.relu(x) - x),
}
