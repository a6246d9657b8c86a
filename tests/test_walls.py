"""Who may import whom. Reads imports with `ast`; only the last test runs something, `import toeline`."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "toeline"

# Room -> what it may import besides itself, `errors` and `core` without `core.truth`. A name with a dot is one file of
# a room; `*` is everything. A row with a dot on the left adds to the row of its room.
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "data": {"core.truth"},
    # ask.crop for its margin alone: how large an object is in the crop that a judge will see; the files of report
    # that write a folder whole and say how a run was made
    "data.analyze": {
        "relate",
        "ask.crop",
        "report.draw",
        "report.plot",
        "report.style",
        "report.folder",
        "report.page",
        "report.record",
    },
    "synth": {"core.truth", "data"},
    "detect": {"weights"},
    "judge": {"weights"},
    "weights": set(),  # where a model lies, safe files, the device: what both stages ask before they load anything
    "judge.floor": {"relate"},  # hand-made features of boxes: the one judge that measures where things lie
    "relate": set(),
    "ask": set(),
    "inspector": {"detect", "relate", "ask", "judge", "data.images", "data.position"},
    "report": {"data.images"},
    # positions of findings are known when a run is written down, after its last photograph: geometry of boxes
    "report.where": {"relate"},
    "report.geojson": {"relate"},
    "report.map": {"relate"},
    "review": {"data.images", "report.draw", "inspector"},
    "evaluate": {"core.truth", "relate"},  # relations of true and of found boxes: geometry, no truth of conditions
    "train": {"core.truth", "data", "synth", "relate", "ask", "judge", "weights"},
    "train.detector_learner": {"detect.hf_processor"},  # a detector is trained on the pixels that inspection gives it
    "quantize": {"judge", "evaluate", "core.truth"},
    "plan": {"judge.layout"},
    "models": set(),
    "cli": {"*"},
    "errors": set(),
    "__init__": {"inspector"},
    "__main__": {"cli"},
}
STANDARD = {*sys.stdlib_module_names}
PIXELS, TENSORS = (
    {"PIL", "cv2"},
    {"torch", "transformers", "onnxruntime", "peft", "accelerate", "libreyolo", "ultralytics"},
)
LATE_IMPORTS = ("import_module", "importlib.import_module", "__import__", "need")
# Room -> libraries that it must not see; for core and relate everything outside the standard library.
MUST_NOT_SEE: dict[str, set[str]] = {
    "data": TENSORS,
    "synth": TENSORS,
    "ask": TENSORS,
    "report": TENSORS,
    "evaluate": TENSORS | PIXELS,
    "inspector": TENSORS,
}
STANDARD_LIBRARY_ONLY = {"core", "errors", "relate", "__init__", "__main__"}


def imports_of(source: str, module: str) -> set[str]:
    """Dotted names of everything that a file imports: in functions, under TYPE_CHECKING and relative ones included.

    `from a import b` gives both `a` and `a.b`, because `b` may be a file. `module` is the file's own dotted name, whose
    last part is `__init__` for a package.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in LATE_IMPORTS:
            names |= {str(a.value) for a in node.args[:1] if isinstance(a, ast.Constant)}
    return names


def broken_walls(source: str, module: str) -> list[str]:
    """What a file imports and must not. `module` is as `toeline.detect.choose`."""
    _, room, *inner = [*module.split("."), ""]
    allowed = MAY_IMPORT[room] | MAY_IMPORT.get(f"{room}.{inner[0] if inner else ''}", set()) | {room, "errors", "core"}
    found = []
    for name in sorted(imports_of(source, module)):
        top, *rest = name.split(".")
        if top != "toeline":
            strict = room in STANDARD_LIBRARY_ONLY and top not in STANDARD
            found += [name] if strict or top in MUST_NOT_SEE.get(room, set()) else []
        elif rest and not _is_allowed(rest, allowed, room):
            found.append(name)
    return found


def _is_allowed(rest: list[str], allowed: set[str], room: str) -> bool:
    if "*" in allowed:
        return True
    if rest[:2] == ["core", "truth"] and room != "core":
        return "core.truth" in allowed
    return rest[0] in allowed or ".".join(rest[:2]) in allowed or _leads_to(rest, allowed)


