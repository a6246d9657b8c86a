"""The embedded network read back from its ONNX file says what the file says; needs the extra train-detector."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from toeline.detect.load import EMBEDDED
from toeline.errors import ModelError
from toeline.synth.scene import draw

pytest.importorskip("onnx", reason="needs toeline[train-detector]")
pytest.importorskip("libreyolo", reason="needs toeline[train-detector]")
torch = pytest.importorskip("torch")

from toeline.train.detector_data import KINDS, scaled  # noqa: E402
from toeline.train.detector_model import Whole, network_of, read_start  # noqa: E402


@pytest.fixture(scope="module")
def pixels() -> Any:
    return np.stack([draw(seed, size=384).image for seed in range(4)])


@pytest.fixture(scope="module")
def network(pixels: Any) -> Any:
    return network_of(read_start(EMBEDDED), KINDS, [scaled(torch.from_numpy(pixels[:3]))])


def test_it_gives_the_scores_and_boxes_of_the_file(network: Any, pixels: Any) -> None:
    session = onnxruntime.InferenceSession(str(EMBEDDED), providers=["CPUExecutionProvider"])
    network.eval()
    for picture in pixels:
        boxes, scores = session.run(["boxes", "scores"], {"photo": picture[None]})
        with torch.inference_mode():
            ours = Whole(network).eval()(torch.from_numpy(picture[None]))
        np.testing.assert_allclose(ours[1].numpy(), scores, atol=1e-4)
        np.testing.assert_allclose(ours[0].numpy(), boxes, atol=1e-2)  # pixels of 384
        assert scores.max() > 0.5


def test_in_training_mode_it_is_still_the_same_network(network: Any, pixels: Any) -> None:
    """Batch norms of mean 0 and deviation 1 would make the first step see another network."""
    batch = scaled(torch.from_numpy(pixels[:3]))
    with torch.no_grad():
        network.eval()
        seen = network[0](batch)
        network.train()
        trained = network[0](batch)
    for a, b in zip(seen, trained, strict=True):
        np.testing.assert_allclose(b.numpy(), a.numpy(), atol=0.05 * float(a.abs().max()))


def test_types_go_by_name_and_new_ones_begin_at_random(pixels: Any) -> None:
    kinds = ("vegetation", "spillway", "toe_drain")
    start = read_start(EMBEDDED)
    other = network_of(start, kinds, [scaled(torch.from_numpy(pixels[:1]))])
    before = start.weights["1.cv3.0.2.bias"]
    bias = other[1].cv3[0][-1].bias.detach().numpy()
    assert bias[0] == before[KINDS.index("vegetation")]
    assert bias[2] == before[KINDS.index("toe_drain")]
    assert bias[1] == pytest.approx(np.log(0.01 / 0.99))


@pytest.mark.parametrize("fault", ["no file", "garbage", "another network", "no card"])
def test_a_file_that_cannot_be_trained_on_is_told(fault: str, tmp_path: Path) -> None:
    if fault != "no file":
        shutil.copy(EMBEDDED, tmp_path)
    if fault != "no card":
        shutil.copy(EMBEDDED.with_name("detector.json"), tmp_path)
    if fault == "garbage":
        (tmp_path / "model.onnx").write_bytes(b"\x00garbage" * 9)
    if fault == "another network":
        small = Path(__file__).parent.parent / "detect" / "small_raw.onnx"
        shutil.copy(small, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="cannot be trained further"):
        read_start(tmp_path)
    assert json.loads(EMBEDDED.with_name("detector.json").read_text())["kinds"] == list(KINDS)


def test_weights_that_are_stored_in_half_precision_are_read_as_such(tmp_path: Path) -> None:
    """benchmarks/half.py writes them under other names, with a cast back."""
    sys.path.insert(0, str(Path(__file__).parent.parent.parent / "benchmarks"))
    try:
        from half import stored
    finally:
        sys.path.pop(0)
    shutil.copy(EMBEDDED.with_name("detector.json"), tmp_path)
    stored(EMBEDDED, tmp_path / "model.onnx", half=True)
    before, after = read_start(EMBEDDED).weights, read_start(tmp_path).weights
    assert after.keys() == before.keys()
    assert {values.dtype for values in after.values()} == {np.dtype(np.float32)}
    for name, values in before.items():
        np.testing.assert_allclose(after[name], values, rtol=1e-3, atol=1e-6)
