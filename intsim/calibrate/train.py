"""Training a converted network to say what its float original says: distillation, Adam, a linear decay.

The targets are the float network's own probabilities, so no labels are needed. A run that was stopped goes on from its
checkpoint, epoch by epoch, and ends with the same weights.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intsim.calibrate.convert import fit
from intsim.calibrate.lsq import StepQuantizer, StepWeight
from intsim.calibrate.n2uq import ThresholdQuantizer
from intsim.calibrate.training_options import check_counts
from intsim.errors import CalibrationError
from intsim.progress import Progress, silent


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a network is trained.

    epochs         passes over the training data, one checkpoint after each
    learning_rate  of the weights at the start, from where it falls to 0 in a straight line
    slower         by how much thresholds and scales learn slower. The paper has 10, for the 640,000 steps of its 128
                   epochs; in a few thousand they would stay where they began, which costs ResNet-20 1.7 points
    """

    epochs: int = 8
    learning_rate: float = 1e-3
    slower: float = 1.0

    def __post_init__(self) -> None:
        check_counts(self, 1, "epochs")
        for name in ("learning_rate", "slower"):
            if not 0 < getattr(self, name) < math.inf:
                raise CalibrationError(f"{name}: expected a number above 0, got {getattr(self, name)}")


class Loader(Protocol):
    """Batches of an epoch: a Batches, or anyone's sequence or DataLoader of tensors or (tensor, ..) tuples."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Tensor | tuple[Tensor, ...]]: ...


def train(
    student: nn.Module,
    teacher: nn.Module,
    loader: Loader,
    schedule: Schedule,
    checkpoint: Path | None = None,
    progress: Progress = silent,
) -> None:
    """Train a converted network, in place, to give the float network's probabilities.

    student     of `convert`; fresh, for its quantizers are fitted to the first batch
    teacher     the float network
    checkpoint  file for the state after each epoch, from where a later call with the same arguments goes on
    progress    called after each batch, with the loss as text
    raises      CalibrationError, one line: a loader that ends early, a loss that is no number, a foreign checkpoint
    Exact:      loss = -mean over the batch of sum over the classes of softmax(teacher) * log_softmax(student)
    """
    if not len(loader):
        raise CalibrationError("training: the data loader has no batches")
    state = _State(student, schedule, len(loader), checkpoint)
    # Pixel by pixel in memory, convolutions and their gradients take 2/3 of the time.
    teacher = deepcopy(teacher).eval()
    student.train()
    for network in (teacher, student):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    while state.epoch < schedule.epochs:
        if hasattr(loader, "epoch"):
            loader.epoch = state.epoch
        for step, images in enumerate(_batches(loader, state.epoch)):
            if state.epoch == 0 and step == 0:
                fit(student, images)
            with torch.no_grad():
                wanted = teacher(images).softmax(1)
            loss = F.cross_entropy(student(images), wanted)
            if not math.isfinite(loss.item()):
                raise CalibrationError(
                    f"training: the loss is {loss.item()} in epoch {state.epoch + 1}, batch {step + 1}; "
                    f"{state.kept()}; try a lower learning rate than {schedule.learning_rate:g}"
                )
            state.step(loss)
            done = state.epoch * len(loader) + step + 1
            what = f"training: epoch {state.epoch + 1} of {schedule.epochs}, loss {state.smooth_loss:.4f}"
            progress(what, done, schedule.epochs * len(loader))
        state.finish_epoch()
    student.eval()


class _State:
    """What changes while a network is trained, and the file that keeps it."""

    def __init__(self, student: nn.Module, schedule: Schedule, steps: int, checkpoint: Path | None):
        self.student, self.checkpoint = student, checkpoint
        self.identity = {**asdict(schedule), "steps": steps}
        slow = [p for m in student.modules() if isinstance(m, _SLOW) for p in m.parameters(recurse=False)]
        fast = [p for p in student.parameters() if all(p is not other for other in slow)]
        groups: list[dict[str, Any]] = [
            {"params": fast},
            {"params": slow, "lr": schedule.learning_rate / schedule.slower},
        ]
        self.optimizer = torch.optim.Adam(groups, lr=schedule.learning_rate)
        total = schedule.epochs * steps
        self.decay = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: 1 - step / total)
        self.epoch, self.smooth_loss = 0, math.nan
        if checkpoint is not None and checkpoint.exists():
            self._load(checkpoint)

    def step(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.decay.step()
        value = loss.item()
        self.smooth_loss = value if math.isnan(self.smooth_loss) else 0.95 * self.smooth_loss + 0.05 * value

    def finish_epoch(self) -> None:
        self.epoch += 1
        if self.checkpoint is None:
            return
        partial = self.checkpoint.with_name(self.checkpoint.name + ".partial")
        torch.save({name: getattr(self, name).state_dict() for name in _KEPT} | self._progress(), partial)
        os.replace(partial, self.checkpoint)  # a run that is stopped here keeps the epoch before

    def kept(self) -> str:
        if self.checkpoint is None or self.epoch == 0:
            return "nothing was kept"
        return f"{self.checkpoint} has the state after epoch {self.epoch}"

    def _progress(self) -> dict[str, object]:
        return {"epoch": self.epoch, "smooth_loss": self.smooth_loss, "identity": self.identity}

    def _load(self, path: Path) -> None:
        try:
            found = torch.load(path, weights_only=True)
            if found["identity"] != self.identity:
                raise CalibrationError(
                    f"{path}: a checkpoint of another run ({found['identity']}, this one is {self.identity}); "
                    "remove it, or name another file"
                )
            for name in _KEPT:
                getattr(self, name).load_state_dict(found[name])
            self.epoch, self.smooth_loss = found["epoch"], found["smooth_loss"]
        except CalibrationError:
            raise
        except Exception as error:  # a damaged file, or one of another network
            reason = " ".join(str(error).split())
            raise CalibrationError(f"{path}: no checkpoint of this network: {reason[:200]}; remove it") from None


_SLOW = (ThresholdQuantizer, StepQuantizer, StepWeight)
_KEPT = ("student", "optimizer", "decay")


def _batches(loader: Loader, epoch: int) -> Iterable[Tensor]:
    """The images of an epoch, exactly as many batches as the loader's length says."""
    count = 0
    for batch in loader:
        images = batch if isinstance(batch, Tensor) else batch[0]
        yield images.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else images
        count += 1
        if count == len(loader):
            return
    raise CalibrationError(
        f"training: the data loader ran dry in epoch {epoch + 1}: {count} of {len(loader)} batches; it has to begin "
        "anew for every epoch"
    )
