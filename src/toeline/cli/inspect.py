"""Commands about photographs: `toeline inspect`, `revisit`, `demo` and `plan`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toeline.cli.options import with_settings
from toeline.errors import ExitCode
from toeline.pipelines.next_folder import NEXT
from toeline.pipelines.progress import tell as tell_summary
from toeline.pipelines.progress import tell_json
from toeline.pipelines.settings import WORKERS, Extras, InspectRun, JoinRun, OnRay, Pace, RevisitRun
from toeline.plan.request import PlanDevices, PlanRequest

if TYPE_CHECKING:
    from toeline.pipelines.revisit import Decisions


@partial(
    with_settings,
    first="photos out detector thresholds trust head boxes judge adapter answers taxonomy classes device workers batch",
)
def inspect(
    *,
    out: Annotated[Path, typer.Option(help="Folder for the results; the same run again continues in it.")] = NEXT,
    run: InspectRun,
    pace: Pace,
    where: OnRay,
    extras: Extras,
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON on standard output.")] = False,
) -> None:
    """Inspect photographs: what stands there, where, and in what condition.

    Writes findings.jsonl, findings.csv, worklist.csv, marked pictures, report.html, errors.jsonl and run.json into OUT.
    Stopped or killed, the same command continues where it stopped. Exit code 0: all done; 1: some photographs or labels
    have problems; 2: nothing could be done.

    Example: toeline inspect flight7/ --out runs/flight7

    Large photographs: toeline inspect flight7/ --out runs/flight7 --tile 1024,256

    On paper: toeline inspect flight7/ --out runs/flight7 --pdf

    Calibrated: toeline inspect flight7/ --out runs/flight7 --calibration runs/judge/calibration.json

    On several machines: toeline inspect flight7/ --out runs/part2 --part 2/4, and at the end toeline join

    On a cluster of Ray: toeline inspect /data/flight7 --out runs/flight7 --ray auto
    """
    from toeline.pipelines.inspect import Output, inspect_into, tell

    output = Output(out=out, command="inspect", pace=pace, extras=extras)
    if where != OnRay():
        from toeline.pipelines.on_ray import with_ray

        output = with_ray(output, where, run.device)
    summary = inspect_into(run, output)
    tell_json(summary.record()) if as_json else tell(summary)
    raise typer.Exit(ExitCode.of(fine=summary.fine, anything=summary.anything))


@with_settings
def join(
    *,
    run: JoinRun,
    out: Annotated[Path, typer.Option(help="Folder for the whole run; the same command again continues in it.")] = NEXT,
    workers: Annotated[int, typer.Option(min=0, max=64, help="Threads that write pages; 0: one does all.")] = WORKERS,
    extras: Extras,
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON on standard output.")] = False,
) -> None:
    """Make one run of the parts that toeline inspect --part wrote, on whichever machines.

    What comes out is what a single process would have written. Parts of other settings, models or photographs, and
    parts that are unfinished, missing or there twice, are refused by name. Exit codes are those of toeline inspect.

    Example: toeline join runs/part1 runs/part2 runs/part3 runs/part4 --out runs/flight7
    """
    from toeline.pipelines.inspect import tell
    from toeline.pipelines.join import join_into

    summary = join_into(run, out, workers=workers, extras=extras)
    tell_json(summary.record()) if as_json else tell(summary)
    raise typer.Exit(ExitCode.of(fine=summary.fine, anything=summary.anything))


@partial(with_settings, first="before after out store")
def revisit(
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the page and the tables.")] = NEXT,
    run: RevisitRun,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON on standard output.")] = False,
) -> None:
    """Say what changed between two inspections of one site: new, gone, worse, better, same. No model is loaded.

    Objects are paired by their positions, or where these are missing by their boxes on photographs of one name. Writes
    changes.html, changes.csv and changes.json into DIR. Exit code 0: compared, whatever changed; 1: photographs of a
    visit could not be inspected, or hardly anything was found in both; 2: nothing could be compared.

    Example: toeline revisit runs/may runs/november --out runs/since-may

    With what people decided: toeline revisit runs/may runs/november --out runs/since-may --store review
    """
    from toeline.core.finding import grave
    from toeline.pipelines.revisit import revisit_into, summary

    told = revisit_into(run, out, _reviewed(run.store) if run.store else None)
    tell_summary(summary(told, out), as_json=as_json)
    raise typer.Exit(ExitCode.of(fine=not grave(told.problems)))


def _reviewed(store: Path) -> Decisions:
    from toeline.serve.revisits import reviewed_in

    return reviewed_in(store)


@with_settings
def demo(
    folder: Annotated[Path, typer.Option("--out", help="Folder for scenes and results.")] = Path("runs/demo"),
) -> None:
    """Draw a dozen scenes, inspect them with the models that Toeline ships, and compare with the ground truth.

    Example: toeline demo --out runs/demo
    """
    from toeline.pipelines.demo import demonstrate

    raise typer.Exit(ExitCode.of(fine=demonstrate(folder)))


@partial(with_settings, first="judge devices memory")
def plan(
    asked: PlanRequest,
    wanted: PlanDevices,
    check: Annotated[
        bool, typer.Option("--check", help="Load the judge, run one drawn photograph, compare with the plan.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON on standard output.")] = False,
) -> None:
    """Say whether a judge fits a device, and how long it takes, before anything is downloaded or loaded.

    From the numbers of the model's config alone, without network: memory to load and at work, seconds per photograph,
    and when it does not fit the fewest changes that make it fit. Exit code 0 when there is an answer, yes or no.

    Example: toeline plan --judge Qwen/Qwen2-VL-7B-Instruct --device a30

    Several cards: toeline plan --device rtx3060 --device rtx4090 --device t4
    """
    from toeline.pipelines.plan import tell_plan

    tell_plan(asked, wanted, check=check, as_json=as_json)
