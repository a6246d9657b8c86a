"""A wheel of the package, installed by itself: nothing of the clone is needed to run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "toeline"
pytestmark = pytest.mark.slow

PROGRAM = """
import sys
from pathlib import Path
import toeline
from toeline.cli import main
from toeline.core.taxonomy import Taxonomy
from toeline.errors import install_line
from toeline.evaluate.gate import GateRules
from toeline.judge.load import require_judge
from toeline.detect.load import EMBEDDED
from toeline.pipelines.model_folder import shipped_judge

assert Path(toeline.__file__).is_relative_to(sys.argv[1]), toeline.__file__
assert EMBEDDED.is_file()
require_judge(shipped_judge())
GateRules.load(None)
print(len(Taxonomy.load().classes), install_line("heic").rpartition(" ")[2])
main(["plan", "--device", "a30", "--json"])
"""


def pip(*words: str | Path) -> None:
    env = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INDEX": "1"}
    subprocess.run([sys.executable, "-m", "pip", *map(str, words)], check=True, capture_output=True, text=True, env=env)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package as `pip install .` and a wheel of it leave it, and nothing else."""
    pytest.importorskip("hatchling", reason="needs toeline[dev]")
    place = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", place, ROOT)
    (wheel,) = place.glob("toeline-*.whl")
    pip("install", "--no-deps", "--target", place / "site", wheel)
    return place / "site"


def test_everything_of_the_package_travels(site: Path) -> None:
    here = {f.relative_to(PACKAGE) for f in PACKAGE.rglob("*") if f.is_file() and f.suffix != ".pyc"}
    there = {f.relative_to(site / "toeline") for f in (site / "toeline").rglob("*") if f.is_file()}
    assert here <= there
    assert any(f.suffix == ".j2" for f in there)


def test_it_runs_outside_the_clone(site: Path, tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(site)], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, _, plan = done.stdout.partition("\n")
    assert first == "9 'pillow-heif>=1.0'"
    assert '"fits": true' in plan
