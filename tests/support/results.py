"""Findings, results and run folders from a few words, and the pages that are made of them as a parser reads them."""

from __future__ import annotations

from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from PIL import Image

from toeline.core.box import Box
from toeline.core.finding import Finding, Problem, Result, Verdict
from toeline.core.run_folder import RunFolder
from toeline.core.scene import Alternative, Relation
from toeline.core.taxonomy import Taxonomy
from toeline.report.inspection_page import PageInput
from toeline.report.tables import marked_name

RUN_RECORD: dict[str, Any] = {"settings": {"judge": "embedded"}, "finished": None}


def finding(photo: str, number: int = 1) -> Finding:
    verdict = Verdict("rock toe", "normal", 0.75, {"rock toe": 0.75, "rock toe damaged": 0.25}, review="unsure")
    near = (Relation(str(number), "above", "9", 0.125),)
    place, outline = Box(0, 1.5, 20, 30), ((0.0, 1.5), (20.0, 30.0))
    said = ("rock toe damaged", (Alternative("toe_drain", 0.25), Alternative("rock_toe", 0.125, "rock toe")))
    return Finding(photo, str(number), "rock_toe", place, 0.5, verdict, near, outline, *said)


def result(photo: str, count: int = 2, problems: int = 0) -> Result:
    found = tuple(finding(photo, n) for n in range(1, count + 1))
    return Result(photo, (640, 640), found, tuple(Problem(photo, "a.txt", "odd", line=n) for n in range(problems)))


def keep(folder: RunFolder, results: Iterable[Result]) -> None:
    list(folder.keep(results))


def begun(path: Path, *results: Result) -> RunFolder:
    folder = RunFolder.open(path, RUN_RECORD)
    keep(folder, results)
    return folder


TAXONOMY = Taxonomy.load()


RUN: dict[str, Any] = {
    "title": "",
    "started_words": "1 May 2026, 09:00",
    "finished": "x",
    "settings": {"judge": "<b>", "photos": ["<i>"]},
}


FETCHES = {"src", "srcset", "poster", "data", "action", "background", "manifest"}


class Reader(HTMLParser):
    """Collects tags and their attributes, and what stands in each tag that matters."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))
        self.scripts += tag == "script"

    def all(self, name: str, css: str = "") -> list[dict[str, str]]:
        return [a for tag, a in self.tags if tag == name and css in [*a.get("class", "").split(), ""]]


def given(tmp_path: Path, *photos: str, **more: Any) -> PageInput:
    records = []
    for name in photos:
        file = tmp_path / marked_name(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 48), "#888").save(file)
        records.append({"photo": name, "size": [64, 48], "failed": False})
    findings = [finding(name, n) for name in photos for n in (1, 2)]
    return PageInput(**{"folder": tmp_path, "photos": records, "findings": findings, "problems": [], "run": RUN,
                        "taxonomy": TAXONOMY, **more})  # fmt: skip


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    return reader
