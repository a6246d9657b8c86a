"""What all pages share: the template environment, with the style sheet in reach, and figures as text."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined


def environment(package: str = "toeline.report") -> Environment:
    """Templates of a package; `report.css` and what else lies in report/templates can be included from all of them."""
    from jinja2 import ChoiceLoader

    own = PackageLoader(package)
    env = Environment(
        loader=own if package == "toeline.report" else ChoiceLoader([own, PackageLoader("toeline.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["percent"] = percent
    env.filters["tenths"] = tenths
    return env


def percent(share: float) -> str:
    """A share in whole percent; near 0 and 1 one digit more, so that nothing but certainty looks certain.

    >>> percent(1), percent(0.996), percent(0.99999), percent(0.5), percent(0)
    ('100%', '99.6%', '>99.9%', '50%', '0%')
    """
    if share in (0, 1) or 0.01 <= share <= 0.99:
        return f"{100 * share:.0f}%"
    return ">99.9%" if share > 0.9995 else "<0.1%" if share < 0.0005 else f"{100 * share:.1f}%"


def tenths(share: float) -> str:
    """A share as percent with one digit, for measured figures.

    >>> tenths(0.5712), tenths(1)
    ('57.1%', '100.0%')
    """
    return f"{100 * share:.1f}%"
