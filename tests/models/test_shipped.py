"""The models in the package: there, small, safe to load, and trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import toeline
from toeline.core.box import Box
from toeline.core.finding import Finding
from toeline.core.ground_truth import join
from toeline.core.scene import Instance
from toeline.core.taxonomy import Taxonomy
from toeline.data.yolo import open_yolo, read_entry
from toeline.evaluate.classification import score
from toeline.evaluate.detection import detection_metrics
from toeline.evaluate.matching import match, on_found_boxes
from toeline.pipelines.inspector import Inspector

MODELS = Path(toeline.__file__).parent / "models"
PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"}


def test_all_models_are_at_most_45_megabytes() -> None:
    assert sum(f.stat().st_size for f in MODELS.rglob("*") if f.is_file()) <= 45_000_000


def test_no_model_is_a_pickle() -> None:
    assert [f.name for f in MODELS.rglob("*") if f.suffix in PICKLES] == []


@pytest.mark.parametrize("model", ["judge", "detector"])
def test_every_model_has_a_card_and_says_how_it_was_made(model: str) -> None:
    card = (MODELS / model / "README.md").read_text(encoding="utf-8")
    assert "drawn scenes" in card
    assert "benchmarks/results/embedded.md" in card
    record = json.loads((MODELS / model / {"judge": "training.json", "detector": "detector.json"}[model]).read_text())
    assert "seed" in json.dumps(record)


def test_the_shipped_models_are_trained(tmp_path: Path) -> None:
    """Eight drawn scenes that no model was trained on. The bounds are far below what the benchmark measures: this test
    is for broken files, not for quality."""
    from toeline.synth.dataset import write_dataset

    taxonomy = Taxonomy.load()
    write_dataset(tmp_path, scenes=8, seed=77_001, parts={"valid": 1.0}, masks=False)
    scenes = [read_entry(e, taxonomy) for e in open_yolo(tmp_path, taxonomy).splits["valid"]]
    given = Inspector.load(taxonomy=taxonomy)
    found, told = [], []
    for one in scenes:
        true = join(one.scene.instances, one.ground_truths)
        name = one.scene.image.name
        found.append(match(name, given.inspect(one.scene.image), true))
        by_hand = Inspector(None, given.judge, taxonomy, boxes=lambda *_, seen=one.scene.instances: (seen, ()))
        told.append(match(name, by_hand.inspect(one.scene.image), true))
    assert detection_metrics(found)[0].value > 0.5
    assert score([case for m in told for case in on_found_boxes(m)], taxonomy).headline.value > 0.65


def test_the_same_photograph_gives_the_same_findings(tmp_path: Path) -> None:
    from PIL import Image

    from toeline.synth.scene import draw

    image = Image.fromarray(draw(77_002).image)
    inspector = Inspector.load()
    first, again = inspector.inspect(image), inspector.inspect(image)
    assert first == again
    assert all(isinstance(f, Finding) for f in first)


def test_an_object_on_a_blank_photograph_can_be_judged() -> None:
    from PIL import Image

    taxonomy = Taxonomy.load()
    instances = (Instance("1", "toe_drain", Box(0, 20, 64, 30)),)
    inspector = Inspector.load(taxonomy=taxonomy, boxes=lambda *_: (instances, ()))
    (finding,) = inspector.inspect(Image.new("RGB", (64, 48)))
    assert sum(finding.verdict.probabilities.values()) == pytest.approx(1)
    assert finding.verdict.class_name in taxonomy.answers("toe_drain")
