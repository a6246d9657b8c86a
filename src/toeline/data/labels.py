"""Lines of YOLO label files become boxes and polygons in pixels. Knows numbers; class ids keep their number here.

A line is `class center_x center_y width height` or `class x1 y1 x2 y2 x3 y3 ...`, all but the class as shares of the
photograph; both kinds may stand in one file. Files of plain boxes are also read in columns. Key points behind a box
(`kpt_shape`) are passed over. What is written in the way of other programs is named.
"""

from __future__ import annotations

import math
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toeline.core.box import Box
from toeline.core.finding import Problem
from toeline.core.words import cut

ROUNDING = 1e-3  # shares this far outside 0..1 are rounding (a third of a pixel at 312 pixels) and are clipped
MOST_OBJECTS = 1_000  # of a photograph; every two of them are compared, in some 200 MB. The fullest real one has 18
MOST_CORNERS = 10_000  # of a polygon; its edges are compared too. A mask traced pixel by pixel has fewer
MOST_KEY_POINTS = 200  # of one object; whole bodies have 133
SPREAD = 0.5  # share of half the box's side that key points reach at least
Points = tuple[tuple[float, float], ...]


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
    path: Path, size_wh: tuple[int, int], known: Mapping[int, str], *, keypoints: int = 0
) -> tuple[tuple[LabelLine, ...], tuple[Problem, ...]]:
    """The usable lines in the order of the file, and what is wrong with the others.

    `size_wh` is the photograph's size in pixels; `known` names the class ids that count. Blank lines, Windows line ends
    and a byte-order mark are nothing wrong. Of identical lines the first is kept. An empty file is an empty answer.
    """
    try:
        rows = _text_lines(path)
    except _Unusable as why:
        return (), (Problem.in_file(path, str(why)),)
    if many := over(MOST_OBJECTS, sum(bool(row.strip()) for row in rows), "objects"):
        what = (
            f"one photograph has {many}, so nothing in the file was read. Cut the photograph and its labels into tiles."
        )
        return (), (Problem.in_file(path, what),)
    kept: dict[tuple[int, Box, Points], LabelLine] = {}
    problems = []
    for number, row in enumerate(rows, start=1):
        if not row.strip():
            continue
        try:
            class_id, box, polygon = _parse(_without(keypoints, row.split()), size_wh, known)
            before = kept.setdefault((class_id, box, polygon), LabelLine(number, class_id, box, polygon))
            if before.line != number:
                raise _Unusable(f"the same as line {before.line}, which is kept. Delete one of them")
        except _Unusable as why:
            problems.append(Problem.in_file(path, f"{why}.", number))
    return tuple(kept.values()), tuple(problems)


def over(most: int, count: int, what: str) -> str:
    """Why a file or a polygon is not read, in words; empty where `count` is no more than `most`.

    >>> over(MOST_OBJECTS, 20_000, "objects"), over(MOST_OBJECTS, 18, "objects")
    ('20,000 objects, and the limit is 1,000', '')
    """
    return f"{count:,} {what}, and the limit is {most:,}" if count > most else ""


