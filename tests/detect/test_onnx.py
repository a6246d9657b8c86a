"""The embedded detector around its network: fit into the square and back, thresholds, duplicates, bad files."""

import json
from dataclasses import dataclass
from pathlib import Path
from threading import current_thread

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from toeline.core.box import Box
from toeline.core.taxonomy import Taxonomy
from toeline.detect.detector import DetectorOptions
from toeline.detect.letterbox import letterbox
from toeline.detect.load import EMBEDDED, load_detector
from toeline.detect.onnx import DetectorCard, OnnxDetector
from toeline.errors import ModelError, SetupError, TaxonomyError
from toeline.synth.scene import draw

KINDS = ("toe_drain", "rock_toe", "slope_drain", "vegetation")
CARD = DetectorCard(input_px=416, fill=114, kinds=KINDS, thresholds=(0.5, 0.4, 0.3, 0.2), nms_iou=0.6)
CARD_JSON = {
    "input_px": 416,
    "fill": 114,
    "kinds": list(KINDS),
    "thresholds": dict.fromkeys(KINDS, 0.5),
    "nms_iou": 0.6,
}


@dataclass(frozen=True)
class Network:
    """Answers every photograph with the same rows: (kind, score, x1, y1, x2, y2) in pixels of the square."""

    rows: tuple[tuple[float, ...], ...]

    def run(self, names, feed):
        assert names == ["boxes", "scores"]
        assert feed["photo"].shape == (1, 416, 416, 3)
        assert feed["photo"].dtype == np.uint8
        scores = np.zeros((len(self.rows), 4), np.float32)
        for n, (kind, score, *_) in enumerate(self.rows):
            scores[n, int(kind)] = score
        return [np.asarray([row[2:] for row in self.rows], np.float32).reshape(-1, 4), scores]


def instances(detector, image):
    (found,) = detector.find([image])
    return [detection.instance for detection in found]


def find(*rows, size=(416, 416), card=CARD):
    return instances(OnnxDetector(Network(rows), card), Image.new("RGB", size))


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 1200),
    st.integers(1, 1200),
    st.lists(st.floats(0, 1), min_size=4, max_size=4).map(lambda v: (*sorted(v[:2]), *sorted(v[2:]))),
)
def test_a_box_in_the_square_is_the_same_box_in_the_photograph(wide, high, shares):
    x1, x2, y1, y2 = shares
    _, fit = letterbox(Image.new("RGB", (wide, high)), (416, 416), smooth=True)
    there = np.array([x1 * wide, y1 * high, x2 * wide, y2 * high])
    scale, margin = np.array([fit.across, fit.down] * 2), np.array([fit.left, fit.top] * 2)
    np.testing.assert_allclose(fit.undo((there * scale + margin)[None])[0], there, atol=1e-3)


@pytest.mark.parametrize("size", [(640, 640), (312, 312), (640, 480), (30, 900), (1, 1), (417, 415)])
def test_the_square_holds_the_whole_photograph_between_gray_margins(size):
    square, fit = letterbox(Image.new("RGB", size, (255, 0, 0)), (416, 416), smooth=True)
    red = (square == (255, 0, 0)).all(-1)
    gray = (square == 114).all(-1)
    assert (red ^ gray).all()
    assert red.sum() == round(size[0] * fit.across) * round(size[1] * fit.down)
    assert red.any(0).sum() == 416 or red.any(1).sum() == 416


def test_pixels_land_where_the_fit_says():
    photo = Image.new("RGB", (800, 400))
    photo.paste((255, 255, 255), (600, 100, 700, 200))
    square, fit = letterbox(photo, (416, 416), fill=0, smooth=True)
    rows, columns = np.nonzero(square[..., 0] > 127)
    seen = fit.undo(np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32))[0]
    np.testing.assert_allclose(seen, (600, 100, 700, 200), atol=1.5)


