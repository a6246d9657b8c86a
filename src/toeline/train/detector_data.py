"""What a detector is trained on: drawn scenes kept on disk, photographs, random views of them, boxes cut by the frame.

Knows pictures and polygons; knows no network.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from toeline.core.box import Box
from toeline.core.polygon import part_inside
from toeline.core.prefetch import in_processes
from toeline.core.scene import Instance
from toeline.data.images import read_photo
from toeline.data.yolo import LabeledScene
from toeline.detect.letterbox import framed
from toeline.errors import OutputError

KINDS = ("toe_drain", "rock_toe", "slope_drain", "vegetation")
MIN_SIDE = 3.0  # pixels of the network's input: a sliver thinner than this is not a box to learn
MIN_LEFT = 0.1  # share of an object's box that must stay in view for it to count as seen

Floats = NDArray[np.float32]


class Sample(NamedTuple):
    """One picture (H, W, 3) uint8 with objects as (kind index, polygon (P, 2) in pixels)."""

    pixels: NDArray[np.uint8]
    objects: list[tuple[int, Floats]]


class AugmentedView(NamedTuple):
    """A window of the source picture, in its pixels, that becomes the whole input; it may reach over the edge."""

    x: float
    y: float
    wide: float
    high: float
    flip: bool = False


@dataclass(frozen=True)
class ScenePool:
    """Scenes drawn once and read many times: `scenes.npy` (N, S, S, 3) uint8 and one line of objects per scene."""

    folder: Path

    @property
    def lines(self) -> Path:
        return self.folder / "objects.jsonl"

    def __len__(self) -> int:
        return len(self.lines.read_bytes().splitlines()) if self.lines.exists() else 0

    def read(self) -> list[Sample]:
        """All scenes drawn so far; pixels stay on disk until they are touched."""
        pixels = np.load(self.folder / "scenes.npy", mmap_mode="r")
        rows = [json.loads(line) for line in self.lines.read_text(encoding="utf-8").splitlines()]
        return [
            Sample(pixels[i], [(kind, np.asarray(points, np.float32)) for kind, points in row])
            for i, row in enumerate(rows)
        ]


def draw_one(index: int, seed: int, size: int) -> tuple[NDArray[np.uint8], list[tuple[int, list[list[float]]]]]:
    """Scene `index` of the data set `seed`: pixels (size, size, 3) and objects as (kind index, polygon in pixels)."""
    from toeline.synth.dataset import scene_seed
    from toeline.synth.scene import draw

    drawing = draw(scene_seed(seed, index), size=size)
    objects = [(KINDS.index(o.kind), [[float(x), float(y)] for x, y in o.polygon]) for o in drawing.objects]
    return drawing.image, objects


def drawn_photograph(index: int, seed: int, size: int = 640) -> tuple[Image.Image, list[Instance]]:
    """The same as a photograph with instances that have boxes."""
    pixels, objects = draw_one(index, seed, size)
    corners = [(np.min(polygon, axis=0), np.max(polygon, axis=0)) for _, polygon in objects]
    boxes = [Box(*low.tolist(), *high.tolist()).clipped((size, size)) for low, high in corners]
    instances = [Instance(str(n), KINDS[k], box) for n, ((k, _), box) in enumerate(zip(objects, boxes, strict=True))]
    return Image.fromarray(pixels), instances


def fill_pool(folder: Path, *, scenes: int, seed: int, size: int = 640, workers: int = 1) -> ScenePool:
    """Draw the scenes that `toeline synth --seed seed --scenes scenes` draws; a second call draws what is missing.

    Raises OutputError when the folder was begun for fewer scenes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pool, store = ScenePool(folder), folder / "scenes.npy"
    if not store.exists():
        np.lib.format.open_memmap(store, mode="w+", dtype=np.uint8, shape=(scenes, size, size, 3))
    pixels = np.load(store, mmap_mode="r+")
    if scenes > len(pixels):
        raise OutputError(
            f"{folder} was begun for {len(pixels)} scenes, not {scenes}. Delete it, or give another folder."
        )
    if len(pool) < scenes:
        _draw_missing(pool, pixels, partial(draw_one, seed=seed, size=size), range(len(pool), scenes), workers)
    return pool


def _draw_missing(pool: ScenePool, pixels: Any, draw: Callable[[int], Any], numbers: range, workers: int) -> None:
    """Pixels first and the line of objects after them, so that a killed run leaves no line without a picture."""
    with pool.lines.open("a", encoding="utf-8") as lines:
        for n, (picture, objects) in zip(numbers, in_processes(draw, numbers, workers=workers), strict=True):
            pixels[n] = picture
            lines.write(json.dumps(objects) + "\n")
            lines.flush()


