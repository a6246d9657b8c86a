"""`toeline revisit` as it is typed: files, exit codes, photographs that were replaced, and decisions of a store."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.datasets import exit_code, write_photo
from tests.support.visits import at, pose, said, shot, write_visit

SHOTS = [shot(f"a{n}.jpg", pose(40 * n)) for n in range(2)]


def two(folder: Path, **more: Any) -> tuple[Path, Path]:
    """Two finished runs: one object got worse, one is gone, one is new."""
    before = [said("a0.jpg", 1, "rock toe", at(0)), said("a1.jpg", 1, "slope drain", at(40))]
    after = [said("a0.jpg", 1, "rock toe damaged", at(1)), said("a1.jpg", 1, "rock toe", at(55))]
    return (
        write_visit(folder / "may", SHOTS, before, title="May"),
        write_visit(folder / "nov", SHOTS, after, title="November", **more),
    )


def changes(folder: Path) -> list[dict[str, str]]:
    with (folder / "changes.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_page_table_and_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = two(tmp_path)
    assert exit_code("revisit", str(before), str(after), "--out", str(tmp_path / "out")) == 0
    said_ = capsys.readouterr().out
    assert "1 worse, 1 new, 1 gone; 0 of 1 object" in " ".join(said_.split())
    assert max(len(line) for line in said_.splitlines() if str(tmp_path) not in line) <= 80
    assert [row["change"] for row in changes(tmp_path / "out")] == ["worse", "new", "gone"]
    made = json.loads((tmp_path / "out" / "changes.json").read_text(encoding="utf-8"))
    assert (made["before"]["name"], made["counts"]["worse"]) == ("May", {"certain": 1, "perhaps": 0})
    page = (tmp_path / "out" / "changes.html").read_text(encoding="utf-8")
    assert page.count("<img ") == 6  # each change from both visits, the empty place too
    assert "▼" in page


def test_the_same_again_writes_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = two(tmp_path)
    texts = []
    for _ in range(2):
        assert exit_code("revisit", str(before), str(after), "--out", str(tmp_path / "out"), "--json") == 0
        texts.append([(tmp_path / "out" / name).read_bytes() for name in ("changes.csv", "changes.json")])
        texts[-1].append(capsys.readouterr().out.encode())
    assert texts[0] == texts[1]
    assert json.loads(texts[0][2])["changes"][0]["change"] == "worse"


def test_a_photograph_that_was_replaced_is_not_shown(tmp_path: Path) -> None:
    before, after = two(tmp_path)
    out = tmp_path / "out"
    assert exit_code("revisit", str(before), str(after), "--out", str(out)) == 0
    assert (out / "changes.html").read_text(encoding="utf-8").count("<img ") == 6
    write_photo(tmp_path / "may" / "photos" / "a1.jpg", (400, 300), seed=9)  # the next flight: gone and new lose it
    assert exit_code("revisit", str(before), str(after), "--out", str(out)) == 0
    assert (out / "changes.html").read_text(encoding="utf-8").count("<img ") == 4


def test_what_cannot_be_compared_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = two(tmp_path)
    half = write_visit(tmp_path / "half", SHOTS, [], finished=None)
    part = write_visit(tmp_path / "part", SHOTS, [])
    run = json.loads((part / "run.json").read_text())
    (part / "run.json").write_text(json.dumps(run | {"settings": run["settings"] | {"part": "2/4"}}))
    for pair, why in (
        ((before, half), "is not finished"),
        ((part, after), "is part 2/4 of a run"),
        ((before, tmp_path), "no run is there"),
    ):
        assert exit_code("revisit", *map(str, pair), "--out", str(tmp_path / "out")) == 2
        assert why in " ".join(capsys.readouterr().err.split())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("mine")
    assert exit_code("revisit", str(before), str(after), "--out", str(tmp_path / "mine")) == 2
    assert exit_code("revisit", str(before), str(after), "--out", str(before)) == 2


def test_photographs_that_failed_are_a_problem(tmp_path: Path) -> None:
    before, _ = two(tmp_path)
    failed = write_visit(tmp_path / "failed", [SHOTS[0], {**SHOTS[1], "failed": True}], [])
    assert exit_code("revisit", str(before), str(failed), "--out", str(tmp_path / "out")) == 1
    assert {row["change"] for row in changes(tmp_path / "out")} == {"gone", "not seen again"}
