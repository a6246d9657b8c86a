"""How many there are of what, and what is not there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from toeline.analysis.table import Bools, Floats, Ints, ObjectTable
from toeline.core.question import PromptBudget
from toeline.prompts.crop import LEAST_MARGIN


@dataclass(frozen=True)
class SplitCounts:
    """Sums of one split; `groups` are flight lines, `empty` photographs hold no object.

    Of `unknown` photographs no label could be read, or there are none: what is on them is not known.
    """

    photos: int
    objects: int
    groups: int
    empty: int
    unknown: int
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
    whole: SplitCounts
    by_split: dict[str, SplitCounts]
    by_class: tuple[Count, ...]
    by_type: tuple[Count, ...]
    by_condition: tuple[Count, ...]
    matrix: dict[str, dict[str, int | None]]
    most: str
    least: str
    imbalance: float | None
    lacking: dict[str, tuple[str, ...]]


def count(table: ObjectTable) -> Counts:
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


def _part(table: ObjectTable, split: int | None) -> SplitCounts:
    there = np.ones(table.n_photos, dtype=bool) if split is None else table.split == split
    known = table.known[there]
    per_photo = np.diff(table.first)[there]
    return SplitCounts(
        photos=int(there.sum()),
        objects=int(per_photo.sum()),
        groups=len(np.unique(table.group[there])),
        empty=int((per_photo[known] == 0).sum()),
        unknown=int((~known).sum()),
        objects_per_photo=spread(per_photo[known]),
    )


def _counts(table: ObjectTable, code: Ints, names: list[str]) -> tuple[Count, ...]:
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


def _matrix(table: ObjectTable, of_class: dict[str, int]) -> dict[str, dict[str, int | None]]:
    words = table.taxonomy
    cells = {(c.type, c.condition): of_class[c.name] for c in words.classes}
    return {t.name: {c.name: cells.get((t.name, c.name)) for c in words.conditions} for t in words.types}


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


def co_occurrence(table: ObjectTable) -> Together:
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


@dataclass(frozen=True)
class Spread:
    """`sd` is that of a sample (n - 1), None under two values; quartiles are interpolated linearly. None if n is 0."""

    n: int
    mean: float | None = None
    sd: float | None = None
    min: float | None = None
    q1: float | None = None
    median: float | None = None
    q3: float | None = None
    max: float | None = None


def spread(values: npt.ArrayLike) -> Spread:
    """The figures of `values`.

    >>> spread([1, 2, 3, 10]).median, spread([]).mean, spread([5]).sd
    (2.5, None, None)
    """
    column = np.asarray(values, dtype=np.float64)
    if not len(column):
        return Spread(0)
    low, q1, median, q3, high = np.quantile(column, [0, 0.25, 0.5, 0.75, 1]).tolist()
    sd = float(column.std(ddof=1)) if len(column) > 1 else None
    return Spread(len(column), float(column.mean()), sd, low, q1, median, q3, high)


CELLS = 24  # a side of the heat maps: 13 pixels of a 312-pixel photograph, finer than where people put an edge
RESIZED_PX = 640  # what most detectors look at
SMALL_AREA_PX = 32 * 32  # "small" by COCO's definition (Lin et al. 2014), after the resize
THIN_PX = 8  # the finest grid of the usual detectors has steps of 8 pixels: thinner things fall between


@dataclass(frozen=True)
class Thirds:
    """Objects whose center lies in the upper, middle and lower third of their photograph."""

    top: int
    middle: int
    bottom: int


@dataclass(frozen=True)
class Small:
    """What is left of the objects after a resize. Shares are of `n`.

    `small` have less than SMALL_AREA_PX, `thin` a shorter side under THIN_PX, both with the photograph's longer side at
    RESIZED_PX. `crop_px` is the shorter side in the judge's crop, `under_cell` are those with less than one image token
    across there.
    """

    n: int
    small: int
    thin: int
    short_px: Spread
    crop_px: Spread
    under_cell: int


@dataclass(frozen=True)
class Boxes:
    """Boxes of one class or type. All but `aspect` (width over height, in pixels) are shares of the photograph."""

    name: str
    area: Spread
    width: Spread
    height: Spread
    aspect: Spread
    center_x: Spread
    center_y: Spread
    thirds: Thirds
    at_border: int
    small: Small


@dataclass(frozen=True)
class BoxSection:
    """`heat` is, per type, a grid of CELLS x CELLS (rows downward): the share of its objects that cover the cell's
    middle."""

    by_class: tuple[Boxes, ...]
    by_type: tuple[Boxes, ...]
    heat: dict[str, list[list[float]]]
    resized_px: int
    cell_px: int
    crop_tokens: int


def measure_boxes(table: ObjectTable, view: PromptBudget | None = None) -> BoxSection:
    """Box figures per class and type. `view` says how large the judge's crops are; without it, the default one."""
    view = view or PromptBudget()
    columns = _columns(table, view)
    words = table.taxonomy
    return BoxSection(
        by_class=tuple(_boxes(c.name, columns, table.cls == i, view) for i, c in enumerate(words.classes)),
        by_type=tuple(_boxes(t.name, columns, table.kind == i, view) for i, t in enumerate(words.types)),
        heat={t.name: heat(table.shares[table.kind == i]).tolist() for i, t in enumerate(words.types)},
        resized_px=RESIZED_PX,
        cell_px=view.cell,
        crop_tokens=view.crop_tokens,
    )


