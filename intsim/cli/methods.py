"""intsim methods: the calibration methods."""

from __future__ import annotations

from intsim.cli.options import Json


def methods(json: Json = False) -> None:
    """List the methods for `intsim quantize`."""
    from intsim.calibrate import METHODS
    from intsim.cli.console import print_json, print_table

    if json:
        print_json({"methods": [{"name": method.name, "summary": method.summary} for method in METHODS.values()]})
    else:
        print_table(("method", "summary"), [(method.name, method.summary) for method in METHODS.values()])
