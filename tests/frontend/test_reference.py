"""MODEL names a callable that returns a module, or one line says what it returned instead."""

from __future__ import annotations

import pytest
from torch import nn

from intsim.errors import InputError
from intsim.frontend.reference import load_model


def test_a_reference_gives_the_module_that_its_callable_returns(tmp_path):
    (tmp_path / "nets.py").write_text("from torch import nn\ndef net():\n    return nn.Linear(3, 4)\n")
    model = load_model(f"{tmp_path}/nets.py:net")
    assert isinstance(model, nn.Linear)


def test_what_is_no_module_is_refused_in_one_line(tmp_path):
    (tmp_path / "numbers.py").write_text("def net():\n    return 3\n")
    with pytest.raises(InputError, match=r"MODEL .*numbers.py:net: expected an nn.Module, got int"):
        load_model(f"{tmp_path}/numbers.py:net")
