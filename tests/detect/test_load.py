"""Which back end a name means, and what is said when it means none."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from toeline.core.taxonomy import Taxonomy
from toeline.detect.detector import DetectorOptions, read_thresholds
from toeline.detect.load import EMBEDDED, load_detector, weight_files
from toeline.errors import ModelError, SetupError, TaxonomyError

WORDS = Taxonomy.load()


@pytest.fixture
def called(monkeypatch):
    """The back ends are replaced by their names."""

    def stand_in(name):
        return lambda *given, **named: SimpleNamespace(name=name, given=given, options=named.get("options") or given[2])

    monkeypatch.setattr("toeline.detect.transformers.load", stand_in("transformers"))
    monkeypatch.setattr("toeline.detect.ultralytics_pt.load", stand_in("pt"))
    monkeypatch.setattr("toeline.detect.ultralytics_onnx.load", stand_in("export"))
    monkeypatch.setattr("toeline.detect.onnx.OnnxDetector.load", stand_in("own"))


@pytest.mark.parametrize(
    ("files", "name", "meant"),
    [
        ((), "embedded", "own"),
        (("best.pt",), "best.pt", "pt"),
        (("BEST.PT",), "BEST.PT", "pt"),
        (("best.onnx",), "best.onnx", "export"),
        (("best.onnx", "detector.json"), "best.onnx", "own"),
        (("d/model.onnx", "d/detector.json"), "d", "own"),
        (("d/config.json",), "d", "transformers"),
        (("owner/name/config.json",), "owner/name", "transformers"),
        ((), "owner/name", "transformers"),
        ((), "PekingU/rtdetr_v2_r18vd", "transformers"),
    ],
)
def test_a_name_means_one_back_end(called, tmp_path, monkeypatch, files, name, meant):
    monkeypatch.chdir(tmp_path)
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert load_detector(name, taxonomy=WORDS).name == meant


@pytest.mark.parametrize(
    ("files", "name", "told"),
    [
        ((), "embeded", "there is no such detector"),
        ((), "nowhere/best.pt", "there is no such detector"),
        ((), "nowhere/best.onnx", "there is no such detector"),
        ((), "a/b/c", "there is no such detector"),
        (("best.engine",), "best.engine", "a file of this kind is no detector"),
        (("d/readme.txt",), "d", r"neither model\.onnx nor config\.json"),
    ],
)
def test_a_name_that_means_none_is_told_with_what_can_be_given(tmp_path, monkeypatch, files, name, told):
    monkeypatch.chdir(tmp_path)
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    with pytest.raises(ModelError, match=f"{told}.*'embedded'; a .pt of ultralytics; an .onnx"):
        load_detector(name, taxonomy=WORDS)


def test_types_of_thresholds_are_called_as_the_taxonomy_calls_them(called):
    options = load_detector("embedded", taxonomy=WORDS, options=DetectorOptions({"Toe Drain": 0.4})).options
    assert options.thresholds == {"toe_drain": 0.4}
    with pytest.raises(SetupError, match="toe_drain is given twice, once as 'toe-drain'"):
        load_detector("embedded", taxonomy=WORDS, options=DetectorOptions({"Toe Drain": 0.4, "toe-drain": 0.5}))
    with pytest.raises(TaxonomyError, match=r"'spillway'. Choose one of: toe_drain, rock_toe"):
        load_detector("embedded", taxonomy=WORDS, options=DetectorOptions({"spillway": 0.4}))


def test_thresholds_change_what_the_embedded_detector_asks():
    card = load_detector("embedded", taxonomy=WORDS, options=DetectorOptions({"rock_toe": 0.9}, general=0.1)).card
    assert dict(zip(card.kinds, card.thresholds, strict=True))["rock_toe"] == 0.9
    assert sorted(card.thresholds) == [0.1, 0.1, 0.1, 0.9]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rock_toe"], "give a confidence"),
        (["rock_toe=high"], "give a confidence"),
        (["rock_toe=0.4", "rock_toe=0.5"], "rock_toe already has one"),
        (["0.4", "0.5"], "all types already has one"),
        (["rock_toe=1.4"], "the threshold of rock_toe is 1.4"),
        (["-0.1"], "the threshold of all types is -0.1"),
        (["nan"], "the threshold of all types is nan"),
    ],
)
def test_thresholds_that_are_none_are_told(words, told):
    with pytest.raises(SetupError, match=told):
        DetectorOptions(*read_thresholds(words))


def test_the_files_that_decide_are_known(tmp_path):
    beside = [EMBEDDED.with_name(name) for name in ("detector.json", "rescore.safetensors")]
    assert weight_files("embedded") == [EMBEDDED, *beside]
    assert weight_files("owner/name") == []
    for name in ("best.pt", "config.json", "model.safetensors"):
        (tmp_path / name).touch()
    assert weight_files(str(tmp_path / "best.pt")) == [tmp_path / "best.pt"]
    assert weight_files(str(tmp_path)) == [tmp_path / "config.json", tmp_path / "model.safetensors"]
