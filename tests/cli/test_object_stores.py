"""`toeline inspect s3://...`: a store that stands in, and fsspec's own in memory. No network."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.spec import AbstractFileSystem
from tests.support.datasets import exit_code, write_photo
from tests.support.fake_ray import FakeRay
from tests.support.flown import DOWN, write_flown
from tests.support.stand_ins import FakeJudge

from toeline.core.records import read_lines
from toeline.data.object_stores import FETCHED
from toeline.pipelines import on_ray

KNOWN: dict[str, Any] = import_module("fsspec.registry")._registry  # the name in fsspec itself is another thing
STOPPED = 130  # by Ctrl+C
TABLES = ("findings.jsonl", "findings.csv", "worklist.csv", "findings.geojson", "footprints.geojson")
Patch = pytest.MonkeyPatch
Capture = pytest.CaptureFixture[str]


class Bucket(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A store: bytes by key, and a version that grows as an object is written. Keys in `faults` are not given."""

    protocol = "s3"
    cachable = False
    objects: ClassVar[dict[str, tuple[bytes, int]]] = {}
    faults: ClassVar[dict[str, BaseException]] = {}
    fetched: ClassVar[list[str]] = []

    @classmethod
    def put(cls, key: str, data: bytes) -> None:
        cls.objects[key] = data, cls.objects.get(key, (b"", 0))[1] + 1

    @classmethod
    def fill(cls, folder: Path, prefix: str = "dam/flight7") -> None:
        for file in (f for f in folder.rglob("*") if f.is_file()):
            cls.put(f"{prefix}/{file.relative_to(folder).as_posix()}", file.read_bytes())

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        data, version = self.objects[path]
        return {"name": path, "size": len(data), "type": "file", "ETag": f"{version}"}

    def find(self, path: str, *, detail: bool = False, **_: Any) -> dict[str, dict[str, Any]] | list[str]:
        if path in self.faults:
            raise self.faults[path]
        if path in self.objects:
            return [path]  # as adlfs
        return {key: self.info(key) for key in self.objects if key.startswith(path)}

    def get_file(self, rpath: str, lpath: str, **_: Any) -> None:
        if rpath in self.faults:
            Path(lpath).write_bytes(b"half")
            raise self.faults[rpath]
        self.fetched.append(rpath)
        Path(lpath).write_bytes(self.objects[rpath][0])


@pytest.fixture(autouse=True)
def bucket(monkeypatch: Patch) -> type[Bucket]:
    for name in ("objects", "faults"):
        monkeypatch.setattr(Bucket, name, {})
    monkeypatch.setattr(Bucket, "fetched", [])
    monkeypatch.setitem(KNOWN, "s3", Bucket)
    return Bucket


@pytest.fixture(autouse=True)
def judge(fake_judge: FakeJudge) -> FakeJudge:
    return fake_judge


def inspect(*words: str, photos: str = "s3://dam/flight7", out: str = "out") -> int:
    return exit_code("inspect", photos, "--out", out, "--workers", "0", *words)


def fly(*names: str) -> None:
    for n, name in enumerate(names):
        write_flown(Path("flight7", name), (23.5 + n * 0.00001, 85.25), DOWN, size_wh=(64, 48))


def run_record(out: str = "out") -> dict[str, Any]:
    record: dict[str, Any] = json.loads(Path(out, "run.json").read_text(encoding="utf-8"))
    return record


def tables(out: str) -> dict[str, bytes]:
    pictures = {p.relative_to(out).as_posix(): p.read_bytes() for p in Path(out, "marked").rglob("*.jpg")}
    return {name: Path(out, name).read_bytes() for name in TABLES} | pictures


def problems(out: str = "out") -> dict[str, str]:
    return {str(p["file"]): str(p["what"]) for p in read_lines(Path(out, "errors.jsonl"))}


