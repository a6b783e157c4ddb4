"""Pages: a comparison, what networks cost, and how fast they run."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from intsim import __version__
from intsim.reporting.comparison import Comparison
from intsim.reporting.costs import Costs
from intsim.reporting.errors import LayerErrors
from intsim.reporting.rates import Races


def render(comparison: Comparison) -> str:
    """The page: its style stands in it, everything that is not ours is escaped, and it loads nothing."""
    return _page("comparison.html", comparison=comparison)


def render_costs(costs: Costs, errors: LayerErrors | None = None) -> str:
    """The page of `intsim report`, made as the other is; its figures are drawn as SVG and CSS, without a script.

    errors   what the files' roundings do to each layer, where that was measured
    """
    return _page("costs.html", costs=costs, errors=errors)


def render_rates(page: Races) -> str:
    """The page of `intsim bench --figure`."""
    return _page("rates.html", page=page)


def _page(template: str, **values: object) -> str:
    environment = Environment(
        loader=PackageLoader("intsim.reporting", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(version=__version__, zip=zip, **values)
