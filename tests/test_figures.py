"""The figures of README and cards are those of benchmarks/results, from one source."""

from __future__ import annotations

import re

import pytest
from benchmarks import figures

SETS = figures.measured((figures.ROOT / figures.SOURCE).read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", figures.pages(), ids=lambda page: str(page.relative_to(figures.ROOT)))
def test_a_page_says_what_was_measured(page: object) -> None:
    text = page.read_text(encoding="utf-8")  # type: ignore[attr-defined]
    assert figures.rewritten(text, SETS) == text, "run python benchmarks/figures.py"


def test_every_figure_of_the_models_has_its_source() -> None:
    """A row with an interval that no table names would escape the comparison."""
    known = {*figures.README, *figures.TUTORIAL, *figures.CARDS}
    for page in figures.pages():
        rows = re.findall(r"^\| ([^|\n]+) \|.*\(\d[\d.]* ?%? to .*$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert rows
        assert [row for row in rows if row not in known] == []


def test_a_figure_that_was_edited_is_seen() -> None:
    row = figures.card_row("right class in the right place, valid", SETS)
    assert figures.rewritten(row.replace("%", "%", 1).replace("| 5", "| 6"), SETS) == row
    assert figures.rewritten("| something else | 1% |", SETS) == "| something else | 1% |"
