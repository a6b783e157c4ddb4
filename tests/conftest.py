"""What every test shares: where the real networks and images lie, one thread per process, and Hypothesis' profile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# `make test` runs one process per core; threads within each would compete for the same cores. Set before NumPy or
# PyTorch loads, and for the processes that tests start.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

settings.register_profile("intsim", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("intsim")

SHARED = Path(__file__).resolve().parents[2] / "shared"


def shared(path: str = "") -> Path:
    """`path` in shared/ beside the checkout (real networks, images, figures); skips the test where it is absent."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"needs shared/{path}, which is not beside this checkout")
    return found


@pytest.fixture(name="shared")
def shared_folder() -> Path:
    return shared()
