"""Rows of the report that are written without a template: nothing that a user wrote is markup in them."""

from __future__ import annotations

import gc
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from toeline.core.prefetch import few_collections
from toeline.core.severity import Grade
from toeline.report.finding_rows import photo_entry, table_row, work_row

EVIL = "<script>alert('x')</script>&\"'"
GRADE = Grade(EVIL, 2, EVIL, EVIL)
FINDING: dict[str, Any] = {
    **dict.fromkeys(
        ("photo", "number", "kind", "condition", "review", "detector_class", "detector_others", "around", "where",
         "same", "truth", "key", "crop"), EVIL,
    ),
    "immediate": EVIL, "asked": True, "probability": 0.5, "second": (EVIL, 0.25), "score": 0.9, "slug": "c1",
    "anchor": "p1-1", "card": "p1", "bars": [(EVIL, 0.5, True), (EVIL, 0.25, False)], "grade": GRADE, "n": 1,
    "worst": 3,
}  # fmt: skip


class Seen(HTMLParser):
    """Tags that are open at the end, all tags, and all texts and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.words += [value or "" for _, value in attrs]
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


ROWS = {
    "table": lambda f: table_row(f, boxes=False, truth=True),
    "table of labels": lambda f: table_row(f, boxes=True, truth=False),
    "photograph": photo_entry,
    "work list": work_row,
}


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("name", ROWS)
def test_what_a_user_wrote_is_text(name: str, asked: bool) -> None:
    seen = Seen(ROWS[name]({**FINDING, "asked": asked}))
    assert not seen.open, "every tag is closed"
    assert "script" not in seen.tags
    assert any(EVIL in words for words in seen.words)


@pytest.mark.parametrize("name", ROWS)
def test_what_is_not_known_leaves_no_empty_remark(name: str) -> None:
    nothing = {key: "" if value == EVIL else value for key, value in FINDING.items()}
    plain = {**nothing, "second": None, "grade": replace(GRADE, rank=0, immediate="", action="", severity="")}
    seen = Seen(ROWS[name](plain))
    assert not seen.open
    assert not {"The detector: ", "Immediate", "To review: "} & set(seen.words)


def test_collections_are_seldom_only_while_they_are_said_to_be() -> None:
    before = gc.get_threshold()
    with few_collections():
        assert gc.get_threshold()[0] > before[0]
    assert gc.get_threshold() == before
