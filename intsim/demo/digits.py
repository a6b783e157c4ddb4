"""The demo's images: the 1,797 handwritten digits of 8x8 pixels that scikit-learn ships, split by tools/train_demo.py.

Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository (CC BY 4.0).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

IMAGES = Path(__file__).with_name("digits.npz")
CALIBRATION_IMAGES = 256


def digits(split: Literal["train", "test"]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Images float32 (N, 1, 8, 8) in [0, 1] and labels int64 (N,); 1,297 to train and 500 to test."""
    with np.load(IMAGES) as archive:
        images, labels = archive[f"{split}_images"], archive[f"{split}_labels"]
    return images[:, None].astype(np.float32) / 16, labels.astype(np.int64)


def calibration() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The first 256 training images."""
    images, labels = digits("train")
    return images[:CALIBRATION_IMAGES], labels[:CALIBRATION_IMAGES]


def evaluation() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The 500 test images."""
    return digits("test")
