"""The files of the pages: one version at a time, kept by caches for good."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.support.serving import client, copied

from toeline.serve.pages import FILES, FINGERPRINT, PAGES

IMPORTS = re.compile(rb"""^import [^"']*["']([^"']+)["'];""", re.MULTILINE)


def test_every_file_of_a_page_comes_from_under_one_fingerprint(tmp_path: Path) -> None:
    with client(copied(tmp_path)) as web:
        for path in (*(path.format(finding=1) for path in PAGES), "/login"):
            page = web.get(path)
            assert page.headers["cache-control"] == "no-store"
            links = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
            assert len(links) == 3
            assert all(link.startswith(f"/static/{FINGERPRINT}/") for link in links)
            for link in links:
                file = web.get(link)
                assert file.content == FILES[link.rsplit("/", 1)[1]]
                assert file.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_scripts_name_one_another_by_relative_names() -> None:
    named = {name: IMPORTS.findall(text) for name, text in FILES.items() if name.endswith(".js")}
    assert sum(map(len, named.values())) >= 10
    assert [(n, i) for n, all_ in named.items() for i in all_ if not re.fullmatch(rb"\./\w+\.js", i)] == []
    assert {i[2:].decode() for all_ in named.values() for i in all_} <= set(FILES)


@pytest.mark.parametrize(
    "path",
    [
        "/static/review.js",
        "/static/0123456789abcdef/review.js",
        f"/static/{FINGERPRINT}/nothing.js",
        f"/static/{FINGERPRINT}/../pages.py",
        f"/static/{FINGERPRINT}/%2e%2e%2fpages.py",
    ],
)
def test_another_version_and_another_file_are_not_given(path: str, tmp_path: Path) -> None:
    with client(copied(tmp_path)) as web:
        answer = web.get(path)
        assert answer.status_code == 404
        assert "immutable" not in answer.headers.get("cache-control", "")