def _columns(table: ObjectTable, view: PromptBudget) -> dict[str, Floats]:
    x1, y1, x2, y2 = table.shares.T
    wide, high = table.boxes[:, 2] - table.boxes[:, 0], table.boxes[:, 3] - table.boxes[:, 1]
    scale = RESIZED_PX / table.size_wh.max(axis=1, initial=1)[table.photo]
    short = np.minimum(wide, high)
    return {
        "area": (x2 - x1) * (y2 - y1),
        "width": x2 - x1,
        "height": y2 - y1,
        "aspect": wide / np.where(high > 0, high, np.inf),
        "center_x": (x1 + x2) / 2,
        "center_y": (y1 + y2) / 2,
        "at_border": _touches(table.boxes, table.size_wh[table.photo]),
        "resized_area": wide * high * scale**2,
        "short_px": short * scale,
        "crop_px": short * crop_scale(table.boxes, table.size_wh[table.photo], view),
    }


def _touches(boxes: Floats, size_wh: Floats) -> Floats:
    """1.0 where a box comes within a pixel of the photograph's border: what it shows may go on outside."""
    near = np.minimum(boxes[:, :2].min(axis=1), (size_wh - boxes[:, 2:]).min(axis=1)) < 1
    return np.asarray(near, dtype=np.float64)


def crop_scale(boxes: Floats, size_wh: Floats, view: PromptBudget) -> Floats:
    """(N,) by how much a judge's crop enlarges each box: as prompts/crop.py does, before sides become whole cells."""
    sides = boxes[:, 2:] - boxes[:, :2]
    pad = np.maximum(view.margin * sides.min(axis=1), LEAST_MARGIN * np.hypot(*size_wh.T))[:, None]
    low, high = np.maximum(boxes[:, :2] - pad, 0), np.minimum(boxes[:, 2:] + pad, size_wh)
    area = np.maximum(high - low, 1).prod(axis=1)
    budget = np.sqrt(view.crop_tokens * view.cell**2 / area)
    return np.asarray(np.minimum(budget, np.maximum(1.0, view.detail_px / size_wh.max(axis=1, initial=1))))


def _boxes(name: str, columns: dict[str, Floats], there: Bools, view: PromptBudget) -> Boxes:
    of = {key: column[there] for key, column in columns.items()}
    names = ("area", "width", "height", "aspect", "center_x", "center_y")
    return Boxes(
        name=name,
        **{key: spread(of[key]) for key in names},
        thirds=thirds(of["center_y"]),
        at_border=int(of["at_border"].sum()),
        small=Small(
            n=len(of["area"]),
            small=int((of["resized_area"] < SMALL_AREA_PX).sum()),
            thin=int((of["short_px"] < THIN_PX).sum()),
            short_px=spread(of["short_px"]),
            crop_px=spread(of["crop_px"]),
            under_cell=int((of["crop_px"] < view.cell).sum()),
        ),
    )


def thirds(center_y: Floats) -> Thirds:
    """Where centers (shares of the height) lie; on a line between two thirds counts for the lower one.

    >>> thirds(np.array([0.0, 0.5, 2 / 3, 1.0]))
    Thirds(top=1, middle=1, bottom=2)
    """
    top, middle, bottom = np.bincount(np.digitize(center_y, [1 / 3, 2 / 3]), minlength=3).tolist()
    return Thirds(top, middle, bottom)


def heat(shares: Floats, *, cells: int = CELLS) -> Floats:
    """(cells, cells) the share of boxes (n, 4, shares of the photograph) that cover the middle of each cell.

    Counts the corners of every box once and sums over the grid, so the work does not grow with the size of boxes.
    """
    corners = np.zeros((cells + 1, cells + 1))
    x1, y1, x2, y2 = (_cell(column, cells) for column in shares.T)
    for row, column, sign in ((y1, x1, 1), (y2, x2, 1), (y1, x2, -1), (y2, x1, -1)):
        np.add.at(corners, (row, column), sign)
    return corners.cumsum(axis=0).cumsum(axis=1)[:cells, :cells] / max(len(shares), 1)


def _cell(edge: Floats, cells: int) -> Ints:
    """The first cell whose middle is at the edge or beyond it."""
    return np.clip(np.ceil(edge * cells - 0.5), 0, cells).astype(np.int64)


def names_and_spreads(boxes: Boxes) -> Iterator[tuple[str, Spread]]:
    """The six spreads with the words that tables give them."""
    yield "area, share of the photograph", boxes.area
    yield "width, share", boxes.width
    yield "height, share", boxes.height
    yield "width / height", boxes.aspect
    yield "center across, share", boxes.center_x
    yield "center down, share", boxes.center_y
