"""`toeline inspect --part` and `toeline join`: parts of a run, merged to what one process writes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.datasets import exit_code, write_photo
from tests.support.flown import DOWN, write_flown
from tests.support.stand_ins import FakeJudge
from tests.support.surveyed import write_video

from toeline.core.records import read_lines
from toeline.core.taxonomy import DEFAULT_FILE
from toeline.pipelines import join as join_module
from toeline.pipelines import parts as parts_module
from toeline.pipelines.parts import Part

PARTS, STOPPED = 4, 130  # by Ctrl+C
Patch = pytest.MonkeyPatch
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def judge(fake_judge: FakeJudge) -> FakeJudge:
    return fake_judge


def fly(count: int, folder: str = "photos") -> None:
    """Photographs along a line that see the same objects, one of them damaged."""
    for n in range(count):
        write_flown(Path(folder, f"{n}.jpg"), (23.5 + n * 0.00001, 85.25), DOWN, size_wh=(64, 48))


def inspect(out: str, *more: str, photos: str = "photos") -> int:
    return exit_code("inspect", photos, "--out", out, "--workers", "0", *more)


def inspect_parts(*more: str, of: int = PARTS, photos: str = "photos") -> list[str]:
    for n in range(1, of + 1):
        assert inspect(f"p{n}", "--part", f"{n}/{of}", *more, photos=photos) in (0, 1)
    return [f"p{n}" for n in range(1, of + 1)]


def join(*parts: str, out: str = "joined", more: tuple[str, ...] = ()) -> int:
    return exit_code("join", *parts, "--out", out, "--workers", "0", *more)


def files(folder: str) -> dict[str, bytes]:
    """What a run says, without times: two runs of the same photographs have the same."""
    names = ("findings.jsonl", "errors.jsonl", "findings.csv", "worklist.csv", "findings.geojson", "footprints.geojson")
    found = {name: Path(folder, name).read_bytes() for name in names}
    pictures = sorted(Path(folder, "marked").rglob("*.jpg"))
    return found | {p.relative_to(folder).as_posix(): p.read_bytes() for p in pictures}


def refusal(capsys: Capture, *parts: str, out: str = "joined") -> str:
    capsys.readouterr()
    assert join(*parts, out=out) == 2
    return " ".join(capsys.readouterr().err.split())


def edit_run(folder: str, change: Callable[[dict[str, Any]], object]) -> None:
    file = Path(folder, "run.json")
    run = json.loads(file.read_text())
    change(run)
    file.write_text(json.dumps(run))


def test_parts_joined_are_the_single_process_byte_for_byte() -> None:
    fly(40)
    write_photo(Path("photos/berm 2/41.jpg"), (64, 48), seed=41)
    Path("photos/bad.jpg").write_bytes(b"none")
    Path("photos/notes.mp4").write_bytes(b"a video that is left out")
    assert inspect("whole") == 1
    parts = inspect_parts()
    assert all(read_lines(Path(part, "findings.jsonl")) for part in parts)
    assert join(*parts[::-1]) == 1  # in whatever order they are named
    whole, joined = files("whole"), files("joined")
    assert joined.keys() == whole.keys()
    assert [name for name in whole if joined[name] != whole[name]] == []
    found = read_lines(Path("joined/findings.jsonl"))
    assert len({(f["photo"], f["id"]) for f in found}) == len(found) == 3 * 41
    assert any(f["same_as"] for f in found if "same_as" in f)
    same = ("data_sha256", "domain", "told", "title", "models", "classes_sha256")
    runs = [json.loads(Path(folder, "run.json").read_text()) for folder in ("whole", "joined")]
    assert [runs[0][name] for name in same] == [runs[1][name] for name in same]
    assert runs[0]["settings"] == runs[1]["settings"]
    counts = [{k: v for k, v in run["counts"].items() if k != "seconds"} for run in runs]
    assert counts[0] == counts[1]


def test_a_joined_run_is_a_run_that_goes_on(judge: FakeJudge, capsys: Capture) -> None:
    fly(8)
    parts = inspect_parts(of=2)
    assert join(*parts) == 0
    asked = len(judge.asked)
    assert inspect("joined") == 0
    assert len(judge.asked) == asked
    assert "finished already" in capsys.readouterr().out
    fly(9)
    assert inspect("joined") == 0
    assert judge.asked[asked:] == ["8.jpg"]
    assert "did not write, or that was gone on with since" in refusal(capsys, *parts)
    assert len(read_lines(Path("joined/findings.jsonl"))) == 27


def test_photographs_that_are_added_change_no_part(judge: FakeJudge, capsys: Capture) -> None:
    fly(12)
    parts = inspect_parts(of=3)
    assert join(*parts) == 0
    fly(15)
    asked = len(judge.asked)
    assert inspect("p1", "--part", "1/3") == 0
    assert "p2: is a part of other photographs than p1 (15 there, 12 here)" in refusal(capsys, *parts)
    inspect_parts(of=3)
    assert sorted(judge.asked[asked:]) == ["12.jpg", "13.jpg", "14.jpg"]
    assert join(*parts) == 0
    assert inspect("whole") == 0
    assert files("joined") == files("whole")
    Path("photos/3.jpg").unlink()
    inspect_parts(of=3)
    assert join(*parts) == 0
    assert not Path("joined/marked/3.jpg").exists()
    assert len(read_lines(Path("joined/progress.jsonl"))) == 14


def test_a_part_without_photographs_counts(capsys: Capture) -> None:
    fly(3)
    parts = inspect_parts(of=8)
    assert min(len(read_lines(Path(part, "part.jsonl"))) for part in parts) == 0
    assert join(*parts) == 0
    assert inspect("whole") == 0
    assert files("joined") == files("whole")


@pytest.mark.parametrize("out", ["p1", "p2/joined", "photos/../p1/sub/joined"])
def test_a_join_never_writes_into_a_part(capsys: Capture, out: str) -> None:
    fly(4)
    parts = inspect_parts(of=2)
    before = sorted(Path().rglob("*"))
    assert "is or lies in p" in refusal(capsys, *parts, out=out)
    assert sorted(Path().rglob("*")) == before


def test_what_is_no_whole_is_refused_by_name(capsys: Capture) -> None:
    fly(12)
    one, two, three = inspect_parts(of=3)
    assert "part 2/3 is missing: 2 of 3 parts were named" in refusal(capsys, one, three)
    shutil.copytree(two, "copy")
    assert "p2 and copy are both part 2/3" in refusal(capsys, one, two, "copy", three)
    inspect("whole")
    assert "whole: is no part of a run" in refusal(capsys, one, two, "whole")
    assert "nowhere: there is no such folder. Name what `toeline inspect --part` wrote." in refusal(capsys, "nowhere")
    assert inspect("other", "--part", "3/3", "--answers", "all") == 0
    said = refusal(capsys, one, two, "other")
    assert "other: was not inspected as p1 was (answers was 'type', now 'all')" in said
    assert inspect("quarter", "--part", "3/4") == 0
    assert "quarter is part 3/4 and p1 is part 1/3: of two runs" in refusal(capsys, one, two, "quarter")
    edit_run(three, lambda run: run["models"]["judge"].update(device="cuda"))
    assert "(judge's device was None, now 'cuda')" in refusal(capsys, one, two, three)
    assert not Path("joined").exists()


def test_a_part_that_is_not_finished_is_refused_with_what_is_left(judge: FakeJudge, capsys: Capture) -> None:
    fly(12)
    one, two = inspect_parts(of=2)
    shutil.rmtree(two)
    share = sum(Part(2, 2).holds(f"{n}.jpg") for n in range(12))
    judge.most = len(judge.asked) + 2
    assert inspect(two, "--part", "2/2") == STOPPED
    said = refusal(capsys, one, two)
    assert f"p2: part 2/2 is not finished ({share - 2} of {share} photographs are left)" in said
    judge.most = 10**9
    assert inspect(two, "--part", "2/2") == 0
    assert join(one, two) == 0
    with Path(two, "findings.jsonl").open("r+b") as file:
        file.truncate(100)
    assert "was edited" in refusal(capsys, one, two)


def test_other_machines_have_other_paths_and_other_versions(tmp_path: Path, capsys: Capture) -> None:
    for machine in ("a", "b"):
        fly(8, f"{machine}/photos")
        shutil.copyfile(DEFAULT_FILE, f"{machine}/words.toml")
        n = 1 if machine == "a" else 2
        words = ("--part", f"{n}/2", "--taxonomy", f"{machine}/words.toml")
        assert inspect(f"p{n}", *words, photos=f"{machine}/photos") == 0
    edit_run("p2", lambda run: run["versions"].update(torch="9.9"))
    assert join("p1", "p2") == 0
    (note,) = read_lines(Path("joined/errors.jsonl"))
    assert "parts are of different torch" in note["what"]
    assert "9.9 (2/2)" in note["what"]
    shutil.rmtree("a")
    assert "a/words.toml: the taxonomy of the parts is not there" in refusal(capsys, "p1", "p2")
    assert join("p1", "p2", out="joined2", more=("--taxonomy", "b/words.toml")) == 0
    assert Path("joined2/findings.jsonl").read_bytes() == Path("joined/findings.jsonl").read_bytes()


def test_a_join_that_is_killed_is_done_by_the_same_command(monkeypatch: Patch) -> None:
    fly(10)
    parts = inspect_parts(of=2)
    assert inspect("whole") == 0
    brought = join_module._brought
    left = iter(range(4))

    def killed(source: Path, target: Path) -> bool:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return brought(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(join_module, "_brought", killed)
        assert join(*parts) == STOPPED
    assert json.loads(Path("joined/run.json").read_text())["finished"] is None
    with monkeypatch.context() as patch:
        patch.setattr(join_module, "finish", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        assert join(*parts) == STOPPED
    assert join(*parts) == 0
    assert files("joined") == files("whole")
    assert not list(Path("joined").rglob("*.part"))
    before = files("joined")
    shutil.rmtree("p1")
    shutil.rmtree("p2")
    assert files("joined") == before  # nothing in it leads into the parts


def test_records_without_pictures_join_with_a_note() -> None:
    fly(6)
    parts = inspect_parts(of=2)
    shutil.rmtree("p1/marked")
    assert join(*parts) == 0
    (note,) = read_lines(Path("joined/errors.jsonl"))
    assert note["note"]
    assert "marked picture" in note["what"]
    assert note["file"] == "p1"


def test_extras_of_parts_are_left_to_the_join(capsys: Capture) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    fly(6)
    assert inspect("p1", "--part", "1/2", "--parquet") == 2
    assert "Leave them to toeline join" in capsys.readouterr().err
    parts = inspect_parts(of=2)
    assert join(*parts, more=("--parquet",)) == 0
    table = parquet.read_table("joined/findings.parquet")
    found = read_lines(Path("joined/findings.jsonl"))
    assert [(r["photo"], r["id"]) for r in table.select(["photo", "id"]).to_pylist()] == [
        (f["photo"], f["id"]) for f in found
    ]
    assert inspect("whole", "--parquet") == 0
    assert parquet.read_table("whole/findings.parquet").equals(table)
    assert inspect("whole") == 0  # without it, none of before stays
    assert not Path("whole/findings.parquet").exists()


@pytest.mark.parametrize("typed", ["0/4", "5/4", "2", "a/b", "2/0", "-1/4", "1/4/4"])
def test_what_is_no_part_is_told(typed: str, capsys: Capture) -> None:
    fly(1)
    assert inspect("out", f"--part={typed}") == 2
    assert "Type --part 2/4" in capsys.readouterr().err


def test_a_part_is_told_what_comes_next(capsys: Capture) -> None:
    fly(4)
    inspect("p1", "--part", "1/2")
    said = capsys.readouterr().out
    assert "Part 1/2:" in said
    assert "toeline join" in said
    assert not Path("p1/report.html").exists()


def test_another_part_in_the_same_folder_is_refused(capsys: Capture) -> None:
    fly(4)
    inspect("p1", "--part", "1/2")
    assert inspect("p1", "--part", "2/2") == 2
    assert "part was '1/2', now '2/2'" in " ".join(capsys.readouterr().err.split())
    assert inspect("p1", "--part", "01/02") == 0


def test_every_photograph_is_in_one_part_and_parts_are_about_equal() -> None:
    names = [f"flight {n % 7}/DJI_{n:04}.JPG" for n in range(10_000)]
    sizes = [sum(Part(n, 10).holds(name) for name in names) for n in range(1, 11)]
    assert sum(sizes) == 10_000
    assert 870 <= min(sizes) <= max(sizes) <= 1130  # four standard deviations of a fair draw


def test_a_video_is_in_one_part_with_all_its_frames() -> None:
    fly(6)
    for n in range(3):
        write_video(Path("photos", f"v{n}.mp4"), 3)
    more = ("--every", "1")
    assert inspect("whole", *more) in (0, 1)
    parts = inspect_parts(*more, of=2)
    assert join(*parts) in (0, 1)
    assert files("joined") == files("whole")
    rows = [row for part in parts for row in read_lines(Path(part, parts_module.SHARE))]
    assert {len(row["photographs"]) for row in rows} == {1, 3}
    assert inspect("joined", *more) in (0, 1)
    assert [p.name for p in Path("joined/extracted").iterdir()] == [p.name for p in Path("whole/extracted").iterdir()]
