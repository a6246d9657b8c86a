"""Everything that is said of one judge on one split, as figures with intervals, and who is taken for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from toeline.core.taxonomy import Taxonomy
from toeline.errors import OutputError
from toeline.evaluate.cases import Judged
from toeline.evaluate.figure import Figure, figure_from, figure_record

VERSION = 1  # of scorecard.json; a reader refuses what it does not know
HEADLINE = "condition_given_type"
UNREADABLE = "(unreadable)"  # the last column of a confusion matrix
Cluster = Literal["photo", "group"]


@dataclass(frozen=True)
class Confusion:
    """Rows are true classes, columns are said ones, both in the taxonomy's order; the last column is UNREADABLE."""

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @property
    def said(self) -> tuple[str, ...]:
        """Names of the columns."""
        return (*self.names, UNREADABLE)


@dataclass(frozen=True)
class Scorecard:
    """All figures of one judge on one set of objects.

    `cluster` is what the bootstrap resampled, `clusters` how many of them there were, `draws` and `seed` how it was
    drawn. `asked` objects were shown to the judge; `unreadable` of its answers were no class name.
    """

    figures: tuple[Figure, ...]
    confusion: Confusion
    objects: int
    photographs: int
    asked: int
    unreadable: int
    cluster: Cluster
    clusters: int
    draws: int
    seed: int

    def __getitem__(self, key: str) -> Figure:
        """The figure of that key. Raises KeyError."""
        for figure in self.figures:
            if figure.key == key:
                return figure
        raise KeyError(key)

    @property
    def headline(self) -> Figure:
        """The condition, given the type, over the types that leave a choice."""
        return self[HEADLINE]

    def under(self, prefix: str) -> tuple[Figure, ...]:
        """The figures of one kind: `class`, `condition`, `condition_given_type` or `type`."""
        return tuple(f for f in self.figures if f.key.startswith(f"{prefix}/"))


def score(
    cases: Sequence[Judged],
    taxonomy: Taxonomy,
    *,
    targets: Mapping[str, float] | None = None,
    train_lookup: Mapping[str, str] | None = None,
    cluster: Cluster = "photo",
    draws: int = 2000,
    seed: int = 0,
) -> Scorecard:
    """Every figure of a judge on these objects."""
    raise NotImplementedError


def card_record(card: Scorecard) -> dict[str, Any]:
    """A scorecard as scorecard.json holds it."""
    return {**asdict(card), "version": VERSION, "figures": [figure_record(f) for f in card.figures]}


def card_from(record: Mapping[str, Any]) -> Scorecard:
    """The scorecard of a record. Raises OutputError for another version and for what is not one."""
    if record.get("version") != VERSION:
        raise OutputError(
            f"scorecard.json: is of version {record.get('version')!r}, and this Toeline reads version {VERSION}. Run "
            f"toeline evaluate again."
        )
    try:
        rest = {name: value for name, value in record.items() if name != "version"}
        confusion = Confusion(tuple(rest["confusion"]["names"]), tuple(map(tuple, rest["confusion"]["counts"])))
        return Scorecard(**{**rest, "confusion": confusion, "figures": tuple(map(figure_from, rest["figures"]))})
    except (KeyError, TypeError, ValueError) as why:
        raise OutputError(
            f"scorecard.json: {why!r} is missing or of the wrong form. Run toeline evaluate again."
        ) from None
