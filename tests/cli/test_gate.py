"""`toeline gate` from end to end, with judges that need no model."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.support.datasets import exit_code, write_yolo
from tests.support.stand_ins import FakeJudge, stand_in

from toeline.core.question import PromptBudget, QuestionSheet
from toeline.judge.checkpoint import write_view
from toeline.judge.load import require_judge

# Class ids 4 to 8: rock toe damaged, slope drain, slope drain blocked, slope drain damaged, vegetation.
ROWS = ["6 0.2 0.3 0.1 0.5", "6 0.5 0.3 0.1 0.5", "6 0.8 0.3 0.1 0.5", "5 0.35 0.3 0.1 0.5"]
VALID = {f"{line}_{i}.jpg": ROWS for line in "abc" for i in range(3)}
LENIENT = "loss_points = 20\nkept = 0.7\n"


@dataclass
class Named(FakeJudge):
    """Gives the answer of that number in every question."""

    answer: int = 1
    loaded: list[str] = field(default_factory=list)

    def score(self, sheet: QuestionSheet) -> list[dict[str, float]]:
        self.asked.append(sheet.photo)
        return [
            {a: math.log(0.8 if i == self.answer else 0.2 / (len(q.answers) - 1)) for i, a in enumerate(q.answers)}
            for q in sheet.questions
        ]


Gate = Callable[..., int]
JUDGES = {"old": 1, "same": 1, "worse": 0}


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Gate:
    """gate("same", "--out", "out") holds judges against "old"; what each was asked is in `asked`."""
    monkeypatch.chdir(tmp_path)
    write_yolo(tmp_path / "data", {"valid": VALID}, size_wh=(200, 100))
    (tmp_path / "lenient.toml").write_text(LENIENT)
    judges = {n: Named(answer=a, info={"back_end": "fake", "sha256": n}) for n, a in JUDGES.items()}
    stand_in(monkeypatch, FakeJudge())
    monkeypatch.setattr("toeline.judge.load.load_judge", lambda name, **_: judges[name])
    there = require_judge
    monkeypatch.setattr("toeline.pipelines.gate.require_judge", lambda name: None if name in judges else there(name))

    def act(*words: str) -> int:
        return exit_code("gate", *words, "--against", "old", "--data", "data")

    act.asked = {name: judge.asked for name, judge in judges.items()}  # type: ignore[attr-defined]
    return act


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "gate.json").read_text(encoding="utf-8"))
    return found


def test_too_few_objects_are_not_provable_until_that_is_allowed(
    gate: Gate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate("same", "--out", "out") == 4
    said = " ".join(capsys.readouterr().out.split())
    assert "Whether same is as good is not provable with this n" in said
    assert "About 96 objects" in said
    found = record(tmp_path / "out")
    assert found["answer"] == "not provable with this n"
    old, new = found["judges"]
    assert (old["judge"], old["gate"], new["judge"]) == ("old", None, "same")
    assert (new["fingerprint"], new["accuracy"]["count"], new["accuracy"]["n"]) == ({"sha256": "same"}, 27, 36)
    asked = len(gate.asked["same"])  # type: ignore[attr-defined]
    assert gate("same", "--out", "out", "--allow-unproven") == 0
    assert len(gate.asked["same"]) == asked  # type: ignore[attr-defined]  # nothing that was answered is asked again
    assert record(tmp_path / "out")["judges"][1]["gate"]["allowed_unproven"] is True


def test_a_judge_as_good_is_promoted_and_gets_a_calibration_of_its_own(gate: Gate, tmp_path: Path) -> None:
    assert gate("same", "--out", "out", "--rules", "lenient.toml") == 0
    assert record(tmp_path / "out")["answer"] == "promoted"
    made = json.loads((tmp_path / "out" / "new" / "calibration.json").read_text())
    assert made["fitted_for"]["fingerprint"] == {"sha256": "same"}
    assert not (tmp_path / "out" / "old" / "calibration.json").exists()


def test_a_worse_judge_is_refused_with_crops_of_what_it_changed(gate: Gate, tmp_path: Path) -> None:
    assert gate("worse", "--out", "out", "--rules", "lenient.toml", "--allow-unproven") == 3
    found = record(tmp_path / "out")["judges"][1]["gate"]
    broken = {r["rule"] for r in found["answers"] if r["answer"] == "broken"}
    assert broken == {"loss_points", "kept", "class_loss_points", "more_missed"}
    assert found["changed"] == 36
    page, text = ((tmp_path / "out" / f"quantization.{end}").read_text(encoding="utf-8") for end in ("html", "md"))
    assert page.count("data:image/jpeg;base64,") == 36
    for told in (page, text):
        assert "Right before, wrong now" in told
        assert "worse is refused" in told
        assert "not finished" not in told
    assert len(re.findall(r"^\| (?:old|worse) \|", text, re.M)) == 6  # size, accuracy, probabilities


def test_several_judges_stand_side_by_side_and_the_worst_answer_is_the_exit_code(gate: Gate, tmp_path: Path) -> None:
    assert gate("same", "worse", "--out", "out", "--rules", "lenient.toml") == 3
    found = record(tmp_path / "out")
    assert [v["gate"] and v["gate"]["answer"] for v in found["judges"]] == [None, "promoted", "refused"]
    assert (tmp_path / "out" / "new-2" / "cases.jsonl").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rules", "nowhere.toml"], "nowhere.toml"),
        (["--split", "test"], "test"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
def test_wrong_use_is_told_before_a_judge_is_asked(
    gate: Gate, tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = exit_code("gate", "same", "--against", "old", "--data", "data", "--out", "out", *words)
    assert code == 2
    assert said in capsys.readouterr().err
    assert not gate.asked["old"]  # type: ignore[attr-defined]


def test_a_folder_of_another_gate_is_left_as_it_is(
    gate: Gate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate("same", "--out", "out", "--rules", "lenient.toml") == 0
    before = record(tmp_path / "out")
    assert gate("worse", "--out", "out", "--rules", "lenient.toml") == 2
    assert "other settings" in capsys.readouterr().err
    assert record(tmp_path / "out") == before


def test_scales_of_one_layer_halved_are_refused_and_weights_rounded_to_eight_bits_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The truth is what a random judge itself says, so that every answer that changes is a loss."""
    import torch
    from safetensors.torch import load_file, save_file
    from tests.support.datasets import NAMES
    from tests.support.tiny_judges import save_model

    monkeypatch.chdir(tmp_path)
    old = save_model(tmp_path / "old", scale=4.0)
    write_view(old, PromptBudget(scene_tokens=48, crop_tokens=16))  # of small pictures, not enlarged to hundreds
    kinds = {f"{i}.jpg": [f"{4 + (i + j) % 2} 0.{2 + 3 * j} 0.4 0.2 0.4" for j in range(3)] for i in range(40)}
    write_yolo(tmp_path / "data", {"valid": kinds}, size_wh=(112, 84))
    assert exit_code("evaluate", "data", "--split", "valid", "--judge", "old", "--out", "said", "--spatial", "0") == 0
    rows: dict[str, list[str]] = {}
    for line in (tmp_path / "said" / "cases.jsonl").read_text().splitlines():
        case = json.loads(line)
        place = kinds[case["photo"]][int(case["id"]) - 1].partition(" ")[2]
        rows.setdefault(case["photo"], []).append(f"{NAMES.index(case['said_class'])} {place}")
    write_yolo(tmp_path / "data", {"valid": rows}, size_wh=(112, 84))

    def eight_bits(name: str, weight: Any) -> Any:
        if weight.ndim != 2 or "embed" in name:
            return weight
        scale = weight.abs().amax(1, keepdim=True) / 127
        return (weight / scale).round() * scale

    def halved(name: str, weight: Any) -> Any:
        return weight / 2 if "model.layers.0." in name and weight.ndim == 2 else eight_bits(name, weight)

    for name, change in (("harmless", eight_bits), ("planted", halved)):
        shutil.copytree(old, tmp_path / name)
        tensors = load_file(old / "model.safetensors")
        with torch.no_grad():
            changed = {key: change(key, tensor).contiguous() for key, tensor in tensors.items()}
        assert any(not changed[key].equal(tensors[key]) for key in tensors)
        save_file(changed, tmp_path / name / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "rules.toml").write_text("loss_points = 5\nclass_objects = 10\nclass_loss_points = 25\nmore_missed = 2")
    words = ("--against", "old", "--data", "data", "--rules", "rules.toml", "--allow-unproven")
    assert exit_code("gate", "harmless", "planted", *words, "--out", "out") == 3
    _, harmless, planted = (v["gate"] for v in record(tmp_path / "out")["judges"])
    assert planted["answer"] == "refused"
    assert harmless["answer"] == "promoted"
    assert harmless["log_probabilities"]["largest"] < planted["log_probabilities"]["largest"] / 5
