"""Evaluation needs no framework and no picture: everything is imported, and used, with those libraries out of reach."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import toeline.evaluate

ROOM = Path(toeline.evaluate.__file__).parent
CODE = """
import importlib, sys
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers", "onnxruntime", "peft", "accelerate", "PIL", "cv2"):
            raise ModuleNotFoundError(f"{{name}} is out of reach")
sys.meta_path.insert(0, Gone())
for name in {names}:
    importlib.import_module(f"toeline.evaluate.{{name}}")
from tests.support.cases import TAXONOMY, some_cases
from toeline.evaluate.calibration import fit, reliability
from toeline.evaluate.compare import Run, compare
from toeline.evaluate.classification import score
cases = some_cases(40)
score(cases, TAXONOMY, draws=50), fit(cases, split="train"), reliability(cases)
compare(Run("a", tuple(cases)), Run("b", tuple(cases)), TAXONOMY, draws=50)
print("fine")
"""


def test_evaluation_works_without_torch_and_pictures() -> None:
    names = sorted(file.stem for file in ROOM.glob("*.py") if file.stem != "__init__")
    assert len(names) > 5
    code = CODE.format(names=names)
    root, source = Path(__file__).parent.parent.parent, ROOM.parent.parent
    paths = f"import sys; sys.path[:0] = [{str(root)!r}, {str(source)!r}]"
    done = subprocess.run([sys.executable, "-c", f"{paths}\n{code}"], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "fine", done.stderr
