"""Every detector family of transformers with a tiny model of random weights: what it finds is what its own
post-processing says, alone or in a batch; and everything that can be wrong with a directory, one case a row."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.support.datasets import NAMES, make_photo
from tests.support.tiny_detectors import FAMILIES, SQUARE, TYPES, save_detector
from tests.support.tiny_judges import save_model

from toeline.core.scene import Detection
from toeline.core.taxonomy import Taxonomy
from toeline.data.images import read_photo
from toeline.detect import transformers as hf
from toeline.detect.detector import DetectorOptions
from toeline.detect.load import load_detector
from toeline.detect.transformers import TransformersDetector
from toeline.errors import ModelError, SetupError, TaxonomyError
from toeline.pipelines.inspector import Inspector
from toeline.synth.scene import draw

SIZES = ((200, 100), (64, 64), (90, 131), (200, 100), (40, 3))
ALL = DetectorOptions(general=0.0, device="cpu")
Rows = list[tuple[str, float, tuple[float, ...]]]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A model directory for each family, made when it is first asked for."""
    root = tmp_path_factory.mktemp("detectors")

    def folder(family: str) -> Path:
        where = root / family
        return where if where.exists() else save_detector(where, family)

    return folder


def load(where: Path, options: DetectorOptions = ALL) -> TransformersDetector:
    return hf.load(str(where), Taxonomy.load(), options)


def rows(found: list[Detection]) -> Rows:
    return [(s.instance.type_name, s.instance.score, s.instance.box.xyxy) for s in found]


@cache  # the directories of `folders` are not changed
def own_model(where: Path) -> tuple[Any, Any]:
    """The model and its processor, loaded as the model's page tells to; no processor where it needs torchvision."""
    import transformers

    from toeline.weights import quiet

    name = json.loads((where / "preprocessor_config.json").read_text())["image_processor_type"].removesuffix("Fast")
    with quiet():
        model = transformers.AutoModelForObjectDetection.from_pretrained(where).eval()
    if name == "RfDetrImageProcessor":
        return model, None
    return model, getattr(transformers, f"{name}Pil").from_pretrained(where)


def own_answer(where: Path, image: Any) -> dict[str, np.ndarray]:
    """What the model, its processor and its post-processing say."""
    model, processor = own_model(where)
    if processor is None:
        return by_hand(model, image)
    with torch.no_grad():
        outputs = model(**processor(images=image, return_tensors="pt"))
    (said,) = processor.post_process_object_detection(outputs, threshold=0.0, target_sizes=[image.size[::-1]])
    return {name: values.numpy() for name, values in said.items()}


def by_hand(model: Any, image: Any) -> dict[str, np.ndarray]:
    """RF-DETR's processor needs torchvision, so what it says is worked out here: resize, normalize, sigmoid, best."""
    pixels = np.asarray(image, np.float32) / 255
    for axis in (0, 1):  # a sample between the two nearest pixels, however much smaller the picture gets
        length = pixels.shape[axis]
        at = np.clip((np.arange(SQUARE["width"]) + 0.5) * length / SQUARE["width"] - 0.5, 0, length - 1)
        low, part = at.astype(int), (at % 1).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        high = np.minimum(low + 1, length - 1)
        pixels = pixels.take(low, axis) * (1 - part) + pixels.take(high, axis) * part
    pixels = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    with torch.no_grad():
        said = model(torch.tensor(pixels.transpose(2, 0, 1)[None], dtype=torch.float32))
    scores = said.logits[0].sigmoid().numpy()
    best = np.argsort(-scores, axis=None, kind="stable")[: len(scores)]
    query, label = np.unravel_index(best, scores.shape)
    cx, cy, w, h = said.pred_boxes[0].numpy()[query].T
    boxes = np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], 1) * (*image.size, *image.size)
    return {"boxes": boxes, "scores": scores[query, label], "labels": label}


def expected(said: dict[str, np.ndarray], size: tuple[int, int]) -> Rows:
    order = np.argsort(-said["scores"], kind="stable")
    boxes = np.clip(said["boxes"][order], 0, [*size, *size])
    solid = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) >= 1
    kept = zip(said["labels"][order], said["scores"][order], boxes, solid, strict=True)
    return [(TYPES[int(label)], float(score), tuple(box)) for label, score, box, fine in kept if fine][:100]


