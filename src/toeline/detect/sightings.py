"""Rows of numbers that any network gives become sightings: above their type's threshold, clipped, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from toeline.core.box import Box
from toeline.core.scene import Thing
from toeline.core.sighting import Sighting
from toeline.detect.labels import Label

MOST_THINGS = 100  # per photograph; the fullest real one has 18
LEAST_SIDE = 1.0  # pixels of the photograph: a box thinner than one pixel, after clipping, holds nothing


def sightings(
    boxes: NDArray[np.floating],
    scores: NDArray[np.floating],
    ids: NDArray[np.integer],
    *,
    labels: Mapping[int, Label],
    limits: Mapping[str, float],
    size_wh: tuple[int, int],
    outlines: Sequence[tuple[tuple[float, float], ...]] = (),
) -> list[Sighting]:
    """`boxes` (N, 4) as x1, y1, x2, y2 in pixels of the photograph, `scores` (N,) from 0 to 1, `ids` (N,) of classes.

    Rows stay whose score is at least the limit of their type (`limits`: type name -> 0 to 1); rows of a class that is
    not in `labels` are left out, and so are boxes thinner than a pixel or with corners in the wrong order. Equal scores
    keep their order. `outlines` are polygons in pixels of the photograph, one for each row, or none at all.

    >>> found = sightings(
    ...     np.array([[-5, 2, 8, 9], [0, 0, 4, 4]]), np.array([0.5, 0.9]), np.array([0, 1]),
    ...     labels={0: Label("toe_drain"), 1: Label("vegetation")}, limits={"toe_drain": 0.5, "vegetation": 0.95},
    ...     size_wh=(20, 20),
    ... )
    >>> [(s.thing.id, s.thing.kind, s.thing.box.xyxy) for s in found]
    [('1', 'toe_drain', (0.0, 2.0, 8.0, 9.0))]
    """
    corners = np.clip(boxes.astype(np.float64), 0, [*size_wh, *size_wh])
    sides = (corners[:, 2:] - corners[:, :2]).min(1)  # under zero for corners in the wrong order
    found: list[Sighting] = []
    for n in np.argsort(-scores, kind="stable"):
        label = labels.get(int(ids[n]))
        if label is None or scores[n] < limits[label.kind] or sides[n] < min(LEAST_SIDE, *size_wh):
            continue
        polygon = outlines[n] if outlines else ()
        box = Box(*corners[n].tolist())
        thing = Thing(str(len(found) + 1), label.kind, box, min(float(scores[n]), 1.0), polygon)
        found.append(Sighting(thing, label.class_name))
    return found[:MOST_THINGS]
