"""Where a run goes that is told no folder: runs/NAME-N, the next free number, or a run that was not finished."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toeline.errors import OutputError, SetupError
from toeline.pipelines.progress import errors, escape

RUNS = Path("runs")
NEXT = RUNS / "NAME-N"  # the default of --out: not a place, but the wish for one


def next_folder(command: str, options: Mapping[str, Any], *, top: Path = RUNS) -> tuple[Path, bool]:
    """The folder of a new run of `command`, and whether one is gone on with there; it is said which.

    `options` are those that decide what comes out, as run.json keeps them: a run that was begun with the same ones and
    not finished is gone on with. Raises SetupError where several processes would each choose their own.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise SetupError("several processes write into one folder. Name it with --out.")
    from toeline.core.run_folder import held_in

    taken = sorted((n for n in _numbers(command, top) if held_in(top / f"{command}-{n}", make=False)), reverse=True)
    for number in taken:
        folder = top / f"{command}-{number}"
        if _is_unfinished(folder, options):
            errors.print(escape(f"Going on in {folder}: the same was begun there and not finished."))
            return folder, True
    folder = top / f"{command}-{max(taken, default=0) + 1}"
    errors.print(escape(f"Results go into {folder}."))
    return folder, False


def _numbers(command: str, top: Path) -> list[int]:
    of_this = re.compile(rf"{re.escape(command)}-([1-9][0-9]{{0,8}})")
    matches = (of_this.fullmatch(place.name) for place in (top.iterdir() if top.is_dir() else ()))
    return [int(match[1]) for match in matches if match]


def _is_unfinished(folder: Path, options: Mapping[str, Any]) -> bool:
    """Whether a folder holds a run that was begun with these options and not finished."""
    from toeline.core.run_folder import RUN, read_run

    try:
        record = read_run(folder) if (folder / RUN).is_file() else {"finished": "never begun"}
    except OutputError:
        return False
    return not record.get("finished") and record.get("options") == dict(options)
