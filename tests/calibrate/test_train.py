"""Training converted networks: towards the float network's answers, resumable, and one line for what goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from intsim.calibrate.batches import Batches
from intsim.calibrate.convert import convert
from intsim.calibrate.settings import Pixels
from intsim.calibrate.train import Schedule, train
from intsim.errors import CalibrationError


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU()
    result = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6))
    nn.init.normal_(result[-1].weight, std=3.0)
    return result.eval()


def images(count: int = 192) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def losses(method: str, epochs: int, state: Path | None = None, stop_after: int | None = None) -> list[float]:
    """The losses as progress tells them; raising from there is how a run is stopped."""
    student, found = convert(network(), 2, 2, method), list[float]()  # type: ignore[arg-type]

    def progress(what: str, done: int, total: int) -> None:
        found.append(float(what.split("loss ")[1]))
        if done == stop_after:
            raise KeyboardInterrupt

    train(student, network(), Batches(images(), 32), Schedule(epochs, 1e-2), state, progress)
    found.append(sum(p.detach().double().sum().item() for p in student.parameters()))
    return found


@pytest.mark.parametrize("method", ["n2uq", "lsq"])
def test_training_brings_the_answers_closer(method: str) -> None:
    *found, _ = losses(method, epochs=6)
    assert found[-1] < found[0] - 0.05


def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    state = tmp_path / "state.pt"
    with pytest.raises(KeyboardInterrupt):
        losses("n2uq", 3, state, stop_after=8)  # in the second epoch of six batches
    resumed = losses("n2uq", 3, state)
    whole = losses("n2uq", 3)
    assert resumed == whole[6:]


def test_the_teacher_is_left_as_it_was() -> None:
    teacher = network()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    student = convert(teacher, 2, 2)
    train(student, teacher, Batches(images(), 64), Schedule(1))
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    assert not student.training


class Dry:
    """A loader that can be read once."""

    def __init__(self) -> None:
        self.batches = iter(images(64).split(16))

    def __len__(self) -> int:
        return 4

    def __iter__(self) -> Iterator[Tensor]:
        return self.batches


def test_a_loader_that_runs_dry_is_one_line() -> None:
    with pytest.raises(CalibrationError, match="ran dry in epoch 2: 0 of 4 batches"):
        train(convert(network(), 2, 2), network(), Dry(), Schedule(2))


def test_pairs_of_images_and_labels_will_do() -> None:
    pairs = [(batch, torch.zeros(len(batch))) for batch in images(64).split(32)]
    train(convert(network(), 2, 2), network(), pairs, Schedule(1))


def test_a_loss_that_is_no_number_stops_with_its_place(tmp_path: Path) -> None:
    batches = [images(32), images(32).fill_(torch.inf)]
    with pytest.raises(CalibrationError, match="the loss is nan in epoch 1, batch 2; nothing was kept; try a lower"):
        train(convert(network(), 2, 2), network(), batches, Schedule(2), tmp_path / "state.pt")


def test_a_foreign_checkpoint_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state.pt"
    train(convert(network(), 2, 2), network(), Batches(images(), 64), Schedule(1), state)
    other = network()
    with torch.no_grad():
        other[0].weight[0, 0, 0, 0] += 1e-3  # type: ignore[operator,index]
    batches = Batches(images(), 64)
    for student, teacher, loader, schedule in (
        (convert(network(), 2, 2), network(), Batches(images(), 32), Schedule(1)),
        (convert(network(), 2, 2), network(), Batches(images() + 1, 64), Schedule(1)),
        (convert(network(), 2, 2), network(), Batches(images(), 64, seed=1), Schedule(1)),
        (convert(network(), 2, 2), network(), Batches(images(), 64, augment=True), Schedule(1)),
        (convert(network(), 2, 2), network(), batches, Schedule(1, 1e-4)),
        (convert(network(), 2, 2, "lsq"), network(), batches, Schedule(1)),
        (convert(network(), 3, 2), network(), batches, Schedule(1)),
        (convert(network(), 2, 2), other, batches, Schedule(1)),
        (convert(other, 2, 2), network(), batches, Schedule(1)),
    ):
        with pytest.raises(CalibrationError, match="was made with another network, other data or settings"):
            train(student, teacher, loader, schedule, state)
    state.write_bytes(b"nothing")
    with pytest.raises(CalibrationError, match="no checkpoint of a training"):
        train(convert(network(), 2, 2), network(), Batches(images(), 64), Schedule(1), state)


def test_batches_are_shuffled_by_seed_and_epoch_and_leave_no_image_out() -> None:
    numbered = torch.arange(10.0).reshape(10, 1, 1, 1)
    batches = Batches(numbered, 5)
    first, again = (torch.cat(list(batches)).flatten().tolist() for _ in range(2))
    batches.epoch = 1
    second = torch.cat(list(batches)).flatten().tolist()
    assert first == again != second and sorted(first) == sorted(second) == list(range(10))


def test_augmented_images_are_crops_of_a_frame_of_zeros() -> None:
    image = torch.arange(1.0, 13.0).reshape(1, 1, 3, 4)
    (batch,) = Batches(image.repeat(200, 1, 1, 1), 200, augment=True)
    frame = nn.functional.pad(image, (4, 4, 4, 4))[0, 0]
    crops = {
        tuple(view[top : top + 3, left : left + 4].flatten().tolist())
        for view in (frame, frame.flip(1))
        for top in range(9)
        for left in range(9)
    }
    seen = {tuple(x.flatten().tolist()) for x in batch}
    assert seen <= crops and len(seen) > 40


def test_pixels_are_normalized() -> None:
    pixels = torch.randint(0, 256, (4, 3, 2, 2), dtype=torch.uint8)
    (batch,) = Batches(pixels, 4, pixels=Pixels((0.1, 0.2, 0.3), (0.5, 0.6, 0.7)))
    mean, std = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), torch.tensor([0.5, 0.6, 0.7]).view(3, 1, 1)
    expected = {tuple(((x / 255 - mean) / std).flatten().tolist()) for x in pixels.float()}
    assert {tuple(x.flatten().tolist()) for x in batch} == expected


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (torch.zeros(3, 3, 8, 8), {}, "3 images do not fill a batch of 4"),
        (torch.zeros(4, 3, 8, 8, dtype=torch.uint8), {}, "expected float32, got uint8"),
        (torch.zeros(4, 3), {"augment": True}, "only images"),
    ],
)
def test_data_that_cannot_be_trained_on_is_refused(data: Tensor, options: dict[str, bool], message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        Batches(data, 4, **options)  # type: ignore[arg-type]
