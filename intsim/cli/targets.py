"""intsim targets: the accelerators that come with intsim."""

from __future__ import annotations

from intsim.cli.options import Json


def targets(json: Json = False) -> None:
    """List the accelerators for `intsim cost`."""
    from intsim.cli.console import print_json, print_table
    from intsim.costing import list_targets, load_target

    known = [load_target(name) for name in list_targets()]
    if json:
        fields = ("name", "model", "summary")
        documents = [
            {field: getattr(t, field) for field in fields} | {"array": None if t.size is None else list(t.size)}
            for t in known
        ]
        print_json({"targets": documents})
    else:
        print_table(
            ("target", "array", "summary"),
            [(t.name, "" if t.size is None else f"{t.size.rows}x{t.size.columns}", t.summary) for t in known],
        )
