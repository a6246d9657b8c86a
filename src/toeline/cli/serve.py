"""Commands of the review: `toeline serve` with its subcommands, and `toeline labels`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from toeline.cli.options import with_settings
from toeline.errors import ExitCode
from toeline.pipelines.progress import out as terminal
from toeline.pipelines.progress import tell, tell_problems
from toeline.pipelines.settings import Link, ServeOptions

app = typer.Typer(no_args_is_help=False)
user = typer.Typer(help="Accounts of a store.", no_args_is_help=True)
app.add_typer(user, name="user")
StoreDir = Annotated[Path, typer.Option("--store", metavar="DIR", help="The store.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print a summary as JSON on standard output.")]


@with_settings
def serve(context: typer.Context, run: ServeOptions) -> None:
    """Serve the review: findings, decisions, sign-off, jobs; in a browser and as an API under /api/v1.

    Without an account on 127.0.0.1; for any other address make accounts first.

    Example: toeline serve --model runs/model --store review --photos flights
    """
    if context.invoked_subcommand is None:
        from toeline.serve.run import serve as serve_until_stopped

        serve_until_stopped(run)


app.callback(invoke_without_command=True)(serve)


@app.command("import")
def import_(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="What toeline inspect wrote.")],
    store: StoreDir,
    name: Annotated[str, typer.Option(help="How the inspection is called; else as the run.")] = "",
    as_json: AsJson = False,
) -> None:
    """Take the findings of a run into a store. The same run again only finds photographs that were away.

    Example: toeline serve import runs/flight7 --store review
    """
    from toeline.core.finding import grave
    from toeline.serve.run import import_into

    done = import_into(run, store, name)
    tell(done, as_json=as_json)
    raise typer.Exit(ExitCode.of(fine=not grave(done.problems)))


@app.command("find-photos")
def find_photos(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders in which the photographs are now.")],
    store: StoreDir,
    as_json: AsJson = False,
) -> None:
    """Find the photographs of a store that were moved, by their bytes; what was decided stays.

    Exit code 1: some are missing, and are named.

    Example: toeline serve find-photos /archive/2026 --store review
    """
    from toeline.core.finding import grave
    from toeline.serve.moved import find_photos as find  # loads what reads photographs

    done = find(store, folders)
    if not as_json:
        tell_problems(done.problems)
    tell(done, as_json=as_json)
    raise typer.Exit(ExitCode.of(fine=not grave(done.problems)))


@app.command("answers")
def answers(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What Label Studio (JSON) or CVAT (XML, zip) wrote.")],
    store: StoreDir,
    user: Annotated[str, typer.Option("--user", metavar="NAME", help="Whose decisions they are: an account or local.")],
    annotator: Annotated[
        str, typer.Option(metavar="ID", help="With Label Studio: whose annotations, by id or e-mail.")
    ] = "",
    all_seen: Annotated[
        bool, typer.Option("--all-seen", help="All in the file was looked at: what is unchanged is confirmed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Take what people did in an annotation tool into a store, as decisions. The same file again changes nothing.

    Exit code 1: something could not be taken, and is named; what somebody decided in the store meanwhile stays.

    Example: toeline serve answers project-7.json --store review --user ann
    """
    from toeline.core.finding import grave
    from toeline.serve.answers import answers_into  # loads what reads annotations

    done = answers_into(store, file, user=user, annotator=annotator, all_seen=all_seen)
    if not as_json:
        tell_problems(done.problems)
    tell(done, as_json=as_json)
    raise typer.Exit(ExitCode.of(fine=not grave(done.problems)))


