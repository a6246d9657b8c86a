"""What `Inspector.inspect` gives back: the findings of one photograph, to read, to draw, and to save."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from PIL import Image

from toeline.core.finding import Finding, Problem
from toeline.core.records import finding_record, join_lines
from toeline.core.run_folder import write_whole, writing
from toeline.core.taxonomy import Taxonomy
from toeline.data.images import Photo
from toeline.errors import OutputError, PhotoError, need
from toeline.report.draw import as_jpeg, draw
from toeline.report.tables import COLUMNS, rows, to_csv

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Given = str | Path | Image.Image | NDArray[Any]

FLAGS = ("review", "immediate")  # yes or nothing in a spreadsheet, true or false in a data frame
TABLES, PICTURES = (".jsonl", ".csv"), (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, eq=False)
class Findings:
    """The findings of one photograph, in the order of their numbers: len(), indices and loops work as on a list.

    `photo` is how they call it, `image` the upright photograph. `problems` say what was wrong; `failed` means that the
    photograph could not be inspected.
    """

    found: tuple[Finding, ...]
    taxonomy: Taxonomy = field(repr=False)
    photo: str = "picture"
    image: Image.Image | None = field(default=None, compare=False, repr=False)
    problems: tuple[Problem, ...] = ()
    failed: bool = False

    def __len__(self) -> int:
        return len(self.found)

    def __eq__(self, other: object) -> bool:
        """As a list of findings, with which it can be compared too."""
        return isinstance(other, Findings | list | tuple) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.found)

    @overload
    def __getitem__(self, at: int) -> Finding: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Finding, ...]: ...
    def __getitem__(self, at: int | slice) -> Finding | tuple[Finding, ...]:
        return self.found[at]

    def to_dicts(self) -> list[dict[str, Any]]:
        """Each finding as a line of findings.jsonl holds it."""
        return [finding_record(f) for f in self.found]

    def to_dataframe(self) -> Any:
        """A pandas.DataFrame with the columns of findings.csv. Raises SetupError without pandas (the extra `table`)."""
        flat = [
            {name: bool(value) if name in FLAGS else None if value == "" else value for name, value in row.items()}
            for row in rows(self.found, self.taxonomy)
        ]
        return need("pandas", extra="table").DataFrame(flat, columns=[name for name in COLUMNS if name != "marked"])

    def draw(self) -> Image.Image:
        """A copy of the photograph with every finding marked. Raises PhotoError where there is no picture."""
        if self.image is None:
            raise PhotoError(f"{self.photo}: there is no picture to draw on. Inspect the photograph again.")
        return draw(self.image, self.found, self.taxonomy)

    def save(self, file: str | Path) -> Path:
        """Write the findings (.jsonl, .csv) or the marked picture (.jpg, .png). Raises OutputError."""
        file = Path(file)
        suffix = file.suffix.lower()
        if suffix not in TABLES + PICTURES:
            known = ", ".join(TABLES + PICTURES)
            raise OutputError(f"{file}: findings are saved as {known}, by the ending of the file. Choose one of them.")
        with writing(file):
            if suffix == ".png":
                file.parent.mkdir(parents=True, exist_ok=True)
                self.draw().save(file)
            elif suffix in PICTURES:
                write_whole(file, as_jpeg(self.draw()))
            elif suffix == ".csv":
                write_whole(file, to_csv(rows(self.found, self.taxonomy)))
            else:
                write_whole(file, join_lines(self.to_dicts()))
        return file


def in_memory(given: Any, name: str = "picture") -> Photo:
    """A picture or an array as a photograph. Raises PhotoError for an array that is no picture of 8 bits."""
    if isinstance(given, Image.Image):
        path = Path(getattr(given, "filename", "") or name)
        return Photo(path, path.name, given.convert("RGB"))
    import numpy as np

    shape, kind = np.shape(given), getattr(given, "dtype", None)
    if kind != np.uint8 or not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)) or 0 in shape:
        raise PhotoError(
            f"{name}: an array of shape {shape} and type {kind} is no photograph. Give (height, width, 3) in RGB or "
            f"(height, width) in gray, as numpy.uint8."
        )
    return Photo(Path(name), name, Image.fromarray(np.ascontiguousarray(given)).convert("RGB"))
