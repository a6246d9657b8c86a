"""The report on paper: its order and length, what prints it, and what is said where nothing can."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.browser import BROWSER
from tests.support.results import finding, given, read

from toeline.core.finding import Finding, graded
from toeline.core.taxonomy import Taxonomy
from toeline.errors import SetupError
from toeline.judge.decide import sure
from toeline.report import pdf as pdf_module
from toeline.report.inspection_page import MOST_PRINTED, render_print
from toeline.report.pdf import printer

TAXONOMY = Taxonomy.load()


def damaged(number: int, probability: float) -> Finding:
    one = finding("a.jpg", number)
    verdict = replace(one.verdict, class_name="rock toe damaged", condition="damaged", probability=probability)
    return replace(one, verdict=verdict)


def page_of(tmp_path: Path, count: int) -> str:
    """`count` findings with work, less and less sure, and a plant."""
    plant = replace(finding("a.jpg", 999), type_name="vegetation", verdict=sure("vegetation", TAXONOMY))
    found = graded((plant, *(damaged(n, 1 - n / 1000) for n in range(1, count + 1))), (), TAXONOMY)
    return render_print(given(tmp_path, "a.jpg", findings=found))


def test_the_worst_come_first_with_a_picture_and_the_rest_as_a_table(tmp_path: Path) -> None:
    html = page_of(tmp_path, MOST_PRINTED + 5)
    assert html.index('class="cover"') < html.index("By type and condition") < html.index("<article>")
    assert re.findall(r"<h3>(\d+)\.", html) == [str(n) for n in range(1, MOST_PRINTED + 1)]
    assert html.count('<img src="data:image/jpeg;base64,') == MOST_PRINTED
    rest = html[html.index("The rest of the work list") :]
    assert len(re.findall("<tr><td", rest)) == 6
    assert "only answer" in rest
    assert all(a["src"].startswith("data:") for a in read(html).all("img"))


def test_without_a_printer_the_command_that_mends_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf_module, "find_spec", lambda _: None)
    monkeypatch.setattr(pdf_module, "BROWSERS", ("no-such-browser",))
    with pytest.raises(SetupError, match=r"pip install 'weasyprint>=\d+'.*\[pdf\].*leave --pdf out"):
        printer()


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on the PATH")
def test_chromium_prints_two_findings_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf_module, "find_spec", lambda _: None)
    printer()(page_of(tmp_path, 9), tmp_path / "report.pdf")
    made = (tmp_path / "report.pdf").read_bytes()
    assert made.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type ?/Page\b", made)) == 2 + 5 + 1  # cover, summary; nine by two; the table
