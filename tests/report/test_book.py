"""A run of many photographs: read back in pieces, told on several pages, the same as one that fits on one."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from tests.support.results import RUN_RECORD, begun, finding, read, result

from toeline.core.finding import Result, graded
from toeline.core.run_folder import FINDINGS, RunFolder
from toeline.core.taxonomy import Taxonomy
from toeline.errors import OutputError
from toeline.pipelines import inspect as save_module
from toeline.pipelines.inspect import Summary, finish
from toeline.report.tables import WORKLIST, Totals, chapters, marked_name, worklist, worklist_csv

TAXONOMY = Taxonomy.load()
RUN = {**RUN_RECORD, "title": "", "started_words": "1 May 2026, 09:00", "settings": {"photos": ["flight"]}}


def names(count: int) -> list[str]:
    return [f"berm {n}.jpg" for n in range(count)]


def run_of(path: Path, count: int) -> RunFolder:
    """Photographs with 0, 1 or 2 findings, each with a picture; the last has a problem and none."""
    folder = RunFolder.open(path, RUN)
    results = [judged(result(name, n % 3, problems=n == count - 1)) for n, name in enumerate(names(count))]
    for one in results:
        file = path / marked_name(one.photo)
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 48), "#888").save(file)
    list(folder.keep(results))
    return folder


def judged(one: Result) -> Result:
    """The second finding of a photograph is damaged; all are graded."""
    damaged = [
        replace(f, verdict=replace(f.verdict, class_name="rock toe damaged", condition="damaged"))
        for f in one.findings[1:]
    ]
    return replace(one, findings=graded((*one.findings[:1], *damaged), (), TAXONOMY))


@pytest.fixture
def paged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of 10 photographs, 4 on a page."""
    monkeypatch.setattr(save_module, "PAGE", 4)
    finish(run_of(tmp_path / "out", 10), names(10), TAXONOMY, workers=2)
    return tmp_path / "out"


def test_chapters_give_every_photograph_with_its_findings_in_the_order_asked_for(tmp_path: Path) -> None:
    run_of(tmp_path, 10)
    order = names(10)[::-1]
    found = list(chapters(tmp_path, order[:-1], 4))
    assert [len(c.photos) for c in found] == [4, 4, 2]
    assert [p["photo"] for c in found for p in c.photos] == order  # what is not in the order comes last
    assert [(f.photo, f.instance_id) for c in found for f in c.findings] == [
        (name, str(k)) for name in order for k in range(1, names(10).index(name) % 3 + 1)
    ]


def test_findings_that_were_edited_are_a_fault(tmp_path: Path) -> None:
    begun(tmp_path / "out", result("a.jpg", 1), result("b.jpg", 1))
    file = tmp_path / "out" / FINDINGS
    file.write_text("".join(file.read_text().splitlines(keepends=True)[::-1]))
    with pytest.raises(OutputError, match=r"a\.jpg is not where"):
        list(chapters(tmp_path / "out", [], 5))


def test_totals_add_up() -> None:
    parts = [([{"failed": False, "seconds": 0.5}], [finding("a.jpg"), finding("a.jpg", 2)]), ([{"failed": True}], [])]
    total = sum((Totals.of(photos, findings) for photos, findings in parts), Totals())
    assert (total.photographs, total.failed, total.findings, total.review, total.seconds) == (2, 1, 2, 2, 0.5)
    assert (total.count(condition="normal"), total.count(condition="blocked")) == (2, 0)
    assert total.count(type_name="rock_toe", review=True) == 2


def test_every_page_stands_by_itself_and_leads_to_the_others(paged: Path) -> None:
    assert sorted(p.name for p in (paged / "report").iterdir()) == ["0001.html", "0002.html", "0003.html"]
    contents = read((paged / "report.html").read_text(encoding="utf-8"))
    links = [a["href"] for a in contents.all("a") if "#" not in a["href"]]
    assert links == ["report/0001.html", "report/0002.html", "report/0003.html"]
    cards = []
    for page in sorted((paged / "report").iterdir()):
        html = page.read_text(encoding="utf-8")
        assert "default-src 'none'" in html
        reader = read(html)
        for link in (a["href"] for a in reader.all("a") if not a["href"].startswith("#")):
            assert (page.parent / link.replace("%20", " ")).exists(), link
        anchors = {a["id"] for _, a in reader.tags if "id" in a}
        assert {a["href"][1:] for a in reader.all("a") if a["href"].startswith("#")} <= anchors
        assert all(a["src"].startswith("data:") for a in reader.all("img"))
        cards.append(len(reader.all("article", "card")))
    assert cards == [4, 4, 2]


def test_the_contents_count_all_pages(paged: Path) -> None:
    html = (paged / "report.html").read_text(encoding="utf-8")
    assert "Inspection of 10 photographs" in html
    assert "berm 4.jpg to berm 7.jpg" in html
    assert read(html).all("article", "card") == []
    counts = json.loads((paged / "run.json").read_text())["counts"]
    assert (counts["photographs"], counts["findings"], counts["review"], counts["problems"]) == (10, 9, 9, 1)
    assert counts["by_condition"] == {"normal": 6, "blocked": 0, "damaged": 3}


def test_the_work_list_of_the_contents_leads_to_the_pages(paged: Path) -> None:
    contents = read((paged / "report.html").read_text(encoding="utf-8"))
    links = [a["href"] for a in contents.all("a") if "html#" in a["href"]]
    assert links == ["report/0001.html#p3-2", "report/0002.html#p2-2", "report/0003.html#p1-2"]
    for link in links:
        page, anchor = link.split("#")
        assert f'id="{anchor}"' in (paged / page).read_text(encoding="utf-8")


def test_table_and_summary_do_not_depend_on_pages_or_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(out: str, page: int, workers: int) -> tuple[bytes, bytes, Summary]:
        monkeypatch.setattr(save_module, "PAGE", page)
        summary = finish(run_of(tmp_path / out, 10), names(10), TAXONOMY, workers=workers)
        return (*((tmp_path / out / name).read_bytes() for name in ("findings.csv", WORKLIST)), summary)

    first, *others = [made(*how) for how in (("a", 200, 0), ("b", 3, 0), ("c", 3, 2), ("d", 1, 4))]
    assert len(list(csv.reader(first[0].decode("utf-8-sig").splitlines()))) == 10
    whole = RunFolder.open(tmp_path / "a", RUN)
    assert first[1] == worklist_csv(worklist(whole.findings()))
    for table, todo, summary in others:
        assert (table, todo) == first[:2]
        assert vars(summary) | {"out": ""} == vars(first[2]) | {"out": ""}


def test_pages_that_are_no_longer_needed_go(paged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def again(page: int) -> Sequence[str]:
        monkeypatch.setattr(save_module, "PAGE", page)
        finish(RunFolder.open(paged, RUN), names(10), TAXONOMY)
        return sorted(p.name for p in (paged / "report").glob("*.html"))

    assert again(6) == ["0001.html", "0002.html"]
    assert again(200) == []
    assert "berm 8.jpg" in (paged / "report.html").read_text(encoding="utf-8")


def test_a_run_without_photographs_has_an_empty_report(tmp_path: Path) -> None:
    assert finish(RunFolder.open(tmp_path / "out", RUN), [], TAXONOMY).photographs == 0
    assert "Nothing was found" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
