"""The feature network: its maps are those that timm gives with the same weights, and other files are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from toeline.data.feature_maps import EMBEDDED, MAPS, MOST_KEPT, FeatureNetwork, feature_network, scaled_hw
from toeline.errors import ModelError

DETECTOR = EMBEDDED.parent.parent / "detector" / "model.onnx"

# Of `picture(640, 480)` by timm's tf_efficientnet_lite0 in float32: mean, deviation, and the first, middle and last
# channel a third from the top and half way across.
TIMM = {
    "stride_8": (0.1635, 11.4235, (22.078, -17.355, 3.222)),
    "stride_16_early": (-0.3207, 9.2294, (-8.257, -12.290, 3.963)),
    "stride_16_late": (-0.2432, 6.3068, (6.678, -3.105, 5.032)),
}


def picture(high: int, wide: int) -> Image.Image:
    y, x = np.mgrid[0:high, 0:wide]
    channels = [(x * 7 + y * 3) % 256, (x * x // (y + 9)) % 256, ((x // 40 + y // 25) % 2) * 200]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def test_maps_are_those_of_timm() -> None:
    found = feature_network().maps(picture(640, 480))
    for (name, (stride, channels)), one in zip(MAPS.items(), found, strict=True):
        mean, deviation, cells = TIMM[name]
        assert (one.shape, one.dtype) == ((channels, 640 // stride, 480 // stride), np.float32)
        assert one.mean() == pytest.approx(mean, abs=0.01 * deviation)
        assert one.std() == pytest.approx(deviation, rel=0.005)
        row, column = one.shape[1] // 3, one.shape[2] // 2
        assert one[[0, channels // 2, channels - 1], row, column] == pytest.approx(cells, abs=0.05 * deviation)


def test_the_same_photograph_gives_the_same_maps() -> None:
    photo = picture(96, 128)
    first, again = feature_network().maps(photo), FeatureNetwork.load().maps(photo)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))


def test_mirrored_maps_are_those_of_the_mirror_image() -> None:
    photo = picture(640, 480)
    turned = ImageOps.mirror(photo)
    for a, b in zip(feature_network().maps(photo, mirrored=True), feature_network().maps(turned), strict=True):
        assert (a == b).all()


@pytest.mark.parametrize(
    ("shape_hw", "expected"),
    [((312, 312), (640, 640)), ((3000, 4000), (480, 640)), ((48, 64), (480, 640)), ((1, 900), (16, 640))],
)
def test_every_photograph_is_seen_at_one_size(shape_hw: tuple[int, int], expected: tuple[int, int]) -> None:
    assert scaled_hw(shape_hw) == expected
    found = feature_network().maps(picture(*shape_hw))
    for one, (stride, channels) in zip(found, MAPS.values(), strict=True):
        assert one.shape == (channels, expected[0] // stride, expected[1] // stride)
        assert np.isfinite(one).all()


def test_what_is_no_photograph_is_refused() -> None:
    for wrong in (Image.new("L", (9, 9)), Image.new("RGBA", (9, 9))):
        with pytest.raises(ModelError, match="is an RGB picture, and not"):
            feature_network().maps(wrong)


def test_a_photograph_is_looked_at_once_and_forgotten_with_it() -> None:
    network, photo = FeatureNetwork.load(), picture(96, 128)
    assert network.maps(photo) is network.maps(photo)
    assert network.maps(photo, mirrored=True) is network.maps(photo, mirrored=True)
    assert network.maps(photo)[0].tobytes() != network.maps(photo, mirrored=True)[0].tobytes()
    assert list(network.kept) == [id(photo)]
    del photo
    assert not network.kept


def test_no_more_is_kept_than_fits_however_many_photographs_are_in_memory() -> None:
    network, photos = FeatureNetwork.load(), [picture(2, 96 + n) for n in range(MOST_KEPT + 3)]
    first = [network.maps(photo)[0] for photo in photos]
    assert list(network.kept) == [id(photo) for photo in photos[3:]]
    assert (network.maps(photos[0])[0] == first[0]).all(), "what was let go is worked out again"
    photos.clear()
    assert not network.kept


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="feature network is missing"):
        FeatureNetwork.load(tmp_path / "gone.onnx")
    (tmp_path / "bad.onnx").write_bytes(EMBEDDED.read_bytes()[:90_000])
    with pytest.raises(ModelError, match="not a readable ONNX model"):
        FeatureNetwork.load(tmp_path / "bad.onnx")
    with pytest.raises(ModelError, match="not the maps of the feature network"):
        FeatureNetwork.load(DETECTOR)
