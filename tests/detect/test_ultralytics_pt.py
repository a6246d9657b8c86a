"""Weights of ultralytics: what is told without the library, how its results are read, and what it may not run."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from toeline.core.taxonomy import Taxonomy
from toeline.detect.detector import DetectorOptions
from toeline.detect.load import load_detector
from toeline.detect.ultralytics_pt import OFFLINE
from toeline.errors import ModelError, SetupError, TaxonomyError

WORDS = Taxonomy.load()
TYPES = {0: "toe drain", 1: "Rock-Toe"}
BLACK = Image.new("RGB", (64, 32))


def load(path: Path, **options: Any) -> Any:
    path.touch()
    return load_detector(str(path), taxonomy=WORDS, options=DetectorOptions(device="cpu", **options))


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in OFFLINE:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_without_ultralytics_it_is_told_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(SetupError, match=r"ultralytics is not installed\. Run: .* -m pip install 'ultralytics>=8\.4'"):
        load(tmp_path / "best.pt", trust=True)


def boxes(*rows: tuple[float, ...]) -> Any:
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return SimpleNamespace(xyxy=table[:, :4], conf=table[:, 4], cls=table[:, 5])


@dataclass
class Model:
    """Stands for a model of ultralytics: the same result for every picture of a call."""

    result: Any = None
    task: str = "detect"
    names: dict[int, str] = field(default_factory=lambda: dict(TYPES))
    asked: list[Any] = field(default_factory=list)

    def predict(self, arrays: list[np.ndarray], **settings: Any) -> list[Any]:
        self.asked.append((arrays, settings))
        return [self.result for _ in arrays]


@pytest.fixture
def library(monkeypatch):
    """A stand-in for ultralytics that opens any file as `model`."""
    module = ModuleType("ultralytics")

    def use(model: Model) -> Model:
        module.YOLO = lambda path: model  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "ultralytics", module)
        return model

    return use


def result(**given: Any) -> Any:
    return SimpleNamespace(**({"boxes": None, "masks": None, "obb": None} | given))


def test_boxes_are_read_and_the_library_is_asked_for_no_more_than_needed(library, tmp_path):
    model = library(Model(result(boxes=boxes((1, 2, 30, 20, 0.9, 1), (5, 5, 80, 9, 0.3, 0)))))
    (found,) = load(tmp_path / "best.pt", trust=True, thresholds={"toe drain": 0.2}).find([BLACK])
    assert [(s.instance.type_name, s.instance.box.xyxy) for s in found] == [
        ("rock_toe", (1, 2, 30, 20)),
        ("toe_drain", (5, 5, 64, 9)),
    ]
    ((_, settings),) = model.asked
    assert (settings["conf"], settings["device"], settings["verbose"], settings["save"]) == (0.2, "cpu", False, False)
    assert os.environ["YOLO_OFFLINE"] == "true"
    assert os.environ["YOLO_AUTOINSTALL"] == "false"


def test_colors_go_in_as_the_library_takes_them(library, tmp_path):
    model = library(Model(result(boxes=boxes())))
    load(tmp_path / "best.pt", trust=True).find([Image.new("RGB", (2, 2), (250, 100, 0))])
    assert model.asked[0][0][0][0, 0].tolist() == [0, 100, 250]


def test_photographs_of_other_sizes_are_asked_about_apart(library, tmp_path):
    model = library(Model(result(boxes=boxes())))
    found = load(tmp_path / "best.pt", trust=True).find([BLACK, BLACK.resize((9, 9)), BLACK])
    assert found == [[], [], []]
    assert [[a.shape[:2] for a in arrays] for arrays, _ in model.asked] == [[(32, 64)], [(32, 64)], [(9, 9)]]


def test_masks_give_outlines_in_the_photograph(library, tmp_path):
    mask = torch.zeros(1, 64, 64)
    mask[0, 20:30, 10:50] = 1  # of an input with 16 gray rows above
    library(Model(result(boxes=boxes((10, 4, 50, 14, 0.9, 0)), masks=SimpleNamespace(data=mask)), "segment"))
    ((found,),) = load(tmp_path / "best.pt", trust=True).find([BLACK])
    corners = np.array(found.instance.polygon)
    assert (corners.min(0).tolist(), corners.max(0).tolist()) == ([10.5, 4.5], [49.5, 13.5])


def test_turned_boxes_give_their_corners_and_the_box_around_them(library, tmp_path):
    corners = torch.tensor([[[20.0, 4.0], [28.0, 12.0], [20.0, 20.0], [12.0, 12.0]]])
    turned = SimpleNamespace(xyxyxyxy=corners, conf=torch.tensor([0.9]), cls=torch.tensor([1.0]))
    library(Model(result(obb=turned), "obb"))
    ((found,),) = load(tmp_path / "best.pt", trust=True).find([BLACK])
    assert found.instance.box.xyxy == (12, 4, 28, 20)
    assert found.instance.polygon == ((20, 4), (28, 12), (20, 20), (12, 12))


def test_names_that_do_not_fit_are_listed(library, tmp_path):
    library(Model(names={0: "toe drain", 1: "person"}))
    with pytest.raises(TaxonomyError, match=r"best\.pt.*'toe drain', 'person'; not in the taxonomy.*'person'"):
        load(tmp_path / "best.pt", trust=True)


def test_a_model_for_something_else_is_told(library, tmp_path):
    library(Model(task="classify"))
    with pytest.raises(ModelError, match="is made for 'classify'"):
        load(tmp_path / "best.pt", trust=True)


# What follows runs where ultralytics is installed.


class Harm:
    """A pickle of it writes a file when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> Any:
        return (open, (self.mark, "w"))


@pytest.fixture
def real(tmp_path, monkeypatch):
    """A network of random weights, as ultralytics saves it."""
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    for name, value in OFFLINE.items():
        monkeypatch.setenv(name, value)
    ultralytics = pytest.importorskip("ultralytics")
    model = ultralytics.YOLO("yolo11n.yaml")
    model.model.names = dict(enumerate(t.name for t in WORDS.types)) | dict.fromkeys(range(4, 80), "N/A")
    model.save(tmp_path / "best.pt")
    return tmp_path / "best.pt"


def test_a_pt_of_ultralytics_needs_no_trust(real):
    plain, trusted = (load(real, trust=trust, general=0.0).find([BLACK]) for trust in (False, True))
    assert plain == trusted


def test_a_pt_that_would_run_something_is_refused_unless_trusted(real):
    checkpoint = torch.load(real, weights_only=False)
    torch.save(checkpoint | {"harm": Harm(real.with_name("mark"))}, real)
    with pytest.raises(ModelError, match=r"not known to be harmless.*--trust.*yolo export model=best\.pt"):
        load(real)
    assert not real.with_name("mark").exists()


def test_a_pt_that_is_damaged_is_told_as_such(real):
    real.write_bytes(real.read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"cannot read this file as a model"):
        load(real)
