"""`toeline evaluate`: prompts side by side, spatial reasoning three ways, and answers that the model writes."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.datasets import write_yolo
from tests.support.evaluating import SIZE, Listening, Toeline, card, lines

from toeline.core.question import QuestionSheet
from toeline.prompts.templates import PROMPTS

ROWS = {  # drains on both sides, of both kinds, so that every cell has a yes and a no
    f"{line}_{i}.jpg": [
        f"{drain} {x:.2f} 0.3 0.05 0.5",
        f"5 {1 - x:.2f} 0.3 0.05 0.5",
        "2 0.5 0.8 0.9 0.1",
        "8 0.5 0.1 0.1 0.1",
    ]
    for i, x in enumerate((0.2, 0.7, 0.3, 0.8))
    for line, drain in (("a", 6), ("b", 7))
}


@pytest.fixture
def data(toeline: Toeline, tmp_path: Path) -> Path:
    return write_yolo(tmp_path / "data", {"valid": ROWS}, size_wh=SIZE)


@pytest.mark.usefixtures("data")
def test_every_prompt_on_the_same_objects_and_the_best_by_name(
    toeline: Toeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert toeline("valid", "--prompt", "all", "--spatial", "0", "--out", "out") == 0
    told, progress = capsys.readouterr()
    assert f"{len(PROMPTS)} passes over the photographs:" in progress
    assert "Evaluating valid, prompt crop" in progress
    assert all(re.search(rf"^ *{name} +[0-9]", told, re.MULTILINE) for name in PROMPTS), "the table is in the terminal"
    kept = json.loads((tmp_path / "out" / "prompts.json").read_text())
    assert set(kept["prompts"]) == set(PROMPTS)
    assert kept["best"] == "relations"  # the fake judge answers all alike, and among equals the first is kept
    assert kept["prompts"]["crop"]["difference"]["value"] == 0
    assert kept["split"] == "valid"
    for name in PROMPTS.keys() - {"relations"}:
        assert len(lines(tmp_path / "out" / "prompts" / name / "cases.jsonl")) == 32
    page = (tmp_path / "out" / "report.md").read_text()
    assert all(f"| {name} |" in page for name in PROMPTS)
    assert toeline("valid", "--prompt", "out/prompts.json", "--spatial", "0", "--out", "best") == 0
    assert json.loads((tmp_path / "best" / "run.json").read_text())["settings"]["prompt"] == "relations"


@pytest.mark.usefixtures("data")
def test_a_judge_that_always_says_no_has_half_of_the_questions(
    toeline: Toeline,
    judge: Listening,
    tmp_path: Path,
) -> None:
    assert toeline("valid", "--spatial", "8", "--targets", "spatial=0.85", "--out", "out") == 0
    spatial = json.loads((tmp_path / "out" / "spatial.json").read_text())
    overall, *templates = spatial["questions"]["figures"]
    assert overall["n"] > 0
    assert overall["value"] == overall["floor"] == 0.5
    assert overall["target"] == 0.85
    assert all(f["value"] == 0.5 and f["n"] <= 8 for f in templates)
    assert all(b["true_yes"] == 0.5 and b["said_yes"] == 0 for b in spatial["questions"]["balance"])
    asked = [c for r in lines(tmp_path / "out" / "spatial.jsonl") for c in r["cases"]]
    assert len(asked) == overall["n"]
    assert "## Spatial reasoning" in (tmp_path / "out" / "report.md").read_text()
    before = len(judge.asked)
    assert toeline("valid", "--spatial", "8", "--targets", "spatial=0.85", "--out", "out") == 0
    assert len(judge.asked) == before, "what was asked before is not asked again"


@pytest.mark.usefixtures("data")
def test_relations_are_withheld_lent_and_turned_round(toeline: Toeline, judge: Listening, tmp_path: Path) -> None:
    assert toeline("valid", "--spatial", "2", "--out", "out") == 0
    spatial = json.loads((tmp_path / "out" / "spatial.json").read_text())
    assert [c["second"] for c in spatial["relations"]] == [
        f"relations {n}" for n in ("removed", "shuffled", "falsified")
    ]
    assert all(c["objects"] == 32 for c in spatial["relations"])
    told = [t for t in judge.heard if "No other object was found" in t]
    assert len(told) == 24  # 8 photographs with 3 objects that are asked about, once
    assert spatial["boxes"][0]["name"] == "all"


@pytest.mark.usefixtures("data")
def test_a_prompt_without_relations_is_not_asked_without_them(toeline: Toeline, tmp_path: Path) -> None:
    assert toeline("valid", "--spatial", "2", "--prompt", "crop", "--out", "out") == 0
    spatial = json.loads((tmp_path / "out" / "spatial.json").read_text())
    assert spatial["relations"] == []
    assert "does not tell them" in spatial["left_out"][0]


def test_a_judge_that_writes_nothing_cannot_generate(toeline: Toeline, capsys: pytest.CaptureFixture[str]) -> None:
    assert toeline("valid", "--decide", "generate", "--out", "out") == 2
    assert "needs a language model" in capsys.readouterr().err


@dataclass
class Muttering(Listening):
    """Writes something that is no class name for every second question."""

    def score(self, sheet: QuestionSheet) -> list[dict[str, float]]:
        said = super().score(sheet)
        return [
            {} if i % 2 else {a: 0.0 if a == max(s, key=s.get) else -math.inf for a in s} for i, s in enumerate(said)
        ]


def test_unreadable_answers_are_wrong_and_counted(
    toeline: Toeline,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("toeline.judge.load.load_judge", lambda *_, **__: Muttering())
    assert toeline("valid", "--spatial", "0", "--out", "out") == 0
    found = card(tmp_path / "out")
    assert found["unreadable"] == 2  # one of two questions on two photographs
    assert found["by_key"]["condition_given_type"]["n"] == 5
    assert [c["said_class"] for c in lines(tmp_path / "out" / "cases.jsonl") if not c["readable"]] == ["", ""]
    assert "2 answers were no class name" in (tmp_path / "out" / "report.md").read_text()
