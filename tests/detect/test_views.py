"""Several views of a photograph, joined; and the second look at confidences."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toeline.core.scene import Instance
from toeline.core.taxonomy import Taxonomy
from toeline.data.feature_maps import feature_network
from toeline.detect.detector import RESCORE
from toeline.detect.load import EMBEDDED, load_detector, weight_files
from toeline.detect.onnx import OnnxDetector
from toeline.detect.rescore import LinearScore, Rescorer, columns_of, width
from toeline.detect.views import MOST, STEADY, WHOLE, Candidates, Rows, View, fused
from toeline.errors import ModelError
from toeline.train.detector_data import drawn_photograph
from toeline.train.rescore import SeenPhotograph, fit_rescorer, paired, rescored_out_of_fold

TAXONOMY = Taxonomy.load()
KINDS = ("toe_drain", "rock_toe", "slope_drain", "vegetation")


def rows(*found: tuple[int, float, tuple[float, float, float, float]]) -> Rows:
    return Rows(
        np.array([box for _, _, box in found], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in found], np.float32),
        np.array([kind for kind, _, _ in found], np.int64),
    )


def test_boxes_of_one_object_become_their_weighted_mean() -> None:
    found = fused([rows((0, 0.6, (0, 0, 10, 10))), rows((0, 0.2, (2, 0, 12, 10))), rows()])
    assert found.boxes[0] == pytest.approx([0.5, 0, 10.5, 10])
    assert found.scores[0] == pytest.approx(0.4 * 2 / 3)  # the mean of two, and one view of three saw nothing
    assert found.votes[0, :, 0] == pytest.approx([0.6, 0.2, 0.0])
    assert found.votes[0, 2].tolist() == [0.0, 0.0]


def test_types_and_places_stay_apart() -> None:
    one = rows((0, 0.9, (0, 0, 10, 10)), (1, 0.8, (0, 0, 10, 10)), (0, 0.7, (20, 0, 30, 10)))
    found = fused([one])
    assert found.kinds.tolist() == [0, 1, 0]
    assert found.scores == pytest.approx([0.9, 0.8, 0.7])
    assert found.boxes.tolist() == one.boxes.tolist()


def test_nothing_found_is_nothing_and_a_crowd_is_cut() -> None:
    none = fused([rows(), rows()])
    assert none.boxes.shape == (0, 4)
    assert none.votes.shape == (0, 2, 2)
    crowd = fused([rows(*((0, 0.9 - i / 1000, (20 * i, 0, 20 * i + 9, 9)) for i in range(MOST + 9)))])
    assert len(crowd.scores) == MOST
    assert crowd.scores[0] == pytest.approx(0.9)


@pytest.mark.parametrize("view", [*STEADY, View(0.5), View(0.5, mirrored=True)])
@pytest.mark.parametrize("size", [(640, 480), (300, 500), (97, 97)])
def test_a_box_goes_into_a_view_and_comes_back(view: View, size: tuple[int, int]) -> None:
    """A white box on black, found again in the laid square by its pixels."""
    box = (round(size[0] * 0.2), round(size[1] * 0.3), round(size[0] * 0.5), round(size[1] * 0.9))
    photo = Image.new("RGB", size)
    photo.paste((255, 255, 255), box)
    square, fit = view.laid(photo, 384, 114)
    assert square.shape == (384, 384, 3)
    down, across = np.nonzero(square[..., 0] > 184)  # half way between the gray of the margins and white at least
    seen = np.array([[across.min(), down.min(), across.max() + 1, down.max() + 1]], np.float32)
    assert view.undone(seen, fit, 384)[0] == pytest.approx(box, abs=1.5 * max(size) / (384 * view.scale))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the embedded detector that looks at several views."""
    shutil.copytree(EMBEDDED.parent, tmp_path / "detector")
    (tmp_path / "detector" / RESCORE).unlink(missing_ok=True)
    told(tmp_path / "detector", views=[v._asdict() for v in STEADY])
    return tmp_path / "detector"


def told(folder: Path, **changes: object) -> None:
    card = json.loads((folder / "detector.json").read_text())
    (folder / "detector.json").write_text(json.dumps({**card, **changes}))


def loaded(folder: Path) -> OnnxDetector:
    detector = load_detector(str(folder), taxonomy=TAXONOMY)
    assert isinstance(detector, OnnxDetector)
    return detector


def photo(n: int) -> tuple[Image.Image, list[Instance]]:
    return drawn_photograph(n, seed=3, size=320)


def test_views_are_read_and_find_what_is_there(folder: Path) -> None:
    image, true = photo(0)
    detector = loaded(folder)
    found = detector.find([image])[0]
    assert detector.card.views == STEADY
    assert found == detector.find([image])[0]
    best = max(found, key=lambda s: s.instance.score).instance
    assert max(t.box.iou(best.box) for t in true if t.type_name == best.type_name) > 0.5
    assert replace(detector, card=replace(detector.card, views=WHOLE)).find([image])[0] != found


