"""MODEL: a reference to a callable that returns an nn.Module."""

from __future__ import annotations

from torch import nn

from intsim.errors import InputError
from intsim.references import call


def load_model(reference: str) -> nn.Module:
    """The module that "path/file.py:callable" or "package.module:callable" returns; InputError in one line if not."""
    model = call(reference, "MODEL")
    if not isinstance(model, nn.Module):
        raise InputError(f"MODEL {reference}: expected an nn.Module, got {type(model).__name__}")
    return model
