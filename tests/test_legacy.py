"""What users have on their disks from before: files of commit af1e2f2 load today, and say what they said then.

tests/legacy/make.py says how each was made. Everything here goes through the command line, as users do; new names in a
record are no fault, a name that is gone or a value that changed is one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.support.datasets import exit_code

LEGACY = Path(__file__).parent / "legacy"
EXPECTED: dict[str, list[dict[str, Any]]] = json.loads((LEGACY / "expected.json").read_text(encoding="utf-8"))
CLOSE = 2e-4  # probabilities and losses: another processor rounds otherwise
BOXES = ("inspect", "data/valid/images", "--boxes", "data/valid/labels", "--device", "cpu", "--out", "out")
STAGES = ("inspect", "data/valid/images", "--detector", "detector", "--judge", "floor:floor.safetensors", "--out")
EVALUATED = ("evaluate", "data", "--split", "valid", "--device", "cpu", "--judge", "judge", "--out", "evaluated")
TUNING = ("--rank", "2", "--alpha", "8", "--lr", "0.01", "--epochs", "2", "--accumulate", "2", "--patience", "0")
TRAIN = ("finetune", "data", "--judge", "judge", "--device", "cpu", "--threads", "1", *TUNING, "--out", "tuning")
TIMES = {"seconds"}
REVIEW = {"review", "review_reason"}


@pytest.fixture(autouse=True)
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the old files, which is where commands are run; their paths are relative to it."""
    where = tmp_path / "old"
    shutil.copytree(LEGACY, where, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    monkeypatch.chdir(where)
    return where


def lines(file: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(file).read_text(encoding="utf-8").splitlines()]


def same(now: Any, then: Any, where: str = "") -> None:
    """Every name and value of `then` is in `now`; numbers that are not whole are as close as CLOSE."""
    if isinstance(then, Mapping):
        assert then.keys() <= now.keys(), f"{where}: lacks {sorted(then.keys() - now.keys())}"
        for name in then.keys() - TIMES:
            if name in REVIEW:  # more goes to a person than before, and nothing less
                assert not then[name] or now["review"], where
                reason = str(then.get("review_reason", "")).replace("under the floor", "under the review threshold")
                assert reason in now["review_reason"], where
            else:
                same(now[name], then[name], f"{where}.{name}")
    elif isinstance(then, Sequence) and not isinstance(then, str):
        assert len(now) == len(then), f"{where}: has {len(now)} entries, had {len(then)}"
        for n, (one, other) in enumerate(zip(now, then, strict=True)):
            same(one, other, f"{where}[{n}]")
    elif isinstance(then, float):
        assert now == pytest.approx(then, abs=CLOSE), where
    else:
        assert now == then, f"{where}: is {now!r}, was {then!r}"


def said(capsys: pytest.CaptureFixture[str]) -> str:
    told = capsys.readouterr()
    return " ".join((told.out + told.err).split())


def test_what_is_kept_here_is_small_and_tells_of_no_machine() -> None:
    files = [p for p in LEGACY.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert sum(p.stat().st_size for p in files) < 400_000
    held = [p for p in files if p.suffix != ".py" and any(w in p.read_bytes() for w in (b"/work", b"/home", b"/tmp"))]
    assert not held


def test_a_stopped_inspection_is_taken_up_and_ends_as_the_whole_one() -> None:
    before = Path("stopped/progress.jsonl").read_text(encoding="utf-8")
    assert len(lines("stopped/progress.jsonl")) < len(lines("finished/progress.jsonl"))
    assert exit_code(*STAGES, "stopped") == 0
    same(lines("stopped/findings.jsonl"), lines("finished/findings.jsonl"))
    same(lines("stopped/progress.jsonl"), lines("finished/progress.jsonl"))
    assert Path("stopped/progress.jsonl").read_text(encoding="utf-8").startswith(before)
    assert Path("stopped/report.html").is_file()


def test_a_finished_inspection_is_told_again_and_nothing_is_done_anew() -> None:
    names = ("findings.jsonl", "progress.jsonl", "errors.jsonl")
    before = [Path("finished", name).read_bytes() for name in names]
    assert exit_code(*STAGES, "finished") == 0
    assert [Path("finished", name).read_bytes() for name in names] == before
    assert Path("finished/findings.csv").is_file()


def test_an_old_run_with_other_settings_is_refused_with_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(*STAGES, "finished", "--answers", "all") == 2
    assert "answers was 'type', now 'all'" in said(capsys)
    with Path("floor.safetensors").open("ab") as file:
        file.write(b"\0")
    assert exit_code(*STAGES, "finished") == 2
    assert "weights are others" in said(capsys)


def test_the_detector_and_the_floor_say_what_they_said() -> None:
    assert exit_code(*STAGES, "out") == 0
    same(lines("out/findings.jsonl"), lines("finished/findings.jsonl"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("judge", ("--judge", "judge")),
        ("all", ("--judge", "judge", "--answers", "all")),
        ("calibrated", ("--judge", "judge", "--calibration", "calibration.json")),
        ("adapted", ("--judge", "judge", "--adapter", "tuned/adapter")),
        ("fused", ("--judge", "fuse:fuse.json")),
        ("floor", ("--judge", "floor:floor.safetensors")),
        ("judge", ("--judge", "replay:evaluated/findings.jsonl")),
    ],
)
def test_every_judge_says_what_it_said(name: str, words: tuple[str, ...]) -> None:
    assert exit_code(*BOXES, *words) == 0
    same(lines("out/findings.jsonl"), EXPECTED[name], name)


def test_what_was_recorded_differs_from_judge_to_judge() -> None:
    names = ("judge", "all", "calibrated", "adapted", "fused", "floor")
    kept = {json.dumps([record["probabilities"] for record in EXPECTED[name]]) for name in names}
    assert len(kept) == len(names)


def test_a_calibration_is_refused_for_a_judge_that_it_was_not_fitted_for(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--judge", "floor:floor.safetensors", "--calibration", "calibration.json")
    assert exit_code(*BOXES, *words) == 2
    assert "was fitted for other weights" in said(capsys)


def test_a_taxonomy_its_labels_and_its_work_list() -> None:
    words = ("--boxes", "levee/labels", "--taxonomy", "levee.toml", "--judge", "judge")
    assert exit_code(*BOXES, *words) == 0
    same(lines("out/findings.jsonl"), lines("levee.jsonl"))
    assert Path("out/worklist.csv").read_text(encoding="utf-8-sig") == Path("levee.csv").read_text(encoding="utf-8-sig")


def test_a_folder_of_train_detector_finds_what_it_found() -> None:
    words = ("--detector", "trained", "--threshold", "0.05", "--judge", "floor:floor.safetensors", "--device", "cpu")
    assert exit_code("inspect", "data/valid/images", *words, "--out", "out") == 0
    same(lines("out/findings.jsonl"), EXPECTED["trained"])


def test_old_detectors_are_measured_as_they_were() -> None:
    words = ("--detector", "detector", "--against", "trained", "--device", "cpu", "--out", "out")
    assert exit_code("evaluate-detector", "data", *words) == 0
    card = json.loads(Path("out/scorecard.json").read_text(encoding="utf-8"))
    same(card["figures"], EXPECTED["detector"])
    assert any(figure["value"] for figure in EXPECTED["detector"])


def test_saved_findings_are_scored_as_they_were() -> None:
    words = ("--findings", "evaluated/findings.jsonl", "--out", "out")
    assert exit_code("evaluate", "data", "--split", "valid", *words) == 0
    same(json.loads(Path("out/scorecard.json").read_text(encoding="utf-8"))["figures"], EXPECTED["found"])


def test_a_finished_evaluation_is_counted_anew_and_nothing_is_asked_again() -> None:
    names = ("findings.jsonl", "progress.jsonl", "cases.jsonl", "spatial.jsonl")
    before = [Path("evaluated", name).read_bytes() for name in names]
    assert exit_code(*EVALUATED, "--spatial", "4", "--cluster", "flight", "--targets", "accuracy=0.5") == 0
    assert [Path("evaluated", name).read_bytes() for name in names] == before
    card = json.loads(Path("evaluated/scorecard.json").read_text(encoding="utf-8"))
    figures = {figure["key"]: figure for figure in card["figures"]}
    then = {figure["key"]: figure["value"] for figure in EXPECTED["found"]}
    assert figures["accuracy"]["target"] == 0.5
    same({key: figures[key]["value"] for key in then}, then)


def test_the_best_prompt_of_an_old_prompts_json_is_taken() -> None:
    best = json.loads(Path("prompts.json").read_text(encoding="utf-8"))["best"]
    words = ("evaluate", "data", "--split", "valid", "--judge", "judge", "--device", "cpu", "--spatial", "0")
    assert exit_code(*words, "--prompt", "prompts.json", "--out", "best") == 0
    view = json.loads(Path("best/run.json").read_text(encoding="utf-8"))["models"]["judge"]["view"]
    assert view["prompt"] == best
    now = json.loads(Path("best/scorecard.json").read_text(encoding="utf-8"))["figures"][0]
    then = json.loads(Path("prompts.json").read_text(encoding="utf-8"))["prompts"][best]
    same([now["value"], now["interval"], now["n"]], [then["value"], then["interval"], then["n"]])


def test_old_evaluations_are_compared_as_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("compare", "evaluated", "evaluated-floor", "--out", "told", "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)["comparisons"]
    same(told["differences"][: len(EXPECTED["compared"])], EXPECTED["compared"])
    assert Path("told/compare.md").is_file()


def test_a_stopped_fine_tuning_goes_on_to_the_losses_and_weights_of_the_whole_one() -> None:
    from safetensors.numpy import load_file

    assert len(lines("tuning/log.jsonl")) < len(lines("tuned/log.jsonl"))
    assert exit_code(*TRAIN, "--resume", "--json") == 0
    same(lines("tuning/log.jsonl"), lines("tuned/log.jsonl"))
    now, then = (load_file(f"{run}/adapter/adapter_model.safetensors") for run in ("tuning", "tuned"))
    assert now.keys() == then.keys()
    for name, weights in then.items():
        assert now[name] == pytest.approx(weights, abs=1e-4), name
    run = json.loads(Path("tuning/run.json").read_text(encoding="utf-8"))
    assert run["finished"]


def test_an_old_fine_tuning_with_other_settings_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(*TRAIN, "--resume", "--rank", "4") == 2
    assert "rank was 2, now 4" in said(capsys)
    assert exit_code(*TRAIN) == 2
    assert "--resume" in said(capsys)
