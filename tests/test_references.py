"""References to user code resolve, or say in one line which half of them does not hold."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from intsim.errors import InputError
from intsim.references import call, resolve

pytestmark = pytest.mark.torchless


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "zoo.py").write_text(
        "import helper_of_zoo\n"
        "SIZE = 3\n"
        "def small():\n    return helper_of_zoo.VALUE\n"
        "def fails():\n    raise ValueError('two\\nlines')\n"
        "def deep():\n    import json\n    json.loads('{')\n"
        "def leaves():\n    raise SystemExit(3)\n"
    )
    (tmp_path / "helper_of_zoo.py").write_text("VALUE = 7\n")
    (tmp_path / "broken.py").write_text("def f(:\n")
    (tmp_path / "raising.py").write_text("\nimport a_module_that_is_not_there\n")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("helper_of_zoo", None)
    sys.modules.pop("zoo", None)


def test_a_file_and_a_module_give_the_same(folder: Path) -> None:
    assert call("zoo.py:small", "DATA") == call(f"{folder}/zoo.py:small", "DATA") == call("zoo:small", "DATA") == 7
    assert str(folder) not in sys.path


def test_a_file_is_imported_once(folder: Path) -> None:
    assert resolve("zoo.py:small", "MODEL") is resolve(f"{folder}/../{folder.name}/zoo.py:small", "DATA")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("zoo.py", r"MODEL 'zoo.py': expected path/file.py:callable or package.module:callable"),
        ("zoo.py:", r"expected path/file.py:callable"),
        ("zoo.py:no name", r"expected path/file.py:callable"),
        ("absent.py:f", r"MODEL absent.py:f: cannot import absent.py: FileNotFoundError: there is no such file"),
        ("absent_module:f", r"cannot import absent_module: ModuleNotFoundError: No module named 'absent_module'$"),
        ("broken.py:f", r"cannot import broken.py: SyntaxError: .*broken.py, line 1"),
        ("raising.py:f", r"No module named 'a_module_that_is_not_there' \(raising.py:2\)"),
        ("zoo.py:smal", r"'smal' is not there; the nearest name is 'small'"),
        ("zoo.py:SIZE", r"'SIZE' is no callable but of type int"),
        ("zoo.py:fails", r"MODEL zoo.py:fails: the call failed: ValueError: two lines \(zoo.py:6\)"),
        ("zoo.py:deep", r"JSONDecodeError: .* \(zoo.py:9\)"),
        ("zoo.py:leaves", r"SystemExit: 3 \(zoo.py:11\)"),
    ],
)
def test_what_does_not_resolve_is_one_line(folder: Path, reference: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        call(reference, "MODEL")
    assert re.search(message, str(error.value)), error.value
    assert "\n" not in str(error.value)
    assert not any(str(folder) in entry for entry in sys.path)


def test_a_file_that_failed_is_read_again(folder: Path) -> None:
    with pytest.raises(InputError):
        call("broken.py:f", "MODEL")
    (folder / "broken.py").write_text("def f():\n    return 1\n")
    assert call("broken.py:f", "MODEL") == 1
