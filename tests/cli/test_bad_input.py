"""Bad input gets one line that names it, exit status 2, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

pytestmark = pytest.mark.torchless


def absent(path: Path) -> None:
    path.unlink()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def foreign(path: Path) -> None:
    save_file({"weight": np.zeros(3, np.float32)}, path)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 4)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def a_size_that_overflows(path: Path) -> None:
    path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:])


def damaged(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data.replace(b"conv2d", b"conv9d"))


FILES: list[Callable[[Path], None]] = [
    absent,
    a_folder,
    foreign,
    empty,
    garbage,
    truncated,
    a_size_that_overflows,
    damaged,
]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("spoil", FILES)
@pytest.mark.parametrize("command", ["run", "eval", "inspect", "cost", "prove", "verify"])
def test_a_file_that_is_no_model(intsim, model, data, tmp_path, command, spoil):
    spoil(model)
    before = contents(tmp_path)
    arguments = {
        "run": ("--data", data, "-o", tmp_path / "codes.npz"),
        "eval": ("--data", data),
        "cost": ("--target", "bitfusion"),
        "prove": ("-o", tmp_path / "proof.json"),
        "verify": ("--data", data),
    }
    complaint = intsim(command, model, *arguments.get(command, ())).complaint
    assert str(model) in complaint
    assert (f"{model}: is a folder, expected an .intsim file" in complaint) == (spoil is a_folder)
    assert contents(tmp_path) == before


IMAGES = np.zeros((3, 4, 6, 6), np.float32)
DATA = {
    "nan": ({"inputs": np.where(np.arange(432).reshape(IMAGES.shape) < 5, np.nan, 0)}, "5 of 432 elements are NaN"),
    "wrong shape": ({"inputs": IMAGES[:, :3]}, r"expected shape (N, 4, 6, 6)"),
    "wrong type": ({"inputs": IMAGES.astype(np.uint8)}, "expected float32"),
    "text": ({"inputs": np.array(["a", "b"])}, "expected numbers"),
    "no images": ({"inputs": IMAGES[:0]}, "empty"),
    "no inputs": ({"images": IMAGES}, "inputs"),
    "labels": ({"inputs": IMAGES, "labels": np.arange(2)}, "labels"),
    "two inputs": ({"inputs": np.array([None])}, "npz"),
}


@pytest.mark.parametrize(("arrays", "message"), DATA.values(), ids=DATA)
def test_data_that_does_not_fit(intsim, model, tmp_path, arrays, message):
    path = tmp_path / "other.npz"
    np.savez(path, allow_pickle=True, **arrays)
    before = contents(tmp_path)
    output = tmp_path / "codes.npz"
    assert message in intsim("run", model, "--data", path, "-o", output, "--backend", "reference").complaint
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("absent.npz", "absent.npz"),
        ("absent.py:images", "there is no such file"),
        ("intsim.demo.digits:evaluatoin", "evaluation"),
        ("no reference at all", "expected"),
    ],
)
def test_data_that_does_not_exist(intsim, model, tmp_path, reference, message):
    result = intsim("run", model, "--data", reference, "-o", tmp_path / "codes.npz")
    assert message in result.complaint
    assert not (tmp_path / "codes.npz").exists()


def test_an_output_that_cannot_be_written_is_found_before_the_work(intsim, model, data, tmp_path):
    for output in (tmp_path / "no" / "codes.npz", tmp_path):
        assert str(output) in intsim("run", model, "--data", data, "-o", output).complaint


def test_a_folder_that_cannot_be_written_to(intsim, model, data, tmp_path, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied", "codes.npz")

    monkeypatch.setattr("intsim.ir.file.tempfile.mkstemp", refused)
    complaint = intsim("run", model, "--data", data, "-o", tmp_path / "codes.npz", "--backend", "reference").complaint
    assert "Permission denied: 'codes.npz'" in complaint
