"""The tests of the arrays need Verilator."""

from __future__ import annotations

import shutil

import pytest


@pytest.fixture(scope="session")
def verilator() -> None:
    if shutil.which("verilator") is None:
        pytest.skip("needs verilator (apt-get install verilator), which is not on this machine")