def _bytes_of(path: Path) -> bytes:
    """What is in a regular file; a pipe would wait for ever. Raises _Unusable."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise _Unusable("is no regular file, so nothing in it was read. Move it away.")
        return path.read_bytes()
    except OSError as why:
        raise _Unusable(f"cannot be read ({why.strerror or why}), so nothing in it was.") from None


def _text_lines(path: Path) -> list[str]:
    raw = _bytes_of(path)
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
    if other := _other_form(words):
        raise _Unusable(other)
    class_id = _class_id(words[0], known)
    if len(words) != 5 and (len(words) < 7 or len(words) % 2 == 0):
        raise _Unusable(
            f"{len(words)} numbers, where 5 make a box (class, center x and y, width, height) and 7, 9, 11 and so on "
            f"make a polygon (class, then x and y of each corner){_perhaps(words)}"
        )
    values = _floats(words[1:])
    if len(words) > 5 and (probably := _pose(values)):
        raise _Unusable(probably)
    if many := over(MOST_CORNERS, len(words) // 2, "corners"):
        raise _Unusable(f"the polygon has {many}. Simplify it")
    shares = _shares(words[1:], values)
    if len(words) == 5:
        return class_id, _box(shares, size_wh), ()
    polygon = _polygon(shares, size_wh)
    return class_id, Box.around(polygon), polygon


def _without(keypoints: int, words: list[str]) -> list[str]:
    """A pose line without its key points. Raises _Unusable for one of another length."""
    if not keypoints or len(words) in (0, 5):
        return words
    if len(words) != 5 + keypoints:
        raise _Unusable(f"{len(words)} numbers, where kpt_shape in data.yaml makes it 5 or {5 + keypoints}")
    return words[:5]


def _other_form(words: Sequence[str]) -> str:
    """What a line is that is written in the way of another program; empty for one of numbers with blanks between."""
    if at := next((n for n, word in enumerate(words, start=1) if "," in word or ";" in word), 0):
        commas = "YOLO labels have blanks between numbers, and decimal points"
        return f"number {at} is {cut(words[at - 1])!r}, which has commas. {commas}"
    if len(words) in (9, 10) and not _is_number(words[8]) and all(map(_is_number, words[:8])):
        return (
            "is a line of DOTA (eight pixels, a name, a difficulty). Export YOLO OBB labels: class, then four corners"
        )
    if not _is_number(words[0]) and len(words) >= 5 and all(map(_is_number, words[-4:])):
        name = f" {cut(' '.join(words[:-4]))!r} is probably its name." if len(words) > 5 else ""
        return f"number 1 is {cut(words[0])!r}, and has to be the number of a class.{name} Export the labels as YOLO"
    return ""


def _is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word)) and "_" not in word
    except ValueError:
        return False


def _perhaps(words: Sequence[str]) -> str:
    """What an even count of numbers may mean."""
    if len(words) == 6:
        inside = _is_number(words[5]) and 0 <= float(words[5]) <= 1
        conf = "a confidence, as predictions have, which are no labels, or " if inside else ""
        return f". The sixth may be {conf}the angle of a turned box: export that as four corners (task: obb)"
    if len(words) == 10:
        return ". It may be four corners with a confidence, as predictions have: these are no labels"
    if len(words) >= 8 and (len(words) - 5) % 3 == 0:
        points = (len(words) - 5) // 3
        return f". It may be a box and {points} key points: say so in data.yaml, kpt_shape: [{points}, 3]"
    return ""


def _pose(values: Sequence[float]) -> str:
    """Why an odd count of numbers is no polygon but a box and key points.

    Each third of them says what can be seen; or, as no outline does, they fill the box that the first four numbers
    make, and cross themselves when all numbers are taken for corners.
    """
    for each in (3, 2):
        points, rest = divmod(len(values) - 4, each)
        if not rest and ((each == 3 and _seen(values[6::3])) or _fills_box(values, each)):
            return (
                f"is probably a box and {points} key points. Say so in data.yaml, kpt_shape: [{points}, {each}], to "
                f"have it read"
            )
    return ""


def _seen(third: Sequence[float]) -> bool:
    """Whether these are 0, 1 and 2: not told, hidden, seen."""
    return {0.0, 1.0, 2.0}.issuperset(third) and (len(third) > 3 or 2.0 in third)


def _fills_box(values: Sequence[float], each: int) -> bool:
    """Whether key points of `each` numbers lie in the box before them and spread over it, and are no plain outline."""
    if not 2 <= len(values[4::each]) <= MOST_KEY_POINTS:  # with one it is a triangle, which crosses nowhere
        return False
    for at, half, along in zip(
        values[:2], (values[2] / 2, values[3] / 2), (values[4::each], values[5::each]), strict=True
    ):
        told = [value for value in along if value] or [at]  # 0 is a point that is not told
        low, high = min(told), max(told)
        if low < at - half - ROUNDING or high > at + half + ROUNDING or high - low < SPREAD * half:
            return False
    return _crosses(np.array(values).reshape(-1, 2))


def _crosses(corners: NDArray[np.float64]) -> bool:
    """Whether any two edges of a polygon (N, 2) cross in their insides."""
    ends = np.roll(corners, -1, axis=0)
    along, off = ends - corners, corners[None] - corners[:, None]
    start = along[:, None, 0] * off[..., 1] - along[:, None, 1] * off[..., 0]  # side of each edge that a corner is on
    apart = start * np.roll(start, -1, axis=1) < 0  # edge j begins and ends on different sides of edge i
    return bool((apart & apart.T).any())


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


def _floats(words: Sequence[str]) -> list[float]:
    """All numbers after the class id; one that is none where a word is no number."""
    try:
        return [float(word) for word in words]
    except ValueError:
        return [math.nan]


def _shares(words: Sequence[str], values: list[float]) -> list[float]:
    """All numbers after the class id: the usual line at once, any other one by one, to say what is wrong with it."""
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


BLOCK = 100_000  # pairs of boxes that are compared at once: 4 MB
PLAIN = b"0123456789.eE+- \t\n"  # no other byte; a minus may stand in an exponent

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PlainLabels:
    """N >= 1 usable lines: their numbers in the file from 1, their class ids, and boxes (N, 4), xyxy in pixels."""

    lines: list[int]
    class_ids: list[int]
    boxes: Floats


def read_plain(path: Path, size_wh: tuple[int, int], known: Mapping[int, object]) -> PlainLabels | None:
    """The lines of a file that holds boxes and nothing else, each of them usable; None for any other file.

    `size_wh` is the photograph's size in pixels; `known` holds the class ids that count. Lines that stand there twice
    are not looked for: see `apart`.
    """
    try:
        rows = _rows(_bytes_of(path))
    except _Unusable:
        return None
    if rows is None:
        return None
    lines = [number for number, words in enumerate(rows, start=1) if words]
    try:
        values = [float(word) for words in rows for word in words]
    except ValueError:
        return None
    ids = values[::5]
    if not 0 < len(lines) <= MOST_OBJECTS or not known.keys() >= set(ids):
        return None
    boxes = _boxes(np.array(values).reshape(-1, 5)[:, 1:].T, size_wh)
    return None if boxes is None else PlainLabels(lines, [int(i) for i in ids], boxes)


def _rows(raw: bytes) -> list[list[bytes]] | None:
    """The words of each line, 5 or none; None where a line has another number, or a byte is none of PLAIN."""
    text = raw.replace(b"\r\n", b"\n")
    if text.translate(None, PLAIN):
        return None
    rows = [row.split() for row in text.split(b"\n")]
    return rows if {0, 5}.issuperset(map(len, rows)) else None


def _boxes(shares: Floats, size_wh: tuple[int, int]) -> Floats | None:
    """Centers and sides (4, N) as shares to corners (N, 4) in pixels; None where label_lines would object or correct.

    The same steps in the same order as Box.from_yolo and Box.clipped, so that not a digit differs.
    """
    cx, cy, w, h = shares
    if not (shares.min() >= 0 and shares.max() <= 1 and min(w.min(), h.min()) > 0):
        return None
    x1, y1, x2, y2 = cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2
    if max(-x1.min(), -y1.min(), x2.max() - 1, y2.max() - 1) > ROUNDING:
        return None
    wide, high = size_wh
    corners = np.stack([x1 * wide, y1 * high, x2 * wide, y2 * high], axis=1)
    return np.asarray(np.clip(corners, 0.0, np.array([wide, high, wide, high], dtype=np.float64)))


def apart(boxes: Floats, least: float) -> bool:
    """Whether the IoU of any two boxes (N, 4) is well under `least`, so that none can be there twice either.

    >>> apart(np.array([[0, 0, 2, 2], [1, 0, 3, 2.0]]), 0.5), apart(np.array([[0, 0, 2, 2], [0, 0, 2, 2.0]]), 0.5)
    (True, False)
    """
    x1, y1, x2, y2 = boxes.T
    areas = (x2 - x1) * (y2 - y1)
    rows = max(BLOCK // len(boxes), 1)
    close = 0
    for r in (slice(start, start + rows) for start in range(0, len(boxes), rows)):
        wide = np.minimum(x2[r, None], x2) - np.maximum(x1[r, None], x1)
        high = np.minimum(y2[r, None], y2) - np.maximum(y1[r, None], y1)
        shared = np.maximum(wide, 0.0) * np.maximum(high, 0.0)
        close += int(np.count_nonzero(shared * (1 + least) >= least * (1 - 1e-9) * (areas[r, None] + areas)))
    return close <= len(boxes)  # each is close to itself
