"""A run that lies on the disk, read again: what it was begun with, its photographs, where they are now."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toeline.core.finding import Finding, Problem, by_photo
from toeline.core.reading import is_file
from toeline.core.records import finding_from, problem_from, read_lines
from toeline.core.run_folder import ERRORS, FINDINGS, PROGRESS, RUN, read_run
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.errors import OutputError, ToelineError

if TYPE_CHECKING:
    from toeline.data.images import Photo

HERE = "Run this where `toeline {}` was run, or bring the photographs back."


@dataclass(frozen=True)
class SavedRun:
    """What `toeline inspect` or `toeline evaluate` wrote. `progress` has a record for each photograph that is done."""

    folder: Path
    record: Mapping[str, Any]
    taxonomy: Taxonomy
    progress: Sequence[Mapping[str, Any]]

    @property
    def command(self) -> str:
        """Which command wrote it."""
        return str(self.record.get("command", "inspect"))

    def findings(self) -> dict[str, list[Finding]]:
        """All findings by their photograph."""
        return by_photo(map(finding_from, read_lines(self.folder / FINDINGS)))

    def failed(self) -> dict[str, Problem]:
        """Why photographs could not be inspected."""
        names = [str(row["photo"]) for row in self.progress if row.get("failed")]
        said = {p.photo: p for p in map(problem_from, read_lines(self.folder / ERRORS)) if p.photo in names}
        return {name: said.get(name) or Problem(name, name, "could not be inspected.") for name in names}

    def unfinished(self) -> list[Problem]:
        """A note, where the run was not finished."""
        if self.record.get("finished"):
            return []
        done = some(len(self.progress), "photograph")
        what = f"the {self.command} run is not finished: {done} were done so far."
        return [Problem.in_file(self.folder / RUN, what, note=True)]

    def require_whole(self, then: str) -> None:
        """Raise OutputError for a run that is not finished, or a part of one; `then` is what it was wanted for."""
        if part := self.record.get("settings", {}).get("part"):
            raise OutputError(
                f"{self.folder}: is part {part} of a run, without positions and without the other photographs. Merge "
                f"all parts with `toeline join`, then {then} what that wrote."
            )
        if not self.record.get("finished"):
            raise OutputError(
                f"{self.folder}: the run is not finished. Run the same `toeline inspect` again, then {then} it."
            )

    def photographs(self) -> dict[str, Path]:
        """Where the photographs of the run are now, by their names in it; those that are not there any more are not."""
        from toeline.data.extracted import extracted_in
        from toeline.data.images import find_photos
        from toeline.data.object_stores import places_in

        settings, made = self.record["settings"], extracted_in(self.folder)
        try:
            typed = places_in(self.folder, [Path(p) for p in settings.get("photos", ())])
            photos = find_photos(typed) if typed else self._of_data(settings)
        except ToelineError:
            return made
        return {photo.name: photo.path.absolute() for photo in photos} | made

    def _of_data(self, settings: Mapping[str, Any]) -> list[Photo]:
        """The photographs of an evaluation, which names a data set and its split."""
        from toeline.data.datasets import read_split
        from toeline.data.yolo import open_dataset

        classes = Path(settings["classes"]) if settings.get("classes") else None
        data = open_dataset(Path(settings["data"]), self.taxonomy, classes=classes)
        return list(read_split(data, settings["split"], self.taxonomy).photos)

    def lost(self, there: Mapping[str, Path], what: str) -> list[Problem]:
        """Photographs of the run that are not among those that are `there`; `what` says what becomes of them."""
        names = [str(row["photo"]) for row in self.progress if row["photo"] not in there]
        todo = HERE.format(self.command)
        return [Problem(name, name, f"the photograph is not there any more: {what}", todo) for name in names]


def is_saved_run(folder: Path) -> bool:
    """Whether a folder holds findings and the record of their run."""
    return is_file(folder / RUN) and is_file(folder / FINDINGS)


WRITERS = {"photos": "inspect", "data": "evaluate"}  # what the settings of a command have, and the others' lack
EITHER = tuple(WRITERS.values())


def read_saved(
    folder: Path, taxonomy: Path | None = None, *, of: Collection[str] = ("inspect", "evaluate")
) -> SavedRun:
    """The run in `folder`, or beside a findings.jsonl, `of` these commands. `taxonomy` replaces the run's own.

    Raises OutputError.
    """
    folder = folder.parent if folder.name == FINDINGS else folder
    if not is_saved_run(folder):
        raise OutputError(f"{folder}: no run is there ({RUN} and {FINDINGS}). Name what `toeline inspect` wrote.")
    record = read_run(folder)
    settings = record.get("settings")
    if not isinstance(settings, Mapping) or not any(w in of and key in settings for key, w in WRITERS.items()):
        names = " or ".join(f"`toeline {name}`" for name in of)
        raise OutputError(f"{folder}: was not written by {names}. Name its folder.")
    named = taxonomy or settings.get("taxonomy")
    progress = read_lines(folder / PROGRESS)
    if not progress:
        raise OutputError(f"{folder}: no photograph was inspected yet. Run the same `toeline inspect` again.")
    return SavedRun(folder, record, Taxonomy.load(Path(named) if named else None), progress)
