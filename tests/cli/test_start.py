"""What a start loads: counted in modules, because seconds depend on the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
HEAVY = [
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "onnxruntime",
    "cv2",
    "numpy",
    "scipy",
    "sklearn",
    "matplotlib",
    "pandas",
    "pyarrow",
    "shapely",
    "PIL",
    "jinja2",
    "yaml",
    "fastapi",
    "uvicorn",
    "sqlite3",
    "filelock",
    "safetensors",
]
COMMAND = "from toeline.cli import main\ntry:\n    main({words})\nexcept SystemExit:\n    pass"


def loaded(program: str) -> set[str]:
    """The modules that a program has loaded when it ends, less those that Python itself begins with."""
    program = f"import sys\nbefore = set(sys.modules)\n{program}\nprint('LOADED', *sys.modules.keys() - before)"
    env = {**os.environ, "PYTHONPATH": str(SOURCE)}
    said = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True).stdout
    return set(said.rpartition("LOADED ")[2].split())


@pytest.mark.parametrize(
    ("program", "own", "most"),
    [
        ("import toeline", 2, 40),
        (COMMAND.format(words=["--help"]), 26, 380),
        (COMMAND.format(words=["inspect", "--help"]), 26, 480),
    ],
    ids=["import toeline", "toeline --help", "toeline inspect --help"],
)
def test_a_start_loads_few_modules_and_nothing_that_computes(program: str, own: int, most: int) -> None:
    found = loaded(program)
    assert not found & set(HEAVY)
    assert len({name for name in found if name.split(".")[0] == "toeline"}) <= own
    assert len(found) <= most


def test_a_module_that_computes_would_be_seen() -> None:
    assert "numpy" in loaded("import toeline.core.polygon")
