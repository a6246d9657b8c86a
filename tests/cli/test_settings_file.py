"""toeline.toml and --config, and the folder of a run that is told none. No model is loaded: see `inspected`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.support.datasets import exit_code, write_photo
from typer.main import get_command

from toeline.cli.app import app
from toeline.core.provenance import settings_of, start_record
from toeline.core.run_folder import RUN, write_run
from toeline.core.taxonomy import Taxonomy
from toeline.errors import OutputError
from toeline.pipelines import inspect
from toeline.pipelines.inspect import Output, Summary
from toeline.pipelines.next_folder import next_folder
from toeline.pipelines.settings import InspectRun

Inspected = Callable[..., InspectRun]
FAILS = "fails"


@pytest.fixture
def inspected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Inspected:
    """inspected("--judge", "x") types `toeline inspect photos --judge x` and gives the settings that arrived.

    In place of the inspection it begins a run folder, and finishes it unless the detector is called FAILS.
    """
    monkeypatch.chdir(tmp_path)
    write_photo(Path("photos/a.jpg"))
    seen: list[InspectRun] = []

    def begin(run: InspectRun, output: Output) -> Summary:
        seen.append(run)
        record = start_record("inspect", settings_of(run), Taxonomy.load())
        write_run(output.out, record)
        if run.detector == FAILS:
            raise OutputError("killed")
        write_run(output.out, {**record, "finished": "now"})
        return Summary(str(output.out), 1, 0, 0, 0, {}, 0, 0, 0.0)

    monkeypatch.setattr(inspect, "inspect_into", begin)

    def type_it(*words: str, code: int = 0) -> InspectRun:
        assert exit_code("inspect", "photos", *words) == code
        return seen[-1]

    return type_it


def config(text: str, name: str = "toeline.toml") -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def test_a_file_gives_what_is_not_typed_and_it_is_said_and_recorded(inspected: Inspected, capsys: Any) -> None:
    config('[inspect]\njudge = "x"\nthreshold = ["toe_drain=0.4", 0.3]\ntile = 800\nrisk = 5\n')
    run = inspected("--out", "out", "--tile", "off")
    assert (run.judge, run.thresholds, run.tile, run.risk) == ("x", ("toe_drain=0.4", "0.3"), "off", 5.0)
    said = capsys.readouterr().err
    assert said.startswith("Settings from toeline.toml: ")
    assert "threshold = toe_drain=0.4 0.3" in said
    assert "tile" not in said
    record = json.loads(Path("out", RUN).read_text())
    assert record["config"]["file"] == "toeline.toml"
    assert record["config"]["options"] == {"judge": "x", "threshold": ["toe_drain=0.4", "0.3"], "risk": 5.0}
    assert record["options"]["tile"] == "off"


def test_another_file_is_named_and_replaces_the_one_that_lies_there(inspected: Inspected) -> None:
    config('[inspect]\njudge = "x"\n')
    config('[inspect]\nout = "there"\ndetector = "y"\n', "other.toml")
    run = inspected("--config", "other.toml")
    assert (run.judge, run.detector) == ("auto", "y")
    assert Path("there", RUN).is_file()


def test_without_a_file_nothing_is_said_and_nothing_recorded(inspected: Inspected, capsys: Any) -> None:
    inspected("--out", "out")
    assert "Settings" not in capsys.readouterr().err
    assert "config" not in json.loads(Path("out", RUN).read_text())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[inspect]\njugde = "x"\n', "Did you mean judge?"),
        ("[inspect]\nreview_below = 0.5\n", "Did you mean review-below?"),
        ('[inspekt]\njudge = "x"\n', "Did you mean inspect?"),
        ('judge = "x"\n', "stands in no table"),
        ("[evaluate]\nspatail = 3\n", "Did you mean spatial?"),
        ("[inspect]\ntrust = true\n", "can only be typed"),
        ('[inspect]\njudge = ["a", "b"]\n', "is a list"),
        ("[inspect]\njudge = true\n", "must be a text or a number"),
        ('[convert]\nlink = "yes"\n[inspect]\njson = "yes"\n', "must be true or false"),
        ("[inspect]\nphotos = 3\n", "is no option"),
        ("[inspect\n", "cannot be read as TOML"),
        ('[inspect]\nreview-below = "much"\n', "Invalid value for '--review-below'"),
    ],
)
def test_what_a_file_cannot_say_is_refused_with_what_was_meant(
    inspected: Inspected, text: str, said: str, capsys: Any
) -> None:
    config(text)
    assert exit_code("inspect", "photos", "--out", "out") == 2
    assert said in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not Path("out").exists()


def test_a_file_that_is_named_must_be_there(inspected: Inspected, capsys: Any) -> None:
    assert exit_code("inspect", "photos", "--out", "out", "--config", "gone.toml") == 2
    assert "gone.toml" in capsys.readouterr().err


def test_link_and_copy_are_two_names_of_one_option(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from toeline.pipelines import datasets as data

    monkeypatch.chdir(tmp_path)
    seen: list[Any] = []
    monkeypatch.setattr(data, "convert_into", lambda run, folder: seen.append(run) or {"problems": []})
    monkeypatch.setattr(data, "tell_convert", lambda *_: None)
    config('[convert]\ncopy = true\nto = "coco"\n')
    assert exit_code("convert", "data", "--out", "out") == 0
    assert (seen[-1].link, seen[-1].to) == (False, "coco")
    assert exit_code("convert", "data", "--out", "out", "--link") == 0
    assert seen[-1].link


def test_every_command_takes_a_settings_file() -> None:
    group: Any = get_command(app)
    without = [name for name, c in group.commands.items() if "config" not in [p.name for p in c.params]]
    assert without == ["train-embedded"]  # its options stand in files that load torch


def test_a_run_that_is_told_no_folder_gets_the_next_number(inspected: Inspected, capsys: Any) -> None:
    Path("runs/inspect-7").mkdir(parents=True)
    config("mine", "runs/inspect-7/a.txt")
    Path("runs/inspect-9").mkdir()  # empty, so free
    inspected()
    assert "Results go into runs/inspect-8." in capsys.readouterr().err
    inspected()
    assert json.loads(Path("runs/inspect-9", RUN).read_text())["finished"]


def test_an_unfinished_run_of_the_same_settings_is_gone_on_with(inspected: Inspected, capsys: Any) -> None:
    inspected("--detector", FAILS, code=2)
    inspected("--judge", "other")
    capsys.readouterr()
    inspected("--detector", FAILS, "--workers", "1", code=2)  # another pace is no other run
    assert "Going on in runs/inspect-1" in capsys.readouterr().err
    assert sorted(p.name for p in Path("runs").iterdir()) == ["inspect-1", "inspect-2"]
    inspected("--detector", FAILS, "--judge", "y", code=2)
    assert Path("runs/inspect-3").is_dir()


def test_trainings_go_on_with_resume(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from toeline.cli.options import with_settings
    from toeline.pipelines.next_folder import NEXT

    monkeypatch.chdir(tmp_path)
    write_run(Path("runs/fit-1"), {"finished": None, "options": {"rank": 3}})
    seen: list[Any] = []
    trial = typer.Typer()

    @trial.callback()
    def whole() -> None: ...

    @trial.command("fit")
    @with_settings
    def fit(*, out: Path = NEXT, rank: int = 1, resume: bool = False) -> None:
        seen.append((str(out), resume))

    for words in (["fit", "--rank", "3"], ["fit", "--rank", "4"]):
        trial(words, standalone_mode=False)
    assert seen == [("runs/fit-1", True), ("runs/fit-2", False)]


def test_several_processes_must_be_told_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(Exception, match="--out"):
        next_folder("finetune", {})


def test_a_record_that_cannot_be_read_is_no_unfinished_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config("{", str((tmp_path / "inspect-1").mkdir() or tmp_path / "inspect-1" / RUN))
    assert next_folder("inspect", {}, top=tmp_path) == (tmp_path / "inspect-2", False)
