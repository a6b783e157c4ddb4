"""The kernels without Python: tests/csrc/walk meets every row of a table, natively, and NEON's under emulation."""

from __future__ import annotations

import os
import platform
import runpy
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
WALK = ROOT / "tests/csrc/walk"
CANNOT_RUN_HERE = 77
CROSS, QEMU = "aarch64-linux-gnu-g++", "qemu-aarch64"


def run(command: list[Any]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True, check=False)


def build(command: list[Any]) -> None:
    done = run(command)
    assert done.returncode == 0, done.stderr[:4000]


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    """What setup.py defines: flags, and which files are for which machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr("setuptools.setup", lambda **_: None)
        return runpy.run_path("setup.py")


def link(compiler: str, flags: list[str], objects: list[Path], program: Path) -> Path:
    build([compiler, "-std=c++17", *flags, "-O1", *WALK.glob("*.cpp"), *objects, "-o", program])
    return program


@pytest.fixture(scope="module")
def walker(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program with the very objects that intsim._native was linked from."""
    objects = ROOT / "build" / (sys.implementation.cache_tag or "") / "csrc"
    sources = {path.stem for path in (ROOT / "csrc").glob("*.cpp") if not path.stem.startswith("bindings")}
    kernels = [path for path in sorted(objects.glob("*.o")) if path.stem in sources]  # not of files that are gone
    compiler = os.environ.get("CXX", "g++")
    if not kernels or shutil.which(compiler) is None:
        pytest.skip("needs the objects that `python setup.py build_ext` leaves in build/, and its compiler")
    return link(compiler, settings["FLAGS"], kernels, tmp_path_factory.mktemp("walk") / "walk")


@pytest.fixture(scope="module")
def arm_walker(settings: dict[str, Any]) -> Path:
    """The program and all of csrc/ for 64-bit ARM, compiled again only where something changed."""
    if shutil.which(CROSS) is None or shutil.which(QEMU) is None:
        pytest.skip(f"needs {CROSS} and {QEMU} (apt-get install g++-aarch64-linux-gnu qemu-user)")
    folder = ROOT / "build/walk-aarch64"
    folder.mkdir(parents=True, exist_ok=True)
    flags = settings["FLAGS"]

    def compile_one(source: Path) -> Path:
        to = folder / f"{source.stem}.o"
        if not to.exists() or settings["newer_than_object"](to, source):
            of_isa = settings["isa_flags"](source, "aarch64")
            build([CROSS, "-std=c++17", *flags, *of_isa, "-c", source, "-o", to])
        return to

    sources = [
        path
        for path in sorted((ROOT / "csrc").glob("*.cpp"))
        if not path.stem.startswith("bindings") and settings["isa_flags"](path, "aarch64") is not None
    ]
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(os.cpu_count()) as pool:
        patch.chdir(ROOT)
        objects = list(pool.map(compile_one, sources))
    return link(CROSS, [*flags, "-static"], objects, folder / "walk")


def expect_all_equal(command: list[Any]) -> None:
    done = run(command)
    if done.returncode == CANNOT_RUN_HERE:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("isa", ["portable", "avx2", "avx512", "avx512vbmi"])
def test_every_row_of_a_table(walker: Path, isa: str) -> None:
    expect_all_equal([walker, isa])


@pytest.mark.skipif(platform.machine() in ("aarch64", "arm64"), reason="runs natively in every other test here")
def test_every_row_of_neon(arm_walker: Path) -> None:
    expect_all_equal([QEMU, arm_walker, "neon"])
