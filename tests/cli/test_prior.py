"""`--prior` of evaluate and inspect: with and without it side by side, resumed, refused, and blind to conditions."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tests.support.datasets import NAMES, exit_code
from tests.support.evaluating import Toeline, card, lines
from tests.support.leaning import BIAS, Leaning
from tests.support.stand_ins import stand_in

from toeline.core.taxonomy import Taxonomy
from toeline.prompts.templates import PROMPTS

TAXONOMY = Taxonomy.load()
GRAY = "content-free"


@pytest.fixture(autouse=True)
def leaning(toeline: Toeline, monkeypatch: pytest.MonkeyPatch) -> Leaning:
    """What answers whatever is typed."""
    judge = Leaning(BIAS)
    stand_in(monkeypatch, judge)  # type: ignore[arg-type]
    return judge


def said(folder: Path) -> list[tuple[str, str, dict[str, float]]]:
    return [(r["photo"].split("/")[-1], r["id"], r["probabilities"]) for r in lines(folder / "findings.jsonl")]


def told(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join("".join(capsys.readouterr()).split())


def test_every_prompt_with_and_without_the_prior(
    toeline: Toeline, leaning: Leaning, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert toeline("valid", "--prior", GRAY, "--prompt", "all", "--spatial", "0", "--out", "out") == 0
    found = told(capsys)
    assert "Condition, given type, with and without" in found
    photographs = [name for name in leaning.asked if name != GRAY]
    assert len(photographs) == 3 * len(PROMPTS), "what was scored is not asked again for the column without"
    rows = card(tmp_path / "out")["prior"]
    assert [row["prompt"] for row in rows] == ["relations", *(name for name in PROMPTS if name != "relations")]
    for row in rows:
        assert row["source"] == GRAY
        assert row["without"]["n"] == row["with"]["n"] == 5
        assert {"value", "interval", "floor"} <= row["with"].keys()
        moved = row["with"]["value"] - row["without"]["value"]
        assert row["difference"]["value"] == pytest.approx(moved, abs=1e-9)
    page = (tmp_path / "out" / "report.md").read_text()
    assert "## Prior correction" in page
    assert all(page.count(f"| {name} |") >= 2 for name in PROMPTS)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["models"]["judge"]["prior"]["source"] == GRAY


def test_a_fair_judge_and_a_leaning_one_say_the_same_once_it_is_taken_off(
    toeline: Toeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert toeline("valid", "--prior", GRAY, "--spatial", "0", "--out", "leaning") == 0
    stand_in(monkeypatch, Leaning())  # type: ignore[arg-type]
    assert toeline("valid", "--spatial", "0", "--out", "fair") == 0
    for one, other in zip(said(tmp_path / "leaning"), said(tmp_path / "fair"), strict=True):
        assert one[:2] == other[:2]
        assert one[2] == pytest.approx(other[2], abs=5e-6)
    plain = tmp_path / "leaning" / "uncorrected" / "own"
    pairs = zip(said(plain), said(tmp_path / "fair"), strict=True)
    assert any(one[2] != pytest.approx(other[2], abs=0.1) for one, other in pairs)


def test_inspection_takes_off_what_the_evaluation_wrote(
    toeline: Toeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert toeline("valid", "--prior", GRAY, "--calibrate", "train", "--spatial", "0", "--out", "out") == 0
    inspect = ("inspect", "data/valid/images", "--boxes", "data/valid/labels", "--prior")
    assert exit_code(*inspect, "out/prior.json", "--out", "file") == 0
    assert exit_code(*inspect, GRAY, "--out", "gray") == 0
    assert said(tmp_path / "file") == said(tmp_path / "gray") == said(tmp_path / "out")
    assert exit_code(*inspect, GRAY, "--calibration", "out/calibration.json", "--out", "warm") == 0
    capsys.readouterr()
    assert exit_code(*inspect, "off", "--calibration", "out/calibration.json", "--out", "cold") == 2
    assert "fitted for answers with another --prior, or without one" in told(capsys)


def write_train(root: Path, shuffle: random.Random | None) -> None:
    """The labels of train with every condition drawn anew within its type."""
    for file in sorted((root / "data/train/labels").glob("*.txt")):
        rows = [line.split(" ", 1) for line in file.read_text().splitlines()]
        kinds = [TAXONOMY.class_of(name).type for name in NAMES]
        drawn = [[i for i, kind in enumerate(kinds) if kind == kinds[int(number)]] for number, _ in rows]
        if shuffle:
            file.write_text("".join(f"{shuffle.choice(d)} {rest}\n" for d, (_, rest) in zip(drawn, rows, strict=True)))


def test_shuffled_conditions_of_the_split_change_no_byte_of_the_prior(toeline: Toeline, tmp_path: Path) -> None:
    """The wall: the mean is over a split whose conditions nobody looks at."""
    files, labels = [], set()
    for number in range(3):
        write_train(tmp_path, random.Random(number) if number else None)
        labels.add("".join(f.read_text() for f in sorted((tmp_path / "data/train/labels").glob("*.txt"))))
        assert toeline("valid", "--prior", "split", "--spatial", "0", "--out", f"out{number}") == 0
        files.append((tmp_path / f"out{number}" / "prior.json").read_bytes())
        assert said(tmp_path / f"out{number}") == said(tmp_path / "out0")
    assert len(labels) == 3
    assert len(set(files)) == 1
    assert json.loads(files[0])["source"] == "split train"


def test_the_mean_is_over_train_unless_another_split_is_named(
    toeline: Toeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert toeline("train", "--prior", "split", "--out", "out") == 2
    assert "which is what is measured. Name another one" in told(capsys)
    assert toeline("valid", "--prior", "split:valid", "--spatial", "0", "--out", "same") == 0
    assert "(transductive)" in (tmp_path / "same" / "report.md").read_text()
    assert card(tmp_path / "same")["prior"][0]["over_measured_photographs"] is True
    assert toeline("valid", "--prior", "split", "--spatial", "0", "--out", "other") == 0
    page = (tmp_path / "other" / "report.md").read_text()
    assert "(transductive)" not in page
    assert "over the objects of the split train" in page
    assert "Not corrected, because no object of the type was there: toe drain" in page
    assert card(tmp_path / "other")["prior"][0]["types_without"] == ["toe_drain"]


def test_another_prior_is_another_run(
    toeline: Toeline, leaning: Leaning, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert toeline("valid", "--spatial", "0", "--out", "out") == 0
    assert "prior" not in json.loads((tmp_path / "out/run.json").read_text())["settings"]
    before = (tmp_path / "out/findings.jsonl").read_bytes()
    assert toeline("valid", "--prior", GRAY, "--spatial", "0", "--out", "out") == 2
    assert f"prior was None, now '{GRAY}'" in told(capsys)
    assert (tmp_path / "out/findings.jsonl").read_bytes() == before
    assert toeline("valid", "--prior", GRAY, "--spatial", "0", "--out", "gray") == 0
    asked = len(leaning.asked)
    assert toeline("valid", "--prior", GRAY, "--spatial", "0", "--out", "gray") == 0
    assert len(leaning.asked) == asked, "a finished evaluation asks nothing"
    inspect = ("inspect", "data/valid/images", "--boxes", "data/valid/labels", "--out", "seen")
    assert exit_code(*inspect, "--prior", GRAY) == 0
    assert exit_code(*inspect) == 2
    assert exit_code(*inspect, "--prior", "gray/prior.json") == 2
    assert "other settings" in told(capsys)


def test_a_killed_evaluation_continues_with_the_same_prior(toeline: Toeline, tmp_path: Path) -> None:
    assert toeline("valid", "--prior", "split", "--spatial", "0", "--out", "whole") == 0
    assert toeline("valid", "--prior", "split", "--spatial", "0", "--out", "out") == 0
    folder = tmp_path / "out"
    kept = (folder / "progress.jsonl").read_text().splitlines(keepends=True)
    (folder / "progress.jsonl").write_text("".join(kept[:1]))  # as after a kill
    (folder / "uncorrected/own/progress.jsonl").write_text("")
    (folder / "prior/own/progress.jsonl").write_text("")
    assert toeline("valid", "--prior", "split", "--spatial", "0", "--out", "out") == 0
    assert said(folder) == said(tmp_path / "whole")
    assert card(folder)["prior"] == card(tmp_path / "whole")["prior"]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--prior", GRAY, "--judge", "baseline:embedded"), "reads no words|needs a language model"),
        (("--prior", GRAY, "--judge", "ensemble:embedded"), "needs a language model"),
        (("--prior", GRAY, "--decide", "generate"), "needs a language model"),
        (("--prior", "nothing.json"), "nothing.json: cannot be read"),
        (("--prior", "split:nowhere"), "nowhere"),
        (("--prior", "prior.json", "--prompt", "all"), "is the prior of one prompt"),
    ],
)
def test_what_cannot_have_a_prior_is_refused_before_a_folder_is_made(
    toeline: Toeline, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], what: str
) -> None:
    record: dict[str, Any] = {"version": 1, "source": GRAY, "answers": "type", "log_probabilities": {}}
    Path("prior.json").write_text(json.dumps({**record, "objects": {}, "fitted_for": {}}))
    assert toeline("valid", *words, "--out", "out") == 2
    message = told(capsys)
    assert any(part in message for part in what.split("|")), message
    assert not (tmp_path / "out").exists()
