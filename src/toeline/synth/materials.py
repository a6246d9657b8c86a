"""Ground materials: colors measured on real photographs, and how strong each texture is. Values only."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from toeline.synth.textures import Color

Rng = np.random.Generator


@dataclass(frozen=True)
class SceneLook:
    """A ground material: two base colors and how strong each texture is."""

    dark: Color
    pale: Color
    grain: float = 0.10  # 1 to 2 pixels
    clumps: float = 0.10  # 3 to 8 pixels
    down: float = 0.0  # streaks that run down the face
    tufts: float = 0.0  # share covered by scrub
    tuft: Color = (84, 82, 62)
    growth: Color | None = None  # what most grows where it is rich
    gully: float = 0.0  # erosion
    level: float = 0.0  # streaks along the dam: wheel tracks
    lush: float = 0.0  # leafy lumps
    blades: float = 0.0  # tall grass, where it is rich


FACES: dict[str, tuple[SceneLook, ...]] = {
    "dry": (
        SceneLook((116, 107, 90), (166, 155, 137), 0.15, 0.10, 0.06, 0.16, (84, 82, 62), (112, 112, 82)),
        SceneLook((124, 111, 93), (164, 148, 128), 0.15, 0.11, 0.08, 0.10, (88, 82, 62), (128, 114, 92)),
        SceneLook((104, 98, 82), (150, 141, 121), 0.16, 0.11, 0.04, 0.22, (74, 74, 54), (100, 106, 74)),
        SceneLook((140, 122, 99), (178, 158, 132), 0.14, 0.09, 0.10, 0.08, (98, 88, 66), (152, 130, 104)),
        SceneLook((126, 120, 106), (172, 164, 149), 0.14, 0.09, 0.07, 0.13, (86, 84, 68), (116, 114, 86)),
    ),
    "green": (
        SceneLook((92, 112, 58), (136, 146, 96), 0.13, 0.10, 0.02, 0.14, (72, 100, 46), (104, 146, 62), lush=0.5),
        SceneLook((94, 120, 54), (126, 148, 78), 0.12, 0.09, 0.02, 0.10, (76, 110, 44), (96, 140, 52), lush=0.9),
        SceneLook((100, 110, 68), (154, 148, 112), 0.14, 0.11, 0.03, 0.18, (80, 98, 52), (108, 136, 66), lush=0.5),
    ),
    "ash": (
        SceneLook((124, 122, 114), (182, 178, 168), 0.10, 0.06, 0.06, 0.07, (94, 92, 74), gully=0.11),
        SceneLook((110, 106, 96), (172, 166, 153), 0.15, 0.10, 0.05, 0.20, (82, 80, 62), gully=0.06),
    ),
    "earth": (
        SceneLook((152, 122, 97), (184, 153, 125), 0.10, 0.06, 0.09, 0.03, (118, 98, 68), (168, 152, 130), gully=0.05),
        SceneLook(
            (150, 132, 109), (186, 167, 142), 0.11, 0.06, 0.09, 0.04, (112, 102, 76), (162, 136, 110), gully=0.06
        ),
    ),
    "mixed": (
        SceneLook((106, 106, 74), (158, 146, 116), 0.15, 0.11, 0.04, 0.26, (76, 92, 48), (104, 126, 62), lush=0.5),
        SceneLook((112, 107, 84), (152, 140, 117), 0.16, 0.11, 0.05, 0.20, (82, 96, 56), (136, 116, 88), lush=0.3),
    ),
}
WASHED = (  # what rain and burst pipes leave on a face
    SceneLook((186, 186, 182), (224, 224, 218), 0.06, 0.06, gully=0.05),
    SceneLook((124, 126, 126), (164, 166, 164), 0.08, 0.08, gully=0.05),
    SceneLook((150, 116, 88), (184, 150, 118), 0.10, 0.10, gully=0.05),
)
ROADS = (
    SceneLook((164, 154, 138), (204, 195, 180), 0.035, 0.02, level=0.028),
    SceneLook((168, 151, 127), (200, 183, 158), 0.035, 0.02, level=0.03),
    SceneLook((190, 182, 168), (224, 216, 204), 0.04, 0.025, level=0.028),
    SceneLook((156, 135, 113), (182, 161, 137), 0.04, 0.025, level=0.028),
    SceneLook((142, 136, 125), (174, 167, 155), 0.08, 0.04, level=0.028),
)


def vary(look: SceneLook, rng: Rng) -> SceneLook:
    """A material with its colors moved a little, so that no two scenes share one."""
    shift = rng.normal(0, 1.2, 3) + float(np.clip(rng.normal(0, 8), -16, 16))
    dark, pale, tuft = (_moved(c, shift) for c in (look.dark, look.pale, look.tuft))
    scale = float(rng.uniform(0.7, 1.25))
    return replace(
        look, dark=dark, pale=pale, tuft=tuft, grain=look.grain * scale, clumps=look.clumps * scale,
        down=look.down * float(rng.uniform(0.2, 1.3)), tufts=look.tufts * float(rng.uniform(0.2, 1.5)),
        blades=float(rng.uniform(0.0, 0.22)) if look.growth else 0.0,
    )  # fmt: skip


def _moved(color: Color, shift: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Color:
    r, g, b = (float(c + s) for c, s in zip(color, shift, strict=True))
    return r, g, b
