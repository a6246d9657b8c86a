"""What the terminal shows while a command works: on standard error, so that standard output stays for results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

if TYPE_CHECKING:
    from toeline.core.finding import Problem


errors = Console(stderr=True, soft_wrap=True, highlight=False)
out = Console(soft_wrap=True, highlight=False)
Step = Callable[[Sequence["Problem"]], None]


class Rate(ProgressColumn):
    """Photographs per second, or seconds per photograph when it is slow."""

    def render(self, task: Task) -> Text:
        speed = task.speed or 0.0
        if not speed:
            return Text("")
        return Text(f"{speed:.1f} per second" if speed >= 1 else f"{1 / speed:.1f} s each", style="dim")


@contextmanager
def bar(what: str, *, total: int, done: int = 0, note: Callable[[], str] = str) -> Iterator[Step]:
    """A progress bar with rate and time left; gives the function to call after each piece, with its problems.

    `note` says something more at the end of the line, such as the memory in use.
    """
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(compact=True),
        TextColumn("[dim]{task.fields[note]}"),
    )
    with Progress(*columns, console=errors, transient=False) as progress:
        task = progress.add_task(what, total=total, completed=done, note=note())

        def step(problems: Sequence[Problem] = ()) -> None:
            tell_problems(problems)
            progress.update(task, advance=1, note=note())

        yield step


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
        errors.print(f"Stopped. What is done is kept; {how} goes on from here.")
        raise


def tell_problems(problems: Sequence[Problem]) -> None:
    """One line a problem, with its place."""
    for p in problems:
        errors.print(f"[yellow]problem[/] {escape(str(p))}")


def show_places(places: Mapping[str, str]) -> None:
    """Names and paths, one a line."""
    width = max(map(len, places))
    for name, where in places.items():
        out.print(f"  [dim]{name:<{width}}[/]  {escape(where)}")
