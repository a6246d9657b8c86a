"""The data set on disk: layout, names, labels, masks, resuming."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from toeline.errors import OutputError
from toeline.synth.dataset import part_of, scene_seed, write_dataset
from toeline.synth.plan import CLASS_NAMES
from toeline.synth.scene import draw

SIZE = 160


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synth") / "data"
    return write_dataset(out, scenes=4, seed=5, size=SIZE, parts={"train": 0.5, "valid": 0.25, "test": 0.25}).parent


def test_layout_is_roboflows(dataset: Path) -> None:
    names = {part: sorted(p.stem for p in (dataset / part / "images").iterdir()) for part in ("train", "valid", "test")}
    assert names == {
        "train": ["scene_000000", "scene_000001"],
        "valid": ["scene_000002"],
        "test": ["scene_000003"],
    }
    for part, stems in names.items():
        assert sorted(p.stem for p in (dataset / part / "labels").iterdir()) == stems
        assert len(list((dataset / part / "masks").iterdir())) == 2 * len(stems)
    yaml = (dataset / "data.yaml").read_text()
    assert "train: train/images\nval: valid/images\ntest: test/images\n" in yaml
    assert str(list(CLASS_NAMES)) in yaml


def test_labels_and_masks_are_those_of_the_scene(dataset: Path) -> None:
    drawing = draw(scene_seed(5, 2), size=SIZE)
    rows = [line.split() for line in (dataset / "valid/labels/scene_000002.txt").read_text().splitlines()]
    assert [int(row[0]) for row in rows] == [item.class_id for item in drawing.objects]
    for row, item in zip(rows, drawing.objects, strict=True):
        shares = np.array(row[1:], float).reshape(-1, 2)
        assert len(shares) >= 3
        assert shares.min() >= 0
        assert shares.max() <= 1
        np.testing.assert_allclose(shares * SIZE, item.polygon, atol=1e-3)
    for name, mask in (("object", drawing.object_mask), ("state", drawing.state_mask)):
        saved = cv2.imread(str(dataset / f"valid/masks/scene_000002_{name}.png"), cv2.IMREAD_UNCHANGED)
        assert saved is not None
        assert np.array_equal(saved, mask)


def test_a_run_that_was_cut_off_goes_on_and_ends_the_same(dataset: Path) -> None:
    label, image = dataset / "train/labels/scene_000001.txt", dataset / "train/images/scene_000001.jpg"
    before = label.read_bytes(), image.read_bytes()
    label.unlink()
    image.write_bytes(b"half")
    kept = (dataset / "train/images/scene_000000.jpg").stat().st_mtime_ns
    seen: list[tuple[int, int]] = []
    parts = {"train": 0.5, "valid": 0.25, "test": 0.25}
    write_dataset(dataset, scenes=4, seed=5, size=SIZE, parts=parts, progress=lambda a, b: seen.append((a, b)))
    assert (label.read_bytes(), image.read_bytes()) == before
    assert (dataset / "train/images/scene_000000.jpg").stat().st_mtime_ns == kept
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_folder_that_holds_something_else_is_refused(dataset: Path) -> None:
    with pytest.raises(OutputError, match="Choose a new folder"):
        write_dataset(dataset, scenes=4, seed=6, size=SIZE)


def test_one_split_can_hold_all(tmp_path: Path) -> None:
    write_dataset(tmp_path / "one", scenes=1, seed=1, size=SIZE, parts={"valid": 1.0}, masks=False)
    assert [path.name for path in (tmp_path / "one/valid/images").iterdir()] == ["scene_000000.jpg"]
    assert not (tmp_path / "one/valid/masks").exists()


def test_parts_cover_every_scene_in_the_asked_shares() -> None:
    named = [part_of(i, 200, {"train": 0.75, "valid": 0.15, "test": 0.10}) for i in range(200)]
    assert [named.count(part) for part in ("train", "valid", "test")] == [150, 30, 20]


def test_data_sets_of_different_seeds_share_no_scene() -> None:
    seeds = [scene_seed(seed, index) for seed in range(40) for index in range(500)]
    assert len(set(seeds)) == len(seeds)
    assert min(seeds) >= 0