def seen_boxes(objects: Sequence[tuple[int, Floats]], view: AugmentedView, size: int) -> Floats:
    """Objects of a view as rows (kind, x1, y1, x2, y2) in input pixels; what is hardly in view is left out."""
    rows = []
    for kind, polygon in objects:
        moved = (polygon - (view.x, view.y)) * (size / view.wide, size / view.high)
        if view.flip:
            moved[:, 0] = size - moved[:, 0]
        box = part_inside(moved, size)
        if box is None or min(box[2] - box[0], box[3] - box[1]) < MIN_SIDE:
            continue
        whole = np.ptp(moved, axis=0).prod()
        if (box[2] - box[0]) * (box[3] - box[1]) >= MIN_LEFT * whole:
            rows.append((kind, *box))
    return np.asarray(rows, np.float32).reshape(-1, 5)


def look(picture: Image.Image, view: AugmentedView, size: int) -> Image.Image:
    """The view as a square of `size` pixels: one antialiased resize, gray where it reaches over the edge."""
    wide, high = picture.size
    x1, y1 = max(view.x, 0.0), max(view.y, 0.0)
    x2, y2 = min(view.x + view.wide, wide), min(view.y + view.high, high)
    sx, sy = size / view.wide, size / view.high
    left, top = round((x1 - view.x) * sx), round((y1 - view.y) * sy)
    right, low = round((x2 - view.x) * sx), round((y2 - view.y) * sy)
    part = picture.resize((max(right - left, 1), max(low - top, 1)), Image.Resampling.BILINEAR, box=(x1, y1, x2, y2))
    part = framed(part, (size, size), (left, top))
    return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if view.flip else part


def random_view(rng: np.random.Generator, wide: int, high: int, strength: float) -> AugmentedView:
    """A window 0.65 to 1.5 times the picture at full `strength` (0: the picture), mirrored half the time."""
    zoom = float(np.exp(rng.uniform(-0.43, 0.4) * strength))
    stretch = float(np.exp(rng.uniform(-0.1, 0.1) * strength))
    w, h = wide * zoom * stretch, high * zoom / stretch
    x, y = (wide - w) * rng.uniform(), (high - h) * rng.uniform()
    return AugmentedView(x, y, w, h, bool(rng.uniform() < 0.5))


def recolor(picture: Image.Image, rng: np.random.Generator, strength: float) -> Image.Image:
    """Other light, other white balance, sometimes soft focus."""
    gains = np.exp(rng.normal(0, 0.12) + rng.normal(0, 0.05, 3)) ** strength
    gamma = float(np.exp(rng.normal(0, 0.15))) ** strength
    ramp = (np.arange(256) / 255.0) ** gamma * 255
    table = np.clip(ramp[None] * np.asarray(gains)[:, None], 0, 255).astype(np.uint8)
    picture = picture.point(table.ravel().tolist())
    return (
        picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.0))) if rng.uniform() < 0.1 * strength else picture
    )


def scaled(pixels: Any) -> Any:
    """(B, H, W, 3) uint8 to (B, 3, H, W) float around zero, channels last in memory: what a CPU runs fastest."""
    return (pixels.float() - 127.5).div(64.0).permute(0, 3, 1, 2)


def whole_views(samples: Sequence[Sample], size: int) -> tuple[list[Image.Image], list[Floats]]:
    """Whole pictures without augmentation as squares of `size` pixels, and their boxes in these pixels."""
    views = [AugmentedView(0, 0, s.pixels.shape[1], s.pixels.shape[0]) for s in samples]
    pictures = [look(Image.fromarray(s.pixels), v, size) for s, v in zip(samples, views, strict=True)]
    return pictures, [seen_boxes(s.objects, v, size) for s, v in zip(samples, views, strict=True)]


def plain(samples: Sequence[Sample], size: int, batch: int) -> Iterator[tuple[Any, list[Floats]]]:
    """Whole pictures, for measuring: batches of inputs of the embedded network, and their boxes in input pixels."""
    import torch

    for start in range(0, len(samples), batch):
        pictures, boxes = whole_views(samples[start : start + batch], size)
        yield scaled(torch.from_numpy(np.stack([np.asarray(p) for p in pictures]))), boxes


KEEP_BYTES = 2_000_000_000  # of decoded pictures; further ones are decoded anew each time they are seen
SPARE = 1.6  # pictures are kept this much larger than the input, for the views that zoom in