@pytest.mark.parametrize("scheme", ["s3", "memory"])
def test_a_bucket_gives_what_the_folder_gives(scheme: str, bucket: type[Bucket], capsys: Capture) -> None:
    fly("a10.jpg", "a9.jpg", "digue été 2/é a.JPG", "labels/mask.png", ".hidden.jpg", "@eaDir/thumb.jpg")
    Path("flight7/raw.dng").write_bytes(b"raw")
    Path("flight7/notes.txt").write_text("no picture")
    Path("flight7/bad.jpg").write_bytes(b"none")
    bucket.fill(Path("flight7"))
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    for key, (data, _) in bucket.objects.items():
        memory.pipe(f"/{key}", data)
    assert inspect(photos="flight7", out="local") == 1
    assert inspect(photos=f"{scheme}://dam/flight7/") == 1
    assert tables("out") == tables("local")
    assert len(read_lines(Path("out/findings.jsonl"))) == 9
    local = {file.removeprefix("flight7"): what for file, what in problems("local").items()}
    there = str(Path("out", FETCHED, scheme, "dam/flight7"))
    address = f"{scheme}://dam/flight7"
    assert {f.removeprefix(there).removeprefix(address): what for f, what in problems().items()} == local
    assert {f"{address}/raw.dng", f"{there}/bad.jpg", address} <= problems().keys()
    record = run_record()
    assert record["settings"]["photos"] == record["options"]["photos"] == [address]
    assert not list(Path("out", FETCHED).rglob("*.part"))
    assert not list(Path("out", FETCHED).rglob("thumb.jpg"))


def test_what_is_done_is_not_fetched_again(bucket: type[Bucket], judge: FakeJudge, capsys: Capture) -> None:
    fly("1.jpg", "2.jpg", "3.jpg")
    bucket.fill(Path("flight7"))
    assert inspect() == 0
    assert len(bucket.fetched) == len(judge.asked) == 3
    assert inspect() == 0
    assert len(bucket.fetched) == len(judge.asked) == 3
    assert "finished already" in capsys.readouterr().out
    shutil.rmtree(Path("out", FETCHED))
    assert inspect() == 0
    assert (len(bucket.fetched), len(judge.asked)) == (6, 3)


def test_a_changed_object_is_inspected_anew_and_one_that_is_gone_goes(
    bucket: type[Bucket], judge: FakeJudge, capsys: Capture
) -> None:
    fly("1.jpg", "2.jpg", "3.jpg")
    bucket.fill(Path("flight7"))
    assert inspect() == 0
    other = bytearray(bucket.objects["dam/flight7/2.jpg"][0])
    other[-3] ^= 1  # of the same size
    bucket.put("dam/flight7/2.jpg", bytes(other))
    bucket.put("dam/flight7/1.jpg", bucket.objects["dam/flight7/1.jpg"][0])  # written again, the same
    del bucket.objects["dam/flight7/3.jpg"]
    assert inspect() == 0
    assert judge.asked[3:] == ["2.jpg"]
    assert sorted(bucket.fetched[3:]) == ["dam/flight7/1.jpg", "dam/flight7/2.jpg"]
    assert {r["photo"] for r in read_lines(Path("out/findings.jsonl"))} == {"1.jpg", "2.jpg"}
    assert "Inspected anew, because the file changed: 2.jpg" in capsys.readouterr().err


@pytest.mark.parametrize("fault", [PermissionError(13, "Forbidden"), TimeoutError("late"), RuntimeError("a\nb")])
def test_an_object_that_is_not_given_is_a_problem_and_the_rest_is_done(
    fault: Exception, bucket: type[Bucket], judge: FakeJudge
) -> None:
    fly("1.jpg", "2.jpg", "3.jpg")
    bucket.fill(Path("flight7"))
    bucket.faults["dam/flight7/2.jpg"] = fault
    assert inspect() == 1
    assert judge.asked == ["1.jpg", "3.jpg"]
    (place,) = problems()
    assert place == "s3://dam/flight7/2.jpg"
    assert "cannot be fetched (" in problems()[place]
    assert not list(Path("out").rglob("*.part"))
    bucket.faults.clear()
    assert inspect() == 0
    assert judge.asked == ["1.jpg", "3.jpg", "2.jpg"]
    assert sorted(Counter(bucket.fetched).values()) == [1, 1, 1]
    assert not problems()
    assert inspect(photos="flight7", out="local") == 0
    late, early = (sorted(Path(out, "findings.jsonl").read_bytes().splitlines()) for out in ("out", "local"))
    assert late == early  # in another order, as of a photograph that was added
    assert Path("out/findings.csv").read_bytes() == Path("local/findings.csv").read_bytes()


