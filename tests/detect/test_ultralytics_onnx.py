"""Exports of ultralytics without ultralytics: small graphs in their form, and outputs with recorded shapes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.support.datasets import NAMES

from toeline.core.taxonomy import Taxonomy
from toeline.detect.detector import DetectorOptions, labels_of
from toeline.detect.heads import Head
from toeline.detect.load import load_detector
from toeline.detect.ultralytics_onnx import ExportCard, YoloDetector
from toeline.errors import ModelError, TaxonomyError

HERE = Path(__file__).parent
WORDS = Taxonomy.load()
TYPES = {0: "toe_drain", 1: "rock_toe", 2: "slope_drain", 3: "vegetation"}
CARD = ExportCard(TYPES, "detect", (64, 64), 32, dynamic=False, batch=1, heads=frozenset({Head.YOLOV8, Head.ROWS}))
WHITE = Image.new("RGB", (64, 64), "white")


def load(name: str, **options: Any) -> Any:
    return load_detector(str(HERE / name), taxonomy=WORDS, options=DetectorOptions(**options))


def seen(detections: Any) -> list[tuple[str, tuple[float, ...]]]:
    return [(s.instance.type_name, tuple(round(v, 2) for v in s.instance.box.xyxy)) for s in detections]


@dataclass
class Session:
    """Answers each run with the next outputs, and notes the shape of what it was fed."""

    outputs: list[list[np.ndarray]]
    fed: list[tuple[int, ...]] = field(default_factory=list)
    kind: str = "tensor(float)"
    name: str = "images"

    @property
    def type(self) -> str:
        return self.kind

    def get_inputs(self) -> list[Session]:
        return [self]

    def run(self, _: Any, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.fed.append(feed["images"].shape)
        return self.outputs[min(len(self.fed), len(self.outputs)) - 1]


def detector(session: Session, card: ExportCard = CARD, limit: float = 0.25) -> YoloDetector:
    labels = labels_of(card.names, WORDS, where="best.onnx")
    return YoloDetector(session, card, labels, dict.fromkeys((k.kind for k in labels.values()), limit), Path("b.onnx"))


def raw(*places: tuple[float, ...], width: int = 8) -> np.ndarray:
    return np.asarray(places, np.float32).reshape(-1, width).T[None]


@pytest.mark.parametrize("name", ["small_raw.onnx", "small_rows.onnx"])
def test_boxes_of_an_export_come_back_in_the_photograph(name):
    (found, nothing) = load(name).find([WHITE.resize((640, 640)), Image.new("RGB", (64, 64))])
    assert sorted(seen(found)) == [
        ("rock_toe", (300, 300, 500, 500)),
        ("toe_drain", (150, 50, 250, 350)),
        ("vegetation", (460, 60, 540, 140)),
    ]
    assert [s.instance.score for s in found] == pytest.approx([1, 1, 1])
    assert nothing == []


def test_margins_of_a_wide_photograph_are_taken_off():
    fixed, free = (load(name).find([WHITE.resize((128, 64))])[0] for name in ("small_raw.onnx", "small_rows.onnx"))
    assert ("toe_drain", (30, 0, 50, 38)) in seen(fixed)  # 16 gray rows above, then twice the size, clipped
    assert ("toe_drain", (30, 10, 50, 64)) in seen(free)  # the input is 64 x 32, without margins


def test_thresholds_hold_by_type():
    gray = Image.new("RGB", (64, 64), (128, 128, 128))  # every score is 128 / 255
    assert {k for k, _ in seen(load("small_raw.onnx", thresholds={"rock toe": 0.6}).find([gray])[0])} == {
        "toe_drain",
        "vegetation",
    }
    assert load("small_raw.onnx", general=0.6).find([gray]) == [[]]


def test_a_type_that_the_taxonomy_lacks_is_told():
    with pytest.raises(TaxonomyError, match="spillway"):
        load("small_raw.onnx", thresholds={"spillway": 0.6})


def test_nine_classes_give_types_and_keep_the_class_beside_them():
    card = replace(CARD, names=dict(enumerate(NAMES)))
    said = raw((30, 30, 20, 20, 0, 0, 0.9, 0, 0, 0, 0, 0, 0), width=13)
    ((found,),) = detector(Session([[said]]), card).find([WHITE])
    assert (found.instance.type_name, found.class_name) == ("toe_drain", "Toe drain- Damaged")


def test_names_that_do_not_fit_are_listed():
    with pytest.raises(TaxonomyError, match=r"best\.onnx.*'person'"):
        detector(Session([]), replace(CARD, names={0: "person"}))


def test_a_graph_for_four_images_gets_four():
    session = Session([[np.zeros((4, 8, 5), np.float32)]])
    assert detector(session, replace(CARD, batch=4)).find([WHITE] * 5) == [[]] * 5
    assert session.fed == [(4, 3, 64, 64)] * 2


def test_a_graph_for_any_number_and_size_gets_one_in_its_own_shape():
    session = Session([[np.zeros((1, 8, 5), np.float32)]])
    free = replace(CARD, dynamic=True, batch=0)
    detector(session, free).find([WHITE, WHITE.resize((64, 20)), WHITE.resize((128, 128))])
    assert session.fed == [(1, 3, 64, 64), (1, 3, 64, 64), (1, 3, 32, 64)]


def test_half_precision_is_fed_as_such():
    session = Session([[np.zeros((1, 8, 5), np.float16)]], kind="tensor(float16)")
    assert detector(session).find([WHITE]) == [[]]


def test_masks_become_polygons_and_rows_without_a_mask_are_nothing():
    card = replace(CARD, task="segment")
    places = [(32, 32, 20, 40, 0.9, 0, 0, 0, *[1] * 32), (10, 10, 8, 8, 0.8, 0, 0, 0, *[-1] * 32)]
    said = [raw(*places, width=40), np.ones((1, 32, 16, 16), np.float32)]
    ((found,),) = detector(Session([said]), card).find([WHITE.resize((128, 128))])
    assert found.instance.box.xyxy == (44, 24, 84, 104)
    corners = np.array(found.instance.polygon)
    assert (corners.min(0).tolist(), corners.max(0).tolist()) == ([45, 25], [83, 103])


@pytest.mark.parametrize("rows", [False, True])
def test_turned_boxes_give_their_corners_and_the_box_around_them(rows):
    card = replace(CARD, task="obb", heads=frozenset({Head.ROWS if rows else Head.YOLOV8}))
    if rows:
        said = np.array([[[32, 32, 20, 10, 0.9, 2, np.pi / 4]]], np.float32)
    else:
        said = raw((32, 32, 20, 10, 0, 0, 0.9, 0, np.pi / 4), width=9)
    ((found,),) = detector(Session([[said]]), card).find([WHITE])
    half = 15 / np.sqrt(2)
    assert found.instance.type_name == "slope_drain"
    assert found.instance.box.xyxy == pytest.approx((32 - half, 32 - half, 32 + half, 32 + half), abs=1e-3)
    assert len(found.instance.polygon) == 4


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (np.full((1, 8, 3), np.nan, np.float32), "not finite"),
        (np.zeros((1, 84, 3), np.float32), r"not clear how to read what it gives, \(84, 3\) numbers for 4 classes"),
    ],
)
def test_outputs_of_another_form_are_told(said, told):
    with pytest.raises(ModelError, match=told):
        detector(Session([[said]])).find([WHITE])


def test_a_run_that_fails_is_told_with_the_file_and_the_input():
    free = replace(CARD, dynamic=True, batch=0)  # the graph behind it is not
    session = load("small_raw.onnx").session
    with pytest.raises(ModelError, match=r"b\.onnx: onnxruntime cannot run .* on an input of \(1, 3, 32, 64\)"):
        detector(session, free).find([WHITE.resize((64, 20))])


def test_a_file_that_is_no_model_is_told(tmp_path):
    (tmp_path / "best.onnx").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"best\.onnx: not a readable ONNX model"):
        load_detector(str(tmp_path / "best.onnx"), taxonomy=WORDS)