@pytest.mark.parametrize("size", [(640, 640), (333, 250), (417, 1001), (37, 900), (2000, 1999), (416, 416)])
def test_the_pixels_are_those_that_the_shipped_model_was_measured_on(size):
    wide, high = size
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (high, wide, 3), np.uint8))
    scale = 416 / max(size)
    new_wide, new_high = max(1, round(wide * scale)), max(1, round(high * scale))
    small = photo.resize((new_wide, new_high), Image.Resampling.BILINEAR, reducing_gap=3.0)
    left, top = (416 - new_wide) // 2, (416 - new_high) // 2
    wanted = np.full((416, 416, 3), 114, np.uint8)
    wanted[top : top + new_high, left : left + new_wide] = np.asarray(small)
    square, fit = letterbox(photo, (416, 416), smooth=True)
    np.testing.assert_array_equal(square, wanted)
    assert fit == (new_wide / wide, new_high / high, left, top)


def test_each_type_has_its_own_threshold():
    rows = [(k, 0.35, 100 * k, 10, 100 * k + 50, 60) for k in range(4)]
    assert {t.type_name for t in find(*rows)} == {"slope_drain", "vegetation"}


def test_the_most_confident_of_duplicates_stays_and_comes_first():
    instances = find(
        (0, 0.7, 0, 0, 100, 100), (0, 0.9, 5, 0, 100, 100), (2, 0.8, 0, 0, 100, 100), (0, 0.95, 300, 0, 400, 9)
    )
    assert [(t.type_name, round(t.score, 2), t.id) for t in instances] == [
        ("toe_drain", 0.95, "1"),
        ("toe_drain", 0.9, "2"),
        ("slope_drain", 0.8, "3"),
    ]


def test_neighbors_that_overlap_little_both_stay():
    assert len(find((2, 0.9, 0, 0, 100, 300), (2, 0.8, 60, 0, 160, 300))) == 2


def test_boxes_are_clipped_to_the_photograph_and_margins_hold_nothing():
    in_frame, in_margin = (0, 0.9, -50, 200, 500, 220), (3, 0.9, 10, 20, 60, 70)
    (instance,) = find(in_frame, in_margin, size=(640, 320))  # margins of 104 above and below
    assert instance.box.xyxy == pytest.approx((0, 147.69, 640, 178.46), abs=0.01)


def test_nothing_found_is_an_empty_list():
    assert find((0, 0.1, 0, 0, 100, 100)) == []
    assert find() == []


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK"])
def test_any_mode_of_picture_can_be_searched(mode):
    assert instances(OnnxDetector(Network(()), CARD), Image.new(mode, (50, 40))) == []


@pytest.fixture(scope="module")
def shipped():
    return load_detector("embedded", taxonomy=Taxonomy.load())


def test_the_shipped_model_answers_the_same_twice(shipped):
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 255, (300, 500, 3), dtype=np.uint8))
    assert instances(shipped, photo) == instances(shipped, photo)


def test_several_photographs_have_a_thread_each_and_find_what_each_finds_alone(shipped, monkeypatch):
    images, seen = [Image.fromarray(draw(seed, size=200).image) for seed in range(4)], set()
    alone = [shipped.find([image])[0] for image in images]
    plain = OnnxDetector._find

    def find(detector, image):
        seen.add(current_thread().name)
        return plain(detector, image)

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("toeline.detect.onnx.cores", lambda: 3)
    monkeypatch.setattr(OnnxDetector, "_find", find)
    assert shipped.find(images) == alone
    assert all("ThreadPool" in name for name in seen)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as --threads 1 sets it
    seen.clear()
    assert shipped.find(images) == alone
    assert seen == {current_thread().name}


def test_the_shipped_model_is_small_and_knows_the_four_types(shipped):
    assert set(shipped.card.kinds) == {t.name for t in Taxonomy.load().types}
    assert EMBEDDED.stat().st_size < 12_000_000
    assert all(0.05 < limit < 0.95 for limit in shipped.card.thresholds)


@pytest.mark.slow
def test_the_shipped_model_finds_what_is_drawn(shipped):
    synth = pytest.importorskip("toeline.synth.scene")
    hits = wanted = 0
    for seed in range(3):
        drawing = synth.draw(810_000_000 + seed, size=640)
        found = instances(shipped, Image.fromarray(drawing.image))
        for instance in drawing.objects:
            wanted += 1
            hits += any(f.type_name == instance.kind and f.box.iou(Box.around(instance.polygon)) >= 0.5 for f in found)
    assert hits >= 0.6 * wanted, f"{hits} of {wanted} drawn objects were found"


