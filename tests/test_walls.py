"""Who may import whom. Reads imports with `ast`; only the last test runs something, `import toeline`.

One wall matters more than all others: the ground truth never reaches what looks at photographs. It is held twice, for
what a file imports and for everything that it reaches through others. The other rules only keep the arrows pointing
down the list of rooms, and circles out.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "toeline"

# From the bottom up: a room may import what stands in an earlier row, itself, and nothing else of the package.
ROOMS: tuple[tuple[str, ...], ...] = (
    ("errors", "_version"),
    ("core",),
    ("weights",),
    ("data",),
    ("synth", "detect", "prompts"),
    ("judge", "evaluate"),
    ("train", "plan", "report"),
    ("analysis",),
    ("pipelines",),
    ("serve",),
    ("cli", "__init__"),
    ("__main__",),
)
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
# What the command line may see: it makes options from settings, calls, and prints.
CLI_MAY_SEE = {
    "errors",
    "_version",
    "core",
    "data",
    "synth",
    "plan",
    "analysis",
    "pipelines",
    "serve",
    "cli",
    "__init__",
}
SETTINGS = {"train.config"}  # options are made from these records

TRUTH = "toeline.core.ground_truth"
# Who may know the ground truth; everything else may not import it, and what is named below may not even reach it.
MAY_KNOW = {"data", "synth", "evaluate", "train", "analysis"}
PIPELINES_MAY_KNOW = {
    "evaluate_run",
    "evaluate",
    "evaluate_parts",
    "evaluate_detector",
    "finetune",
    "train_detector",
    "baseline",
    "compare",
    "demo",
}
MUST_NOT_REACH = (
    "toeline.core.question",
    "toeline.detect",
    "toeline.prompts",
    "toeline.judge",
    "toeline.pipelines.inspector",
)

PIXELS, TENSORS = (
    {"PIL", "cv2"},
    {"torch", "transformers", "onnxruntime", "peft", "accelerate", "libreyolo", "ultralytics"},
)
# Room -> libraries that it must not see.
MUST_NOT_SEE: dict[str, set[str]] = {
    "core": TENSORS | PIXELS,
    **{
        f"core.{file.stem}": {"numpy", "scipy"}
        for file in SOURCE.glob("core/*.py")
        if file.stem not in ("calibration", "polygon")
    },
    "data": TENSORS,
    "synth": TENSORS,
    "prompts": TENSORS,
    "report": TENSORS,
    "analysis": TENSORS,
    "evaluate": TENSORS | PIXELS,
    "pipelines.inspector": TENSORS,
}
LATE_IMPORTS = ("import_module", "importlib.import_module", "__import__", "need")


@cache
def imports_of(source: str, module: str) -> frozenset[str]:
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
    return frozenset(names)


def broken_walls(source: str, module: str) -> list[str]:
    """What a file imports and must not. `module` is as `toeline.detect.load`."""
    _, room, *inner = [*module.split("."), ""]
    unseen = MUST_NOT_SEE.get(room, set()) | MUST_NOT_SEE.get(f"{room}.{inner[0] if inner else ''}", set())
    found = []
    for name in sorted(imports_of(source, module)):
        top, *rest = name.split(".")
        if top != "toeline":
            found += [name] if top in unseen else []
        elif rest and not _is_allowed(rest, room, inner):
            found.append(name)
    return found


def _is_allowed(rest: list[str], room: str, inner: list[str]) -> bool:
    if rest[:2] == ["core", "ground_truth"] and not _may_know(room, inner):
        return False
    other = rest[0]
    if other not in LEVEL:  # a name of the package itself, as in `from toeline import Inspector`
        return room in ("cli", "__main__", "__init__")
    if room == "cli" and other not in CLI_MAY_SEE:
        return ".".join(rest[:2]) in SETTINGS or (len(rest) == 1 and any(s.startswith(f"{other}.") for s in SETTINGS))
    return other == room or LEVEL[other] < LEVEL[room]


def _may_know(room: str, inner: list[str]) -> bool:
    if room == "pipelines":
        return bool(inner) and inner[0] in PIPELINES_MAY_KNOW
    return room in MAY_KNOW or (room == "core" and bool(inner) and inner[0] == "ground_truth")


def modules() -> list[tuple[str, Path]]:
    """Every Python file of the package with its dotted name."""
    files = sorted(SOURCE.rglob("*.py"))
    return [(".".join(["toeline", *file.relative_to(SOURCE).with_suffix("").parts]), file) for file in files]


def arrows(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Which files of the package each file imports. `sources` maps dotted names to code."""
    known = {name.removesuffix(".__init__"): name for name in sources}
    found = {}
    for name, source in sources.items():
        targets = {known[i] for i in imports_of(source, name) if i in known}
        # `from room import file` passes through the room's own file, which imports nothing
        found[name] = {t for t in targets if not t.endswith("__init__")} - {name}
    return found


