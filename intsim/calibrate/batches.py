"""Images for training: shuffled anew in every epoch, flipped and cropped, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from intsim.calibrate.settings import Pixels
from intsim.errors import CalibrationError

CROP_PADDING = 4


class Batches:
    """A data set as training reads it; the same seed and epoch give the same batches.

    images   (N, C, H, W) float32, or uint8 with `pixels`, whose mean and deviation make floats of them
    augment  flip half of the images, and shift each by up to 4 pixels, zeros coming in at the border
    raises   CalibrationError for fewer images than a batch has, or of another type, and for a batch of none
    """

    def __init__(
        self, images: Tensor, size: int, *, augment: bool = False, pixels: Pixels | None = None, seed: int = 0
    ):
        if size < 1:
            raise CalibrationError(f"batch: expected at least 1, got {size}")
        kind = torch.float32 if pixels is None else torch.uint8
        if images.dtype != kind:
            wanted, got = (str(t).removeprefix("torch.") for t in (kind, images.dtype))
            raise CalibrationError(f"training data: expected {wanted}, got {got}; uint8 pixels need mean and deviation")
        if len(images) < size:
            raise CalibrationError(f"training data: {len(images)} images do not fill a batch of {size}")
        if augment and images.ndim != 4:
            raise CalibrationError(f"training data: only images (N, C, H, W) flip and shift, not {tuple(images.shape)}")
        self.images, self.size, self.augment, self.pixels, self.seed = images, size, augment, pixels, seed
        self.epoch = 0

    def __len__(self) -> int:
        """Whole batches in an epoch."""
        return len(self.images) // self.size

    def __iter__(self) -> Iterator[Tensor]:
        """float32 (size, ...), for the epoch that `epoch` says."""
        random = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.images), generator=random)
        for chosen in order.split(self.size)[: len(self)]:
            batch = self._normalized(self.images[chosen])
            yield _augmented(batch, random) if self.augment else batch

    def _normalized(self, batch: Tensor) -> Tensor:
        if self.pixels is None:
            return batch
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (self.pixels.mean, self.pixels.std))
        return (batch.float() / 255 - mean) / std


def _augmented(batch: Tensor, random: torch.Generator) -> Tensor:
    """Images (N, C, H, W), each flipped with probability 1/2 and cropped at random from a frame of zeros."""
    count, _, height, width = batch.shape
    padded = F.pad(batch, (CROP_PADDING,) * 4)
    flipped = torch.rand(count, generator=random) < 0.5
    padded[flipped] = padded[flipped].flip(3)
    tops, lefts = torch.randint(2 * CROP_PADDING + 1, (2, count), generator=random).tolist()
    crops = zip(padded, tops, lefts, strict=True)
    return torch.stack([image[:, top : top + height, left : left + width] for image, top, left in crops])
