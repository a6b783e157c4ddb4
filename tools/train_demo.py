"""Trains the demo's network and writes the images and the weights that ship with intsim.

    python tools/train_demo.py

First in float32 as usual; then a while so that the same weights also work when they are rounded to 2 bits, which no
calibration after the fact could bring about. Needs scikit-learn and PyTorch, and takes a few minutes. The seeds are
fixed; other versions of PyTorch may still end a few images apart.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from intsim.demo.digits import IMAGES, digits
from intsim.demo.network import WEIGHTS, DigitsNet

EPOCHS, ROUNDED_EPOCHS, BATCH, TEST_IMAGES, SEED = 40, 40, 64, 500, 0


def write_images() -> None:
    images, labels = load_digits(return_X_y=True)
    pixels = images.reshape(-1, 8, 8).astype(np.uint8)
    train, test, train_labels, test_labels = train_test_split(
        pixels, labels.astype(np.uint8), test_size=TEST_IMAGES, stratify=labels, random_state=SEED
    )
    np.savez_compressed(
        IMAGES, train_images=train, train_labels=train_labels, test_images=test, test_labels=test_labels
    )


def jitter(images: Tensor) -> Tensor:
    """Each image turned by up to 10 degrees, scaled by up to 10 % and moved by up to a pixel."""
    count = len(images)
    angle = (torch.rand(count) - 0.5) * 0.35
    scale = 1 + (torch.rand(count) - 0.5) * 0.2
    move = (torch.rand(count, 2) - 0.5) * 0.5
    cosine, sine = scale * torch.cos(angle), scale * torch.sin(angle)
    rows = [torch.stack([cosine, -sine, move[:, 0]], 1), torch.stack([sine, cosine, move[:, 1]], 1)]
    return grid_sample(images, affine_grid(torch.stack(rows, 1), list(images.shape), False), align_corners=False)


class RoundedConv(nn.Module):
    """A convolution and its BatchNorm as one: weights folded, then rounded to 2 bits on the best power-of-two scale."""

    def __init__(self, conv: nn.Module, bn: nn.Module):
        super().__init__()
        assert isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d)
        self.conv, self.bn, self.rounding = conv, bn, False

    def forward(self, x: Tensor) -> Tensor:
        assert self.bn.running_mean is not None and self.bn.running_var is not None
        factor = self.bn.weight / torch.sqrt(self.bn.running_var + self.bn.eps)
        weight = self.conv.weight * factor[:, None, None, None]
        if self.rounding:
            weight = weight + (rounded(weight) - weight).detach()  # the gradient passes straight through
        bias = self.bn.bias - self.bn.running_mean * factor
        return nn.functional.conv2d(x, weight, bias, self.conv.stride, self.conv.padding)


def rounded(weight: Tensor) -> Tensor:
    """Each output channel on the grid {-2, -1, 0, 1} * 2**e with the least error."""
    largest = torch.ceil(torch.log2(weight.abs().amax((1, 2, 3), keepdim=True)))
    candidates = []
    for halvings in range(5):
        scale = torch.exp2(largest - halvings)
        candidates.append(torch.clamp(torch.round(weight / scale), -2, 1) * scale)
    grids = torch.stack(candidates)
    errors = (grids - weight).abs().pow(2.4).sum((2, 3, 4))
    return grids[errors.argmin(0), torch.arange(len(weight))]


def fold(net: DigitsNet) -> list[RoundedConv]:
    """Puts a RoundedConv in the place of every convolution inside the blocks, with the same parameters."""
    found: list[RoundedConv] = []

    def replace(block: nn.Module, conv: str, bn: str) -> None:
        found.append(RoundedConv(block.get_submodule(conv), block.get_submodule(bn)))
        block.register_module(conv, found[-1])
        block.register_module(bn, nn.Identity())

    for block in (net.block1, net.block2, net.block3):
        replace(block, "conv1", "bn1")
        replace(block, "conv2", "bn2")
        if isinstance(block.shortcut, nn.Sequential):
            replace(block.shortcut, "0", "1")
    return found


def epochs(net: nn.Module, count: int, lr: float, passes: list[Callable[[], object]]) -> None:
    """Train for some epochs; each step adds up the losses of all passes, before each of which its function runs."""
    images, labels = (torch.from_numpy(array) for array in digits("train"))
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
    steps = len(images) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=count * steps)
    for _ in range(count):
        for batch in torch.randperm(len(images)).split(BATCH)[:steps]:
            x = jitter(images[batch])
            optimizer.zero_grad()
            for prepare in passes:
                prepare()
                nn.functional.cross_entropy(net(x), labels[batch], label_smoothing=0.05).backward()
            optimizer.step()
            schedule.step()


def train() -> DigitsNet:
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    net = DigitsNet()
    epochs(net, EPOCHS, 0.1, [net.train])

    state = net.eval().state_dict()  # the parameters themselves: they go on being trained
    layers = fold(net)

    def round_weights(wanted: bool) -> None:
        for layer in layers:
            layer.rounding = wanted

    epochs(net, ROUNDED_EPOCHS, 0.02, [lambda: round_weights(False), lambda: round_weights(True)])
    trained = DigitsNet()
    trained.load_state_dict(state)
    return trained.eval()


def main() -> None:
    write_images()
    net = train()
    save_file(net.state_dict(), WEIGHTS)
    images, labels = (torch.from_numpy(array) for array in digits("test"))
    with torch.no_grad():
        correct = int((net(images).argmax(1) == labels).sum())
    parameters = sum(p.numel() for p in net.parameters())
    print(f"{parameters:,} parameters, {correct} of {len(labels)} test images right ({correct / len(labels):.1%})")
    print(f"{IMAGES.name} {IMAGES.stat().st_size:,} bytes, {WEIGHTS.name} {WEIGHTS.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
