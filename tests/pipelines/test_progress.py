"""What the terminal is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from toeline.core.finding import Problem
from toeline.pipelines import progress
from toeline.pipelines.evaluate_parts import passes
from toeline.pipelines.settings import EvaluateRun

SOURCE = Path(__file__).parents[2] / "src" / "toeline"


def test_a_name_reaches_the_terminal_harmless() -> None:
    with progress.errors.capture() as said:
        progress.tell_problems([Problem.in_file(Path("a\x1b[31m\nError: b\u202e.jpg"), "is [bold]odd[/]")])
    assert said.get() == "problem a\\x1b[31m\\nError: b\\u202e.jpg: is [bold]odd[/]\n"


@pytest.mark.parametrize("console", [progress.errors, progress.out])
def test_a_word_between_colons_stays_a_word(console: Console) -> None:
    with console.capture() as said:
        console.print(f"[bold]{progress.escape('split:train:valid')}[/]")
    assert said.get() == "split:train:valid\n"


def test_names_are_made_harmless_at_one_place() -> None:
    others = [f.name for f in SOURCE.rglob("*.py") if "rich.markup" in f.read_text(encoding="utf-8")]
    assert others == ["progress.py"]


def test_the_rate_is_that_of_the_whole_run() -> None:
    """49 photographs in 98 s, of which the last took no time: 2 s each, and not the rate of the last moment."""
    now = [0.0]
    shown = Progress(*progress.columns(), get_time=lambda: now[0], disable=True)
    task = shown.add_task("Inspecting", total=60, completed=10, begun=10, note="")
    for second in range(1, 50):
        now[0] = min(2.0 * second, 96.0)
        shown.advance(task)
    now[0] = 98.0
    rate, time = progress.Rate(), progress.TimeColumn()
    assert (str(rate.render(shown.tasks[0])), str(time.render(shown.tasks[0]))) == ("2.0 s each", "0:02 left")
    now[0] = 100.0
    shown.advance(task)
    now[0] = 500.0
    assert (str(rate.render(shown.tasks[0])), str(time.render(shown.tasks[0]))) == ("2.0 s each", "took 1:40")


DETECTOR = "the detector, whose boxes' relations are compared (--spatial)"
RUN = EvaluateRun(data=Path("data"), split="valid", judge="embedded")


@pytest.mark.parametrize(
    ("run", "spatial", "number", "last"),
    [
        (RUN, 0, 1, "valid: the answers that are measured"),
        (
            replace(RUN, judge="baseline:embedded"),
            150,
            2,
            DETECTOR,
        ),
        (RUN, 150, 6, DETECTOR),
        (replace(RUN, prompt="minimal"), 150, 3, DETECTOR),
        (replace(RUN, boxes="detector"), 0, 2, "the labels' boxes, to tell the errors of both stages apart (--boxes)"),
        (replace(RUN, judge="", boxes="", findings=Path("f.jsonl")), 150, 1, "valid: the answers that are measured"),
    ],
)
def test_an_evaluation_says_its_passes_before_it_makes_them(
    run: EvaluateRun, spatial: int, number: int, last: str
) -> None:
    said = passes(run, calibrate=None, spatial=spatial, every_prompt=False)
    assert (len(said), said[-1]) == (number, last)
    more = passes(run, calibrate="test", spatial=spatial, every_prompt=True)
    assert "test: temperature and review threshold (--calibrate)" in more
    assert "prompt definitions (--prompt all)" in more
