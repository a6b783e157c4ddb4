"""Builds intsim._native from csrc/: all C++ files in parallel, each with the flags of its instruction set.

Everything else about the project stands in pyproject.toml. INTSIM_SANITIZE=1 builds with the address and
undefined-behaviour sanitizers, in a build folder of its own.
"""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from pybind11.setup_helpers import ParallelCompile, Pybind11Extension, build_ext
from setuptools import setup

ROOT = Path(__file__).parent
CSRC = Path("csrc")  # relative: setuptools accepts no absolute source
SANITIZE = os.environ.get("INTSIM_SANITIZE", "") not in ("", "0")

FLAGS = ["-O3", "-ffp-contract=off", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror", "-pthread"]
LINK_FLAGS = ["-pthread"]
if SANITIZE:
    # Python's own flags may hold -fwrapv, under which signed overflow is defined and goes unreported.
    FLAGS += [
        "-O1",  # compiles twice as fast, and reports carry lines that are there
        "-g",
        "-fno-wrapv",
        "-fno-omit-frame-pointer",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        "-Wno-maybe-uninitialized",  # which sees what is not there in instrumented code
    ]
    LINK_FLAGS += ["-fsanitize=address,undefined"]

# A file named *_<isa>.cpp is compiled for that instruction set, and only where the machine has the architecture.
# Its code runs after a check at run time, so the file must not instantiate templates or inline functions that others
# share: the linker keeps one copy for all, which may be the one that only a newer processor can run.
MACHINE = platform.machine()
X86, ARM = {"x86_64", "amd64"}, {"aarch64", "arm64"}
AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512vnni"]
INSTRUCTION_SETS = {
    "avx2": (X86, ["-mavx2", "-mfma", "-mbmi2"]),
    "avx512": (X86, AVX512),
    "avx512vbmi": (X86, [*AVX512, "-mavx512vbmi"]),
    "neon": (ARM, ["-march=armv8.2-a+dotprod"]),
}


def isa_flags(source: str | Path, machine: str = MACHINE) -> list[str] | None:
    """The further flags that `source` needs by its name; None where the machine's architecture cannot run it."""
    isa = Path(source).stem.rpartition("_")[2]
    if isa not in INSTRUCTION_SETS:
        return []
    architectures, flags = INSTRUCTION_SETS[isa]
    return flags if machine.lower() in architectures else None


def newer_than_object(obj: str, source: str) -> bool:
    """Whether `obj` is out of date: older than its source, any header, or this file with its flags."""
    inputs = [Path(source), Path(__file__), *CSRC.glob("*.h")]
    return max(path.stat().st_mtime for path in inputs) > Path(obj).stat().st_mtime


class BuildKernels(build_ext):
    """setuptools has one list of flags per extension; here each file adds those of its instruction set."""

    def finalize_options(self) -> None:
        super().finalize_options()
        # pip builds in a temporary folder; this one stays, so that a change recompiles only what it touches.
        self.build_temp = str(Path("build") / f"{sys.implementation.cache_tag}{'-sanitize' if SANITIZE else ''}")

    def build_extensions(self) -> None:
        compile_one = self.compiler._compile

        def compile_for_isa(
            obj: str, source: str, ext: str, cc_args: list[str], flags: list[str], pp_opts: list[str]
        ) -> None:
            compile_one(obj, source, ext, cc_args, [*flags, *(isa_flags(source) or [])], pp_opts)

        self.compiler._compile = compile_for_isa
        super().build_extensions()


def kernels() -> list[Pybind11Extension]:
    if not (ROOT / CSRC / "bindings.cpp").exists():
        return []
    return [
        Pybind11Extension(
            "intsim._native",
            sources=[str(path) for path in sorted(CSRC.glob("*.cpp")) if isa_flags(path) is not None],
            depends=[__file__, *map(str, sorted(CSRC.glob("*.h")))],
            cxx_std=17,
            extra_compile_args=FLAGS,
            extra_link_args=LINK_FLAGS,
        )
    ]


with ParallelCompile("INTSIM_BUILD_JOBS", needs_recompile=newer_than_object):
    setup(ext_modules=kernels(), cmdclass={"build_ext": BuildKernels})
