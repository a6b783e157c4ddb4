"""Runs a neural network exactly as integer hardware would, proves that, and says what it costs.

The verbs load on first use: `import intsim` imports nothing heavy, not even NumPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from intsim.verbs import allocate, estimate, evaluate, export, load, prove, quantize, sweep, train, verify

__version__ = "0.1.0"
__all__ = ["allocate", "estimate", "evaluate", "export", "load", "prove", "quantize", "sweep", "train", "verify"]

_MODULE_OF_VERB = dict.fromkeys(__all__, "intsim.verbs")


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF_VERB:
        raise AttributeError(f"module 'intsim' has no attribute {name!r}; its verbs are {', '.join(__all__)}")
    verb = getattr(import_module(_MODULE_OF_VERB[name]), name)
    globals()[name] = verb  # found directly from now on
    return verb


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
