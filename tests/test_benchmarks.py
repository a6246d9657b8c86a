"""Benchmarks that need a machine of their own are run here on small models, so that they work when they get it.

What they wrote and is committed stays small, and without lists of objects.
"""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.support.datasets import write_yolo
from tests.support.scripts import script
from tests.support.tiny_judges import save_model

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
MOST_BYTES = 200_000  # of all results together
MOST_ROWS = 60  # of a list or a table of figures; one with a row for each object would have hundreds


def run(*words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *words], cwd=ROOT, env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the benchmarks, which import each other as a script does; torch is not loaded once more for each.

    What they import from there and torch's chance are as before, afterwards.
    """
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")  # as they set it themselves
    before = set(sys.modules)
    with torch.random.fork_rng(devices=[]):
        yield ROOT / "benchmarks"
    for name in sys.modules.keys() - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(ROOT / "benchmarks")):
            del sys.modules[name]


def run_here(script: Path, *words: str) -> int:
    """Run a benchmark as it is typed, in this process; its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(script), *words])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(script), run_name="__main__")
    return int(stopped.value.code or 0)


def test_the_7b_benchmark_runs_on_a_small_model(scripts: Path, tmp_path: Path) -> None:
    assert run_here(scripts / "gpu_7b.py", "--tiny", "--out", str(tmp_path)) == 0
    rows = json.loads((tmp_path / "gpu_7b-tiny.json").read_text())["rows"]
    measured = {(r["what"], r["objects"]) for r in rows if "seconds" in r}
    assert {("packed", 1), ("packed", 5), ("packed", 18), ("generate 50 per object", 5)} <= measured
    assert {("step, packed", 5), ("step, packed", 18), ("step, per object", 5)} <= measured
    page = (tmp_path / "gpu_7b-tiny.md").read_text()
    assert "| packed | 18 |" in page
    assert {("packed, trimmed", 1), ("packed, trimmed", 5), ("packed, trimmed", 18)} <= measured
    smaller = {r["what"]: r for r in rows if r["what"].startswith("packed, trimmed")}
    assert len(smaller) == 4
    assert all(r.get("disk_gb") or "pip install" in r["note"] for r in smaller.values())
    assert run_here(scripts / "gpu_7b.py", "--tiny", "--plan", "--out", str(tmp_path)) == 0
    assert (tmp_path / "gpu_7b-tiny.md").read_text() == page


@pytest.mark.usefixtures("scripts")
def test_planned_figures_of_the_7b_are_held_against_the_limits_in_both_units() -> None:
    import gpu_7b

    rows = {(r["what"], r["objects"]): r for r in gpu_7b.planned()}
    assert {what: rows[what, 5]["disk_gb"] for what, _ in rows} == {
        "packed, trimmed": 14.46,
        "packed, trimmed, W8A8": 7.27,
        "packed, trimmed, NF4": 3.78,
    }
    limits = {what: gpu_7b.limits_of(rows[what, 18], "memory_gb") for what, _ in rows}
    assert limits["packed, trimmed"] == {"disk": "< 14 GiB", "memory": "< 16 GB and GiB"}
    assert limits["packed, trimmed, W8A8"] == {"disk": "< 7 GiB", "memory": "< 8 GiB"}
    assert limits["packed, trimmed, NF4"] == {"disk": "< 4 GB and GiB", "memory": ""}
    assert gpu_7b.under(7.6, 7) == "not < 7"


