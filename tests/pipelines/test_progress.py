"""What the terminal is told."""

from __future__ import annotations

from pathlib import Path

from toeline.core.finding import Problem
from toeline.pipelines import progress

SOURCE = Path(__file__).parents[2] / "src" / "toeline"


def test_a_name_reaches_the_terminal_harmless() -> None:
    with progress.errors.capture() as said:
        progress.tell_problems([Problem.in_file(Path("a\x1b[31m\nError: b\u202e.jpg"), "is [bold]odd[/]")])
    assert said.get() == "problem a\\x1b[31m\\nError: b\\u202e.jpg: is [bold]odd[/]\n"


def test_names_are_made_harmless_at_one_place() -> None:
    others = [f.name for f in SOURCE.rglob("*.py") if "rich.markup" in f.read_text(encoding="utf-8")]
    assert others == ["progress.py"]
