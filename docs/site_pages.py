"""A hook of mkdocs: the pages outside of docs/ as part of the site, and links between all of them turned accordingly.

README.md is the first page; CONTRIBUTING.md, CHANGELOG.md and the results of the benchmarks keep their names. A link to
what is no page of the site (a script, a settings file) becomes its text. Links as they stand are right in the
repository; tests/test_docs.py looks at those.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
FIRST = {"README.md": "index.md"}
OUTSIDE = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/results/**/*.md", "src/toeline/models/**/*.md"]
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def place_of(path: str) -> str:
    """Where a file of the repository is in the site.

    >>> place_of("docs/learn.md"), place_of("README.md"), place_of("benchmarks/results/learn.md")
    ('learn.md', 'index.md', 'benchmarks/results/learn.md')
    """
    return FIRST.get(path, path.removeprefix("docs/"))


def turned(text: str, page: str, pages: set[str]) -> str:
    """The text of a `page` of the repository with its links as the site has them; `pages` are all that are in it.

    >>> turned("[a](../README.md#x) [b](../src/x.py)", "docs/learn.md", {"README.md", "docs/learn.md"})
    '[a](index.md#x) b'
    """

    def turn(match: re.Match[str]) -> str:
        picture, label, link, anchor = match.groups(default="")
        if ":" in link:
            return match[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
        if target not in pages and not (picture and target.startswith("docs/")):
            return label
        way = posixpath.relpath(place_of(target), posixpath.dirname(place_of(page)) or ".")
        return f"{picture}[{label}]({way}{anchor})"

    return LINK.sub(turn, text)


def outside() -> list[str]:
    """Pages of the repository that do not lie in docs/."""
    return sorted({file.relative_to(ROOT).as_posix() for pattern in OUTSIDE for file in ROOT.glob(pattern)})


def on_files(files: Any, config: Any) -> Any:
    """Called by mkdocs with the files of docs/: the others are added."""
    from mkdocs.structure.files import File

    for path in outside():
        files.append(File.generated(config, place_of(path), abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Called by mkdocs with the text of each page."""
    inside = {file.relative_to(ROOT).as_posix() for file in (ROOT / "docs").rglob("*.md")}
    path = Path(page.file.abs_src_path).relative_to(ROOT).as_posix()
    return turned(markdown, path, inside | set(outside()))
