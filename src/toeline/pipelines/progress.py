"""What the terminal shows: progress on standard error while a command works, and what it came to on standard output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from threading import Thread
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console, RenderableType
from rich.markup import escape as escape_markup
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from toeline.core.words import shown, some

if TYPE_CHECKING:
    from toeline.core.finding import Problem, ProblemKind


# Without emoji: `:train:` in a name or an option would be printed as a small train.
errors = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)
out = Console(soft_wrap=True, highlight=False, emoji=False)
Step = Callable[[Sequence["Problem"]], None]


def escape(text: str) -> str:
    """A name or value as rich may print it: no markup of its own, no character that moves the cursor."""
    return escape_markup(shown(text))


def take_any_name() -> None:
    """Let standard output have names that its encoding lacks (cp1252, ASCII): they are written as escapes."""
    with suppress(AttributeError, ValueError):  # a stream of others, or closed
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def leave_output() -> None:
    """Write no more on standard output if it takes no more; else Python tries once again as it ends, with a trace."""
    with suppress(AttributeError, ValueError):
        try:
            sys.stdout.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Rate(ProgressColumn):
    """Photographs per second, or seconds per photograph when it is slow, over the whole run; not of the last moment."""

    def render(self, task: Task) -> Text:
        seconds, pieces = _spent(task), task.completed - task.fields["begun"]
        if not seconds or not pieces:
            return Text("")
        rate = pieces / seconds
        return Text(f"{rate:.1f} per second" if rate >= 1 else f"{1 / rate:.1f} s each", style="dim")


class TimeColumn(ProgressColumn):
    """How much longer it takes at the rate of the whole run, and when it is done how long it took."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        seconds, pieces = _spent(task), task.completed - task.fields["begun"]
        if task.finished:
            return Text(f"took {clock(seconds)}")
        left = (task.total or 0) - task.completed
        return Text(f"{clock(left * seconds / pieces)} left" if pieces else "")


def _spent(task: Task) -> float:
    return (task.finished_time if task.finished else task.elapsed) or 0.0


def clock(seconds: float) -> str:
    """Seconds as a clock shows them.

    >>> clock(4.2), clock(754), clock(7325)
    ('0:04', '12:34', '2:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def columns() -> tuple[ProgressColumn, ...]:
    """What a line of progress says: name, bar, how many of how many, rate, time, and what else is noted."""
    return (
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        Rate(),
        TimeColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    )


@contextmanager
def bar(what: str, *, total: int, done: int = 0, note: Callable[[], str] = str) -> Iterator[Step]:
    """A progress bar with rate and time; gives the function to call after each piece, with its problems.

    `note` says something more at the end of the line, such as the memory in use.
    """
    with Progress(*columns(), console=errors, transient=False) as progress:
        task = progress.add_task(what, total=total, completed=done, begun=done, note=note())

        def step(problems: Sequence[Problem] = ()) -> None:
            tell_problems(problems)
            progress.update(task, advance=1, note=note())
            _hears[-1](progress.tasks[0].completed / max(total, 1))

        yield step


_hears: list[Callable[[float], None]] = [lambda share: None]


@contextmanager
def report_to(hears: Callable[[float], None]) -> Iterator[None]:
    """Show nothing; tell `hears` instead which share of a bar is done, for whoever shows it among others."""
    before, errors.quiet = errors.quiet, True
    _hears.append(hears)
    try:
        yield
    finally:
        _hears.pop()
        errors.quiet = before


@dataclass(frozen=True)
class Board:
    """Bars of what other processes do, which put their name and the share that is done into a queue."""

    _progress: Progress
    _tasks: dict[str, TaskID] = field(default_factory=dict)

    def begin(self, name: str, label: str) -> None:
        """Add a bar."""
        self._tasks[name] = self._progress.add_task(escape(label), total=1.0)

    def end(self, name: str) -> None:
        """Take it away."""
        self._progress.remove_task(self._tasks.pop(name))

    def listen(self, told: Any) -> None:
        """Move the bars by what is put into `told`, until that is None."""
        while (heard := told.get()) is not None:
            name, share = heard
            if name in self._tasks:
                self._progress.update(self._tasks[name], completed=share)


@contextmanager
def board(told: Any) -> Iterator[Board]:
    """Bars of what other processes do, as they tell it through a queue."""
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=32), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True) as progress:
        made = Board(progress)
        listener = Thread(target=made.listen, args=(told,), daemon=True)
        listener.start()
        try:
            yield made
        finally:
            told.put(None)
            listener.join()


@contextmanager
def saying(what: str) -> Iterator[None]:
    """A line with a spinner while something takes a while."""
    with errors.status(f"{what} ..."):
        yield


@contextmanager
def goes_on(how: str = "the same command again") -> Iterator[None]:
    """Tells whoever stops the command that nothing is lost, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        errors.print(f"Stopped. What is done is kept; {how} continues from here.")
        raise


def tell_problems(problems: Sequence[Problem]) -> None:
    """One line a problem or note, with its place."""
    for p in problems:
        errors.print(f"{'[dim]note[/]' if p.note else '[yellow]problem[/]'} {escape(str(p))}")


