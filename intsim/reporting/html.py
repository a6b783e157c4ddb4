"""A comparison as one HTML page."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from intsim import __version__
from intsim.reporting.comparison import Comparison


def render(comparison: Comparison) -> str:
    """The page: its style stands in it, everything that is not ours is escaped, and it loads nothing."""
    environment = Environment(
        loader=PackageLoader("intsim.reporting", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("comparison.html").render(comparison=comparison, version=__version__, zip=zip)
