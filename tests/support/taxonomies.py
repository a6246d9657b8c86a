"""The taxonomy of another owner."""

from __future__ import annotations

from pathlib import Path

from toeline.core.taxonomy import Taxonomy

OWN = """
name = "levees"
[[types]]
name = "flood_wall"
spoken = "flood wall"
[[types]]
name = "gate"
[[conditions]]
name = "sound"
color = "#00aa00"
[[conditions]]
name = "leaking"
[[classes]]
name = "FW ok"
type = "flood_wall"
condition = "sound"
spellings = ["wall", "Mauer"]
[[classes]]
name = "FW leaking"
type = "flood_wall"
condition = "leaking"
[[classes]]
name = "gate"
type = "gate"
condition = "sound"
"""


def load(folder: Path, text: str | bytes) -> Taxonomy:
    file = folder / "own.toml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return Taxonomy.load(file)
