"""The Python interface: names as in the files, what goes in, what comes out, and the page about it."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tests.support.datasets import make_photo, write_photo
from tests.support.results import finding
from tests.support.scripts import script
from tests.support.stand_ins import FakeJudge, fake_inspector

from toeline.core.finding import graded
from toeline.core.records import finding_record
from toeline.core.taxonomy import Taxonomy
from toeline.errors import OutputError, PhotoError, SetupError
from toeline.pipelines.findings import Findings
from toeline.pipelines.inspector import Inspector
from toeline.report.tables import COLUMNS

DOCS = Path(__file__).parent.parent / "docs"


def test_a_finding_has_the_names_of_the_files_and_the_former_ones() -> None:
    (one,) = graded([finding("a.jpg")], (), Taxonomy.load())
    record = finding_record(one)
    same = (
        "photo", "id", "type", "detector_confidence", "detector_class", "condition", "probability", "probabilities",
        "review", "review_reason", "severity", "action", "immediate", "immediate_reason",
    )  # fmt: skip
    assert {name: getattr(one, name) for name in same} == {name: record[name] for name in same}
    assert one.class_name == record["class"]
    assert (one.instance_id, one.type_name, one.score) == (one.id, one.type, one.detector_confidence)
    assert (one.verdict.condition, one.grade.severity) == (one.condition, one.severity)


def test_paths_pictures_and_arrays_give_the_same(tmp_path: Path) -> None:
    file, inspector = write_photo(tmp_path / "a.png", (200, 100)), fake_inspector()
    with Image.open(file) as picture:
        array = np.asarray(picture.convert("RGB"))
    given = [inspector.inspect(one) for one in (file, str(file), make_photo((200, 100)), array)]
    assert len({json.dumps([f.class_name for f in found]) for found in given}) == 1
    assert [len(found) for found in given] == [3] * 4
    assert len(inspector.inspect(np.zeros((100, 200), np.uint8))) == 3


@pytest.mark.parametrize(
    "array", [np.zeros((10, 10, 4), np.uint8), np.zeros((10, 10, 3)), np.zeros((0, 5), np.uint8), ["text"]]
)
def test_an_array_that_is_no_photograph_says_what_one_is(array: object) -> None:
    with pytest.raises(PhotoError, match=r"\(height, width, 3\) in RGB"):
        fake_inspector().inspect(array)  # type: ignore[arg-type]


def test_folders_and_batches_go_through_and_a_bad_photograph_stops_nothing(tmp_path: Path) -> None:
    for n in range(3):
        write_photo(tmp_path / f"flight/{n}.jpg", (200, 100), seed=n)
    (tmp_path / "flight/1.jpg").write_bytes(b"no photograph")
    picture = make_photo((200, 100))
    given = [tmp_path / "flight", picture, np.asarray(picture)]
    found = list(fake_inspector().inspect_many(given, workers=2, batch=2))
    assert [f.photo for f in found] == ["0.jpg", "1.jpg", "2.jpg", "picture 2", "picture 3"]
    assert [(len(f), f.failed) for f in found] == [(3, False), (0, True), (3, False), (3, False), (3, False)]
    assert found[1].problems
    assert [f.photo for f in fake_inspector().inspect_many(tmp_path / "flight")] == ["0.jpg", "1.jpg", "2.jpg"]
    with pytest.raises(PhotoError):
        list(fake_inspector().inspect_many(tmp_path / "nowhere"))


def test_an_inspector_lets_go_of_its_models() -> None:
    with fake_inspector() as inspector:
        assert len(inspector.inspect(make_photo((200, 100)))) == 3
    assert inspector.judge is None
    with pytest.raises(SetupError, match="Load another one"):
        inspector.inspect(make_photo((200, 100)))


def test_findings_are_drawn_and_saved(tmp_path: Path) -> None:
    photo = make_photo((200, 100))
    findings = fake_inspector().inspect(photo)
    assert findings.draw().size == photo.size
    assert findings.draw().tobytes() != photo.tobytes()
    for name in ("a.jpg", "a.png"):
        with Image.open(findings.save(tmp_path / "new" / name)) as marked:
            assert marked.size == photo.size
    lines = findings.save(tmp_path / "a.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == findings.to_dicts()
    table = list(csv.DictReader(findings.save(tmp_path / "a.csv").read_text("utf-8-sig").splitlines()))
    assert [row["type"] for row in table] == [f.type for f in findings]
    with pytest.raises(OutputError, match=r"a\.xyz: findings are saved as \.jsonl"):
        findings.save(tmp_path / "a.xyz")
    with pytest.raises(PhotoError, match="no picture"):
        Findings(findings.found, findings.taxonomy).draw()


def test_findings_become_a_data_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = fake_inspector(review_below=0.9).inspect(make_photo((200, 100)))
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=lambda rows, columns: (rows, columns)))
    rows, columns = findings.to_dataframe()
    assert tuple(columns) == tuple(name for name in COLUMNS if name != "marked")
    assert [(row["id"], row["review"], row["latitude"]) for row in rows] == [
        ("1", True, None), ("2", True, None), ("3", False, None),
    ]  # fmt: skip
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises((SetupError, ModuleNotFoundError), match="pandas"):
        findings.to_dataframe()


def test_a_real_data_frame() -> None:
    pytest.importorskip("pandas")
    frame = fake_inspector().inspect(make_photo((200, 100))).to_dataframe()
    assert list(frame["type"]) == ["slope_drain", "rock_toe", "vegetation"]


def test_the_page_is_what_the_docstrings_say() -> None:
    assert (DOCS / "api.md").read_text(encoding="utf-8") == script("docs/make_api.py").page(), (
        "run python docs/make_api.py"
    )


def test_the_examples_of_the_page_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Inspector, "load", lambda **_: fake_inspector(FakeJudge()))
    write_photo(Path("photo.jpg"), (200, 100))
    write_photo(Path("flight7/1.jpg"), (200, 100))
    text = (DOCS / "api.md").read_text(encoding="utf-8").partition("# Reference")[0]
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 3
    for example in examples:
        exec(compile(example, "docs/api.md", "exec"), {})
    assert Path("marked.png").is_file()
