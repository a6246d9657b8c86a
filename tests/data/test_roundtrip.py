"""What `convert` writes is opened by the libraries that it is written for, and what they write is read back the same.

supervision and ultralytics are not among the extras of the tests (one brings another OpenCV, the other is under the
AGPL); their tests run where they are installed.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as masks
from pycocotools.coco import COCO
from tests.support.datasets import write_photo, write_yolo

from toeline.core.taxonomy import Taxonomy
from toeline.data.coco import ANNOTATIONS, open_coco, read_coco
from toeline.data.coco_shapes import area
from toeline.data.datasets import Carry, LabelSet
from toeline.data.export import Format, Shapes, read_other, shaped, write_as
from toeline.data.labels import LabelLine

SIZE = (320, 240)
NAMES = ("slope drain", "toe drain")
ROWS = ["0 0.078125 0.5 0.09375 0.833333333333", "1 0.2 0.2 0.6 0.2 0.6 0.4 0.4 0.4 0.4 0.6 0.2 0.6"]
SPLITS = {"train": {"a.jpg": ROWS, "b.jpg": []}, "valid": {"c.jpg": ROWS[1:]}, "test": {"d.jpg": ROWS[:1]}}


def yolo_set(folder: Path) -> Path:
    return write_yolo(folder, SPLITS, names=NAMES, size_wh=SIZE)


def to_coco(root: Path, out: Path) -> LabelSet:
    data = read_other(root, Format.COCO, Taxonomy.load())
    write_as(data, Format.COCO, out, Carry.LINK)
    return data


def opened(file: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(file))


def shapes_of(data: LabelSet, split: str) -> dict[str, list[tuple[int, tuple[float, ...], Any]]]:
    return {
        p.photo.name: [(line.class_id, line.box.xyxy, line.polygon) for line in p.lines or ()]
        for p in data.splits[split]
    }


def test_pycocotools_opens_what_convert_writes_and_counts_and_areas_agree(tmp_path: Path) -> None:
    data = to_coco(yolo_set(tmp_path / "in"), tmp_path / "out")
    for split, photos in data.splits.items():
        coco = opened(tmp_path / "out" / split / ANNOTATIONS)
        assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == list(NAMES)
        for image, photo in zip(coco.loadImgs(coco.getImgIds()), photos, strict=True):
            assert (image["file_name"], image["width"], image["height"]) == (photo.name, *SIZE)
            found = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
            assert [a["category_id"] for a in found] == [line.class_id for line in photo.lines or ()]
            for a, line in zip(found, photo.lines or (), strict=True):
                assert a["area"] == pytest.approx(area(line.polygon) if line.polygon else line.box.area)
                if line.polygon:
                    assert masks.area(coco.annToRLE(a)) == pytest.approx(a["area"], rel=0.02)


def test_what_pycocotools_writes_as_masks_is_read_back_to_the_pixel(tmp_path: Path) -> None:
    mask = np.zeros(SIZE[::-1], dtype=np.uint8)
    mask[50:90, 60:200] = mask[60:120, 100:140] = 1
    code = masks.encode(np.asfortranarray(mask))
    annotation = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": masks.toBbox(code).tolist(),
        "area": int(masks.area(code)),
        "segmentation": {"size": list(map(int, code["size"])), "counts": code["counts"].decode()},
    }
    write_coco(tmp_path, [annotation])
    coco = opened(tmp_path / "annotations.json")
    (tmp_path / "annotations.json").write_text(json.dumps(coco.dataset))
    ((_, box, polygon),) = shapes_of(read_coco(open_coco(tmp_path), tmp_path), "all")["a.jpg"]
    assert box == (60, 50, 200, 120)
    assert area(polygon) == mask.sum()
    again = masks.merge(masks.frPyObjects([[v for p in polygon for v in p]], SIZE[1], SIZE[0]))
    assert float(masks.iou([again], [code], [0])[0, 0]) > 0.97  # pycocotools draws a polygon half a pixel larger


def write_coco(folder: Path, annotations: Sequence[dict[str, Any]]) -> None:
    write_photo(folder / "a.jpg", SIZE)
    categories = [{"id": i, "name": name} for i, name in enumerate(NAMES, start=1)]
    images = [{"id": 1, "file_name": "a.jpg", "width": SIZE[0], "height": SIZE[1]}]
    record = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(record))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["boxes", "masks"])
def test_supervision_opens_what_convert_writes_and_what_it_writes_is_read_back_the_same(
    tmp_path: Path, kind: str
) -> None:
    sv = pytest.importorskip("supervision", reason="supervision is not installed")
    data = to_coco(yolo_set(tmp_path / "in"), tmp_path / "coco")
    folder = tmp_path / "coco/train"
    theirs = sv.DetectionDataset.from_coco(str(folder), str(folder / ANNOTATIONS), force_masks=kind == "masks")
    assert theirs.classes == list(NAMES)
    theirs.as_coco(str(tmp_path / "sv/images"), str(tmp_path / "sv/annotations.json"))
    back = read_coco(open_coco(tmp_path / "sv"), tmp_path / "sv")
    assert back.names == data.names
    sent, got = shapes_of(data, "train"), shapes_of(back, "all")
    assert sent.keys() == got.keys()
    assert not back.problems
    for name, its in sent.items():
        assert [i for i, _, _ in got[name]] == [i for i, _, _ in its]
        for (_, one, _), (_, two, _) in zip(its, got[name], strict=True):
            assert two == pytest.approx(one, abs=1.0 if kind == "masks" else 0.01)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("shapes", [Shapes.BOXES, Shapes.POLYGONS])
def test_ultralytics_takes_every_photograph_and_label_of_a_set_that_convert_writes(
    tmp_path: Path, shapes: Shapes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    utils = pytest.importorskip("ultralytics.data.utils", reason="ultralytics (extra yolo) is not installed")
    dataset = sys.modules["ultralytics.data"].YOLODataset
    to_coco(yolo_set(tmp_path / "in"), tmp_path / "coco")
    data = shaped(read_other(tmp_path / "coco", Format.YOLO, Taxonomy.load()), shapes, Format.YOLO)
    write_as(data, Format.YOLO, tmp_path / "yolo", Carry.COPY)
    theirs = utils.check_det_dataset(str(tmp_path / "yolo/data.yaml"), autodownload=False)
    assert theirs["names"] == dict(enumerate(NAMES))
    task = "segment" if shapes is Shapes.POLYGONS else "detect"
    for key, split in (("train", "train"), ("val", "valid"), ("test", "test")):
        found = {Path(one["im_file"]).name: one for one in dataset(theirs[key], data=theirs, task=task).labels}
        assert found.keys() == {p.photo.name for p in data.splits[split]}
        for p in data.splits[split]:
            boxes = found[p.photo.name]["bboxes"] * [*SIZE, *SIZE]  # center x and y, width, height
            centers = [[*line.box.center, line.box.width, line.box.height] for line in p.lines or ()]
            assert boxes.tolist() == [pytest.approx(one, abs=0.01) for one in centers]


def test_boxes_and_polygons_in_one_label_file_are_told(tmp_path: Path) -> None:
    to_coco(yolo_set(tmp_path / "in"), tmp_path / "coco")
    data = read_other(tmp_path / "coco", Format.YOLO, Taxonomy.load())
    assert "1 label file of boxes and polygons together" in shaped(data, Shapes.AS_READ, Format.YOLO).notes[-1]
    for shapes in (Shapes.BOXES, Shapes.POLYGONS):
        lines = lines_of(shaped(data, shapes, Format.YOLO))
        assert {len(line.polygon) > 0 for line in lines} == {shapes is Shapes.POLYGONS}
        assert [line.box for line in lines] == [line.box for line in lines_of(data)]


def lines_of(data: LabelSet) -> list[LabelLine]:
    return [line for photos in data.splits.values() for p in photos for line in p.lines or ()]
