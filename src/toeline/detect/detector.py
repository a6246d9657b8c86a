"""What a detector is, and which ones there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

from PIL import Image

from toeline.core.reading import number, whole
from toeline.core.scene import Detection
from toeline.core.taxonomy import Names, Taxonomy, fold, meanings
from toeline.core.words import unknown
from toeline.errors import SetupError, TaxonomyError


class Detector(Protocol):
    """Stage 1, whatever stands behind it."""

    def find(self, images: Sequence[Image.Image]) -> list[list[Detection]]:
        """For each image what was found in it, in its pixels, most confident first. An empty list is a valid answer."""


def limits_of(detector: object) -> Mapping[str, float]:
    """The least confidence of each type, of a detector that says so in `limits`; empty for others."""
    limits = getattr(detector, "limits", {})
    return limits if isinstance(limits, Mapping) else {}


RESCORE = "rescore.safetensors"  # beside a detector's weights, where it looks at confidences again: detect/rescore.py
HEADS = ("yolov8", "yolov5", "rows", "rtdetr")  # detect/heads.py says what each is


@dataclass(frozen=True)
class DetectorOptions:
    """How to load a detector.

    `thresholds` are the least confidences, 0 to 1, by type name; `general` holds for the types that are not among
    them, and None leaves them as the detector has them. `trust` allows weight files that can run code when they are
    read. `device` is auto, cpu, cuda or mps, for the back ends that run on torch. `head` is what an .onnx ends with
    (detect/heads.py), for one whose metadata and output leave that open.
    """

    thresholds: Mapping[str, float] = field(default_factory=dict)
    general: float | None = None
    trust: bool = False
    device: str = "auto"
    head: str | None = None

    def __post_init__(self) -> None:
        if self.head is not None and self.head not in HEADS:
            raise SetupError(unknown("there is no head", self.head, HEADS))
        given = {**self.thresholds} | ({} if self.general is None else {"all types": self.general})
        for name, limit in given.items():
            if not 0 <= limit <= 1:
                raise SetupError(f"the threshold of {name} is {limit:g}. A confidence lies between 0 and 1.")

    def settled(self, taxonomy: Taxonomy) -> DetectorOptions:
        """With every type called as the taxonomy calls it.

        Raises TaxonomyError for a type that it does not have, SetupError for one that is named twice.
        """
        found: dict[str, float] = {}
        for name, limit in self.thresholds.items():
            kind = _type(name, taxonomy)
            if kind in found:
                raise SetupError(f"the threshold of {kind} is given twice, once as {name!r}. Leave one of them out.")
            found[kind] = limit
        return replace(self, thresholds=found)

    def threshold(self, kind: str, own: float = 0.5) -> float:
        """The least confidence of a type; `own` is what the detector itself would ask.

        >>> options = DetectorOptions({"rock_toe": 0.4}, general=0.3)
        >>> options.threshold("rock_toe"), options.threshold("vegetation"), DetectorOptions().threshold("any", 0.25)
        (0.4, 0.3, 0.25)
        """
        return self.thresholds.get(kind, own if self.general is None else self.general)


DEFAULT = DetectorOptions()


def _type(name: str, taxonomy: Taxonomy) -> str:
    try:
        return taxonomy.type_of(name).name
    except TaxonomyError:
        types = [t.name for t in taxonomy.types]
        what = f"a threshold is given for a type that the taxonomy {taxonomy.name!r} does not have,"
        raise TaxonomyError(unknown(what, name, types)) from None


def read_thresholds(words: Sequence[str]) -> tuple[Mapping[str, float], float | None]:
    """Thresholds by type, and the one for all others, from words such as "rock_toe=0.4" and "0.3".

    Raises SetupError for a word of another form, and for a type, or the one for all, given twice.

    >>> read_thresholds(["toe drain=0.4", "0.3"])
    ({'toe drain': 0.4}, 0.3)
    """
    found: dict[str, float] = {}
    for word in words:
        name, _, number = word.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            raise SetupError(
                f"--threshold {word!r}: give a confidence (0.4), or one for a type (rock_toe=0.4)."
            ) from None
        if name.strip() in found:
            raise SetupError(
                f"--threshold {word!r}: {name.strip() or 'all types'} already has one. Leave one of them out."
            )
        found[name.strip()] = value
    general = found.pop("", None)
    return found, general


def typed_options(thresholds: Sequence[str], *, trust: bool, device: str, head: str | None = None) -> DetectorOptions:
    """What was typed of the detector. Raises SetupError for a threshold that is none."""
    by_type, general = read_thresholds(thresholds)
    return DetectorOptions(by_type, general, trust, device, head)


# Names that say that there is nothing to report: unused rows of heads (COCO has eleven "N/A"), and the background.
NOTHING = frozenset({"", "n/a", "na", "none", "background", "no object", "nothing", "ignore"})
MOST_SHOWN = 20  # names in a message: a detector of everything has hundreds


class Label(NamedTuple):
    """A type name of the taxonomy; and the class name, empty for a detector that knows types only."""

    kind: str
    class_name: str = ""


def labels_of(names: Names, taxonomy: Taxonomy, *, where: str) -> Mapping[int, Label]:
    """Class id -> what it means; ids whose name says that there is nothing are left out.

    Raises TaxonomyError, which lists all the names, when one of the others is not in the taxonomy: an object left out
    in silence would be an object that nobody inspects. `where` is the file or model that the names come from.

    >>> labels_of({0: "N/A", 1: "Toe Drain", 2: "rock-toe"}, Taxonomy.load(), where="best.pt")
    {1: Label(kind='toe_drain', class_name=''), 2: Label(kind='rock_toe', class_name='')}
    >>> labels_of({0: "rock toe", 1: "rock toe damaged"}, Taxonomy.load(), where="best.pt")[1]
    Label(kind='rock_toe', class_name='rock toe damaged')
    """
    wanted = {i: name for i, name in sorted(names.items()) if fold(name) not in NOTHING}
    said = meanings(wanted, taxonomy)
    odd = [name for i, name in wanted.items() if i not in said.kinds]
    if odd or not wanted:
        raise TaxonomyError(_misfit(list(names.values()), odd, taxonomy, where))
    return {i: Label(kind, said.classes[i].name if i in said.classes else "") for i, kind in said.kinds.items()}


def _misfit(names: list[str], odd: list[str], taxonomy: Taxonomy, where: str) -> str:
    shown = ", ".join(map(repr, names[:MOST_SHOWN])) + (
        f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    )
    few = ", ".join(map(repr, odd[:MOST_SHOWN])) or "none of them names an object"
    types = ", ".join(t.name for t in taxonomy.types)
    return (
        f"{where}: this detector's classes are {shown}; not in the taxonomy {taxonomy.name!r}: {few}. It knows the "
        f"types {types}, and their classes by name. Use a detector of these, add the names as `spellings` to a copy of "
        f"the taxonomy (--taxonomy), or rename in the model a class that is to be left out: 'N/A'."
    )


# Median size of the objects of real embankment photographs, as `Known.median`: for detectors that do not know theirs.
TYPICAL = 0.18  # benchmarks/object_sizes.py on the train split of the lagoon dykes


MOST_SIDE = 16_384  # pixels of a network's input


class Known(NamedTuple):
    """What a detector knows of the pictures that it was trained on.

    `input_px` is the side of the model's input, `frame_px` that of the photographs it was trained on, in their own
    pixels. `median` is the median size of their objects: the root of the box's area as a share of the frame's side.
    """

    input_px: int = 640
    frame_px: int = 640
    median: float = TYPICAL

    @classmethod
    def read(cls, card: Mapping[str, Any]) -> Known:
        """From `detector.json`; what its `objects` does not say is as for a detector that knows nothing.

        Raises KeyError, TypeError and ValueError for a card that is none.
        """
        side, said = card["input_px"], card.get("objects", {})
        frame = whole(said.get("frame_px", side), "objects.frame_px", low=1, high=MOST_SIDE)
        median = number(said.get("size", {}).get("50", TYPICAL), "the median size of its objects", low=1e-4, high=1)
        return cls(side, frame, median)

    @property
    def shown_px(self) -> int:
        """The most pixels on a side that a view is worth."""
        return max(self.input_px, self.frame_px)


UNKNOWN = Known()