def test_smaller_weights_are_held_against_whole_ones(
    scripts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = save_model(tmp_path / "judge")
    made: list[str] = []

    def copied(run: Any, how: Any, out: Path) -> Path:
        made.append(run.to)
        return Path(shutil.copytree(judge, out / "candidate", dirs_exist_ok=True))

    monkeypatch.setattr("toeline.pipelines.quantize.candidate", copied)
    monkeypatch.setattr("toeline.judge.quantize.require_library", lambda _: None)
    write_yolo(tmp_path / "data", {"valid": {f"{i}.jpg": ["6 0.3 0.3 0.2 0.5"] for i in range(3)}}, size_wh=(112, 84))
    words = (str(judge), "--work", str(tmp_path / "work"), "--real", str(tmp_path / "data"), "--limit", "1")
    assert run_here(scripts / "quantize.py", *words, "--device", "cpu", "--out", str(tmp_path)) == 0
    assert made == ["int8", "int4"]
    sets = json.loads((tmp_path / "quantize.json").read_text())["sets"]
    assert list(sets) == ["1 drawn scene", "real photographs"]
    for judges in sets.values():
        assert list(judges) == ["half precision", "int8", "int4"]
        assert judges["int8"]["answer"] == "not provable with this n"
        assert judges["int4"]["log_probabilities"]["largest"] == 0
        assert judges["half precision"]["bytes"] == judges["int4"]["bytes"] > 0
    page = (tmp_path / "quantize.md").read_text()
    assert "A trial: 1 photograph of each data set prove nothing" in page
    assert page.count("| half precision |") == 4  # what it takes and how right it is, of each set


@pytest.mark.usefixtures("scripts")
def test_findings_before_and_after_are_held_against_each_other() -> None:
    import speed

    one = {"photo": "a", "id": "1", "class": "rock toe", "detector_confidence": 0.5, "probabilities": {"x": 0.7}}
    assert speed.differences([one], [dict(one)]) == {"findings": 1, "other": 0, "drift": 0.0, "same_bytes": True}
    near = {**one, "probabilities": {"x": 0.75}}
    assert speed.differences([one], [near]) == {
        "findings": 1,
        "other": 0,
        "drift": pytest.approx(0.05),
        "same_bytes": False,
    }
    assert speed.differences([one, one], [{**one, "class": "rock toe damaged"}])["other"] == 2


@pytest.mark.usefixtures("scripts")
def test_the_functions_whose_time_is_taken_are_there() -> None:
    """A stage that was renamed would be counted as something else."""
    import stages

    for place in stages.STAGES:
        module, _, name = place.partition(":")
        owner = import_module(module)
        *outer, last = name.split(".")
        assert last in vars(getattr(owner, outer[0]) if outer else owner), place


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA card")
def test_the_7b_benchmark_says_when_there_is_no_card(
    scripts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here(scripts / "gpu_7b.py", "--out", str(tmp_path)) == 2
    assert "There is no CUDA card" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("scripts")
def test_the_random_7b_has_as_many_weights_as_the_real_one() -> None:
    from gpu_7b import SHAPE_7B
    from packed_model import make_judge

    with torch.device("meta"):
        judge = make_judge(SHAPE_7B, dtype=torch.bfloat16, by_branch=False)
    assert sum(w.numel() for w in judge.model.parameters()) == 8291375616


def test_overlaps_are_counted_on_a_small_data_set(tmp_path: Path) -> None:
    beside, under = "7 0.5 0.5 0.4 0.4", "8 0.5 0.45 0.4 0.4"  # an IoU of 0.78, of two types
    write_yolo(tmp_path / "data", {"train": {"a.jpg": [beside, under, "7 0.1 0.1 0.1 0.1"], "b.jpg": [beside]}})
    done = run("benchmarks/overlaps.py", str(tmp_path / "data"), "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    different, same = json.loads((tmp_path / "overlaps.json").read_text())["true"]
    assert (different["pairs"], different["over"]["0.7"], different["over"]["0.8"]) == (2, 1, 0)
    assert (same["pairs"], same["over"]["0.3"]) == (1, 0)
    assert "| train | 4 | different | 2 |" in (tmp_path / "overlaps.md").read_text()


def lists_in(value: Any) -> Iterator[list[Any]]:
    if isinstance(value, list):
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        yield from lists_in(one)


def test_committed_results_are_pages_with_their_figures_and_small() -> None:
    files = [f for f in RESULTS.rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) <= MOST_BYTES
    pages, figures = ({f.with_suffix("") for f in files if f.suffix == end} for end in (".md", ".json"))
    assert pages == figures
    assert len(pages) + len(figures) == len(files)


@pytest.mark.parametrize("file", sorted(RESULTS.rglob("*.json")), ids=lambda f: str(f.relative_to(RESULTS)))
def test_committed_figures_hold_no_list_of_objects(file: Path) -> None:
    said = file.read_text(encoding="utf-8")
    assert max((len(rows) for rows in lists_in(json.loads(said))), default=0) <= MOST_ROWS
    assert [name for name in (*script("benchmarks/results.py").BY_OBJECT, "thing_id") if f'"{name}": [' in said] == []
    assert ".jpg" not in said


def test_a_result_is_written_compact_and_kept_uncut(tmp_path: Path) -> None:
    share = {"key": "accuracy", "label": "right", "value": 2 / 3, "n": 3, "interval": [0.0941, 0.9916], "target": None}
    more = {**share, "key": "type/rock_toe", "floor": 0.5}
    figures = {
        "figures": [share, more],
        "flips": [{"photo": "a.jpg"}],
        "note": "",
        "p": 6.2094957e-08,
        "most": 32.00021,
    }
    script("benchmarks/results.py").write("one", "# One\n\n", figures, tmp_path)
    assert json.loads((tmp_path / "one.json").read_text()) == {
        "figures": {
            "columns": ["value", "n", "interval", "floor"],
            "accuracy": [0.6667, 3, [0.0941, 0.9916], None],
            "type/rock_toe": [0.6667, 3, [0.0941, 0.9916], 0.5],
        },
        "p": 6.21e-08,
        "most": 32.0002,
    }
    assert json.loads((tmp_path / "uncut" / "one.json").read_text()) == figures
    assert (tmp_path / "one.md").read_text() == "# One\n"


def test_a_share_sent_to_review_is_no_list_of_objects() -> None:
    assert script("benchmarks/results.py").compact({"review": 0.95, "worst": [1, 2]}) == {"review": 0.95}


def test_what_fits_into_a_line_of_json_stands_on_one() -> None:
    value = {"short": {"a": 1}, "long": [["x" * 150], ["y" * 150]], "nothing": []}
    text = script("benchmarks/results.py").as_json(value)
    assert json.loads(text) == value
    assert [len(line) > 0 for line in text.splitlines()] == [True] * 8
    assert ' "short":{"a":1},' in text.splitlines()


def test_a_page_is_shortened_by_the_sections_that_list_objects() -> None:
    left_out = "### B (1)\n\n| photograph | object | is |\n\n## How it was made\n\n"
    page = f"# A\n\n## Mistakes\n\n| true | said |\n\n{left_out}## C\n"
    assert script("benchmarks/results.py").shortened_page(page) == "# A\n\n## Mistakes\n\n| true | said |\n\n## C\n"


@pytest.mark.usefixtures("scripts")
def test_the_structure_has_no_circle_and_keeps_its_counts() -> None:
    import structure

    over = {f.name: f.value for f in structure.figures(structure.read_sources()) if not f.is_met}
    before = {"lines of src", "files without __init__", "lines of cli"}  # limits of before learn, the review and join
    assert not over.keys() - before, over
    planted = {
        "toeline.a": structure.Source("toeline.a", "def f(data):\n    from toeline.b import g\n    g(str(data))\n"),
        "toeline.b": structure.Source("toeline.b", "from toeline import a\ndef g(y):\n    h(y)\ndef h(x):\n    0\n"),
    }
    assert structure.files_in_circles(planted) == ["toeline.a", "toeline.b"]
    stays = structure.Walk(planted, parameters={("toeline.a", "f", "data")}).follow()
    assert stays == {("toeline.a", "f"), ("toeline.b", "g"), ("toeline.b", "h")}
