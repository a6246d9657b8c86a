"""The figures of README.md, the tutorial and the models' cards, from one source: benchmarks/results/embedded.md.

    python benchmarks/figures.py

Run it after benchmarks/embedded.py and benchmarks/ship.py. tests/test_figures.py compares every figure with the source.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
SOURCE = "benchmarks/results/embedded.md"
MODELS = ROOT / "src" / "toeline" / "models"
DRAWN, REAL = "200 drawn scenes", "real photographs, valid split"
README = {  # what a row of README.md is called -> what the source calls it
    "detector, mAP@0.5": "detector, mAP@0.5",
    "objects found at its thresholds": "detector at its thresholds, objects found",
    "boxes found that are an object": "detector at its thresholds, boxes that are an object",
    "right class on true boxes": "judge, nine classes",
    "majority-class baseline on true boxes": "majority-class baseline, nine classes",
    "both stages, right class in the right place": "both, recall",
}
TUTORIAL = {  # the same for docs/tutorial.md, of photographs alone
    "objects that are found": "detector at its thresholds, objects found",
    "right class, on true boxes": "judge, nine classes",
    "always the most common class of the type": "majority-class baseline, nine classes",
    "both stages: found, in the right place, right class": "both, recall",
}
CARDS = {  # what a row of a card is called -> the set, and what the source calls it
    "mAP@0.5 of the detector, valid": (REAL, "detector, mAP@0.5"),
    "right class on true boxes (nine classes), valid": (REAL, "judge, nine classes"),
    "right class in the right place, valid": (REAL, "both, recall"),
    "right class in the right place, drawn scenes": (DRAWN, "both, recall"),
}


class Figure(NamedTuple):
    """Percent, as texts: the value, both ends of its interval, and how many it rests on."""

    value: str
    low: str
    high: str
    n: str


def measured(page: str) -> dict[str, dict[str, Figure]]:
    """The figures of the source by set and name; those that have no n of their own rest on the set's objects."""
    found: dict[str, dict[str, Figure]] = {}
    for title, part in re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL):
        objects = re.search(r"^\| objects \| (\d+)", part, re.MULTILINE)
        rows = re.findall(r"^\| ([^|]+) \| ([\d.]+) % \| ([\d.]+) to ([\d.]+) \| *(\d*) *\|", part, re.MULTILINE)
        found[title] = {name: Figure(*three, n or objects[1]) for name, *three, n in rows if objects}
    return found


def readme_rows(sets: Mapping[str, Mapping[str, Figure]]) -> list[str]:
    """The rows of the table in README.md."""
    return [
        f"| {said} | {_cell(sets[DRAWN], name)} | {_cell(sets[REAL], name)} | [embedded]({SOURCE}) |"
        for said, name in README.items()
    ]


def tutorial_row(said: str, sets: Mapping[str, Mapping[str, Figure]]) -> str:
    """A row of the table in docs/tutorial.md."""
    return f"| {said} | {_cell(sets[REAL], TUTORIAL[said])} | [embedded](../{SOURCE}) |"


def _cell(figures: Mapping[str, Figure], name: str) -> str:
    """mAP as a share, all else in percent; n where it is not the number of objects."""
    f = figures[name]
    if "mAP" in name:
        return f"{_share(f.value)} ({_share(f.low)} to {_share(f.high)})"
    n = "" if f.n == figures["judge, nine classes"].n else f", n = {f.n}"
    return f"{f.value} % ({f.low} to {f.high}){n}"


def _share(percent: str) -> str:
    return f"{float(percent) / 100:.3f}"


def card_row(said: str, sets: Mapping[str, Mapping[str, Figure]]) -> str:
    """A row of a model's card."""
    where, name = CARDS[said]
    f = sets[where][name]
    return f"| {said} | {f.value}% ({f.low}% to {f.high}%) | {f.n} |"


def rewritten(text: str, sets: Mapping[str, Mapping[str, Figure]]) -> str:
    """A page with every row that is known here as the source has it."""
    rows = dict(zip(README, readme_rows(sets), strict=True)) | {said: card_row(said, sets) for said in CARDS}
    rows |= {said: tutorial_row(said, sets) for said in TUTORIAL}
    return re.sub(r"^\| ([^|\n]+) \|.*$", lambda m: rows.get(m[1], m[0]), text, flags=re.MULTILINE)


def pages() -> list[Path]:
    """Where figures of the models in the package stand."""
    return [ROOT / "README.md", ROOT / "docs" / "tutorial.md", MODELS / "README.md", MODELS / "detector" / "README.md"]


def main() -> None:
    sets = measured((ROOT / SOURCE).read_text(encoding="utf-8"))
    for page in pages():
        page.write_text(rewritten(page.read_text(encoding="utf-8"), sets), encoding="utf-8")


if __name__ == "__main__":
    main()
