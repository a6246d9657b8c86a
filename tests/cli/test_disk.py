"""Disks that refuse and libraries that are broken: one sentence with what to do, before the work, in every command."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Callable
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import pytest
from tests.support.datasets import exit_code

from toeline import errors
from toeline.cli.app import app
from toeline.core.run_folder import LEAST_ROOM, require_writable, writing
from toeline.data.export import staged
from toeline.errors import OutputError, broken_library, install_line
from toeline.pipelines import demo

# Each command with what it needs; its data are not there, so that a refusal of --out comes before they are looked at.
COMMANDS = {
    "analyze": "analyze none --out OUT",
    "baseline": "baseline none --out OUT",
    "bundle": "bundle --baseline none --out OUT",
    "compare": "compare none none --out OUT",
    "convert": "convert none --to coco --out OUT",
    "demo": "demo --out OUT",
    "ensemble": "ensemble none --judge embedded --judge embedded --out OUT",
    "evaluate": "evaluate none --split valid --out OUT",
    "evaluate-detector": "evaluate-detector none --out OUT",
    "export": "export none --to coco --out OUT",
    "finetune": "finetune none --judge embedded --out OUT",
    "floor": "floor none --out OUT",
    "fuse": "fuse none --judge embedded --judge embedded --out OUT",
    "gallery": "gallery none --out OUT",
    "gate": "gate none --against none --data none --out OUT",
    "inspect": "inspect none --out OUT",
    "join": "join none --out OUT",
    "labels": "labels none --out OUT",
    "learn": "learn none --out OUT",
    "merge": "merge none --adapter none --out OUT",
    "quantize": "quantize none --to int8 --data none --out OUT",
    "revisit": "revisit none none --out OUT",
    "split": "split none --seed 1 --out OUT",
    "suggest": "suggest none --out OUT",
    "synth": "synth OUT --scenes 1 --seed 1",
    "train-detector": "train-detector none --out OUT",
    "train-embedded": "train-embedded judge --out OUT",
    "trim": "trim none --out OUT",
}
WRITES_NOTHING = {"plan"}


def test_every_command_that_writes_is_tried() -> None:
    names = {str(command.name) for command in app.registered_commands}
    assert names - WRITES_NOTHING <= COMMANDS.keys(), "add the new command to COMMANDS, with the least it needs"


LOADS_TORCH = {"train-embedded"}  # to know its options


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in LOADS_TORCH)) for n in COMMANDS])
@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EACCES, "out: cannot be used as an output folder (Permission denied). Choose another --out."),
        (errno.ENOSPC, "cannot be written (No space left on device). Make room, then run the same command again"),
    ],
)
def test_a_disk_that_refuses_is_told_before_the_work(
    name: str,
    number: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(**_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert exit_code(*COMMANDS[name].replace("OUT", "out").split()) == 2
    told = capsys.readouterr().err
    assert said in " ".join(told.split())
    assert "Traceback" not in told
    assert not list(tmp_path.iterdir())


def test_what_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "file.txt").touch()
    before = sorted(tmp_path.rglob("*"))
    for name in ("there", "new/below", "file.txt"):
        require_writable(tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(OutputError, match=r"file\.txt/below: cannot be used as an output folder \(Not a directory\)"):
        require_writable(tmp_path / "file.txt" / "below")
    assert LEAST_ROOM > 4096  # a file of no bytes can be made on a full disk


def vanish(out: Path, opened: Callable[[Path], Any]) -> None:
    """Write into a folder that was removed since it was opened."""
    with opened(out) as place:
        shutil.rmtree(place or out)
        ((place or out) / "a.txt").write_text("")


@pytest.mark.parametrize("opened", [writing, lambda out: staged(out, "note.json", {})])
def test_a_folder_that_vanishes_is_told(opened: Callable[[Path], Any], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="moved or deleted meanwhile: put it back, then run the same command again"):
        vanish(tmp_path / "out", opened)


BROKEN = "operator torchvision::nms does not exist"


@pytest.fixture
def torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A torchvision of another version than torch's: it raises when it is loaded, as the real one does."""
    package = tmp_path / "lib" / "torchvision"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"raise RuntimeError({BROKEN!r})\n")
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(errors, "_version", {"torch": "2.8.0", "torchvision": "0.20.1"}.get)


def test_a_broken_pair_of_libraries_ends_in_one_sentence(
    torchvision: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrapped(_: Path) -> bool:
        try:
            import_module("torchvision")
        except RuntimeError as why:
            raise RuntimeError("Failed to import transformers.image_utils") from why
        return True

    monkeypatch.setattr(demo, "demonstrate", wrapped)
    assert exit_code("demo") == 2
    told = " ".join(capsys.readouterr().err.split())
    assert told.startswith(
        f"Error: torchvision is installed and cannot be loaded ({BROKEN}). Installed are torch 2.8.0,"
    )
    assert told.endswith("-m pip install --force-reinstall torch torchvision")


@pytest.mark.parametrize("error", [RuntimeError("ours"), ModuleNotFoundError("no zzz", name="zzz"), ValueError("x")])
def test_other_errors_are_not_blamed_on_libraries(error: Exception) -> None:
    assert broken_library(error) is None


PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("extra", sorted(PROJECT["optional-dependencies"].keys() - {"browser", "dev", "docs"}))
def test_an_extra_is_installed_by_names_that_any_index_has(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the package came from a clone, a wheel or nowhere: never by a name of ours."""
    installed = install_line(extra)

    def uninstalled(_: str) -> list[str]:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(metadata, "requires", uninstalled)
    assert install_line(extra) == installed
    words = installed.partition(" -m pip install ")[2]
    assert words
    assert "toeline" not in words
