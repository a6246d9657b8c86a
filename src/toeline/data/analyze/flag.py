"""One thing about a data set that a person should look at: where it is, what it is, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from toeline.core.box import Box


class Weight(StrEnum):
    """A fault contradicts the data's own rules and should be mended; a remark is unusual and may be right."""

    FAULT = "fault"
    REMARK = "remark"


@dataclass(frozen=True)
class Flag:
    """`check` is the kind of finding ("duplicate box"), the same text for all of a kind: pages group by it.

    `photo`, `file` and `other` are paths below the data set's root, with slashes; `file` holds the fault, in `line`
    (from 1) if it is a label file; `other` is a second photograph that is part of it, or empty. `boxes` are in pixels
    of `photo`, the first is what it is about.
    """

    check: str
    weight: Weight
    photo: str
    file: str
    what: str
    todo: str
    line: int | None = None
    other: str = ""
    boxes: tuple[Box, ...] = ()
