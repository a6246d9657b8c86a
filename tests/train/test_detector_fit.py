"""A detector's training from end to end, on a tiny one of transformers: the same loop as the embedded network's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tests.support.datasets import write_yolo
from tests.support.tiny_detectors import save_detector
from transformers import AutoModelForObjectDetection

from toeline.core.taxonomy import Taxonomy
from toeline.data.datasets import read_split
from toeline.data.yolo import open_yolo
from toeline.detect.detector import DetectorOptions
from toeline.detect.letterbox import GRAY
from toeline.detect.load import load_detector
from toeline.errors import LabelError, ModelError, SetupError
from toeline.train.config import DRAWN_TIMES, DetectorFit
from toeline.train.detector import Fitted, fit_detector, read_detector_training_data, with_drawn
from toeline.train.detector_data import Pictures, Views, order_of

pytest.importorskip("pycocotools")
TAXONOMY = Taxonomy.load()
KINDS = tuple(t.name for t in TAXONOMY.types)
ROWS = ["6 0.3 0.4 0.2 0.6", "0 0.5 0.9 1.0 0.2"]
PHOTOS = {f"a_{n}.jpg": ROWS for n in range(5)}
VALID = {"v_1.jpg": ROWS, "v_2.jpg": ["4 0.5 0.5 0.6 0.4"]}
SMALL = {"batch": 2, "epochs": 3, "size": 64, "device": "cpu", "patience": 0, "seed": 3}
Seen = Callable[[int, int, Mapping[str, Any] | None], None]


class Killed(Exception):
    """Stands for a kill: nothing in the package catches it."""


def silent(*_: Any) -> None:
    pass


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_detector(tmp_path_factory.mktemp("model") / "rt_detr", "rt_detr", names=("cat", "dog"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_yolo(root, {"train": PHOTOS, "valid": VALID}, size_wh=(80, 60))
    return root


def train(model: Path, data: Path, out: Path, *, tell: Seen = silent, resume: bool = False, **more: Any) -> Fitted:
    out.mkdir(exist_ok=True)
    run = DetectorFit(**{**SMALL, "model": str(model), **more})
    return fit_detector(run, read_detector_training_data(run, data), out, resume=resume, tell=tell)


@pytest.fixture(scope="module")
def whole(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Fitted, Path]:
    out = tmp_path_factory.mktemp("whole")
    return train(model, data, out), out


def test_every_epoch_is_measured_and_the_best_is_kept(whole: tuple[Fitted, Path]) -> None:
    fitted, out = whole
    lines = fitted.log.validations()
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert set(lines[0]["valid"]["ap_50"]) == set(KINDS)
    best = max(lines, key=lambda line: line["valid"]["map_50"])["valid"]["map_50"]
    assert fitted.facts["valid"]["map_50"] == best
    assert fitted.facts["data"]["train"]["photographs"] == 5
    assert (out / "best.safetensors").is_file()


def test_what_is_written_is_a_detector_of_the_types(whole: tuple[Fitted, Path]) -> None:
    _, out = whole
    detector = load_detector(str(out), taxonomy=TAXONOMY, options=DetectorOptions(general=0.0, device="cpu"))
    (found,) = detector.find([Image.new("RGB", (80, 60))])
    assert {s.instance.type_name for s in found} <= set(KINDS)
    assert found
    kept = load_file(out / "best.safetensors")
    saved = AutoModelForObjectDetection.from_pretrained(out, local_files_only=True).state_dict()  # files name otherwise
    assert all(torch.equal(saved[name], kept[name]) for name in kept if name in saved)
    assert len(saved.keys() & kept.keys()) > len(saved) / 2


def test_a_killed_run_goes_on_to_the_same_weights(
    whole: tuple[Fitted, Path], model: Path, data: Path, tmp_path: Path
) -> None:
    def kill(done: int, total: int, line: Mapping[str, Any] | None) -> None:
        assert total == 6
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        train(model, data, tmp_path, tell=kill)
    done: list[int] = []
    fitted = train(model, data, tmp_path, resume=True, tell=lambda n, total, line: done.append(n))
    assert min(done) == 3  # the first epoch was not done again
    ours, theirs = (load_file(where / "best.safetensors") for where in (tmp_path, whole[1]))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert [x["valid"] for x in fitted.log.validations()] == [x["valid"] for x in whole[0].log.validations()]


def test_a_share_of_the_weights_to_begin_with_can_be_kept(model: Path, data: Path, tmp_path: Path) -> None:
    for name, keep in (("plain", 0.0), ("kept", 0.75)):
        train(model, data, tmp_path / name, epochs=1, keep=keep)
    begun, plain, kept = (load_file(f / "model.safetensors") for f in (model, tmp_path / "plain", tmp_path / "kept"))
    shared = [n for n, w in begun.items() if n in plain and w.shape == plain[n].shape and w.is_floating_point()]
    moved = [n for n in shared if "class" not in n and not torch.equal(begun[n], plain[n])]
    assert len(moved) > 50
    for name in moved:
        torch.testing.assert_close(kept[name], begun[name].lerp(plain[name], 0.25), rtol=1e-4, atol=1e-5)


def test_it_stops_when_nothing_better_comes(model: Path, data: Path, tmp_path: Path) -> None:
    fitted = train(model, data, tmp_path, patience=1, epochs=8, lr=1e-12)  # weights that do not move
    assert [line["epoch"] for line in fitted.log.validations()] == [1, 2]
    assert fitted.facts["epoch"] == 1


def test_it_learns_where_things_are(model: Path, data: Path, tmp_path: Path) -> None:
    fitted = train(model, data, tmp_path, epochs=6, lr=3e-3)
    losses = [line["loss"] for line in fitted.log.steps() if line.get("loss")]
    assert losses[-1] < losses[0] or len(losses) == 1
    assert np.isfinite(losses).all()


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"valid": "test"}, LabelError, "has no split 'test', which says when to stop"),
        ({"split": "none"}, LabelError, "has no split 'none'"),
        ({"epochs": 0}, SetupError, "--epochs must be above 0"),
        ({"size": 100}, SetupError, "multiple of 32"),
        ({"augment": 9}, SetupError, "from 0 to 1.5"),
        ({"begin": "runs/a"}, SetupError, "--model names the weights"),
    ],
)
def test_settings_that_cannot_be_are_told(
    settings: dict[str, Any], error: type[Exception], words: str, model: Path, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        train(model, data, tmp_path / "out", **settings)


def test_a_model_that_is_not_there_is_told(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not/there"):
        train(Path("not/there"), data, tmp_path / "out")


def test_which_of_both_kinds_is_trained_goes_by_what_is_there(model: Path, tmp_path: Path) -> None:
    assert DetectorFit().hub is None
    assert DetectorFit(begin="scratch").hub is None
    assert DetectorFit(begin=str(tmp_path)).hub is None
    assert DetectorFit(begin=str(model)).hub == str(model)
    assert DetectorFit(begin="owner/name").hub == "owner/name"
    assert DetectorFit(model="owner/name", begin="scratch").hub == "owner/name"
    assert [DetectorFit(begin=b).peak for b in ("embedded", "scratch", "owner/name")] == [5e-4, 1.5e-3, 1e-4]


def test_a_photograph_that_is_not_square_lies_between_margins_and_its_boxes_with_it(data: Path) -> None:
    photos = read_split(open_yolo(data, TAXONOMY), "valid", TAXONOMY, conditions=False).scenes
    pixels, objects = Pictures(photos, KINDS, 1000)[1]
    assert pixels.shape == (80, 80, 3)
    assert (pixels[:10] == GRAY).all()
    assert (pixels[70:] == GRAY).all()
    kind, outline = objects[0]
    assert KINDS[kind] == "rock_toe"
    np.testing.assert_allclose([outline.min(0), outline.max(0)], [[16, 28], [64, 52]], atol=0.01)
    half, (shrunk,) = Pictures(photos, KINDS, 40)[1]
    assert half.shape == (40, 40, 3)
    np.testing.assert_allclose([shrunk[1].min(0), shrunk[1].max(0)], [[8, 14], [32, 26]], atol=0.01)
    assert Pictures(photos, KINDS, 1000, square=False)[1].pixels.shape == (60, 80, 3)


def test_a_turn_looks_the_same_whenever_it_is_seen(data: Path) -> None:
    photos = read_split(open_yolo(data, TAXONOMY), "train", TAXONOMY, conditions=False).scenes
    order = order_of(len(photos), epochs=2, batch=2, seed=1)
    views = [Views(Pictures(photos, KINDS, 100), order, 64, 1, 1.0) for _ in range(2)]
    for turn in (3, 0, 5):
        one, two = (v.view(turn) for v in views)
        assert one[0].tobytes() == two[0].tobytes()
        np.testing.assert_array_equal(one[1], two[1])
    assert views[0].view(0)[0].tobytes() != views[0].view(1)[0].tobytes()


def test_every_epoch_sees_as_many_whole_batches_in_another_order() -> None:
    order = order_of(7, epochs=3, batch=2, seed=0)
    epochs = order.reshape(3, 6)
    assert all(len(set(epoch)) == 6 for epoch in epochs.tolist())
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 3


def test_drawn_scenes_stand_after_the_photographs_and_each_epoch_shows_others(tmp_path: Path) -> None:
    order = order_of(5, epochs=3, batch=8, seed=0, drawn=3, pool=12).reshape(3, 8)
    for epoch in order:
        assert sorted(epoch)[:5] == [0, 1, 2, 3, 4]
        assert len(set(epoch)) == 8
    assert len({tuple(sorted(e)) for e in order}) > 1
    photos = [*PHOTOS]  # anything with a length
    run = DetectorFit(mix_drawn=1)
    kinds = tuple(reversed(KINDS))
    mixed = with_drawn(photos, run, kinds, tmp_path)  # type: ignore[arg-type]
    assert len(mixed) == 5 + DRAWN_TIMES
    assert mixed[0] == photos[0]
    scene, plain = mixed[5], with_drawn(photos, run, KINDS, tmp_path)[5]  # type: ignore[arg-type]
    assert scene.pixels.shape == (640, 640, 3)
    assert [kinds[k] for k, _ in scene.objects] == [KINDS[k] for k, _ in plain.objects]
    assert scene.objects


def test_drawn_scenes_are_of_the_packages_types(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="--mix-drawn"):
        with_drawn([], DetectorFit(mix_drawn=1), ("crack",), tmp_path)
    with pytest.raises(SetupError, match="--mix-drawn"):
        DetectorFit(mix_drawn=-1)
    assert with_drawn([], DetectorFit(), ("crack",), tmp_path) == []
