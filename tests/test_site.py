"""The documentation as a site: what mkdocs.yml names, and how links are turned. Built where mkdocs is installed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.scripts import script

ROOT = Path(__file__).parent.parent
SETTINGS: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
PICTURE_BYTES, ALL_BYTES = 150_000, 1_000_000


def pages(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    for part in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from pages(part)


def test_the_contents_name_every_page_once_and_none_that_is_missing() -> None:
    named = list(pages(SETTINGS["nav"]))
    assert len(set(named)) == len(named)
    own = {file.relative_to(ROOT / "docs").as_posix() for file in (ROOT / "docs").rglob("*.md")}
    beside = {script("docs/site_pages.py").place_of(path) for path in script("docs/site_pages.py").outside()}
    assert own - set(named) == set()
    assert set(named) - own - beside == set()
    assert beside - set(named) == {page for page in beside if page.startswith(("benchmarks/", "src/"))}


def test_nothing_of_the_site_is_fetched() -> None:
    assert SETTINGS["theme"]["font"] is False
    assert not {"extra_javascript", "extra_css"} & SETTINGS.keys()
    assert "://" not in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("page", "text", "there"),
    [
        ("docs/learn.md", "[a](../README.md#x)", "[a](index.md#x)"),
        (
            "docs/decisions/0001-rooms.md",
            "[a](../../benchmarks/results/learn.md)",
            "[a](../benchmarks/results/learn.md)",
        ),
        ("README.md", "![a](docs/img/report.png) and [b](docs/learn.md)", "![a](img/report.png) and [b](learn.md)"),
        ("benchmarks/results/learn.md", "[a](../../docs/learn.md)", "[a](../../learn.md)"),
        ("docs/learn.md", "see [`a.py`](../benchmarks/baseline.py).", "see `a.py`."),
        ("docs/learn.md", "[a](mailto:x) [b](#c)", "[a](mailto:x) [b](#c)"),
    ],
)
def test_links_are_turned_to_where_pages_are_in_the_site(page: str, text: str, there: str) -> None:
    inside = {"README.md", "docs/learn.md", "benchmarks/results/learn.md"}
    assert script("docs/site_pages.py").turned(text, page, inside) == there


def test_pictures_of_the_pages_are_small() -> None:
    pictures = sorted((ROOT / "docs" / "img").glob("page-*.jpg"))
    used = set(re.findall(r"img/(page-[a-z]+\.jpg)", (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")))
    assert {p.name for p in pictures} == used
    sizes = [p.stat().st_size for p in pictures]
    assert max(sizes) <= PICTURE_BYTES
    assert sum(sizes) <= ALL_BYTES


@pytest.mark.slow
@pytest.mark.skipif(find_spec("material") is None, reason="pip install 'toeline[docs]'")
def test_the_site_is_built_without_a_warning_and_asks_no_other_host(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    html = (tmp_path / "tutorial.html").read_text(encoding="utf-8")
    fetched = re.findall(r"<(?:script|img|link|iframe)[^>]*(?:src|href)=[\"']?(https?:[^\"' >]+)", html)
    assert fetched == []