def show_places(places: Mapping[str, str]) -> None:
    """Names and paths, one a line."""
    width = max(map(len, places))
    for name, where in places.items():
        out.print(f"  [dim]{name:<{width}}[/]  {escape(where)}")


@dataclass(frozen=True)
class Summary:
    """What a command came to: `lines` for people (markup or tables) and `places` to look at, or `record` as JSON.

    `problems` are told by their kinds; `errors` is where they are listed, if not in errors.jsonl.
    """

    lines: Sequence[RenderableType]
    places: Mapping[str, str]
    record: Mapping[str, Any]
    problems: Sequence[Problem] = ()
    errors: str = ""
    last: str = ""


def tell(summary: Summary, *, as_json: bool) -> None:
    """Print a summary on standard output."""
    from toeline.core.finding import kinds_of
    from toeline.core.run_folder import ERRORS

    if as_json:
        tell_json(summary.record)
        return
    for line in summary.lines:
        out.print(line)
    show_places(summary.places)
    if summary.last:
        out.print(summary.last)
    tell_kinds(kinds_of(summary.problems), summary.errors or ERRORS)


def tell_kinds(kinds: Sequence[ProblemKind], where: str, more: str = "") -> None:
    """The last lines of a command: what was wrong, then what was left out or assumed; all of it is listed in `where`.

    `more` goes into the line that counts the problems.
    """
    for note, title in ((False, "[bold yellow]{}[/]{}: see {}"), (True, "[bold]Left out or assumed[/] (see {2})")):
        if told := [kind for kind in kinds if kind.note == note]:
            number = some(sum(kind.count for kind in told), "problem")
            out.print(title.format(number, more, escape(where)))
            for kind in told[:MOST_TOLD]:
                out.print(f"  {escape(str(kind))}")
            if len(told) > MOST_TOLD:
                out.print(f"  [dim]and {len(told) - MOST_TOLD} kinds more[/]")


MOST_TOLD = 12  # kinds of problems in the terminal


def is_first() -> bool:
    """Whether this is the only process, or the first of those that `accelerate launch` started."""
    return int(os.environ.get("RANK", 0)) == 0


STAGES = {"features": "Looking at pictures", "train": "Training"}


@contextmanager
def training_bars(epochs: int) -> Iterator[Callable[[str, int, int, Mapping[str, Any] | None], None]]:
    """Progress of a training: a bar for each stage, a line for each epoch. Processes but the first are silent.

    Gives the function to call with the stage, how much of how much is done, and a line of log.jsonl or None.
    """
    bars = ExitStack()
    steps: dict[str, Step] = {}
    shown: dict[str, int] = {}

    def tell_progress(stage: str, done: int, total: int, line: Mapping[str, Any] | None) -> None:
        if not is_first():
            return
        if stage not in steps:
            bars.close()
            steps[stage] = bars.enter_context(bar(STAGES[stage], total=total, done=done, note=_memory))
            shown[stage] = done
        for _ in range(min(done, total) - shown[stage]):
            steps[stage](())
        shown[stage] = max(shown[stage], min(done, total))
        if line is not None and "valid" in line:
            errors.print(epoch_words(line, epochs))

    with bars:
        yield tell_progress


def _memory() -> str:
    """The most memory so far, of the GPU where there is one."""
    from toeline.core.provenance import peak_memory

    peak = peak_memory()
    most_bytes = peak.get("gpu") or peak.get("process")
    return f"{most_bytes / 1e9:.1f} GB" if most_bytes else ""


def epoch_words(line: Mapping[str, Any], epochs: int) -> str:
    """The validation of an epoch, of a judge or of a detector, in words.

    >>> epoch_words({"epoch": 1, "best": True, "valid": {"accuracy": 0.5, "loss": 1.25, "n": 98}}, 4)
    'epoch 1 of 4: 50.0% of 98 right on the validation split, loss 1.250; the best so far'
    >>> epoch_words({"epoch": 2, "valid": {"map_50": 0.5, "map_50_95": 0.25}}, 4)
    'epoch 2 of 4: mAP@0.5 50.0%, mAP@0.5:0.95 25.0%'
    """
    said = "untrained" if line["epoch"] == 0 else f"epoch {line['epoch']} of {epochs}"
    if not (valid := line["valid"]):
        return f"{said}: no validation split, kept"
    if "map_50" in valid:
        words = f"mAP@0.5 {100 * valid['map_50']:.1f}%, mAP@0.5:0.95 {100 * valid['map_50_95']:.1f}%"
    else:
        words = (
            f"{100 * valid['accuracy']:.1f}% of {valid['n']} right on the validation split, loss {valid['loss']:.3f}"
        )
    return f"{said}: {words}{'; the best so far' if line.get('best') else ''}"


def tell_json(record: Mapping[str, Any], *, indent: int | None = None) -> None:
    """A result on standard output, as one JSON object; in ASCII, which every terminal and every pipe can take."""
    typer.echo(json.dumps(dict(record), indent=indent))