def test_an_object_that_comes_short_is_not_inspected(bucket: type[Bucket], monkeypatch: Patch) -> None:
    fly("1.jpg", "2.jpg")
    bucket.fill(Path("flight7"))
    monkeypatch.setattr(bucket, "get_file", lambda _, key, file: Path(file).write_bytes(b"short" * ("2" in key)))
    assert inspect() == 2
    assert not list(Path("out").rglob("*.jpg"))


def test_stopped_while_it_fetches_it_continues(bucket: type[Bucket], judge: FakeJudge) -> None:
    fly(*(f"{n}.jpg" for n in range(30)))
    bucket.fill(Path("flight7"))
    bucket.faults["dam/flight7/20.jpg"] = KeyboardInterrupt()
    assert inspect() == STOPPED
    came = len(bucket.fetched)
    assert 10 < came < 30
    assert not judge.asked
    assert not list(Path("out").rglob("*.part"))
    bucket.faults.clear()
    judge.most = 5
    assert inspect() == STOPPED
    judge.most = 1000
    assert inspect() == 0
    assert len(judge.asked) == 30
    assert len(set(bucket.fetched)) == 30
    assert len(bucket.fetched) <= 30 + 17  # what was begun when it was stopped, and not written down
    assert inspect(photos="flight7", out="local") == 0
    assert tables("out") == tables("local")


def test_parts_of_a_bucket_fetch_their_share_and_are_joined(bucket: type[Bucket]) -> None:
    fly(*(f"day {n % 3}/{n}.jpg" for n in range(12)))
    bucket.fill(Path("flight7"))
    for n in (1, 2, 3):
        assert inspect("--part", f"{n}/3", out=f"p{n}") == 0
    assert sorted(Counter(bucket.fetched).values()) == [1] * 12
    assert exit_code("join", "p1", "p2", "p3", "--out", "joined", "--workers", "0") == 0
    assert inspect(photos="flight7", out="local") == 0
    assert tables("joined") == tables("local")
    shutil.rmtree("p1")
    assert inspect(out="joined") == 0  # continues without fetching
    assert len(bucket.fetched) == 12
    assert exit_code("export", "joined", "--to", "yolo", "--out", "labels") == 0
    assert len(list(Path("labels").rglob("*.jpg"))) == 12


def test_processes_of_ray_inspect_the_copies(bucket: type[Bucket], monkeypatch: Patch) -> None:
    fly("1.jpg", "2.jpg")
    bucket.fill(Path("flight7"))
    monkeypatch.setitem(sys.modules, "ray", FakeRay())
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    monkeypatch.setattr(on_ray, "take", lambda _: None)
    assert inspect("--ray", "local", "--ray-actors", "2") == 0
    assert inspect(photos="flight7", out="local") == 0
    assert tables("out") == tables("local")


