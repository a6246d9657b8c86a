"""The words of the terminal, the pages and the docs: standard terms, and none of a language of our own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HISTORY = (ROOT / "docs" / "log.md", ROOT / "docs" / "decisions")  # what was written when it was so called stays
READ = (
    "src/toeline/**/*.py",
    "src/toeline/**/*.j2",
    "src/toeline/**/*.js",
    "docs/**/*.md",
    "README.md",
    "CONTRIBUTING.md",
)

# What must not be read any more, and the term for it.
BANNED = {
    r"look-?up without a pixel|the look-?up\b": "majority-class baseline",
    r"told its type": "given the type",
    r"goes on where|\bgoes on\b": "continues where it stopped",
    r"\bmend(s|ed|ing)?\b": "correct",
    r"\bby lot\b": "at random",
    r"second look buys": "review: workload and remaining errors",
    r"(of|another|other) owner'?s? (words|types|taxonomy|models)|of another owner": "of your own taxonomy",
    r"limits? of the project|the project's limits": "targets for size and memory",
    r"at once\[/\]|<b>at once</b>|\d of them at once|(done|acted on) at once|\"at once\"": "immediate, immediately",
    r"\bflatter(s|ed)\b": "is optimistic",
    r"\b(sightings?|albums?|blamed?)\b": "detection, gallery, error by stage",
    r"pip install '?toeline\b": "a name of ours is on no index: the extra, by docs/install.md",
    r"under the floor": "under the review threshold",
    r"\btoeline floor\b(?!`? and `floor:FILE`)": "toeline baseline",
}


def texts() -> list[Path]:
    found = sorted({file for pattern in READ for file in ROOT.glob(pattern)})
    return [file for file in found if not any(file == old or old in file.parents for old in HISTORY)]


def test_all_of_it_is_read() -> None:
    assert len(texts()) > 200
    assert {".py", ".j2", ".js", ".md"} <= {file.suffix for file in texts()}


@pytest.mark.parametrize("banned", BANNED)
def test_a_standard_term_is_used(banned: str) -> None:
    there = [
        f"{file.relative_to(ROOT)}, line {number}: {line.strip()[:100]}"
        for file in texts()
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(banned, line, re.IGNORECASE)
    ]
    assert not there, f"say {BANNED[banned]!r}:\n" + "\n".join(there)


@pytest.mark.parametrize(
    "line", ["Mend it.", "goes on where it was", "What a second look buys", "chosen by lot", "floor"]
)
def test_the_list_finds_what_it_is_for(line: str) -> None:
    assert any(re.search(banned, line, re.IGNORECASE) for banned in BANNED) == (line != "floor")