@pytest.mark.parametrize(
    "views", [[{"scale": 2}], [{"scale": 0}], [{"scale": "half"}], [{"mirrored": 1}], ["whole"], 3, {"scale": 1}]
)
def test_views_that_are_none_are_refused(folder: Path, views: object) -> None:
    told(folder, views=views)
    with pytest.raises(ModelError, match=r"detector\.json"):
        loaded(folder)


@pytest.fixture(scope="module")
def seen() -> list[SeenPhotograph]:
    """Drawn photographs of four flight lines, looked at by the embedded detector."""
    detector = loaded(EMBEDDED.parent).viewed(STEADY)
    made = []
    for n in range(8):
        image, true = photo(n)
        found = detector.candidates(image)
        columns = columns_of(image, found, len(KINDS), feature_network())
        made.append(SeenPhotograph(f"line {n // 2}", found, columns, paired(found, true, detector.card.kinds)))
    return made


def test_out_of_fold_each_photograph_is_looked_at_by_a_model_of_other_lines(seen: list[SeenPhotograph]) -> None:
    network, views = feature_network(), len(STEADY)
    again = rescored_out_of_fold(seen, KINDS, views, network)
    for photo, said in zip(seen, again, strict=True):
        others = [p for p in seen if p.flight_line != photo.flight_line]
        model = fit_rescorer(others, KINDS, views, network)
        assert said.scores == pytest.approx(model.rescored(photo.found, photo.columns).scores)
        assert (np.diff(said.scores) <= 0).all()
    own = fit_rescorer(seen, KINDS, views, network).rescored(seen[0].found, seen[0].columns)
    assert not np.array_equal(own.scores, again[0].scores)


def test_it_is_written_and_read_and_belongs_to_its_detector(folder: Path, seen: list[SeenPhotograph]) -> None:
    model = fit_rescorer(seen, KINDS, len(STEADY), feature_network())
    assert model.by_kind
    model.save(folder / RESCORE)
    first = (folder / RESCORE).read_bytes()
    fit_rescorer(seen, KINDS, len(STEADY), feature_network()).save(folder / RESCORE)
    assert (folder / RESCORE).read_bytes() == first
    assert folder / RESCORE in weight_files(str(folder))
    image, _ = photo(9)
    detector = loaded(folder)
    assert detector.rescorer is not None
    plain = detector.candidates(image)
    best = detector.rescorer(image, plain)
    limits = np.asarray(detector.card.thresholds, np.float32)
    found = detector.find([image])[0]
    assert [s.instance.score for s in found] == pytest.approx(best.scores[best.scores >= limits[best.kinds]].tolist())
    told(folder, views=[{}])
    with pytest.raises(ModelError, match="views"):
        loaded(folder)


def test_a_damaged_file_is_refused(folder: Path, seen: list[SeenPhotograph]) -> None:
    model = fit_rescorer(seen, KINDS, len(STEADY), feature_network())
    k, one = next(iter(model.by_kind.items()))
    short = LinearScore(one.mean[1:], one.spread[1:], one.weights[1:], one.bias)
    replace(model, by_kind={k: short}).save(folder / RESCORE)
    with pytest.raises(ModelError, match="columns"):
        loaded(folder)
    (folder / RESCORE).write_bytes(b"nothing")
    with pytest.raises(ModelError):
        loaded(folder)


def test_tables_that_are_no_numbers_are_refused() -> None:
    row = np.zeros(3)
    with pytest.raises(ValueError, match="no number"):
        LinearScore(row, row + 1, np.array([0, np.nan, 0]), 0.0)
    with pytest.raises(ValueError, match="length"):
        LinearScore(row, row + 1, np.zeros(2), 0.0)
    with pytest.raises(ValueError, match="no number"):
        LinearScore(row, row, row, 0.0)


def test_types_with_few_boxes_keep_their_confidence(seen: list[SeenPhotograph]) -> None:
    few = [replace(p, right=np.zeros(len(p.right), bool)) for p in seen]
    model = fit_rescorer(few, KINDS, len(STEADY), feature_network())
    assert not model.by_kind
    assert model.rescored(seen[0].found, seen[0].columns).scores == pytest.approx(seen[0].found.scores)


def test_no_boxes_no_columns() -> None:
    none = fused([rows()] * 4)
    assert columns_of(Image.new("RGB", (64, 48)), none, 4, feature_network()).shape == (0, width(4, 4))
    model = Rescorer(KINDS, 4, {}, feature_network())
    assert isinstance(model(Image.new("RGB", (64, 48)), none), Candidates)
