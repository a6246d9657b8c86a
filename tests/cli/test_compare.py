"""`toeline compare`: two folders in, a table, a page and JSON out; refusals say what differs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.support.cases import better, some_cases

from toeline.cli.app import run
from toeline.core.records import join_lines
from toeline.evaluate.matching import CASES, Case, case_record

FIRST = some_cases(100, unreadable=0.03)


def evaluated(folder: Path, cases: Sequence[Case], *, data: str = "1", taxonomy: str = "2") -> Path:
    """An output folder of `toeline evaluate`, as far as comparing reads it."""
    folder.mkdir(parents=True)
    record = {"data_sha256": data, "settings": {"labels_sha256": "3", "taxonomy_sha256": taxonomy}}
    (folder / "run.json").write_text(json.dumps(record))
    (folder / CASES).write_text(join_lines(map(case_record, cases)))
    return folder


def said(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as end:
        run([str(a) for a in args])
    told = capsys.readouterr()
    return int(end.value.code or 0), told.out, told.err


def test_two_runs_become_a_table_a_page_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = evaluated(tmp_path / "one", FIRST), evaluated(tmp_path / "two", better(FIRST))
    code, out, _ = said(capsys, "compare", one, two, one, "--out", tmp_path / "told")
    assert code == 0
    assert "condition, given" in out
    assert f"{tmp_path / 'two'} is better: condition given the type +" in " ".join(out.split())
    assert "is not shown to differ" in out
    page = (tmp_path / "told" / "compare.html").read_text()
    assert "Gained: " in page
    assert "(unreadable)" in page
    assert "McNemar" in (tmp_path / "told" / "compare.md").read_text()
    kept = json.loads((tmp_path / "told" / "compare.json").read_text())["comparisons"]
    code, out, _ = said(capsys, "compare", one, two, one, "--json", "--out", tmp_path / "told")
    assert (code, json.loads(out)["comparisons"]) == (0, kept)
    assert [c["second"] for c in kept] == [str(two), str(one)]


def test_runs_that_cannot_be_compared_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = evaluated(tmp_path / "one", FIRST)
    for name, other, what in (
        ("fewer", evaluated(tmp_path / "fewer", FIRST[1:]), "1 only in"),
        ("data", evaluated(tmp_path / "data", FIRST, data="9"), "their photographs differ"),
        ("words", evaluated(tmp_path / "words", FIRST, taxonomy="9"), "labels or class names differ"),
        ("none", tmp_path / "none", "none: there is no such folder"),
        ("empty", evaluated(tmp_path / "empty", []), "holds no judged object"),
    ):
        code, _, err = said(capsys, "compare", one, other)
        assert (name, code) == (name, 2)
        assert what in err
    assert said(capsys, "compare", one)[0] == 2


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = evaluated(tmp_path / "one", FIRST)
    code, _, err = said(capsys, "compare", one, one, "--out", one)
    assert code == 2
    assert "holds what this command did not write (cases.jsonl, run.json)" in err
