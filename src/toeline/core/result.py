"""What came of one photograph: findings, or what went wrong. The door between the inspector and who writes it down."""

from __future__ import annotations

from dataclasses import dataclass, field

from toeline.core.finding import Finding
from toeline.core.place import Place
from toeline.core.question import Picture


@dataclass(frozen=True)
class Problem:
    """Something the user can mend: in which `file` (and `line`, counted from 1), `what` is wrong, and `todo` about it.

    `photo` is the photograph that it concerns, as in Finding.photo, or empty.
    """

    photo: str
    file: str
    what: str
    todo: str = ""
    line: int | None = None


@dataclass(frozen=True)
class Result:
    """Everything that one photograph gave. `failed` means that it has no findings because it could not be inspected.

    `size_wh` is in pixels after EXIF rotation, (0, 0) when the photograph could not be opened. `sha256` is of the file.
    `place` is where the photograph was taken, if the file says so.
    `image` is kept for whoever draws on it and is no part of what a Result says.
    """

    photo: str
    size_wh: tuple[int, int] = (0, 0)
    findings: tuple[Finding, ...] = ()
    problems: tuple[Problem, ...] = ()
    failed: bool = False
    seconds: float = 0.0
    sha256: str = ""
    place: Place | None = None
    image: Picture | None = field(default=None, compare=False, repr=False)