def write(folder: Path, card=CARD_JSON, weights=b"not a model") -> Path:
    (folder / "detector.json").write_text(card if isinstance(card, str) else json.dumps(card))
    (folder / "model.onnx").write_bytes(weights)
    return folder / "model.onnx"


def test_a_corrupt_weight_file_says_which(tmp_path):
    with pytest.raises(ModelError, match=r"model\.onnx: not a readable ONNX model"):
        load_detector(str(write(tmp_path)), taxonomy=Taxonomy.load())


def test_truncated_weights_are_refused(tmp_path):
    path = write(tmp_path, weights=EMBEDDED.read_bytes()[:100_000])
    with pytest.raises(ModelError, match="not a readable ONNX model"):
        load_detector(str(path), taxonomy=Taxonomy.load())


@pytest.mark.parametrize(
    "card",
    ["", "[]", "{}", {**CARD_JSON, "thresholds": {}}, {**CARD_JSON, "input_px": "wide"}, {**CARD_JSON, "kinds": 4}],
)
def test_a_bad_description_says_which_file(tmp_path, card):
    with pytest.raises(ModelError, match=r"detector\.json: cannot be read"):
        load_detector(str(write(tmp_path, card)), taxonomy=Taxonomy.load())


def test_a_missing_description_is_told(tmp_path):
    (tmp_path / "model.onnx").write_bytes(EMBEDDED.read_bytes())
    with pytest.raises(ModelError, match=r"detector\.json"):
        load_detector(str(tmp_path), taxonomy=Taxonomy.load())


def test_a_folder_of_both_files_is_a_detector(tmp_path, shipped):
    write(tmp_path, json.loads(EMBEDDED.with_name("detector.json").read_text()), EMBEDDED.read_bytes())
    assert load_detector(str(tmp_path), taxonomy=Taxonomy.load()).card == shipped.card


def test_weights_of_another_size_than_described_are_refused(tmp_path):
    path = write(tmp_path, {**CARD_JSON, "input_px": 320}, EMBEDDED.read_bytes())
    with pytest.raises(ModelError, match=r"takes `photo` \[1, 320, 320, 3\]"):
        load_detector(str(path), taxonomy=Taxonomy.load())


@pytest.mark.parametrize("name", ["nowhere/at_all.onnx", "embeded"])
def test_a_detector_that_is_not_there_lists_what_is(name):
    with pytest.raises(ModelError, match="there is no such detector"):
        load_detector(name, taxonomy=Taxonomy.load())


def test_a_type_that_the_taxonomy_lacks_is_told_before_any_photograph(tmp_path):
    path = write(tmp_path, {**CARD_JSON, "kinds": ["spillway"], "thresholds": {"spillway": 0.5}})
    with pytest.raises(TaxonomyError, match="finds types that the taxonomy"):
        load_detector(str(path), taxonomy=Taxonomy.load())


@pytest.mark.parametrize(
    ("boxes", "scores", "what"),
    [
        (np.full((5, 4), np.nan), np.zeros((5, 4)), "not finite"),
        (np.zeros((5, 4)), np.full((5, 4), np.nan), "not finite"),
        (np.zeros((5, 4)), np.zeros((5, 3)), "do not belong together"),
        (np.zeros((5, 3)), np.zeros((5, 4)), "do not belong together"),
        (np.zeros(()), np.zeros((5, 4)), "do not belong together"),
    ],
)
def test_a_model_that_gives_nonsense_is_not_one_that_finds_nothing(
    boxes: np.ndarray, scores: np.ndarray, what: str
) -> None:
    class Session:
        def run(self, *_: object) -> list[np.ndarray]:
            return [boxes, scores]

    card = DetectorCard(64, 114, ("toe_drain", "rock_toe", "slope_drain", "vegetation"), (0.5,) * 4, 0.5)
    with pytest.raises(ModelError, match=what):
        OnnxDetector(Session(), card).find([Image.new("RGB", (64, 64))])


def test_a_head_that_would_change_nothing_is_refused() -> None:
    with pytest.raises(SetupError, match=r"--head is for an \.onnx without"):
        load_detector("embedded", taxonomy=Taxonomy.load(), options=DetectorOptions(head="yolov8"))
    with pytest.raises(SetupError, match="there is no head 'v8'"):
        DetectorOptions(head="v8")