def test_one_object_a_folder_and_labels_of_this_machine(bucket: type[Bucket]) -> None:
    fly("1.jpg", "2.jpg")
    bucket.fill(Path("flight7"), "dam/one")
    write_photo(Path("here/3.jpg"), (64, 48))
    for n in (1, 3):
        Path(f"labels/{n}.txt").parent.mkdir(exist_ok=True)
        Path(f"labels/{n}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    Path("labels/classes.txt").write_text("Toe drain- Blocked\n")
    words = ("s3://dam/one/1.jpg", "here", "--boxes", "labels", "--workers", "0")
    assert exit_code("inspect", *words, "--out", "out") == 0
    assert [r["photo"] for r in read_lines(Path("out/findings.jsonl"))] == ["1.jpg", "3.jpg"]
    assert bucket.fetched == ["dam/one/1.jpg"]
    for n in (1, 2):
        assert exit_code("inspect", *words, "--out", f"p{n}", "--part", f"{n}/2") == 0


def test_two_prefixes_are_told_apart_as_two_folders_are(bucket: type[Bucket]) -> None:
    fly("a/1.jpg", "b/1.jpg", "ab/1.jpg")
    bucket.fill(Path("flight7"))
    assert exit_code("inspect", "s3://dam/flight7/a", "s3://dam/flight7/b", "--out", "out", "--workers", "0") == 0
    assert exit_code("inspect", "flight7/a", "flight7/b", "--out", "local", "--workers", "0") == 0
    assert tables("out") == tables("local")
    assert {r["photo"] for r in read_lines(Path("out/findings.jsonl"))} == {"a/1.jpg", "b/1.jpg"}


def test_keys_that_no_file_can_have_are_named(bucket: type[Bucket], tmp_path: Path) -> None:
    fly("1.jpg")
    bucket.fill(Path("flight7"))
    odd = ["dam/flight7//2.jpg", "dam/flight7/../../3.jpg", f"dam/flight7/{'n' * 300}.jpg", "dam/flight7/1.jpg/4.jpg"]
    for key in odd:
        bucket.put(key, b"x")
    bucket.put("dam/flight7/folder/", b"")
    assert inspect() == 1
    assert problems().keys() == {f"s3://{key}" for key in odd}
    assert not list(tmp_path.rglob("3.jpg"))


SECRET = "wJalrXUtnFEMI"


@pytest.mark.parametrize(
    ("photos", "said"),
    [
        (f"s3://AKIA:{SECRET}@dam/flight7", "credentials and options are not taken from an address"),
        (f"s3://AKIA:{SECRET}/more@dam/flight7", "credentials and options are not taken"),
        (f"s3://{SECRET}@dam/flight7", "credentials and options are not taken"),
        (f"s3://dam/flight7?X-Amz-Signature={SECRET}", "credentials and options are not taken"),
        (f"s3://dam/flight7::https://{SECRET}", "credentials and options are not taken"),
        (f"https://dam.example/flight7?sig={SECRET}", "https://...: is not read. Copy the photographs to a folder"),
        (f"sftp://me:{SECRET}@host/flight7", "sftp://...: is not read"),
        ("file:///data/flight7", "file://...: is not read"),
        ("s3://dam/../flight7", "is no address of a bucket"),
        ("s3://dam/nothing", "s3://dam/nothing: there is nothing of this name. Check the address."),
        ("s3://dam/texts", "s3://dam/texts: there is no such file or folder"),
    ],
)
def test_addresses_that_are_not_read_are_refused_and_no_secret_is_kept(
    photos: str, said: str, bucket: type[Bucket], capsys: Capture
) -> None:
    bucket.put("dam/texts/notes.txt", b"none")
    assert inspect(photos=photos) == 2
    shown = capsys.readouterr()
    assert said in " ".join(shown.err.split())
    assert SECRET not in shown.err + shown.out
    assert not Path("out/run.json").exists()


def test_what_cannot_be_done_with_addresses_is_refused(bucket: type[Bucket], capsys: Capture) -> None:
    fly("1.jpg")
    bucket.fill(Path("flight7"))
    assert inspect("--boxes", "s3://dam/labels") == 2
    assert "--boxes: label files are read from a folder" in capsys.readouterr().err
    assert inspect("--every", "5") == 2
    assert "--every: videos are not fetched from object stores" in capsys.readouterr().err
    assert inspect(out="s3://dam/results") == 2
    assert "--out: results are written into a folder of this machine" in capsys.readouterr().err
    assert not Path("s3:").exists()
    bucket.faults["dam/flight7"] = PermissionError("Forbidden")
    assert inspect() == 2
    assert "s3://dam/flight7: cannot be listed (Forbidden). Check the address" in capsys.readouterr().err
    assert not bucket.fetched


def test_a_disk_without_room_is_told_before_anything_is_fetched(
    bucket: type[Bucket], monkeypatch: Patch, capsys: Capture
) -> None:
    fly("1.jpg")
    bucket.fill(Path("flight7"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    assert inspect() == 2
    assert "Make room, or choose another --out" in " ".join(capsys.readouterr().err.split())
    assert not bucket.fetched


@pytest.fixture
def without(monkeypatch: Patch) -> None:
    monkeypatch.delitem(KNOWN, "s3")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.setitem(sys.modules, "gcsfs", None)


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize(("scheme", "library"), [("s3", "s3fs"), ("gs", "gcsfs")])
def test_a_library_that_is_missing_is_named_with_what_to_type(scheme: str, library: str, capsys: Capture) -> None:
    assert inspect(photos=f"{scheme}://dam/flight7") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"{library} is not installed. Run: " in said
    assert "s3fs>=" in said


def test_a_local_folder_of_such_a_name_is_a_folder(bucket: type[Bucket]) -> None:
    fly("1.jpg")
    Path("s3:").mkdir()
    Path("flight7").rename("s3:/dam")
    assert inspect(photos="s3:/dam") == 0
    assert not bucket.fetched
