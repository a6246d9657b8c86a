"""Large photographs: what is found in tiles beside what is found on views of 640 pixels, and the memory it takes.

    python benchmarks/tiles.py [--out benchmarks/results] [--small]

Drawn mosaics with the ground truth of every scene (toeline.synth.mosaic), the embedded detector, tiles by `--tile
auto`. The reference is the same detector on the window of each scene, scaled down to 640 pixels: the same ground. An
object counts as found at an IoU of 0.5 with a detection of its type; `twice` are detections of an object that another
one found. Memory is the peak of a process of its own that inspects a JPEG of the mosaic with both embedded models.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.mosaic import Mosaic, draw_mosaic
from PIL import Image
from results import write

from toeline.core.box import Box
from toeline.core.scene import Detection
from toeline.core.taxonomy import Taxonomy
from toeline.detect.load import load_detector
from toeline.detect.tiling import TiledDetector, Tiling, cut, placed
from toeline.evaluate.matching import pair_up

SEED, IOU, VIEW_PX = 20_261_126, 0.5, 640
Plan = tuple[str, int, tuple[int, int], tuple[int, int], int]
# name, seed, size, scenes across and down, objects (0: as they come)
SIXTY = "60 objects, scenes of 700 px"
MOSAICS: tuple[Plan, ...] = (
    *((SIXTY, SEED + n, (6000, 4000), (9, 6), 60) for n in range(4)),
    ("crowded, scenes of 700 px", SEED, (6000, 4000), (9, 6), 0),
    ("60 objects, scenes of 2,100 px", SEED, (6000, 4000), (3, 2), 60),
    ("one scene of 4,000 px", SEED, (4000, 4000), (1, 1), 8),
)
SMALL: tuple[Plan, ...] = (("small", SEED, (1900, 1280), (3, 2), 12),)
LARGEST = (12_000, 9_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for tiles.json and tiles.md")
    parser.add_argument("--small", action="store_true", help="one small mosaic, to try the script")
    parser.add_argument("--peak", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        print(json.dumps(inspected(args.peak)))
        return
    rows = []
    for plan in SMALL if args.small else MOSAICS:
        rows.append(measured(*plan))
        print(json.dumps(rows[-1]), flush=True)
    rows += [] if args.small else [enlarged()]
    results = {"seed": SEED, "iou": IOU, "rows": rows}
    print(table(rows))
    if args.out:
        page = ["# Large photographs in tiles\n", (__doc__ or "").split("\n\n")[2] + "\n", table(rows)]
        write("tiles", "\n".join(page), results, args.out)


def measured(name: str, seed: int, size_wh: tuple[int, int], grid: tuple[int, int], objects: int) -> dict[str, Any]:
    """One mosaic: what is found in tiles, and what on views of the same ground."""
    mosaic = draw_mosaic(seed, size_wh=size_wh, grid=grid, objects=objects)
    image = Image.fromarray(mosaic.image)
    detector = load_detector("embedded", taxonomy=Taxonomy.load())
    tiled = TiledDetector(detector, Tiling())
    ground_truth = [(o.kind, Box.around(o.polygon)) for o in mosaic.objects]
    found, views = tiled.find([image])[0], on_views(mosaic, image, detector)
    there, reference = counted(found, ground_truth), counted(views, ground_truth)
    return {
        "name": name,
        "seed": seed,
        "size_wh": size_wh,
        "objects": len(ground_truth),
        "tile_px": tiled.plan(image),
        "tiled": there,
        "views": reference,
        "of_views": round(there["found"] / max(reference["found"], 1), 3),
        **peak(image),
    }


def on_views(mosaic: Mosaic, image: Image.Image, detector: Any) -> list[Detection]:
    """What the detector sees on each scene's window, scaled down to VIEW_PX; no merging at all."""
    seen = []
    for x1, y1, x2, y2 in mosaic.windows:
        window = (x1, y1, min(x2, image.width), min(y2, image.height))
        shown = cut(image, window, VIEW_PX)
        seen += [placed(s, window, shown.size) for s in detector.find([shown])[0]]
    return seen


def counted(found: Sequence[Detection], ground_truth: Sequence[tuple[str, Box]]) -> dict[str, int]:
    """Objects found, detections of an object that another one has (`twice`), and of nothing (`false`)."""
    said = [(s.instance.type_name, s.instance.box) for s in found]
    pairs = pair_up(said, ground_truth, iou=IOU)
    rest = [one for n, one in enumerate(said) if n not in pairs]
    twice = sum(any(kind == k and box.iou(b) >= IOU for k, b in ground_truth) for kind, box in rest)
    return {"found": len(pairs), "twice": twice, "false": len(rest) - twice, "detections": len(said)}


def peak(image: Image.Image) -> dict[str, Any]:
    """Peak memory in MB of a process that inspects the mosaic as a JPEG file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mosaic.jpg"
        image.save(file, quality=90)
        done = subprocess.run(
            [sys.executable, __file__, "--peak", str(file)], stdout=subprocess.PIPE, text=True, check=True
        )
    return dict(json.loads(done.stdout))


def inspected(file: Path) -> dict[str, Any]:
    """All that toeline inspect does with a photograph, both embedded models included, and its marked picture."""
    from toeline.data.images import Photo
    from toeline.pipelines.inspector import Inspector
    from toeline.report.draw import as_jpeg, draw

    inspector = Inspector.load(tile="auto")
    result = next(iter(inspector.inspect_all([Photo(file, file.name)])))
    if result.failed:
        raise SystemExit(str(result.problems))
    as_jpeg(draw(result.image, result.findings, inspector.taxonomy))
    mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return {"findings": len(result.findings), "peak_mb": round(mb)}


def enlarged() -> dict[str, Any]:
    """The largest photograph that is promised to fit: a mosaic enlarged to LARGEST; memory alone is measured."""
    mosaic = draw_mosaic(SEED, size_wh=(3000, 2250), grid=(4, 3))
    image = Image.fromarray(mosaic.image).resize(LARGEST, Image.Resampling.BICUBIC)
    return {"name": "enlarged to 12,000 x 9,000", "size_wh": LARGEST, "objects": len(mosaic.objects), **peak(image)}


def table(rows: Sequence[dict[str, Any]]) -> str:
    sixty = [r for r in rows if r["name"] == SIXTY]
    found, views = (sum(r[where]["found"] for r in sixty) for where in ("tiled", "views"))
    lines = [
        "| mosaic | pixels | objects | tile | found on views | found in tiles | share | twice | false, views | "
        "false, tiles | peak MB |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for r in rows:
        size = f"{r['size_wh'][0]} x {r['size_wh'][1]}"
        if "tiled" not in r:
            lines.append(f"| {r['name']} | {size} | {r['objects']} | | | | | | | | {r['peak_mb']} |")
            continue
        t, v = r["tiled"], r["views"]
        lines.append(
            f"| {r['name']} | {size} | {r['objects']} | {r['tile_px'] or 'whole'} | {v['found']} | {t['found']} | "
            f"{r['of_views']:.2f} | {t['twice']} | {v['false']} | {t['false']} | {r['peak_mb']} |"
        )
    if sixty:
        lines += ["", f"{SIXTY}, {len(sixty)} mosaics together: {found} of {views}, {found / views:.3f}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
