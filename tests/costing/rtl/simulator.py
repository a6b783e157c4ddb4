"""Verilates the arrays of intsim/costing/rtl, once for each set of parameters, and runs exported layers on them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[3]
RTL = ROOT / "intsim" / "costing" / "rtl"
BENCH = Path(__file__).parent / "bench.cpp"
CACHE = ROOT / "build" / "rtl"


@dataclass(frozen=True)
class RtlArray:
    """Parameters of one array; `dataflow` is its top module."""

    dataflow: str
    rows: int
    columns: int
    activation_bits: int = 9
    weight_bits: int = 9
    levels: int = 15
    buffer_rows: int = 4096
    tight: bool = False

    def __str__(self) -> str:
        words = [f"{self.dataflow.split('_')[0]}_{self.rows}x{self.columns}", f"{self.activation_bits}b"]
        words += ["tight"] if self.tight else []
        return "_".join(words)

    @property
    def parameters(self) -> list[str]:
        values = {
            "ROWS": self.rows,
            "COLUMNS": self.columns,
            "ACTIVATION_BITS": self.activation_bits,
            "WEIGHT_BITS": self.weight_bits,
            "LEVELS": self.levels,
            "TIGHT": f"1'b{int(self.tight)}",
        }
        if self.dataflow == "weight_stationary":
            values["BUFFER_ROWS"] = self.buffer_rows
        return [f"-G{name}={value}" for name, value in values.items()]


@dataclass(frozen=True, eq=False)
class Simulated:
    """What an array wrote for a layer, (m, output channels) flattened, and the cycles that it was busy."""

    sums: NDArray[np.int64]
    codes: NDArray[np.int64]
    cycles: int


def lint(array: RtlArray) -> str:
    """What `verilator --lint-only -Wall` has to say."""
    command = ["verilator", "--lint-only", "-Wall", *_sources(array), *array.parameters]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def simulate(array: RtlArray, layers: Sequence[Path], folder: Path) -> list[Simulated]:
    """Run exported layers one after the other, without a reset in between; `folder` takes what the bench writes."""
    results = [folder / layer.name for layer in layers]
    for result in results:
        result.mkdir(parents=True)
    pairs = [str(path) for pair in zip(layers, results, strict=True) for path in pair]
    done = subprocess.run([_built(array), *pairs], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [
        Simulated(read_hex(path / "sums.hex"), read_hex(path / "codes.hex"), int((path / "cycles").read_text()))
        for path in results
    ]


def read_hex(path: Path) -> NDArray[np.int64]:
    """Signed words of 32 bits."""
    return np.array([int(line, 16) for line in path.read_text().split()], np.uint32).view(np.int32).astype(np.int64)


def _sources(array: RtlArray) -> list[str]:
    top = RTL / f"{array.dataflow}.sv"
    return [str(RTL / "systolic_pkg.sv"), "-y", str(RTL), str(top), "--top-module", array.dataflow]


def _built(array: RtlArray) -> Path:
    """The bench of an array. Processes that test at the same time wait for each other; builds are kept by content."""
    sources = b"".join(path.read_bytes() for path in [*sorted(RTL.glob("*.sv")), BENCH, Path(__file__)])
    content = hashlib.sha256(sources + repr((astuple(array), _version())).encode()).hexdigest()[:16]
    bench = CACHE / f"{array}-{content}"
    with _alone(str(array)):
        if not bench.exists():
            for outdated in CACHE.glob(f"{array}-*"):
                outdated.unlink()
            with tempfile.TemporaryDirectory(dir=CACHE) as building:
                _build(array, Path(building))
                os.replace(Path(building) / "bench", bench)
    return bench


def _build(array: RtlArray, folder: Path) -> None:
    verilate = ["verilator", "--cc", "--x-assign", "fast", "--x-initial", "fast", "--prefix", "Vsystolic"]
    _run([*verilate, "--Mdir", str(folder), *_sources(array), *array.parameters])
    include = Path(_run(["verilator", "--getenv", "VERILATOR_ROOT"]).strip()) / "include"
    compiler = [os.environ.get("CXX", "g++"), "-std=c++17", f"-I{include}", f"-I{include}/vltstd", f"-I{folder}"]
    widths = [f"-DACTIVATION_BITS={array.activation_bits}", f"-DWEIGHT_BITS={array.weight_bits}"]
    # Compiling takes far longer than running: one unit, so that headers are read once, and no optimisation.
    unit = _unit(folder / "all.cc", [*sorted(folder.glob("*.cpp")), BENCH])
    runtime = _runtime(compiler, include)
    _run([*compiler, *widths, "-O0", str(unit), str(runtime), "-pthread", "-o", str(folder / "bench")])


def _runtime(compiler: list[str], include: Path) -> Path:
    """Verilator's own runtime, which all arrays share."""
    runtime = CACHE / f"verilated_{_version()}.o"
    with _alone("verilated"):
        if not runtime.exists():
            unit = _unit(CACHE / "verilated.cc", [include / "verilated.cpp", include / "verilated_threads.cpp"])
            _run([*compiler, "-O0", "-c", str(unit), "-o", f"{runtime}.new"])
            os.replace(f"{runtime}.new", runtime)
    return runtime


def _unit(path: Path, sources: Sequence[Path]) -> Path:
    """A file that includes all sources."""
    path.write_text("".join(f'#include "{source}"\n' for source in sources))
    return path


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """One process at a time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@cache
def _version() -> str:
    return _run(["verilator", "--version"]).split()[1]


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
    return done.stdout
