"""intsim methods: the calibration methods and their hyper-parameters."""

from __future__ import annotations

from intsim.cli.options import Json


def methods(json: Json = False) -> None:
    """List the methods for `intsim quantize`, and what `--set NAME=VALUE` may set of each."""
    from intsim.calibrate import METHODS
    from intsim.calibrate.options import describe_options
    from intsim.cli.console import print_json, print_table

    options = {method.name: describe_options(method.options) for method in METHODS.values()}
    if json:
        keys = ("name", "expected", "default")
        described = {name: [dict(zip(keys, option, strict=True)) for option in own] for name, own in options.items()}
        rows = [{"name": m.name, "summary": m.summary, "options": described[m.name]} for m in METHODS.values()]
        print_json({"methods": rows})
    else:
        print_table(("method", "summary"), [(method.name, method.summary) for method in METHODS.values()])
        if any(options.values()):
            print_table(
                ("method", "option", "takes", "default"), [(name, *o) for name in options for o in options[name]]
            )
