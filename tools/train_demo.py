"""Trains the demo's network and writes the images and the weights that ship with intsim.

    python tools/train_demo.py

Needs scikit-learn and PyTorch, and takes about a minute. The seeds are fixed; other versions of PyTorch may still end
a few images apart.
"""

from __future__ import annotations

import numpy as np
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from intsim.demo.digits import IMAGES, digits
from intsim.demo.network import WEIGHTS, DigitsNet

EPOCHS, BATCH, TEST_IMAGES, SEED = 60, 64, 500, 0


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


def train() -> DigitsNet:
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    images, labels = (torch.from_numpy(array) for array in digits("train"))
    net = DigitsNet()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    steps = EPOCHS * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=steps)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(BATCH)[: len(images) // BATCH]:
            loss = nn.functional.cross_entropy(net(jitter(images[batch])), labels[batch], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval()


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
