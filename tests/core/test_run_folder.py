"""An output folder survives kills and refuses what is not its own."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.results import RUN_RECORD, begun, finding, keep, result

from toeline.core.finding import Finding, Result
from toeline.core.records import finding_from, finding_record, read_lines, to_line
from toeline.core.run_folder import ERRORS, FINDINGS, PROGRESS, RUN, RunFolder, write_whole
from toeline.errors import OutputError


def test_a_finding_survives_the_round_trip_through_a_line(tmp_path: Path) -> None:
    before = finding("a b/é.jpg")
    (tmp_path / "x.jsonl").write_text(to_line(finding_record(before)), encoding="utf-8")
    assert finding_from(read_lines(tmp_path / "x.jsonl")[0]) == before


def test_a_line_of_a_version_that_did_not_tell_what_the_detector_thought_is_read() -> None:
    record = finding_record(finding("a.jpg"))
    del record["detector_class"], record["detector_others"]
    assert finding_from(record) == replace(finding("a.jpg"), detector_class="", detector_others=())


def test_a_torn_last_line_is_dropped_and_a_torn_middle_line_is_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(b'{"a": 1}\n{"a": "\xc3')
    assert read_lines(file) == [{"a": 1}]
    file.write_bytes(b'{"a": 1}\n{"a": \n{"a": 2}\n')
    with pytest.raises(OutputError, match="line 2"):
        read_lines(file)


def test_a_kill_before_the_progress_line_drops_the_photograph_whole(tmp_path: Path) -> None:
    begun(tmp_path / "out", result("a.jpg"), result("b.jpg", problems=1))
    lines = (tmp_path / "out" / PROGRESS).read_text().splitlines(keepends=True)
    (tmp_path / "out" / PROGRESS).write_text(lines[0])  # killed after b's findings, before b's last line
    again = RunFolder.open(tmp_path / "out", RUN_RECORD)
    assert list(again.done) == ["a.jpg"]
    assert {f.photo for f in again.findings()} == {"a.jpg"}
    assert again.problems() == []


@pytest.mark.parametrize("name", [FINDINGS, PROGRESS, ERRORS])
def test_a_kill_in_the_middle_of_a_line_loses_and_doubles_nothing(tmp_path: Path, name: str) -> None:
    whole = begun(tmp_path / "whole", *(result(p, problems=1) for p in ("a.jpg", "b.jpg")))
    out = tmp_path / "out"
    begun(out, *(result(p, problems=1) for p in ("a.jpg", "b.jpg")))
    (out / name).write_bytes((out / name).read_bytes()[:-9])
    if name != PROGRESS:  # progress is written last, so it cannot have b when the others lack it
        (out / PROGRESS).write_text((out / PROGRESS).read_text().splitlines(keepends=True)[0])
    again = RunFolder.open(out, RUN_RECORD)
    keep(again, [result(p, problems=1) for p in ("a.jpg", "b.jpg") if p not in again.done])
    assert (out / FINDINGS).read_bytes() == (whole.path / FINDINGS).read_bytes()
    assert (out / ERRORS).read_bytes() == (whole.path / ERRORS).read_bytes()
    assert len(again.done) == 2


def test_a_kill_at_any_byte_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """The writes of a run, cut after every one of them, just before, just after and in the middle."""
    results = [result("a.jpg", problems=1), result("b.jpg", 0), result("c.jpg"), result("d.jpg", 0, problems=2)]
    whole = begun(tmp_path / "whole", *results)
    names = (FINDINGS, ERRORS, PROGRESS)
    texts = {name: (whole.path / name).read_bytes() for name in names}
    writes = [(name, line) for r in results for name in names for line in each(texts[name], r.photo)]
    for at, (torn, line) in enumerate(writes):
        for cut in {0, 1, len(line) // 2, len(line) - 1}:
            out = tmp_path / f"{at}-{cut}"
            out.mkdir()
            (out / RUN).write_text(json.dumps(RUN_RECORD))
            for name in names:
                before = b"".join(text for other, text in writes[:at] if other == name)
                (out / name).write_bytes(before + (line[:cut] if name == torn else b""))
            again = RunFolder.open(out, RUN_RECORD)
            keep(again, [r for r in results if r.photo not in again.names])
            assert {name: (out / name).read_bytes() for name in names} == texts, (at, cut)


def each(text: bytes, photo: str) -> list[bytes]:
    """What was written of one photograph in one go; nothing if there was nothing to write."""
    lines = [line for line in text.splitlines(keepends=True) if json.loads(line)["photo"] == photo]
    return [b"".join(lines)] if lines else []


def test_nothing_of_a_finished_photograph_stays_in_memory(tmp_path: Path) -> None:
    folder = RunFolder.open(tmp_path / "out", RUN_RECORD)
    alive: list[weakref.ref[Finding]] = []

    def results() -> Iterator[Result]:
        for n in range(20):
            one = result(f"{n}.jpg")
            alive.append(weakref.ref(one.findings[0]))
            yield one

    for kept in folder.keep(results()):
        del kept
        assert sum(ref() is not None for ref in alive) <= 1
    assert len(folder.names) == 20


def test_a_photograph_without_findings_is_done_too(tmp_path: Path) -> None:
    begun(tmp_path / "out", result("a.jpg", 0))
    assert list(RunFolder.open(tmp_path / "out", RUN_RECORD).done) == ["a.jpg"]


def test_a_finished_run_tries_what_had_problems_again(tmp_path: Path) -> None:
    begun(tmp_path / "out", result("a.jpg"), result("b.jpg", problems=2)).save_run(finished="now")
    again = RunFolder.open(tmp_path / "out", RUN_RECORD)
    assert list(again.done) == ["a.jpg"]
    assert again.problems() == []


def test_another_run_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    begun(tmp_path / "out", result("a.jpg"))
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    with pytest.raises(OutputError, match=r"judge was 'embedded', now 'other'.*--out"):
        RunFolder.open(tmp_path / "out", {"settings": {"judge": "other"}})
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


def test_a_run_that_never_did_anything_gives_way(tmp_path: Path) -> None:
    begun(tmp_path / "out")
    assert RunFolder.open(tmp_path / "out", {"settings": {"judge": "other"}}).resumed is False


def test_a_foreign_folder_is_refused_and_an_empty_one_taken(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").touch()
    RunFolder.open(tmp_path, RUN_RECORD)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.doc").touch()
    with pytest.raises(OutputError, match=r"thesis\.doc.*--out"):
        RunFolder.open(foreign, RUN_RECORD)
    assert [p.name for p in foreign.iterdir()] == ["thesis.doc"]


def test_names_that_belong_to_the_run_may_be_there_before_it(tmp_path: Path) -> None:
    (tmp_path / "scenes").mkdir()
    assert RunFolder.open(tmp_path, RUN_RECORD, own=("scenes",)).path == tmp_path


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match="cannot be used as an output folder"):
        RunFolder.open(tmp_path / "out", RUN_RECORD)


def test_a_run_record_that_cannot_be_read_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / RUN).write_text("{")
    with pytest.raises(OutputError, match=r"run\.json"):
        RunFolder.open(tmp_path, RUN_RECORD)
    assert (tmp_path / RUN).read_text() == "{"


def test_a_whole_file_is_replaced_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(tmp_path / "a.txt", "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_two_processes_do_not_write_into_one_folder(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    begun(tmp_path / "out", result("a.jpg"))
    writing = RunFolder.open(tmp_path / "out", RUN_RECORD).keep([result("b.jpg"), result("c.jpg")])
    next(writing)
    with pytest.raises(OutputError, match="another run is writing here"):
        RunFolder.open(tmp_path / "out", RUN_RECORD)
    writing.close()
    assert list(RunFolder.open(tmp_path / "out", RUN_RECORD).done) == ["a.jpg", "b.jpg"]
