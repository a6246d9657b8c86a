"""From a pixel to the ground: a pinhole camera over flat ground at the height of take-off. Pure geometry.

The ground is no plane, least of all at a dam: every position here is approximate, and says by how much.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from toeline.core.box import Box
from toeline.core.geo import CameraPose, GeoPosition, Meters, Point, between, moved, wrapped

# Assumed errors, about one standard deviation each; docs/where.md says why.
GPS_M = 3.0
MAP_M = 1.0  # of an orthomosaic, whose own report says it better
HEIGHT_SHARE = 0.10  # ground above or below the point of take-off counts in here
PITCH_DEGREES, YAW_DEGREES = 1.0, 3.0
FLATTEST = math.tan(math.radians(10))  # a ray that falls less steeply is not followed to the ground
STEEP_DEGREES = -60.0  # looking down more steeply than this, a box is seen from above; else from the side

Vector = tuple[float, float, float]
Pixel = tuple[float, float]
Sight = tuple[Vector, Vector, Vector]  # right, down and ahead of a camera, each as (east, north, up)


def can_project(place: CameraPose) -> bool:
    """Whether height, attitude and focal length are all there. Without a roll the camera counts as level.

    >>> whole = CameraPose(1, 2, height_m=30, yaw=0, pitch=-90, focal=0.6)
    >>> can_project(whole), can_project(CameraPose(1, 2, height_m=30))
    (True, False)
    """
    known = None not in (place.height_m, place.yaw, place.pitch, place.focal)
    return known and (place.height_m or 0) > 0


def ground_position_of(place: CameraPose, size_wh: tuple[int, int], box: Box) -> GeoPosition:
    """Where the thing in a box is: on the ground if the camera's ray can be followed there, else at the camera.

    On a map it is where its center lies between the corners.
    """
    if place.corners:
        at = _on_map(place, box.center[0] / size_wh[0], box.center[1] / size_wh[1])
        return GeoPosition(at.latitude, at.longitude, "ground", MAP_M)
    cameras, pixel = _cameras(place, size_wh) if can_project(place) else (), foot(place, box)
    way = cameras[0].ground(pixel) if cameras else None
    error = _error_m(way, cameras, pixel) if way else None
    if way is None or error is None:
        return GeoPosition(place.latitude, place.longitude, "camera")
    at = moved(place.point, way)
    return GeoPosition(at.latitude, at.longitude, "ground", error)


def _on_map(place: CameraPose, across: float, down: float) -> Point:
    """A point of a map, as shares of its sides; between the corners, which is off by centimeters over a kilometer."""
    (y0, x0), *others = place.corners
    flat = [(0.0, 0.0), *((y - y0, wrapped(x - x0)) for y, x in others)]
    shares = ((1 - across) * (1 - down), across * (1 - down), across * down, (1 - across) * down)
    north, east = (sum(w * end[axis] for w, end in zip(shares, flat, strict=True)) for axis in (0, 1))
    return Point(round(y0 + north, 9), round(wrapped(x0 + east), 9))


def foot(place: CameraPose, box: Box) -> Pixel:
    """The pixel at which a box stands on the ground: its center seen from above, else the middle of its lower edge.

    >>> foot(CameraPose(1, 2, pitch=-90), Box(0, 0, 10, 20)), foot(CameraPose(1, 2, pitch=-30), Box(0, 0, 10, 20))
    ((5.0, 10.0), (5.0, 20))
    """
    above = place.pitch is None or place.pitch <= STEEP_DEGREES
    return box.center if above else (box.center[0], box.y2)


def to_ground(place: CameraPose, size_wh: tuple[int, int], pixel: Pixel) -> Meters | None:
    """The way from below the camera to the ground under a pixel; None when it cannot be known or is too far."""
    return _cameras(place, size_wh)[0].ground(pixel) if can_project(place) else None


def pixel_of(place: CameraPose, size_wh: tuple[int, int], at: Point) -> Pixel | None:
    """The pixel that shows a point of the ground: the reverse of `to_ground`; None where the photograph does not.

    >>> place = CameraPose(51.0, 13.0, height_m=30, yaw=0, pitch=-90, focal=0.6)
    >>> [round(v) for v in pixel_of(place, (400, 300), moved(place.point, Meters(10, 0)))]
    [300, 150]
    """
    (wide, high), way = size_wh, between(place.point, at)
    if place.corners:
        upper_left = Point(*place.corners[0])
        (ax, ay), (bx, by) = (between(upper_left, Point(*place.corners[i])) for i in (1, 3))
        (x, y), area = between(upper_left, at), ax * by - ay * bx
        pixel = ((x * by - y * bx) / area * wide, (ax * y - ay * x) / area * high) if area else (-1.0, -1.0)
    else:
        right, down, ahead = (
            sum(a * b for a, b in zip(axis, (way.east, way.north, -(place.height_m or 0.0)), strict=True))
            for axis in sight(place)
        )
        if not can_project(place) or ahead <= 0:
            return None
        focal_px = (place.focal or 1.0) * math.hypot(wide, high)
        pixel = (wide / 2 + focal_px * right / ahead, high / 2 + focal_px * down / ahead)
    return pixel if 0 <= pixel[0] <= wide and 0 <= pixel[1] <= high else None


def error_m(place: CameraPose, size_wh: tuple[int, int], pixel: Pixel) -> float | None:
    """How far off `to_ground` may be, in meters: the assumed errors one by one, as the root of their squares.

    Each is put in with both signs and the larger change counts. None where one of them would lift the ray too high.
    """
    at = to_ground(place, size_wh, pixel)
    return _error_m(at, _cameras(place, size_wh), pixel) if at else None


def _error_m(at: Meters, cameras: Sequence[_Camera], pixel: Pixel) -> float | None:
    squares = GPS_M**2
    for plus, minus in zip(cameras[1::2], cameras[2::2], strict=True):
        one, other = plus.ground(pixel), minus.ground(pixel)
        if one is None or other is None:
            return None
        squares += max(math.dist(at, one), math.dist(at, other)) ** 2
    return math.sqrt(squares)


class _Camera(NamedTuple):
    """What of a pose is the same for every pixel: half of the sides and the focal length in pixels, axes, height."""

    half: Pixel
    focal_px: float
    sight: Sight
    height: float

    @classmethod
    def of(cls, place: CameraPose, size_wh: tuple[int, int]) -> _Camera:
        """Of a pose and the size of its photograph."""
        wide, high = size_wh
        focal_px = (place.focal or 1.0) * math.hypot(wide, high)
        return cls((wide / 2, high / 2), focal_px, sight(place), place.height_m or 0)

    def ray(self, pixel: Pixel) -> Vector:
        """The direction that a pixel looks in: one focal length ahead, and to the pixel."""
        x, y = (pixel[0] - self.half[0]) / self.focal_px, (pixel[1] - self.half[1]) / self.focal_px
        right, down, ahead = self.sight
        return (
            x * right[0] + y * down[0] + ahead[0],
            x * right[1] + y * down[1] + ahead[1],
            x * right[2] + y * down[2] + ahead[2],
        )

    def follow(self, ray: Vector) -> Meters | None:
        """The way over the ground to where a ray meets it; None for one that does not fall."""
        if ray[2] > -1e-6:
            return None
        reach = self.height / -ray[2]
        return Meters(reach * ray[0], reach * ray[1])

    def ground(self, pixel: Pixel) -> Meters | None:
        """As `follow`, of a pixel; None for one that looks too far."""
        way = self.follow(self.ray(pixel))
        return way if way and math.hypot(*way) <= self.height / FLATTEST else None


@lru_cache(maxsize=4)  # the findings of a photograph come one after another
def _cameras(place: CameraPose, size_wh: tuple[int, int]) -> tuple[_Camera, ...]:
    """The camera as it is told, then with each of the assumed errors, with both signs."""
    height, yaw, pitch = place.height_m or 0.0, place.yaw or 0.0, place.pitch or 0.0
    mistaken = (
        replace(place, height_m=height * (1 + HEIGHT_SHARE)),
        replace(place, height_m=height * (1 - HEIGHT_SHARE)),
        replace(place, pitch=pitch + PITCH_DEGREES),
        replace(place, pitch=pitch - PITCH_DEGREES),
        replace(place, yaw=yaw + YAW_DEGREES),
        replace(place, yaw=yaw - YAW_DEGREES),
    )
    return tuple(_Camera.of(one, size_wh) for one in (place, *mistaken))


def footprint(place: CameraPose, size_wh: tuple[int, int]) -> list[Point]:
    """The ground in a photograph as corners counterclockwise, without the part that is too flat to be followed.

    Empty when nothing is known or the camera looks at the sky alone.
    """
    if place.corners:
        return [_on_map(place, across, down) for across, down in ((0, 0), (0, 1), (1, 1), (1, 0))]
    if not can_project(place):
        return []
    wide, high = size_wh
    corners: list[Pixel] = [(0.0, 0.0), (0.0, high), (wide, high), (wide, 0.0)]  # seen from above: counterclockwise
    camera = _Camera.of(place, size_wh)
    kept = clipped(corners, [_fall(place, camera.ray(corner)) for corner in corners])
    ways = [way for way in (camera.follow(camera.ray(pixel)) for pixel in kept) if way]
    return [moved(place.point, way) for way in ways] if len(ways) == len(kept) > 2 else []


def _fall(place: CameraPose, ray: Vector) -> float:
    """By how much a ray falls more steeply than FLATTEST, along the camera's heading: linear over the picture."""
    yaw = math.radians(place.yaw or 0)
    return -ray[2] - FLATTEST * (ray[0] * math.sin(yaw) + ray[1] * math.cos(yaw))