@app.command("check")
def check(
    store: StoreDir,
    head: Annotated[
        list[str] | None,
        typer.Option(metavar="HASH|FILE", help="The hash of an event, kept elsewhere, that must be there; repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether all decisions of a store are there and unchanged. Exit code 1 when not.

    Events cut off at the end show beside a hash that was kept elsewhere: in a backup, labels.json, a signed report.

    Example: toeline serve check --store review --head backups/review-28.sqlite.head.json
    """
    from toeline.serve.run import check_store

    done = check_store(store, head or ())
    tell(done, as_json=as_json)
    raise typer.Exit(ExitCode.of(fine=not done.problems))


@app.command("accuracy")
def accuracy(
    store: StoreDir,
    target: Annotated[
        float | None,
        typer.Option(min=0.01, max=0.999, metavar="SHARE", help="What is to be proven; 95 % of the promoted accuracy."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The model folder, where the store does not know its scores.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say how right the models are by what people decided: intervals, drift, how many more decisions prove a target.

    Exit code 1: drift to the worse is shown.

    Example: toeline serve accuracy --store review --target 0.85
    """
    from toeline.serve.run import accuracy_of

    done = accuracy_of(store, target, model)
    tell(done, as_json=as_json)
    raise typer.Exit(ExitCode.of(fine=not done.problems))


@app.command("backup")
def backup(target: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")], store: StoreDir) -> None:
    """Copy the database of a store, while it is served.

    Example: toeline serve backup backups/review-28.sqlite --store review
    """
    from toeline.serve.run import backup_store

    backup_store(store, target)


@app.command("restore")
def restore(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="What toeline serve backup wrote.")], store: StoreDir
) -> None:
    """Put a backup in the place of a store's database, while it is not served; the one before is kept beside it.

    Example: toeline serve restore backups/review-28.sqlite --store review
    """
    from toeline.serve.run import restore_store

    restore_store(source, store)


@user.command("add")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits, dots, hyphens.")],
    store: StoreDir,
    role: Annotated[
        Literal["viewer", "reviewer", "engineer"], typer.Option(help="Reads; decides too; signs and starts jobs too.")
    ] = "reviewer",
    from_input: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input, not from the keyboard.")
    ] = False,
) -> None:
    """Make an account, or give one another role and password.

    Example: toeline serve user add ann --role engineer --store review
    """
    from toeline.serve.run import accounts

    with accounts(store, make=True) as made:
        typed = (
            sys.stdin.readline().rstrip("\n")
            if from_input
            else typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        )
        made.add(name, role, typed)
    terminal.print(f"{name} has the role {role}.", markup=False)


@user.command("remove")
def remove(name: Annotated[str, typer.Argument(metavar="NAME", help="The account.")], store: StoreDir) -> None:
    """Take an account away, with its sessions and tokens; its decisions stay."""
    from toeline.serve.run import accounts

    with accounts(store) as made:
        made.remove(name)


@user.command("list")
def list_(store: StoreDir) -> None:
    """Names and roles."""
    from toeline.serve.run import accounts

    with accounts(store) as made:
        for name, role in made.names():
            terminal.print(f"{name}  {role}")


@user.command("token")
def token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The account that the machine acts as.")],
    store: StoreDir,
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
) -> None:
    """Make a token for a machine, and show it once: it is sent as `Authorization: Bearer TOKEN`."""
    from toeline.serve.run import accounts

    with accounts(store) as made:
        terminal.print(made.new_token(name, note), soft_wrap=True, highlight=False)


@with_settings
def labels(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="The store of toeline serve.")],
    out: Annotated[Path, typer.Option(metavar="DATA", help="A new folder for the data set.")],
    to: Annotated[
        str, typer.Option(metavar="FORMATS", help="Of yolo, coco, labelstudio, cvat and fiftyone, with commas.")
    ] = "yolo,coco",
    partial: Annotated[
        bool, typer.Option("--partial", help="Photographs of which only some objects are decided too, with those.")
    ] = False,
    link: Link = True,
    as_json: AsJson = False,
) -> None:
    """Write what people decided as a data set, in YOLO and COCO or for other tools, with who decided each object.

    Splits are kept; photographs with undecided objects are left out, and said. Exit code 1: a flight line is in two
    splits.

    Example: toeline labels review --out data/reviewed
    """
    from toeline.core.finding import grave
    from toeline.serve.labels import labels_into  # loads what reads data sets

    done = labels_into(store, out, to=[to], partial=partial, link=link)
    tell(done, as_json=as_json)
    raise typer.Exit(ExitCode.of(fine=not grave(done.problems)))
