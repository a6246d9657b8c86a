"""A photograph as a row of numbers by which it is compared with others. Knows pixels and confidences; no types.

Three parts: what the feature network sees all over it, what it is as a picture, and how sure a detector was on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toeline.data.feature_maps import FeatureNetwork

SHARP_PX = 512  # longer side at which sharpness is measured, so that photographs of any size compare; never enlarged
FEATURES, PICTURE, DETECTIONS = "features", "picture", "detections"
BEST = 3  # confidences that count

Row = NDArray[np.float64]
Measures = Mapping[str, Row]


def measures_of(image: Image.Image, network: FeatureNetwork, confidences: Iterable[float] | None = None) -> Measures:
    """The parts of a photograph, upright and RGB; `confidences` are those of a detector, None where none looked.

    FEATURES: mean and standard deviation of each channel of each map of the network. PICTURE: the logarithms of
    sharpness and of the longer side in pixels, brightness and its deviation (0 to 1). DETECTIONS: the best confidence,
    the mean of the BEST best (0 for one that is not there), and the logarithm of how many. Raises ModelError.
    """
    pooled = [values for found in network.maps(np.asarray(image)) for values in (found.mean((1, 2)), found.std((1, 2)))]
    gray = image.convert("L")
    values = np.asarray(gray, np.float64) / 255
    picture = (math.log1p(sharpness(gray)), math.log2(max(image.size)), values.mean(), values.std())
    parts = {FEATURES: np.concatenate(pooled).astype(np.float64), PICTURE: np.array(picture)}
    if confidences is None:
        return parts
    ranked = sorted(confidences, reverse=True)
    best = (ranked + [0.0] * BEST)[:BEST]
    return {**parts, DETECTIONS: np.array((best[0], sum(best) / BEST, math.log1p(len(ranked))))}


def sharpness(gray: Image.Image, values: NDArray[np.uint8] | None = None) -> float:
    """Variance of the Laplacian with the photograph at most SHARP_PX long. `values` are those of `gray`, if at hand."""
    import cv2

    if max(gray.size) > SHARP_PX:
        gray, values = gray.copy(), None
        gray.thumbnail((SHARP_PX, SHARP_PX), Image.Resampling.BOX)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(np.asarray(gray) if values is None else values, cv2.CV_16S))
    return float(deviation[0, 0] ** 2)
