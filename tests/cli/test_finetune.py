"""`toeline finetune` from the command line: what it writes and says, and which folders it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.datasets import exit_code
from tests.support.training import write_data, write_judge

from toeline.core.statistics import Interval
from toeline.errors import OutputError
from toeline.evaluate.compare import Difference
from toeline.evaluate.results import said_of
from toeline.pipelines import finetune as finetune_run
from toeline.train import finetune as finetune_file


@pytest.fixture(scope="module")
def places(tmp_path_factory: Any) -> tuple[str, str]:
    """A data set and a judge."""
    top = tmp_path_factory.mktemp("finetune")
    return str(write_data(top / "data")), str(write_judge(top / "judge"))


def run(places: tuple[str, str], out: Path, *more: str) -> int:
    data, judge = places
    small = ["--device", "cpu", "--scene-tokens", "12", "--crop-tokens", "6", "--epochs", "1", "--accumulate", "2"]
    return exit_code("finetune", data, "--judge", judge, "--out", str(out), *small, *more)


def test_a_run_writes_what_it_promises(
    places: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert run(places, out, "--json", "--merge") == 0
    said = json.loads(capsys.readouterr().out)
    assert {"adapter", "merged", "report", "log"} == set(said["written"])
    assert all(Path(p).exists() for p in said["written"].values())
    assert [v["epoch"] for v in said["validations"]] == [0, 1]
    record = json.loads((out / "run.json").read_text())
    assert record["settings"]["rank"] == 16
    assert set(record["settings"]["data_sha256"]) == {"train", "valid"}
    assert record["finished"]
    assert record["trained"]["judge"]["attention"]
    assert record["worth"]["comparison"]["objects"] == 3
    page, text = ((out / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    assert page.count("<svg") == 2
    assert said["worth"]["words"] in text
    assert "Before and after" in page
    assert "| slope drain | 2 |" in text
    assert (out / "before" / "cases.jsonl").exists()
    assert json.loads((out / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] == places[1]

    assert run(places, out) == 2
    assert "--resume" in capsys.readouterr().err
    assert run(places, out, "--resume", "--rank", "8") == 2
    assert "rank was 16, now 8" in " ".join(capsys.readouterr().err.split())

    monkeypatch.setattr(finetune_file, "save", None)  # a finished run is told again, and nothing is trained
    assert run(places, out, "--resume", "--json", "--merge") == 0
    assert json.loads(capsys.readouterr().out)["worth"] == said["worth"]


def test_a_folder_of_something_else_is_refused(
    places: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    assert run(places, tmp_path) == 2
    assert "holds what this command did not write (letters.txt)" in " ".join(capsys.readouterr().err.split())
    assert [p.name for p in tmp_path.iterdir()] == ["letters.txt"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--split", "test"], "has no split 'test'"),
        (["--judge", "replay:x"], "replay:x cannot be fine-tuned"),
        (["--prompt", "nonsense"], "there is no prompt 'nonsense'"),
        (["--device", "abacus"], "unknown device 'abacus'"),
        (["--dtype", "int3"], "unknown dtype 'int3'"),
        (["--epochs", "0"], "--epochs must be above 0"),
    ],
)
def test_what_cannot_be_done_is_said(
    more: list[str], said: str, places: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(places, tmp_path / "out", *more) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_stopped_run_can_be_begun_anew_when_nothing_was_trained(places: tuple[str, str], tmp_path: Path) -> None:
    opened = finetune_run.open_folder
    opened(tmp_path, {"settings": {"rank": 8}}, resume=False)
    assert opened(tmp_path, {"settings": {"rank": 16}}, resume=False)["settings"]["rank"] == 16


def test_a_run_that_ran_out_of_memory_goes_on_with_smaller_parts(places: tuple[str, str], tmp_path: Path) -> None:
    opened = finetune_run.open_folder
    opened(tmp_path, {"settings": {"rank": 8, "max_tokens": 4096}}, resume=False)
    (tmp_path / "checkpoints" / "checkpoint-2").mkdir(parents=True)
    assert opened(tmp_path, {"settings": {"rank": 8, "max_tokens": 2048}}, resume=True)
    with pytest.raises(OutputError, match="rank was 8, now 4"):
        opened(tmp_path, {"settings": {"rank": 4, "max_tokens": 2048}}, resume=True)
    with pytest.raises(OutputError, match="Go on with it by --resume"):
        opened(tmp_path, {"settings": {"rank": 8, "max_tokens": 2048}}, resume=False)


@pytest.mark.parametrize(
    ("difference", "low", "high", "said"),
    [
        (0.1, 0.02, 0.2, "Fine-tuning helped"),
        (0.1, -0.02, 0.2, "not shown"),
        (-0.1, -0.2, 0.02, "may have made it worse"),
        (-0.1, -0.2, -0.02, "made it WORSE"),
    ],
)
def test_it_says_when_fine_tuning_made_it_worse(difference: float, low: float, high: float, said: str) -> None:
    interval = Interval(low, high)
    d = Difference("k", "k", 98, 0.5, 0.5 + difference, difference, interval, interval, 3, 1, 0.6)
    assert said in said_of(d, 49)
    assert f"{100 * difference:+.1f} points" in said_of(d, 49)
