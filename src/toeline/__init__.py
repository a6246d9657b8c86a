"""Toeline reads photographs of embankments: what stands there, where, and in what condition.

from toeline import Inspector
findings = Inspector.load().inspect("photo.jpg")  # a path, a picture of Pillow or an array; docs/api.md
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from toeline._version import __version__ as __version__

if TYPE_CHECKING:
    from toeline.core.box import Box
    from toeline.core.finding import Finding, Verdict
    from toeline.core.scene import Instance, Relation, Scene
    from toeline.core.taxonomy import Taxonomy
    from toeline.errors import ToelineError
    from toeline.pipelines.findings import Findings
    from toeline.pipelines.inspector import Inspector

__all__ = [
    "Box",
    "Finding",
    "Findings",
    "Inspector",
    "Instance",
    "Relation",
    "Scene",
    "Taxonomy",
    "ToelineError",
    "Verdict",
]

_HOMES = {
    "Box": "toeline.core.box",
    "Finding": "toeline.core.finding",
    "Findings": "toeline.pipelines.findings",
    "Inspector": "toeline.pipelines.inspector",
    "Relation": "toeline.core.scene",
    "Scene": "toeline.core.scene",
    "Taxonomy": "toeline.core.taxonomy",
    "Instance": "toeline.core.scene",
    "ToelineError": "toeline.errors",
    "Verdict": "toeline.core.finding",
}


def __getattr__(name: str) -> Any:
    """Public names are found when they are first used, so that `import toeline` loads nothing heavy."""
    if name not in _HOMES:
        raise AttributeError(f"module 'toeline' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
