"""`toeline analyze` from the command line: files, exit codes, and the real photographs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.support.datasets import write_yolo
from typer.testing import CliRunner, Result

from toeline.cli.app import app
from toeline.errors import ToelineError

SECTIONS = ("counts", "boxes", "relations", "together", "images", "leaks", "labels", "proof", "advice")
SMALL = {
    "train": {
        "A_1.jpg": ["5 0.5 0.4 0.1 0.5", "0 0.5 0.7 1 0.1", "3 0.2 0.6 0.2 0.1"],
        "A_2.jpg": ["8 0.2 0.2 0.2 0.2"],
    },
    "valid": {"B_1.jpg": ["6 0.5 0.4 0.1 0.5"]},
}


def run(*args: str | Path, pixels: bool = False) -> Result:
    return CliRunner().invoke(app, ["analyze", *map(str, args), *(["--workers", "1"] if pixels else ["--no-pixels"])])


def analysis(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "analysis.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """One run on a small data set, for several tests: plots take a second."""
    top = tmp_path_factory.mktemp("analyze")
    return run(write_yolo(top / "set", SMALL), "--out", top / "out", "--json", pixels=True), top / "out"


def test_every_section_is_in_all_three_forms(done: tuple[Result, Path]) -> None:
    result, out = done
    assert result.exit_code == 0, result.output
    found = analysis(out)
    page, text = (out / "report.html").read_text("utf-8"), (out / "report.md").read_text("utf-8")
    assert found["schema"] == 1
    for section in SECTIONS:
        assert section in found
        assert f'<h2 id="{section}">' in page
    assert re.findall(r'<h2 id="[a-z]+">([^<]+)', page) == re.findall(r"^## (.+)$", text, re.MULTILINE)[1:]
    assert json.loads((out / "run.json").read_text())["finished"]
    assert "<script" not in page
    assert not re.search(r'(src|href)="https?:', page)


def test_the_summary_is_json(done: tuple[Result, Path]) -> None:
    said = json.loads(done[0].stdout)
    assert (said["photographs"], said["objects"], said["unread"]) == (3, 5, 0)
    assert all(Path(path).exists() for path in said["files"].values())


def test_faults_in_the_data_are_results_and_unread_files_are_not(tmp_path: Path) -> None:
    data = write_yolo(tmp_path / "set", {"train": {"a_1.jpg": ["77 0 0 0 0"], "a_2.jpg": ["5 0.5 0.5 0.1 0.5"]}})
    assert run(data, "--out", tmp_path / "out").exit_code == 0
    assert json.loads((tmp_path / "out/problems.jsonl").read_text().splitlines()[0])["line"] == 1
    (data / "train/images/a_1.jpg").write_bytes(b"no")
    assert run(data, "--out", tmp_path / "out").exit_code == 1  # and the earlier analysis was replaced
    assert analysis(tmp_path / "out")["counts"]["photos"] == 1


@pytest.mark.parametrize(
    ("args", "what"),
    [
        (["--flight", "("], "regular expression"),
        (["--out", "{data}/train/images/here"], "among the photographs"),
        (["--out", "{data}"], "what this command did not write"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path: Path, args: list[str], what: str) -> None:
    data = write_yolo(tmp_path / "set", SMALL)
    options = [a.format(data=data) for a in args]
    done = run(data, *options, *([] if "--out" in args else ["--out", tmp_path / "out"]))
    assert isinstance(done.exception, ToelineError)
    assert what in str(done.exception)
    assert not list(data.rglob("*.json"))


def test_flight_lines_are_read_by_a_pattern(tmp_path: Path) -> None:
    data = write_yolo(tmp_path / "set", {"train": {"x-A-1.jpg": [], "x-A-2.jpg": [], "x-B-1.jpg": []}})
    run(data, "--out", tmp_path / "out", "--flight", "x-(.)")
    assert analysis(tmp_path / "out")["counts"]["whole"]["groups"] == 2


def test_a_data_set_of_types_says_so(tmp_path: Path) -> None:
    data = write_yolo(
        tmp_path / "set", SMALL, names=("rock toe", "slope drain", "toe drain", "vegetation", "a", "b", "c")
    )
    done = run(data, "--out", tmp_path / "out")
    found = analysis(tmp_path / "out")
    assert found["counts"]["unnamed"] == found["counts"]["objects"] > 0, done.output
    assert any("names types only" in f["text"] for f in found["findings"])


def test_the_real_photographs(lagoon_dyke: Path, tmp_path: Path) -> None:
    done = run(lagoon_dyke, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    counts = analysis(tmp_path / "out")["counts"]
    assert (counts["photos"], counts["objects"]) == (217, 1129)
    assert [c["n"] for c in counts["by_class"]] == [44, 57, 58, 119, 282, 202, 75, 118, 174]
