"""Which classes are seen together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toeline.data.analyze.table import Table


@dataclass(frozen=True)
class Together:
    """Photographs that hold both classes (`together`, with the class itself on the diagonal), and `lift`.

    Lift is how many times more often the two share a photograph than if they were strewn independently: P(a and b) /
    (P(a) P(b)); None where one of them is nowhere. Rows and columns are in the order of `names`.
    """

    names: tuple[str, ...]
    photos: int
    together: list[list[int]]
    lift: list[list[float | None]]


def co_occurrence(table: Table) -> Together:
    """Co-occurrence of the taxonomy's classes; of its types where the data set names types only."""
    classes = [c.name for c in table.taxonomy.classes]
    typed = bool(table.n_objects) and bool((table.cls < 0).all())
    names = [t.name for t in table.taxonomy.types] if typed else classes
    code = table.kind if typed else table.cls
    there = np.zeros((table.n_photos, len(names)), dtype=np.int64)
    there[table.photo[code >= 0], code[code >= 0]] = 1
    together = there.T @ there
    alone = together.diagonal()
    chance = np.outer(alone, alone) / max(table.n_photos, 1)
    lift = [
        [float(n / c) if c else None for n, c in zip(*rows, strict=True)]
        for rows in zip(together.tolist(), chance.tolist(), strict=True)
    ]
    return Together(tuple(names), table.n_photos, together.tolist(), lift)
