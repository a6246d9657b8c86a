"""Lines of YOLO label files become boxes and polygons in pixels. Knows numbers; class ids keep their number here.

A line is `class center_x center_y width height` or `class x1 y1 x2 y2 x3 y3 ...`, all but the class as shares of the
photograph; both kinds may stand in one file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from toeline.core.box import Box

ROUNDING = 1e-3  # shares this far outside 0..1 are rounding (a third of a pixel at 312 pixels) and are clipped
Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Problem:
    """Something that cannot be used as it stands in `file`; the rest of the file is used. `line` counts from 1.

    >>> str(Problem(Path("labels/a.txt"), 3, "the box has no area"))
    'labels/a.txt, line 3: the box has no area'
    """

    file: Path
    line: int | None
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}" if self.line is None else f"{self.file}, line {self.line}: {self.what}"


@dataclass(frozen=True)
class LabelLine:
    """One usable line: its number in the file, its class id, its place in pixels; a detection line has no polygon."""

    line: int
    class_id: int
    box: Box
    polygon: Points = ()


class _Unusable(ValueError):
    """A line that cannot be used; the text says why."""


def read_label_file(
    path: Path, size_wh: tuple[int, int], known: Mapping[int, str]
) -> tuple[tuple[LabelLine, ...], tuple[Problem, ...]]:
    """The usable lines in the order of the file, and what is wrong with the others.

    `size_wh` is the photograph's size in pixels; `known` names the class ids that count. Blank lines, Windows line ends
    and a byte-order mark are nothing wrong. Of identical lines the first is kept. An empty file is an empty answer.
    """
    try:
        rows = _text_lines(path)
    except (OSError, _Unusable) as why:
        return (), (Problem(path, None, str(getattr(why, "strerror", None) or why)),)
    kept: dict[tuple[int, Box, Points], LabelLine] = {}
    problems = []
    for number, row in enumerate(rows, start=1):
        if not row.strip():
            continue
        try:
            class_id, box, polygon = _parse(row.split(), size_wh, known)
            before = kept.setdefault((class_id, box, polygon), LabelLine(number, class_id, box, polygon))
            if before.line != number:
                raise _Unusable(f"the same as line {before.line}, which is kept. Delete one of them")
        except _Unusable as why:
            problems.append(Problem(path, number, f"{why}."))
    return tuple(kept.values()), tuple(problems)


def _text_lines(path: Path) -> list[str]:
    raw = path.read_bytes()
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _Unusable("the file is UTF-16 text, so nothing in it was read. Save it as UTF-8.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise _Unusable("the file is not text, so nothing in it was read. Export the labels again.")
    return re.split(r"\r\n|\r|\n", text)


def _parse(words: Sequence[str], size_wh: tuple[int, int], known: Mapping[int, str]) -> tuple[int, Box, Points]:
    """Class id, box and polygon of one line. Raises _Unusable."""
    class_id = _class_id(words[0], known)
    if len(words) != 5 and (len(words) < 7 or len(words) % 2 == 0):
        raise _Unusable(
            f"{len(words)} numbers, where 5 make a box (class, center x and y, width, height) and 7, 9, 11 and so on "
            f"make a polygon (class, then x and y of each corner)"
        )
    shares = _shares(words[1:])
    if len(words) == 5:
        return class_id, _box(shares, size_wh), ()
    polygon = _polygon(shares, size_wh)
    return class_id, Box.around(polygon), polygon


def _class_id(word: str, known: Mapping[int, str]) -> int:
    value = _number(word, 1)
    if value in known:
        return int(value)
    ids = ", ".join(f"{i} {name!r}" for i, name in sorted(known.items()))
    raise _Unusable(f"class {word} is not one of the known ones ({ids})")


def _number(word: str, place: int) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in word:
        raise _Unusable(f"number {place} is {word!r}, which is not a number that a place can have")
    return value


def _shares(words: Sequence[str]) -> list[float]:
    """All numbers after the class id: the usual line at once, any other one by one, to say what is wrong with it."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = [math.nan]
    usual = min(values) >= 0 and max(values) <= 1 and not math.isnan(sum(values)) and "_" not in "".join(words)
    return values if usual else [_share(word, place) for place, word in enumerate(words, start=2)]


def _share(word: str, place: int) -> float:
    """A share of the photograph's width or height, rounding errors clipped away."""
    value = _number(word, place)
    if not -ROUNDING <= value <= 1 + ROUNDING:
        raise _Unusable(f"number {place} is {word}, outside 0..1. YOLO labels are shares of the photograph, not pixels")
    return min(max(value, 0.0), 1.0)


def _box(shares: Sequence[float], size_wh: tuple[int, int]) -> Box:
    cx, cy, w, h = shares
    if min(w, h) <= 0:
        raise _Unusable(f"the box has no area (width {w:g}, height {h:g})")
    over = max(w / 2 - cx, h / 2 - cy, cx + w / 2 - 1, cy + h / 2 - 1)
    if over > ROUNDING:
        raise _Unusable(f"the box reaches {over:.2%} of the photograph's side beyond its border")
    box = Box.from_yolo(cx, cy, w, h, size_wh=size_wh)
    return box if over < -ROUNDING else box.clipped(size_wh)  # well inside there is nothing to clip


def _polygon(shares: Sequence[float], size_wh: tuple[int, int]) -> Points:
    wide, high = size_wh
    points = tuple((x * wide, y * high) for x, y in zip(shares[::2], shares[1::2], strict=True))
    if not has_area(points, size_wh):
        raise _Unusable(f"the polygon of {len(points)} corners has no area")
    return points


def has_area(points: Points, size_wh: tuple[int, int]) -> bool:
    """Whether a polygon (pixels) covers more than a billionth of the photograph."""
    (x0, y0), *others = points
    spokes = [(x - x0, y - y0) for x, y in others]
    # Sums absolute triangles, so that a figure of eight, whose halves cancel, still counts as having an area.
    return sum(abs(ax * by - ay * bx) for (ax, ay), (bx, by) in pairwise(spokes)) / 2 > 1e-9 * size_wh[0] * size_wh[1]
