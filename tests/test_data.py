"""DATA loads from callables and files, with or without PyTorch, and bad data is one line that names the tensor."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intsim.data import Dataset, load_data
from intsim.errors import InputError

pytestmark = pytest.mark.torchless

IMAGES = np.arange(24, dtype=np.float64).reshape(2, 3, 2, 2)


class Tensor:
    """Quacks like a tensor on a device that needs gradients: only detach().cpu().numpy() gives its numbers."""

    def __init__(self, array: np.ndarray):
        self.array = array

    def detach(self) -> Any:
        return type("Detached", (), {"cpu": lambda s: type("OnHost", (), {"numpy": lambda h: self.array})()})()

    def __array__(self) -> np.ndarray:
        raise TypeError("this tensor requires grad")


@pytest.fixture
def from_callable(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], Dataset]:
    """Loads what a callable in a file of its own returns."""
    import intsim.data

    def load(returned: object) -> Dataset:
        monkeypatch.setattr(intsim.data, "call", lambda reference, what: returned)
        return load_data("here.py:images")

    return load


def npz(tmp_path: Path, **arrays: np.ndarray) -> str:
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return str(path)


def test_a_callable_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "images.py"
    path.write_text("import numpy as np\ndef data():\n    return np.ones((5, 1, 2, 2)), np.arange(5, dtype=np.uint8)\n")
    data = load_data(f"{path}:data")
    assert len(data) == 5 and data.inputs[0].dtype == np.float32 and data.inputs[0].shape == (5, 1, 2, 2)
    assert data.labels is not None and data.labels.dtype == np.int64
    assert data.labels.tolist() == [0, 1, 2, 3, 4]
    assert data.source == f"{path}:data"
    first = data.first(3)
    assert first.labels is not None and first.labels.tolist() == [0, 1, 2]
    assert len(first) == 3 and len(data.first(99)) == 5


def test_an_npz_file(tmp_path: Path) -> None:
    data = load_data(npz(tmp_path, inputs=IMAGES, labels=np.array([4, 5])))
    np.testing.assert_array_equal(data.inputs[0], IMAGES)
    assert data.labels is not None and data.labels.tolist() == [4, 5]
    assert load_data(npz(tmp_path, inputs=IMAGES)).labels is None


def test_tensors_lists_and_several_inputs(from_callable: Callable[[object], Dataset]) -> None:
    data = from_callable((Tensor(IMAGES), Tensor(np.array([0, 1]))))
    np.testing.assert_array_equal(data.inputs[0], IMAGES)
    data = from_callable(((Tensor(IMAGES), IMAGES.astype(np.uint8)), None))
    assert from_callable((IMAGES.tolist(), [0, 1])).inputs[0].shape == IMAGES.shape
    assert [a.dtype for a in data.inputs] == [np.float32, np.uint8] and data.labels is None


def test_inputs_alone_have_no_labels(from_callable: Callable[[object], Dataset]) -> None:
    for images in (IMAGES, Tensor(IMAGES)):
        data = from_callable(images)
        np.testing.assert_array_equal(data.inputs[0], IMAGES)
        assert data.labels is None


class Loader:
    """Gives batches as a DataLoader does: a list for each, which may be read again."""

    def __init__(self, *columns: np.ndarray):
        self.columns = columns

    def __iter__(self) -> Iterator[list[Tensor]]:
        return ([Tensor(column[i : i + 2]) for column in self.columns] for i in range(0, 5, 2))


def test_batches_are_read_to_their_end(from_callable: Callable[[object], Dataset]) -> None:
    images, labels = np.arange(60.0).reshape(5, 3, 2, 2), np.array([4, 3, 2, 1, 0])
    for loader in (Loader(images, labels), list(Loader(images, labels)), iter(Loader(images, labels))):
        data = from_callable(loader)
        np.testing.assert_array_equal(data.inputs[0], images)
        assert data.labels is not None and data.labels.tolist() == [4, 3, 2, 1, 0]
    for loader in (Loader(images), (batch for (batch,) in Loader(images))):
        data = from_callable(loader)
        np.testing.assert_array_equal(data.inputs[0], images)
        assert data.labels is None
    two = from_callable([[[images[:2], images[:2]], labels[:2]], [[images[2:], images[2:]], labels[2:]]])
    assert [array.shape for array in two.inputs] == [(5, 3, 2, 2)] * 2


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ((IMAGES,), r"got 1 values"),
        (None, r"expected \(inputs, labels\), inputs alone, or batches of them such as a DataLoader's, got NoneType"),
        ({"inputs": IMAGES}, r"got dict"),
        ([], r"list gave no batch: expected at least one"),
        ([(IMAGES, [0, 1], [0, 1])], r"batch 1: expected \(inputs, labels\) or inputs, got 3 values"),
        ([{"image": IMAGES}], r"batch 1: expected \(inputs, labels\) or inputs, got dict"),
        ([IMAGES, IMAGES[..., :1], IMAGES], r"batch 2: has samples of \(3, 2, 1\), the first of \(3, 2, 2\)"),
        ([IMAGES, (IMAGES, [0, 1]), IMAGES], r"batch 2: has labels, unlike the first"),
        ([(IMAGES, [0, 1]), IMAGES, IMAGES], r"batch 2: lacks labels, unlike the first"),
        ((IMAGES[:1] * i for i in (1, np.nan)), r"inputs: .* are NaN or infinite"),
        (map(int, "1x"), r"batch 1: expected \(inputs, labels\) or inputs, got int"),
        (map("{:d}".format, "x"), r"reading the batches of map failed: ValueError: "),
        ((np.zeros((0, 3, 2, 2)), None), r"inputs is empty: .* got shape \(0, 3, 2, 2\)"),
        (((), None), r"inputs is empty"),
        ((np.array([1.0, np.nan, np.inf, 1e300]), None), r"inputs: 3 of 4 elements are NaN or infinite, .* at \[1\]"),
        (((IMAGES, np.full((2, 1), np.nan)), None), r"inputs\[1\]: 2 of 2 elements are NaN"),
        (((IMAGES, IMAGES[:1]), None), r"inputs\[1\] has 1 samples but inputs\[0\] has 2"),
        ((np.array([None, 1]), None), r"inputs: expected numbers, got ndarray of dtype object"),
        ((IMAGES, np.array([1])), r"labels: expected shape \(2,\), one for each sample, got \(1,\)"),
        ((IMAGES, np.zeros((2, 10))), r"labels: expected integers, got float64"),
        ((IMAGES, ["cat", "dog"]), r"labels: expected numbers"),
    ],
)
def test_bad_data_is_one_line(from_callable: Callable[[object], Dataset], returned: object, message: str) -> None:
    with pytest.raises(InputError) as error:
        from_callable(returned)
    assert re.search(message, str(error.value)), error.value
    assert str(error.value).startswith("DATA here.py:images: ") and "\n" not in str(error.value)


def test_bad_references_are_one_line(tmp_path: Path) -> None:
    for reference, message in [
        ("images", r"^DATA images: expected path/file.py:callable, package.module:callable or path/file.npz"),
        (f"{tmp_path}/absent.npz", r"cannot be read: No such file"),
        ("absent.py:data", r"^DATA absent.py:data: cannot import absent.py"),
    ]:
        with pytest.raises(InputError, match=message):
            load_data(reference)


def test_bad_files_are_one_line(tmp_path: Path) -> None:
    single = io.BytesIO()
    np.save(single, IMAGES)
    archive = npz(tmp_path, inputs=IMAGES)
    whole = (tmp_path / "data.npz").read_bytes()
    for content, message in [
        (b"", r"not a readable .npz file"),
        (b"not an archive", r"not a readable .npz file"),
        (whole[: len(whole) // 2], r"not a readable .npz file"),
        (single.getvalue(), r"expected an .npz archive, got a single array"),
    ]:
        (tmp_path / "data.npz").write_bytes(content)
        with pytest.raises(InputError, match=message):
            load_data(archive)
    with pytest.raises(InputError, match=r"expected an array named inputs, the file has images"):
        load_data(npz(tmp_path, images=IMAGES))


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not a readable .npz file: .*pickle"):
        load_data(npz(tmp_path, inputs=np.array([{"a": 1}], dtype=object)))
