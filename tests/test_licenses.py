"""What the default install brings in, package by package: nothing of it is under the AGPL."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def wanted(name: str, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """What an installed package requires on this machine, with the extras that it requires it with."""
    for line in distribution(name).requires or ():
        need = Requirement(line)
        if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield canonicalize_name(need.name), frozenset(need.extras)


def closure(name: str) -> set[str]:
    """The package and everything that it brings in, as far as it is installed."""
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = [(name, frozenset[str]())]
    while todo:
        one = todo.pop()
        if one not in seen:
            seen.add(one)
            try:
                todo += wanted(*one)
            except PackageNotFoundError:
                seen.remove(one)  # a requirement of another platform
    return {package for package, _ in seen}


def licenses(name: str) -> str:
    said = metadata(name)
    parts = [said.get("License-Expression", ""), said.get("License", ""), *(said.get_all("Classifier") or ())]
    return " ".join(part[:300] for part in parts).lower()  # some packages put the whole text there


def is_agpl(said: str) -> bool:
    return "agpl" in said or "affero" in said


def test_the_default_install_has_no_agpl_package() -> None:
    packages = closure("toeline")
    assert {"toeline", "torch", "onnxruntime", "transformers", "numpy", "huggingface-hub"} <= packages
    assert not {name for name in packages if is_agpl(licenses(name))}
    assert "ultralytics" not in packages


def test_ultralytics_is_wanted_by_one_extra_alone() -> None:
    lines = [Requirement(line) for line in distribution("toeline").requires or ()]
    markers = [str(need.marker) for need in lines if need.name == "ultralytics"]
    assert markers in ([], ['extra == "yolo"'])  # none: an install that is older than the extra


@pytest.mark.parametrize(
    ("said", "agpl"),
    [
        ("AGPL-3.0", True),
        ("License :: OSI Approved :: GNU Affero General Public License v3 or later (AGPLv3+)", True),
        ("License :: OSI Approved :: GNU Lesser General Public License v3", False),
        ("Apache-2.0", False),
    ],
)
def test_an_agpl_license_is_known_by_its_name(said: str, agpl: bool) -> None:
    assert is_agpl(said.lower()) is agpl


EXPORTS = Path(__file__).parent / "detect"
OFF = """
import sys
for gone in ("ultralytics", "torch", "torchvision"):
    sys.modules[gone] = None
from PIL import Image
from toeline.core.taxonomy import Taxonomy
from toeline.detect.load import load_detector
for name in sys.argv[1:]:
    print(len(load_detector(name, taxonomy=Taxonomy.load()).find([Image.new("RGB", (90, 60), "white")])[0]))
"""


def test_stage_1_from_onnx_files_needs_neither_ultralytics_nor_torch() -> None:
    words = ["embedded", str(EXPORTS / "small_raw.onnx"), str(EXPORTS / "small_rows.onnx")]
    done = subprocess.run([sys.executable, "-c", OFF, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1:] == ["3", "3"]