def reached(start: str, graph: Mapping[str, set[str]]) -> set[str]:
    """Every file that `start` imports, itself or through others."""
    seen: set[str] = set()
    left = [start]
    while left:
        for target in graph.get(left.pop(), set()) - seen:
            seen.add(target)
            left.append(target)
    return seen


def circles(graph: Mapping[str, set[str]]) -> Iterator[str]:
    """Files that reach themselves."""
    return (name for name in sorted(graph) if name in reached(name, graph))


def leaks(graph: Mapping[str, set[str]]) -> list[str]:
    """Files that must not reach the ground truth, and do."""
    watched = [n for n in graph if any(n == m or n.startswith(f"{m}.") for m in MUST_NOT_REACH)]
    return [name for name in sorted(watched) if TRUTH in reached(name, graph)]


def package() -> dict[str, str]:
    return {name: file.read_text(encoding="utf-8") for name, file in modules()}


@pytest.mark.parametrize(("module", "file"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_file_imports_only_what_its_room_may(module: str, file: Path) -> None:
    room = module.split(".")[1]
    assert room in LEVEL, f"{room} is a new room: give it a place in ROOMS"
    assert broken_walls(file.read_text(encoding="utf-8"), module) == []


def test_every_folder_is_a_room_and_every_room_is_there() -> None:
    folders = {p.name for p in SOURCE.iterdir() if p.is_dir() and p.name not in ("__pycache__", "models")}
    files = {p.stem for p in SOURCE.glob("*.py")}
    assert folders | files == LEVEL.keys()


def test_no_file_imports_itself_through_others() -> None:
    assert list(circles(arrows(package()))) == []


def test_nothing_that_looks_at_photographs_reaches_the_ground_truth() -> None:
    graph = arrows(package())
    assert leaks(graph) == []
    assert any(TRUTH in reached(n, graph) for n in graph if n.startswith("toeline.evaluate."))  # the test can see it


@pytest.mark.parametrize(
    "module", ["prompts.build", "judge.packing", "detect.load", "pipelines.inspector", "core.question"]
)
def test_a_planted_way_to_the_ground_truth_is_found(module: str) -> None:
    planted = package()
    planted[f"toeline.{module}"] += "\ndef late():\n    from toeline.data.innocent import split\n"
    planted["toeline.data.innocent"] = "from toeline.core.ground_truth import join"
    assert f"toeline.{module}" in leaks(arrows(planted))


def test_a_planted_circle_is_found() -> None:
    planted = package()
    planted["toeline.core.box"] += "\nif TYPE_CHECKING:\n    from toeline.core.scene import Scene\n"
    assert {"toeline.core.box", "toeline.core.scene"} <= set(circles(arrows(planted)))


@pytest.mark.parametrize(
    ("module", "source", "what"),
    [
        ("toeline.prompts.templates", "from toeline.core.ground_truth import Truth", TRUTH),
        ("toeline.prompts.templates", "from toeline.core import ground_truth", TRUTH),
        ("toeline.judge.qwen_vl", "def f():\n    from toeline.core.ground_truth import Truth", TRUTH),
        ("toeline.pipelines.inspector", "if TYPE_CHECKING:\n    from toeline.core.ground_truth import Truth", TRUTH),
        ("toeline.pipelines.inspect", "from toeline.core.ground_truth import Truth", TRUTH),
        ("toeline.pipelines.boxes", "from toeline.core.ground_truth import Truth", TRUTH),
        ("toeline.core.question", "from toeline.core.ground_truth import Truth", TRUTH),
        ("toeline.report.document", "from toeline.core.ground_truth import Truth", TRUTH),
        ("toeline.cli.evaluate", "from toeline.core.ground_truth import Truth", TRUTH),
        ("toeline.cli.evaluate", "from toeline.evaluate.metric import Metric", "toeline.evaluate.metric"),
        ("toeline.cli.inspect", "from toeline.train.finetune import finetune", "toeline.train.finetune"),
        ("toeline.detect.load", "from ..core.ground_truth import Truth", TRUTH),
        ("toeline.detect.__init__", "from ..core.ground_truth import Truth", TRUTH),
        ("toeline.detect.load", "from .. import judge", "toeline.judge"),
        ("toeline.prompts.build", "import_module('toeline.judge.qwen_vl')", "toeline.judge.qwen_vl"),
        ("toeline.prompts.build", "import toeline.detect.load", "toeline.detect.load"),
        ("toeline.evaluate.results", "from toeline.report.document import Section", "toeline.report.document.Section"),
        ("toeline.report.end_to_end_page", "from toeline.core.ground_truth import Truth", TRUTH),
        ("toeline.report.training_page", "from toeline.train.config import LoraRun", "toeline.train.config"),
        ("toeline.report.document", "import toeline.pipelines.inspect", "toeline.pipelines.inspect"),
        ("toeline.data.yolo", "from toeline.prompts.relations import relate", "toeline.prompts.relations"),
        ("toeline.core.box", "import numpy as np", "numpy"),
        ("toeline.core.calibration", "import torch", "torch"),
        ("toeline.prompts.relations", "def f():\n    import torch", "torch"),
        ("toeline.evaluate.matching", "from PIL import Image", "PIL"),
        ("toeline.pipelines.inspector", "import torch", "torch"),
    ],
)
def test_a_planted_import_is_found(module: str, source: str, what: str) -> None:
    assert what in broken_walls(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("toeline.data.yolo", "from toeline.core.ground_truth import Truth"),
        (
            "toeline.analysis.analyze",
            "from toeline.prompts.relations import relate\nfrom toeline.report.draw import draw",
        ),
        ("toeline.report.document", "from toeline.data.images import read_photo\nfrom toeline.evaluate import metric"),
        ("toeline.pipelines.inspector", "from toeline.judge.load import load_judge\nfrom toeline import errors"),
        ("toeline.plan.plan", "from toeline.judge.packing import Layout"),
        ("toeline.train.callbacks", "from toeline.evaluate.average_precision import precisions"),
        ("toeline.pipelines.evaluate", "from toeline.core.ground_truth import Truth\nimport torch"),
        ("toeline.cli.train", "from toeline.train.config import LoraRun"),
        ("toeline.core.scene", "import math\nfrom toeline.core.box import Box"),
        ("toeline.core.calibration", "def fit():\n    from scipy.special import logsumexp"),
    ],
)
def test_a_lawful_import_passes(module: str, source: str) -> None:
    assert broken_walls(source, module) == []


def test_importing_toeline_loads_no_framework() -> None:
    heavy = sorted(TENSORS | {"cv2"})
    code = f"import sys, toeline; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_helpers_of_tests_stand_in_tests_support() -> None:
    """No test module is imported by another file: what two tests need is a helper, and helpers have one place."""
    tests = Path(__file__).parent
    found = [
        f"{file.relative_to(tests)} imports {name}"
        for file in sorted(tests.rglob("*.py"))
        for name in imports_of(file.read_text(encoding="utf-8"), "tests.x")
        if name.startswith("tests.") and not name.startswith("tests.support")
    ]
    assert not found, "\n".join(found)