def clipped(corners: Sequence[Pixel], inside: Sequence[float]) -> list[Pixel]:
    """The part of a polygon where a number that is linear over the plane, given at each corner, is not negative.

    One step of Sutherland and Hodgman (Communications of the ACM 17, 1974).

    >>> clipped([(0, 0), (2, 0), (2, 2), (0, 2)], [1, -1, -1, 1])
    [(0, 0), (1.0, 0.0), (1.0, 2.0), (0, 2)]
    """
    kept: list[Pixel] = []
    for i, (corner, value) in enumerate(zip(corners, inside, strict=True)):
        before, was = corners[i - 1], inside[i - 1]
        if (value < 0) != (was < 0):
            share = was / (was - value)
            kept.append((before[0] + share * (corner[0] - before[0]), before[1] + share * (corner[1] - before[1])))
        if value >= 0:
            kept.append(corner)
    return kept


def sight(place: CameraPose) -> Sight:
    """Right, down and ahead of the camera as unit vectors (east, north, up), from yaw, pitch and roll in this order.

    Straight down at roll 180, as DJI cameras write it, is straight down at roll 0 and the opposite yaw.
    """
    return _sight(place.yaw or 0.0, place.pitch or 0.0, place.roll or 0.0)


@lru_cache(maxsize=64)
def _sight(*degrees: float) -> Sight:
    yaw, pitch, roll = map(math.radians, degrees)
    ahead = (math.cos(pitch) * math.sin(yaw), math.cos(pitch) * math.cos(yaw), math.sin(pitch))
    right = (math.cos(yaw), -math.sin(yaw), 0.0)
    up = (-math.sin(pitch) * math.sin(yaw), -math.sin(pitch) * math.cos(yaw), math.cos(pitch))
    c, s = math.cos(roll), math.sin(roll)
    tilted = tuple(c * r - s * u for r, u in zip(right, up, strict=True))
    down = tuple(-c * u - s * r for r, u in zip(right, up, strict=True))
    return (tilted[0], tilted[1], tilted[2]), (down[0], down[1], down[2]), ahead
