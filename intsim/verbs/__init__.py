"""What a user can do: one function for each command, with the same arguments.

A model is an .intsim file, by its path, or what `quantize` and `load` return. Data is a reference (see intsim.data),
(inputs, labels), inputs alone where no labels are needed, or batches of either, such as a DataLoader, which are read to
their end. Whatever is wrong with an argument raises an IntsimError, and no verb leaves a half-written file.
"""

from intsim.ir.file import Model, load
from intsim.verbs.arguments import needs_torch
from intsim.verbs.calibration import quantize, train
from intsim.verbs.checks import prove, verify
from intsim.verbs.cost import allocate, estimate, menu, sweep, write_widths
from intsim.verbs.execution import Accuracy, evaluate, export, run
from intsim.verbs.reports import report

__all__ = [
    "Accuracy",
    "Model",
    "allocate",
    "estimate",
    "evaluate",
    "export",
    "load",
    "menu",
    "needs_torch",
    "prove",
    "quantize",
    "report",
    "run",
    "sweep",
    "train",
    "verify",
    "write_widths",
]
