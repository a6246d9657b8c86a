"""How many there are of what, and what is not there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toeline.data.analyze.spread import Spread, spread
from toeline.data.analyze.table import Ints, Table


@dataclass(frozen=True)
class Part:
    """Sums of one split; `groups` are flight lines, `empty` photographs hold no object."""

    photos: int
    objects: int
    groups: int
    empty: int
    objects_per_photo: Spread


@dataclass(frozen=True)
class Count:
    """Objects of one name: in all, as a share of all, photographs that hold one, and objects by split."""

    name: str
    n: int
    share: float
    photos: int
    by_split: dict[str, int]


@dataclass(frozen=True)
class Counts:
    """`matrix` is type -> condition -> objects, None where the taxonomy has no such class. `lacking` names the classes
    that a split has none of. `imbalance` is the most frequent class over the least frequent one that is there.
    """

    photos: int
    objects: int
    unnamed: int  # objects whose condition is not known
    whole: Part
    by_split: dict[str, Part]
    by_class: tuple[Count, ...]
    by_type: tuple[Count, ...]
    by_condition: tuple[Count, ...]
    matrix: dict[str, dict[str, int | None]]
    most: str
    least: str
    imbalance: float | None
    lacking: dict[str, tuple[str, ...]]


def count(table: Table) -> Counts:
    """All counts of a data set."""
    words = table.taxonomy
    by_class = _counts(table, table.cls, [c.name for c in words.classes])
    there = sorted((c for c in by_class if c.n), key=lambda c: -c.n)
    return Counts(
        photos=table.n_photos,
        objects=table.n_objects,
        unnamed=int((table.cls < 0).sum()),
        whole=_part(table, None),
        by_split={name: _part(table, at) for at, name in enumerate(table.splits)},
        by_class=by_class,
        by_type=_counts(table, table.kind, [t.name for t in words.types]),
        by_condition=_counts(table, table.condition, [c.name for c in words.conditions]),
        matrix=_matrix(table, {c.name: c.n for c in by_class}),
        most=there[0].name if there else "",
        least=there[-1].name if there else "",
        imbalance=there[0].n / there[-1].n if there else None,
        lacking={s: tuple(c.name for c in by_class if not c.by_split[s]) for s in table.splits},
    )


def _part(table: Table, split: int | None) -> Part:
    there = np.ones(table.n_photos, dtype=bool) if split is None else table.split == split
    per_photo = np.diff(table.first)[there]
    return Part(
        photos=int(there.sum()),
        objects=int(per_photo.sum()),
        groups=len(np.unique(table.group[there])),
        empty=int((per_photo == 0).sum()),
        objects_per_photo=spread(per_photo),
    )


def _counts(table: Table, code: Ints, names: list[str]) -> tuple[Count, ...]:
    """Counts of the objects by a column of positions in `names`; -1 counts for none of them."""
    known = code >= 0
    splits, width = len(table.splits), len(names)
    grid = np.bincount(table.object_split[known] * width + code[known], minlength=splits * width)
    per_split = grid.reshape(splits, width)
    photos = np.bincount(np.unique(table.photo[known] * width + code[known]) % width, minlength=width)
    return tuple(
        Count(
            name=name,
            n=int(per_split[:, at].sum()),
            share=float(per_split[:, at].sum() / max(table.n_objects, 1)),
            photos=int(photos[at]),
            by_split={split: int(per_split[row, at]) for row, split in enumerate(table.splits)},
        )
        for at, name in enumerate(names)
    )


def _matrix(table: Table, of_class: dict[str, int]) -> dict[str, dict[str, int | None]]:
    words = table.taxonomy
    cells = {(c.type, c.condition): of_class[c.name] for c in words.classes}
    return {t.name: {c.name: cells.get((t.name, c.name)) for c in words.conditions} for t in words.types}
