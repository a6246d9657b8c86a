"""`--boxes`: label files in place of a detector. Their conditions end in data/yolo.py and never come here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toeline.core.result import Problem
from toeline.core.scene import Thing
from toeline.core.taxonomy import Taxonomy
from toeline.errors import LabelError

if TYPE_CHECKING:
    from toeline.data.images import Photo
    from toeline.inspector import Boxes

ADVICE = "Mend the file, then run the same command again; the rest was inspected without it."


def label_boxes(folder: Path, taxonomy: Taxonomy) -> tuple[Boxes, list[Problem]]:
    """A function that gives the boxes of a photograph from `folder`, and what is wrong with the folder as a whole.

    Photographs in subfolders have their labels in subfolders of the same names, or all in one. Raises LabelError for a
    folder that is not there.
    """
    from toeline.data.class_names import find_names
    from toeline.data.yolo import things_from_labels

    if not folder.is_dir():
        raise LabelError(f"{folder}: there is no such folder of label files. Check --boxes.")
    names, above = find_names(folder, taxonomy)
    owners: dict[Path, str] = {}

    def boxes(photo: Photo, size_wh: tuple[int, int]) -> tuple[Sequence[Thing], Sequence[Problem]]:
        inside = folder / Path(photo.name).parent
        place = inside if inside.is_dir() else folder
        things, found = things_from_labels(place, photo.path, size_wh, taxonomy, names)
        problems = [Problem(photo.name, str(p.file), p.what, ADVICE, p.line) for p in found]
        file = place / f"{photo.path.stem}.txt"
        if owners.setdefault(file, photo.name) != photo.name:
            what = f"these labels were used for {owners[file]} too, whose name differs in its ending only."
            problems.append(Problem(photo.name, str(file), what, "Rename one photograph and its labels."))
        return things, problems

    return boxes, [Problem("", str(p.file), p.what, ADVICE, p.line) for p in above]
