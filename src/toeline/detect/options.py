"""What a user may ask of any detector: how sure it must be, and whether its file may run code. Knows no back end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from toeline.core.taxonomy import Taxonomy
from toeline.errors import SetupError, TaxonomyError


@dataclass(frozen=True)
class DetectorOptions:
    """How to load a detector.

    `thresholds` are the least confidences, 0 to 1, by type name; `general` holds for the types that are not among
    them, and None leaves them as the detector has them. `trust` allows weight files that can run code when they are
    read. `device` is auto, cpu, cuda or mps, for the back ends that run on torch.
    """

    thresholds: Mapping[str, float] = field(default_factory=dict)
    general: float | None = None
    trust: bool = False
    device: str = "auto"

    def __post_init__(self) -> None:
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
        types = ", ".join(t.name for t in taxonomy.types)
        raise TaxonomyError(
            f"a threshold is given for {name!r}, which is no type of the taxonomy {taxonomy.name!r}. Types: {types}."
        ) from None


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
