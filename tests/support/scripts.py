"""Scripts of benchmarks/ and docs/, which are no packages, as modules."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent


def script(place: str) -> Any:
    """The module of a file, by its place in the repository; loaded anew each time."""
    file = ROOT / place
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
