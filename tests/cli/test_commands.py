"""The other commands, and what every command says of itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from tests.support.datasets import exit_code as run
from tests.support.stand_ins import fake_inspector
from typer.testing import CliRunner

from toeline._version import __version__
from toeline.cli.app import app
from toeline.cli.train import add_command, training
from toeline.pipelines import demo as demo_module
from toeline.pipelines.inspector import Inspector


def names() -> list[str]:
    return [str(command.name) for command in app.registered_commands if not command.hidden]


def test_the_commands_are_the_promised_ones() -> None:
    assert sorted(names()) == [
        "analyze",
        "baseline",
        "bundle",
        "compare",
        "convert",
        "demo",
        "ensemble",
        "evaluate",
        "evaluate-detector",
        "export",
        "finetune",
        "gallery",
        "gate",
        "inspect",
        "join",
        "labels",
        "learn",
        "merge",
        "plan",
        "quantize",
        "revisit",
        "split",
        "suggest",
        "synth",
        "train-detector",
        "train-embedded",
        "trim",
    ]


@pytest.mark.parametrize("name", names())
def test_every_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(name, "--help") == 0
    assert f"Example: toeline {name}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("former", "name"), [("floor", "baseline"), ("fuse", "ensemble")])
def test_a_former_name_is_the_same_command_and_in_no_list(
    former: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    same = {str(c.name): c.callback for c in app.registered_commands}
    assert same[former] is same[name]
    assert run(former, "--help") == 0
    capsys.readouterr()
    assert run("--help") == 0
    assert not re.search(rf"\b{former}\b", capsys.readouterr().out)


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"toeline {__version__}\n"


def test_synth_writes_a_data_set_and_the_same_seed_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert (
            run("synth", str(tmp_path / name), "--scenes", "2", "--seed", "5", "--size", "160", "--workers", "1") == 0
        )
    files = {p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file()}
    assert Path("data.yaml") in files
    assert len([f for f in files if f.suffix == ".jpg"]) == 2
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_synth_refuses_a_folder_of_other_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.doc").touch()
    assert run("synth", str(tmp_path), "--scenes", "1", "--seed", "5") == 2
    assert "not empty" in capsys.readouterr().err


def test_the_demo_compares_with_the_truth_and_says_where_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo_module, "SCENES", 2)
    monkeypatch.setattr(Inspector, "load", lambda *_, **__: fake_inspector())
    monkeypatch.chdir(tmp_path)
    assert run("demo", "--out", "demo") == 0
    told = capsys.readouterr().out
    assert re.search(r"objects found.*\d+%", told)
    assert "demo/report.html" in told
    assert "toeline inspect" in told
    page = (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
    assert "Against the ground truth" in page
    assert "Not found: " in page
    assert (tmp_path / "demo" / "findings.jsonl").exists()
    assert run("demo", "--out", "demo") == 0
    assert "finished already" in capsys.readouterr().out


def test_training_options_are_the_fields_of_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Settings of a test."""

        out: Path
        learning_rate: float = 0.5
        minutes: float | None = None
        resume: bool = False

    seen: list[Settings] = []
    made = typer.Typer()
    add_command(made, "thing", Settings, seen.append)
    add_command(made, "other", Settings, seen.append)
    done = CliRunner().invoke(made, ["thing", "--out", "x", "--learning-rate", "0.25", "--resume"])
    assert done.exit_code == 0, done.output
    assert seen == [Settings(out=Path("x"), learning_rate=0.25, minutes=None, resume=True)]
    assert CliRunner().invoke(made, ["thing"]).exit_code == 2  # --out has no default


def test_both_embedded_models_can_be_trained() -> None:
    assert [c.name for c in training().registered_commands] == ["judge", "detector"]