@dataclass(frozen=True)
class Pictures(Sequence[Sample]):
    """Photographs, decoded when they are first seen, with objects as (kind index, polygon).

    `square` lays each into a square with gray margins, as inspection does; without it they keep their shape.
    """

    photos: Sequence[LabeledScene]
    kinds: Sequence[str]
    longer_px: int
    square: bool = True
    kept: dict[int, Sample] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.photos)

    @overload
    def __getitem__(self, n: int) -> Sample: ...
    @overload
    def __getitem__(self, n: slice) -> list[Sample]: ...
    def __getitem__(self, n: int | slice) -> Sample | list[Sample]:
        if isinstance(n, slice):
            return [self[i] for i in range(*n.indices(len(self)))]
        if n not in self.kept:
            sample = self._read(self.photos[n])
            if sum(s.pixels.nbytes for s in self.kept.values()) + sample.pixels.nbytes > KEEP_BYTES:
                return sample
            self.kept[n] = sample
        return self.kept[n]

    def _read(self, photo: LabeledScene) -> Sample:
        image = read_photo(photo.path)
        scale = min(1.0, self.longer_px / max(image.size))
        if scale < 1:
            image = image.resize((round(image.width * scale), round(image.height * scale)), reducing_gap=3.0)
        left = top = 0
        if self.square:
            side = max(image.size)
            left, top = (side - image.width) // 2, (side - image.height) // 2
            image = framed(image, (side, side), (left, top))
        objects = [
            (self.kinds.index(t.type_name), (np.asarray(outline(t)) * scale + (left, top)).astype(np.float32))
            for t in photo.instances
        ]
        return Sample(np.asarray(image, np.uint8), objects)


def outline(instance: Instance) -> Sequence[tuple[float, float]]:
    """The polygon of an instance, or the corners of its box."""
    x1, y1, x2, y2 = instance.box.xyxy
    return instance.polygon or ((x1, y1), (x2, y1), (x2, y2), (x1, y2))


def order_of(
    photographs: int, *, epochs: int, batch: int, seed: int, drawn: int = 0, pool: int = 0
) -> NDArray[np.int64]:
    """The picture of each turn: each epoch in another order, cut to whole batches.

    Each epoch has all photographs, and `drawn` of the `pool` scenes that are numbered after them, other ones each time.

    >>> len(order_of(10, epochs=3, batch=4, seed=0)), sorted(order_of(4, epochs=1, batch=4, seed=0).tolist())
    (24, [0, 1, 2, 3])
    >>> sorted(n >= 4 for n in order_of(4, epochs=1, batch=6, seed=0, drawn=2, pool=9).tolist())
    [False, False, False, False, True, True]
    """
    whole = (photographs + drawn) // batch * batch
    turns = []
    for epoch in range(epochs):
        rng = np.random.default_rng((seed, epoch))
        seen = np.arange(photographs)
        if drawn:
            seen = np.concatenate([seen, photographs + rng.choice(pool, drawn, replace=False)])
        turns.append(rng.permutation(seen)[:whole])
    return np.concatenate(turns)


@dataclass(frozen=True)
class Views:
    """What each turn shows: another window and another light of its photograph, by chance, never upside down."""

    pictures: Sequence[Sample]
    order: NDArray[np.int64]
    size: int
    seed: int
    strength: float

    def view(self, turn: int) -> tuple[Image.Image, Floats]:
        """A picture of `size` x `size` pixels, and its boxes as rows (kind, x1, y1, x2, y2) in its pixels."""
        sample = self.pictures[int(self.order[turn])]
        rng = np.random.default_rng((self.seed, turn, 1))
        high, wide = sample.pixels.shape[:2]
        view = random_view(rng, wide, high, self.strength)
        picture = look(Image.fromarray(sample.pixels), view, self.size)
        return recolor(picture, rng, self.strength), seen_boxes(sample.objects, view, self.size)


PERCENT = (10, 50, 90)


def object_sizes(boxes_wh: Iterable[tuple[float, float]], *, frame_px: int) -> dict[str, Any]:
    """The entry `objects` of detector.json, from box widths and heights as shares of the frame's longer side.

    `frame_px` is the usual longer side of the training photographs in pixels. A size is the root of a box's area;
    `size` holds its quantiles by percent. Raises ValueError when there is no box.

    >>> object_sizes([(0.1, 0.4), (0.3, 0.3), (0.4, 0.4)], frame_px=640)["size"]["50"]
    0.3
    """
    sides: NDArray[np.float64] = np.asarray(list(boxes_wh), np.float64).reshape(-1, 2)
    if not len(sides):
        raise ValueError("there are no objects whose sizes could be told")
    sizes = np.sqrt(sides.prod(1))
    quantiles = np.percentile(sizes, PERCENT)
    return {
        "frame_px": frame_px,
        "size": {str(p): round(float(q), 4) for p, q in zip(PERCENT, quantiles, strict=True)},
        "n": len(sizes),
    }