def assert_alike(one: Rows, other: Rows, *, px: float, confidence: float) -> None:
    """Equal but for rounding, which may also exchange neighbors of nearly equal confidence."""
    assert len(one) == len(other)
    left = list(other)
    for kind, score, box in one:
        near = [
            row
            for row in left
            if row[0] == kind and abs(row[1] - score) <= confidence and np.abs(np.subtract(row[2], box)).max() <= px
        ]
        assert near, (kind, score, box, left[:3])
        left.remove(near[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_found_is_what_the_models_own_post_processing_says(family: str, folders: Callable[[str], Path]) -> None:
    detector = load(folders(family))
    for seed, size in enumerate(SIZES[:3]):
        photo = make_photo(size, seed)
        (found,) = detector.find([photo])
        assert len(found) >= 4
        assert_alike(rows(found), expected(own_answer(folders(family), photo), size), px=0.5, confidence=1e-3)


def assert_own(where: Path, photos: Sequence[Image.Image]) -> None:
    """Boxes to half a pixel and confidences to a thousandth, asked about all photographs at once."""
    for photo, found in zip(photos, load(where).find(photos), strict=True):
        assert len(found) >= 4
        assert_alike(rows(found), expected(own_answer(where, photo), photo.size), px=0.5, confidence=1e-3)


def test_so_it_is_on_drawn_scenes(folders: Callable[[str], Path]) -> None:
    scenes = [Image.fromarray(draw(seed, size=320).image) for seed in range(20)]
    assert_own(folders("rt_detr"), [scene.crop((0, 0, 320, 180 + 20 * (i % 3))) for i, scene in enumerate(scenes)])


def test_so_it_is_on_real_photographs(folders: Callable[[str], Path], lagoon_dyke: Path) -> None:
    files = sorted((lagoon_dyke / "valid" / "images").iterdir())[:20]
    assert_own(folders("rt_detr"), [read_photo(file) for file in files])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_photograph_gets_the_same_answer_alone_and_in_any_batch(family: str, folders: Callable[[str], Path]) -> None:
    detector = load(folders(family))
    photos = [make_photo(size, seed) for seed, size in enumerate(SIZES)]
    together = detector.find(photos)
    assert rows(together[0]) != rows(together[3])  # two pictures of one size: what is seen matters
    for photo, found in zip(photos, together, strict=True):
        (alone,) = detector.find([photo])
        assert_alike(rows(found), rows(alone), px=1e-4 * max(photo.size), confidence=1e-4)


def test_detections_come_most_confident_first_inside_the_photograph(folders: Callable[[str], Path]) -> None:
    found = load(folders("conditional_detr")).find([make_photo((90, 131))])[0]
    scores = [s.instance.score for s in found]
    assert scores == sorted(scores, reverse=True)
    assert [s.instance.id for s in found] == [str(n) for n in range(1, len(found) + 1)]
    assert all(0 <= b.x1 < b.x2 <= 90 and 0 <= b.y1 < b.y2 <= 131 for b in (s.instance.box for s in found))
    assert {s.class_name for s in found} == {""}


def test_each_type_has_its_own_threshold(folders: Callable[[str], Path]) -> None:
    photo = make_photo((200, 100))
    everything = rows(load(folders("rt_detr")).find([photo])[0])
    kind, middle = everything[0][0], sorted(score for _, score, _ in everything)[len(everything) // 2]
    options = DetectorOptions({kind: 1.0}, general=middle, device="cpu")
    assert rows(load(folders("rt_detr"), options).find([photo])[0]) == [
        row for row in everything if row[0] != kind and row[1] >= middle
    ]
    default = load(folders("rt_detr"), DetectorOptions(device="cpu")).find([photo])[0]
    assert rows(default) == [row for row in everything if row[1] >= 0.5]


def test_a_detector_of_the_nine_classes_keeps_type_and_condition_apart(tmp_path: Path) -> None:
    found = load(save_detector(tmp_path / "nine", "detr", names=NAMES)).find([make_photo((200, 100))])[0]
    words = Taxonomy.load()
    assert found
    assert all(words.class_of(s.class_name).type == s.instance.type_name for s in found)
    assert all(s.class_name for s in found)


def test_a_directory_is_found_by_its_name(folders: Callable[[str], Path]) -> None:
    assert isinstance(load_detector(str(folders("d_fine")), taxonomy=Taxonomy.load()), TransformersDetector)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_processor_that_does_not_say_what_it_is_is_the_familys(
    family: str, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    where = shutil.copytree(folders(family), tmp_path / "model")
    edit("preprocessor_config.json", image_processor_type=None)(where)
    assert load(where).reader.family == load(folders(family)).reader.family


def test_a_hub_model_whose_classes_do_not_fit_is_not_downloaded(
    folders: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    asked: list[list[str]] = []

    def cached(hub_id: str, *, allow_patterns: list[str], **_: Any) -> str:
        asked.append(allow_patterns)
        return str(where)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: SimpleNamespace(sha="abc"))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", cached)
    where = shutil.copytree(folders("detr"), tmp_path / "model")
    (found,) = hf.load("owner/detector", Taxonomy.load(), ALL).find([make_photo((200, 100))])
    assert found
    assert ["*.safetensors" in patterns for patterns in asked] == [False, True]
    assert not any("*.bin" in patterns for patterns in asked)
    edit("config.json", id2label={0: "person"})(where)
    with pytest.raises(TaxonomyError, match=r"owner/detector.*'person'"):
        hf.load("owner/detector", Taxonomy.load(), ALL)
    assert ["*.safetensors" in patterns for patterns in asked] == [False, True, False]


def test_from_a_photograph_to_findings(tmp_path: Path) -> None:
    where = save_detector(tmp_path / "nine", "rt_detr_v2", names=NAMES)
    inspector = Inspector.load(where, save_model(tmp_path / "judge"), device="cpu")
    found = inspector.inspect(make_photo((200, 100)))
    assert found
    assert all(f.detector_class in Taxonomy.load().answers(f.type_name) for f in found)
    assert found == inspector.inspect(make_photo((200, 100)))


def test_no_photographs_no_answers(folders: Callable[[str], Path]) -> None:
    assert load(folders("detr")).find([]) == []


def test_a_softmax_head_is_read_as_one(folders: Callable[[str], Path], tmp_path: Path) -> None:
    where = shutil.copytree(folders("rt_detr"), tmp_path / "model")
    edit("config.json", use_focal_loss=False)(where)
    assert load(where).reader.told == {"use_focal_loss": False}
    assert load(folders("rt_detr")).reader.told == {"use_focal_loss": True}


@pytest.mark.parametrize("size", [(200, 100), (90, 131), (640, 480)])
def test_rf_detrs_stand_in_does_what_its_own_processor_does(
    size: tuple[int, int], folders: Callable[[str], Path]
) -> None:
    pytest.importorskip("torchvision")
    from transformers import RfDetrImageProcessor

    detector = load(folders("rf_detr"))
    sides = {"shortest_edge": 48, "longest_edge": 96}
    kept = replace(detector.reader, processor=type(detector.reader.processor)(size=sides, do_pad=True))
    theirs = RfDetrImageProcessor(size=sides, do_pad=True)(images=[make_photo(size)], return_tensors="pt")
    assert (kept.tensors(make_photo(size))["pixel_values"] - theirs["pixel_values"]).abs().max() < 1e-5
    own = RfDetrImageProcessor.from_pretrained(folders("rf_detr"))
    photo = make_photo(size)
    ours, theirs = detector.reader.tensors(photo), own(images=[photo], return_tensors="pt")
    assert ours.keys() == theirs.keys()
    assert ours["pixel_values"].shape == theirs["pixel_values"].shape
    assert (ours["pixel_values"] - theirs["pixel_values"]).abs().max() < 1e-5
    with torch.no_grad():
        said = detector.model(**ours)
    (a,) = detector.reader.rows(said, [size])
    (b,) = own.post_process_object_detection(said, threshold=0.0, target_sizes=[size[::-1]])
    assert all(np.array_equal(a[name], b[name].numpy()) for name in ("scores", "labels", "boxes"))


def edit(name: str, **changes: Any) -> Callable[[Path], object]:
    """Change entries of a JSON file; None takes one out."""

    def harm(folder: Path) -> None:
        said = {**json.loads((folder / name).read_text()), **changes}
        (folder / name).write_text(json.dumps({key: value for key, value in said.items() if value is not None}))

    return harm


def drop(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def weights(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def harm(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        held = load_file(folder / "model.safetensors")
        change(held)
        save_file(held, folder / "model.safetensors", metadata={"format": "pt"})

    return harm


def first(held: dict[str, Any], end: str) -> str:
    return next(name for name in held if name.endswith(end))


BAD: dict[str, tuple[Callable[[Path], object], type[Exception], str]] = {
    "no config": (drop("config.json"), ModelError, "no config.json"),
    "config is no JSON": (lambda f: (f / "config.json").write_text("{"), ModelError, "config.json cannot be read"),
    "another kind of model": (edit("config.json", model_type="bert"), ModelError, "'bert'.* no object detector"),
    "an unknown kind": (edit("config.json", model_type="yolo99"), ModelError, "config.json cannot be read"),
    "classes of something else": (
        edit("config.json", id2label={0: "person", 1: "rock toe", 2: "N/A", 3: "dog"}), TaxonomyError,
        "'person', 'rock toe', 'N/A', 'dog'.*not in the taxonomy.*'person', 'dog'.*slope_drain",
    ),
    "no class names": (
        edit("config.json", id2label=None, label2id=None), TaxonomyError, "'LABEL_0', 'LABEL_1'.*--taxonomy",
    ),
    "no weights": (drop("model.safetensors"), ModelError, "holds no .*safetensors"),
    "pickled weights": (
        lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), ModelError, "pickle.*safetensors",
    ),
    "weights cut short": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:500]), ModelError,
        "corrupt or cut short",
    ),
    "a tensor is missing": (
        weights(lambda held: held.pop(first(held, "self_attn.q_proj.weight"))), ModelError, "lack 1 of the detector's",
    ),
    "weights of another shape": (edit("config.json", d_model=32), ModelError, "cannot load this detector"),
    "no processor": (drop("preprocessor_config.json"), ModelError, "image processor cannot be loaded"),
    "the processor of a classifier": (
        edit("preprocessor_config.json", image_processor_type="ViTImageProcessor"), ModelError,
        "ViTImageProcessor, is none that reads boxes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_directory_is_refused_with_the_reason(name: str, folders: Callable[[str], Path], tmp_path: Path) -> None:
    harm, error, said = BAD[name]
    where = shutil.copytree(folders("detr"), tmp_path / "model")
    harm(where)
    with pytest.raises(error, match=f"(?s){said}") as caught:
        load(where)
    assert str(where) in str(caught.value)


def test_pickled_weights_are_read_when_the_user_trusts_them(folders: Callable[[str], Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file

    where = shutil.copytree(folders("detr"), tmp_path / "model")
    torch.save(load_file(where / "model.safetensors"), where / "pytorch_model.bin")
    (where / "model.safetensors").unlink()
    photo = make_photo((200, 100))
    trusted = load(where, DetectorOptions(general=0.0, device="cpu", trust=True)).find([photo])
    assert trusted == load(folders("detr")).find([photo])


def test_numbers_that_are_not_finite_are_a_fault_and_not_an_empty_photograph(
    folders: Callable[[str], Path], tmp_path: Path
) -> None:
    where = shutil.copytree(folders("detr"), tmp_path / "model")
    weights(lambda held: held[first(held, "class_labels_classifier.weight")].fill_(float("nan")))(where)
    with pytest.raises(ModelError, match="not finite"):
        load(where).find([make_photo((200, 100))])


def test_a_backbone_that_needs_timm_says_so(folders: Callable[[str], Path], tmp_path: Path) -> None:
    where = shutil.copytree(folders("detr"), tmp_path / "model")
    edit("config.json", backbone_config={"model_type": "timm_backbone", "backbone": "resnet18"})(where)
    with pytest.raises(SetupError, match="-m pip install timm"):
        load(where)
