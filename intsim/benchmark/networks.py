"""Three networks with random weights: a network's speed does not depend on what it has learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Network:
    """A network to time.

    make   float32, in evaluation mode, its weights from PyTorch's own initialisation under a fixed seed
    shape  of one input, (C, H, W)
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, int, int]


class Residual(nn.Module):
    """relu(body(x) + shortcut(x)), or the bare sum."""

    def __init__(self, body: nn.Module, shortcut: nn.Module, relu: bool = True):
        super().__init__()
        self.body, self.shortcut = body, shortcut
        self.activation = nn.ReLU() if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.body(x) + self.shortcut(x))


def convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, activation: nn.Module | None = None
) -> nn.Sequential:
    """Convolution and BatchNorm, padded to keep the size, then the activation if there is one."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), *([activation] if activation is not None else []))


def basic_block(inputs: int, outputs: int, stride: int) -> Residual:
    body = nn.Sequential(
        *convolution(inputs, outputs, 3, stride, activation=nn.ReLU()), *convolution(outputs, outputs, 3)
    )
    same = stride == 1 and inputs == outputs
    return Residual(body, nn.Identity() if same else convolution(inputs, outputs, 1, stride))


def residual_stages(inputs: int, widths: tuple[int, ...], blocks: int) -> nn.Sequential:
    """Stages of basic blocks, each but the first halving the image."""
    layers = []
    for stage, outputs in enumerate(widths):
        for block in range(blocks):
            layers.append(basic_block(inputs, outputs, 2 if stage and block == 0 else 1))
            inputs = outputs
    return nn.Sequential(*layers)


def classifier(inputs: int, classes: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes)]


def resnet18() -> nn.Module:
    """ResNet-18 (He et al. 2016) for images of 224x224."""
    stem = [*convolution(3, 64, 7, 2, activation=nn.ReLU()), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*stem, residual_stages(64, (64, 128, 256, 512), 2), *classifier(512, 1000))


def resnet20() -> nn.Module:
    """ResNet-20 (He et al. 2016) for images of 32x32, with 1x1 convolutions where a shortcut changes shape."""
    stem = convolution(3, 16, 3, activation=nn.ReLU())
    return nn.Sequential(*stem, residual_stages(16, (16, 32, 64), 3), *classifier(64, 10))


def inverted_residual(inputs: int, outputs: int, stride: int, expansion: int) -> nn.Module:
    hidden = inputs * expansion
    expand = convolution(inputs, hidden, 1, activation=nn.ReLU6()) if expansion > 1 else ()
    depthwise = convolution(hidden, hidden, 3, stride, hidden, nn.ReLU6())
    body = nn.Sequential(*expand, *depthwise, *convolution(hidden, outputs, 1))
    return Residual(body, nn.Identity(), relu=False) if stride == 1 and inputs == outputs else body


MOBILENET_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, blocks and stride of each stage: table 2 of the paper."""


def mobilenet_v2() -> nn.Module:
    """MobileNetV2 1.0 (Sandler et al. 2018) for images of 224x224."""
    layers: list[nn.Module] = [convolution(3, 32, 3, 2, activation=nn.ReLU6())]
    inputs = 32
    for expansion, outputs, blocks, stride in MOBILENET_V2:
        for block in range(blocks):
            layers.append(inverted_residual(inputs, outputs, stride if block == 0 else 1, expansion))
            inputs = outputs
    return nn.Sequential(*layers, convolution(320, 1280, 1, activation=nn.ReLU6()), *classifier(1280, 1000))


def _seeded(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return make().eval()

    return build


NETWORKS = {
    "resnet18": Network(_seeded(resnet18), (3, 224, 224)),
    "resnet20": Network(_seeded(resnet20), (3, 32, 32)),
    "mobilenet_v2": Network(_seeded(mobilenet_v2), (3, 224, 224)),
}