def _leads_to(rest: list[str], allowed: set[str]) -> bool:
    """`toeline.data` alone is passed through on the way to `toeline.data.images`; it is no door by itself."""
    return len(rest) == 1 and (any(a.startswith(f"{rest[0]}.") for a in allowed) or not _is_room(rest[0]))


def _is_room(name: str) -> bool:
    return (SOURCE / name).is_dir() or (SOURCE / f"{name}.py").is_file()


def modules() -> list[tuple[str, Path]]:
    """Every Python file of the package with its dotted name."""
    files = sorted(SOURCE.rglob("*.py"))
    return [(".".join(["toeline", *file.relative_to(SOURCE).with_suffix("").parts]), file) for file in files]


@pytest.mark.parametrize(("module", "file"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_file_imports_only_what_its_room_may(module: str, file: Path) -> None:
    room = module.split(".")[1]
    assert room in MAY_IMPORT, f"{room} is a new room: give it a row in MAY_IMPORT"
    assert broken_walls(file.read_text(encoding="utf-8"), module) == []


def test_every_folder_is_a_room() -> None:
    folders = {p.name for p in SOURCE.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert folders <= MAY_IMPORT.keys()


@pytest.mark.parametrize(
    ("module", "source", "what"),
    [
        ("toeline.ask.prompt", "from toeline.core.truth import Truth", "toeline.core.truth"),
        ("toeline.ask.prompt", "from toeline.core import truth", "toeline.core.truth"),
        ("toeline.judge.qwen_vl", "def f():\n    from toeline.core.truth import Truth", "toeline.core.truth"),
        ("toeline.inspector", "if TYPE_CHECKING:\n    from toeline.core.truth import Truth", "toeline.core.truth"),
        ("toeline.detect.choose", "from ..core.truth import Truth", "toeline.core.truth"),
        ("toeline.detect.__init__", "from ..core.truth import Truth", "toeline.core.truth"),
        ("toeline.detect.choose", "from .. import judge", "toeline.judge"),
        ("toeline.judge.choose", "import toeline.ask.prompt", "toeline.ask.prompt"),
        ("toeline.ask.ask", "import_module('toeline.judge.qwen_vl')", "toeline.judge.qwen_vl"),
        ("toeline.report.page", "from toeline.data.yolo import open_yolo", "toeline.data.yolo"),
        ("toeline.report.page", "from toeline.data import yolo", "toeline.data.yolo"),
        ("toeline.train.rows", "import toeline.evaluate", "toeline.evaluate"),
        ("toeline.data.yolo", "from toeline.relate import relate", "toeline.relate"),
        ("toeline.core.box", "import numpy as np", "numpy"),
        ("toeline.relate.rules", "def f():\n    import PIL.Image", "PIL.Image"),
        ("toeline.evaluate.match", "from PIL import Image", "PIL"),
        ("toeline.inspector", "import torch", "torch"),
        ("toeline.plan.fit", "from toeline.judge.qwen_vl import load", "toeline.judge.qwen_vl"),
    ],
)
def test_a_planted_import_is_found(module: str, source: str, what: str) -> None:
    assert what in broken_walls(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("toeline.data.yolo", "from toeline.core.truth import Truth"),
        ("toeline.data.analyze", "from toeline.relate import relate\nfrom toeline.report.draw import draw"),
        ("toeline.report.page", "from toeline.data.images import read_photo\nfrom toeline.data import images"),
        ("toeline.inspector", "from toeline.judge.choose import load_judge\nfrom toeline import errors"),
        ("toeline.plan.fit", "from toeline.judge.layout import Layout"),
        ("toeline.cli.main", "from toeline.core.truth import Truth\nimport torch"),
        ("toeline.core.scene", "import math\nfrom toeline.core.box import Box"),
    ],
)
def test_a_lawful_import_passes(module: str, source: str) -> None:
    assert broken_walls(source, module) == []


def test_importing_toeline_loads_no_framework() -> None:
    heavy = sorted(TENSORS | {"cv2"})
    code = f"import sys, toeline; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
