"""`toeline inspect --ray`, with the few calls of Ray answered in this process: order, retries, resuming, refusals."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.datasets import exit_code, write_photo
from tests.support.fake_ray import FakeRay, RayError
from tests.support.flown import DOWN, write_flown
from tests.support.stand_ins import FakeJudge, fake_inspector

from toeline.core.records import read_lines
from toeline.errors import ModelError, SetupError
from toeline.pipelines import on_ray as on_ray_module
from toeline.pipelines.inspect import Output
from toeline.pipelines.on_ray import CPUS_EACH, TRIES, RemoteInspector, _places, with_ray
from toeline.pipelines.settings import OnRay

PHOTOS, STOPPED = 30, 130  # by Ctrl+C
Patch = pytest.MonkeyPatch
Capture = pytest.CaptureFixture[str]
Begin = Callable[..., FakeRay]


@pytest.fixture(autouse=True)
def judge(fake_judge: FakeJudge) -> FakeJudge:
    return fake_judge


@pytest.fixture(autouse=True)
def threads(monkeypatch: Patch) -> list[int]:
    """How many threads actors took; of this process, they stay."""
    took: list[int] = []
    monkeypatch.setattr(on_ray_module, "take", took.append)
    return took


@pytest.fixture
def ray(monkeypatch: Patch) -> Begin:
    """ray(seed=1, ...) puts a FakeRay in place of the module."""

    def begin(**more: Any) -> FakeRay:
        fake = FakeRay(**more)
        monkeypatch.setitem(sys.modules, "ray", fake)
        monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
        return fake

    return begin


def fly(count: int = PHOTOS) -> None:
    """Photographs along a line that see the same objects, one in another folder, and one that is damaged."""
    for n in range(count):
        write_flown(Path(f"photos/{n}.jpg"), (23.5 + n * 0.00001, 85.25), DOWN, size_wh=(64, 48))
    write_photo(Path("photos/berm 2/41.jpg"), (64, 48), seed=41)
    Path("photos/bad.jpg").write_bytes(b"none")


def inspect(out: str, *more: str) -> int:
    return exit_code("inspect", "photos", "--out", out, "--batch", "2", *more)


def on_ray(out: str, *more: str, actors: int = 3) -> int:
    return inspect(out, "--workers", "1", "--ray", "local", "--ray-actors", str(actors), *more)


def files(folder: str) -> dict[str, bytes]:
    """What a run says, without times: two runs of the same photographs have the same."""
    names = ("findings.jsonl", "errors.jsonl", "findings.csv", "worklist.csv", "findings.geojson", "footprints.geojson")
    found = {name: Path(folder, name).read_bytes() for name in names}
    found["progress.jsonl"] = json.dumps(
        [r | {"seconds": 0} for r in read_lines(Path(folder, "progress.jsonl"))]
    ).encode()
    pictures = sorted(Path(folder, "marked").rglob("*.jpg"))
    return found | {p.relative_to(folder).as_posix(): p.read_bytes() for p in pictures}


def differing(one: str, other: str) -> list[str]:
    first, second = files(one), files(other)
    assert first.keys() == second.keys()
    return [name for name in first if first[name] != second[name]]


def mortal(times: int, *names: str) -> Callable[[str, list[str]], bool]:
    """Actors die over each of these photographs so many times, or, without names, of every photograph."""
    died: Counter[str] = Counter()

    def dies(method: str, photos: list[str]) -> bool:
        some = [photo for photo in photos if not names or photo in names]
        if method != "inspect" or not some or any(died[photo] >= times for photo in some):
            return False
        died.update(some)
        return True

    return dies


@pytest.mark.parametrize(("actors", "seed"), [(1, 0), (2, 1), (3, 2), (3, 3), (7, 4)])
def test_what_ray_inspects_is_the_single_process_byte_for_byte(
    actors: int, seed: int, ray: Begin, judge: FakeJudge
) -> None:
    fly()
    assert inspect("whole") == 1
    judge.asked.clear()
    fake = ray(seed=seed)
    assert on_ray("out", actors=actors) == 1
    assert differing("whole", "out") == []
    assert len(judge.asked) == len(set(judge.asked)) == PHOTOS + 1  # the damaged one reaches no judge
    assert fake.died == 0
    assert not fake.running


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("times", [1, 2])
def test_actors_that_die_lose_no_photograph_and_double_none(times: int, seed: int, ray: Begin, capsys: Capture) -> None:
    fly()
    assert inspect("whole") == 1
    fake = ray(seed=seed, dies=mortal(times))
    assert on_ray("out") == 1
    assert fake.died >= times * 5  # of every task
    assert fake.made == 3 + fake.died  # each was replaced
    assert differing("whole", "out") == []
    found = [(f["photo"], f["id"]) for f in read_lines(Path("out/findings.jsonl"))]
    assert len(found) == len(set(found)) == 3 * (PHOTOS + 1)
    assert "A process of Ray was lost." in capsys.readouterr().err


def test_a_photograph_that_ends_every_process_is_an_error_line(ray: Begin) -> None:
    fly()
    fake = ray(seed=6, dies=mortal(10**6, "7.jpg"))
    assert on_ray("out") == 1
    problems = {r["photo"]: r["what"] for r in read_lines(Path("out/errors.jsonl"))}
    assert problems.keys() == {"7.jpg", "bad.jpg"}
    assert problems["7.jpg"] == f"{TRIES} processes ended, one after another, while they inspected it."
    assert fake.died == 2 + TRIES  # twice with its neighbors
    assert {f["photo"] for f in read_lines(Path("out/findings.jsonl"))} == {
        *(f"{n}.jpg" for n in range(PHOTOS) if n != 7),
        "berm 2/41.jpg",
    }
    assert inspect("out") == 1  # again, in one process that lives
    assert inspect("whole") == 1
    assert Path("out/findings.csv").read_bytes() == Path("whole/findings.csv").read_bytes()


def test_few_results_wait_for_an_earlier_one(ray: Begin, judge: FakeJudge) -> None:
    fly(60)
    ray(late="0.jpg")
    assert on_ray("out") == 1
    assert judge.asked.index("0.jpg") <= 2 * 3 * 4  # two tasks of four for each actor


@pytest.mark.parametrize("then", ["ray", "single"])
def test_a_run_that_was_stopped_continues_with_ray_or_without(
    then: str, ray: Begin, judge: FakeJudge, capsys: Capture
) -> None:
    fly()
    assert inspect("whole") == 1
    judge.asked.clear()
    fake = ray(seed=2, stop_after=8)
    assert on_ray("out") == STOPPED
    assert "Stopped. What is done is kept" in capsys.readouterr().err
    assert not fake.running
    done = len(read_lines(Path("out/progress.jsonl")))
    assert 0 < done < PHOTOS
    before = len(judge.asked)
    ray(seed=3)
    assert (on_ray("out") if then == "ray" else inspect("out")) == 1
    assert "Taken up where it stopped" in capsys.readouterr().out
    assert len(judge.asked) - before <= PHOTOS + 2 - done
    assert differing("whole", "out") == []


def test_a_run_of_one_process_continues_on_ray(ray: Begin, judge: FakeJudge) -> None:
    fly()
    assert inspect("whole") == 1
    judge.most = len(judge.asked) + 9
    assert inspect("out") == STOPPED
    judge.most = 10**6
    ray()
    assert on_ray("out") == 1
    assert differing("whole", "out") == []


def test_a_finished_run_asks_nothing_of_ray(ray: Begin, capsys: Capture) -> None:
    fly(3)
    Path("photos/bad.jpg").unlink()
    assert inspect("out") == 0
    fake = ray()
    assert on_ray("out") == 0
    assert not fake.called
    assert "finished already" in capsys.readouterr().out


def test_parts_may_be_inspected_on_ray(ray: Begin) -> None:
    fly()
    assert inspect("whole") == 1
    for n in (1, 2):
        ray(seed=n)
        assert on_ray(f"p{n}", "--part", f"{n}/2") in (0, 1)
    assert exit_code("join", "p1", "p2", "--out", "joined") == 1
    assert differing("whole", "joined") == []


def test_boxes_of_label_files_go_with_ray(ray: Begin) -> None:
    fly(9)
    for n in range(8):
        Path(f"photos/{n}.txt").write_text("0 0.5 0.5 0.2 0.3\n5 0.3 0.4 0.2 0.2\n")
    Path("photos/berm 2/41.txt").write_text("77 0.5 0.5 0.2 0.3\n")
    words = ("--boxes", "photos", "--answers", "all")
    assert inspect("whole", *words) == 1
    ray(seed=1, dies=mortal(1))
    assert on_ray("out", *words) == 1
    assert [n for n in differing("whole", "out") if not n.endswith("geojson")] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--ray-actors 3", "--ray-actors and --ray-gpus say nothing without --ray. Add --ray local"),
        ("--ray-gpus 0.5", "--ray-actors and --ray-gpus say nothing without --ray. Add --ray local"),
        (
            "--ray local --ray-gpus 1.5",
            "--ray-gpus 1.5: Ray gives a share of one GPU, or whole ones. Type 0.5, 1 or 2.",
        ),
        ("--ray local --ray-gpus 1 --device cpu", "--device cpu and --ray-gpus 1 contradict each other."),
        ("--ray local --ray-gpus 0 --device cuda", "--device cuda and --ray-gpus 0 contradict each other."),
        ("--ray nowhere", "--ray nowhere: cannot be reached (Could not find any running Ray instance.). Start a"),
        (
            "--ray local --ray-gpus 0.5",
            "--ray local: has no room for 1 process of 0.5 GPUs and a CPU each: there are 0",
        ),
        ("--ray local --device cuda", "there are 0 GPUs and 8 CPUs. Type less with --ray-actors or --ray-gpus."),
        (
            "--ray auto --ray-actors 9",
            "--ray auto: has no room for 9 processes of 0 GPUs and a CPU each: there are 0 GPUs",
        ),
    ],
)
def test_what_cannot_be_done_on_ray_is_refused_before_a_model_is_loaded(
    words: str, said: str, ray: Begin, monkeypatch: Patch, capsys: Capture
) -> None:
    fly(2)
    ray()
    monkeypatch.setattr("toeline.judge.load.load_judge", lambda *_, **__: pytest.fail("a model was loaded"))
    assert inspect("out", *words.split()) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_models_that_this_process_holds_are_not_lent() -> None:
    with pytest.raises(SetupError, match="models that this process holds cannot be lent to Ray"):
        with_ray(
            Output(out=Path("out"), command="inspect", load=lambda *_: fake_inspector()), OnRay(ray="local"), "auto"
        )


def test_without_ray_the_command_says_what_to_install(monkeypatch: Patch, capsys: Capture) -> None:
    fly(2)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert inspect("out", "--ray", "local") == 2
    assert "ray is not installed. Run:" in (said := capsys.readouterr().err)
    assert "pip install 'ray>=" in said
    assert not Path("out/run.json").exists()


def test_other_models_on_one_machine_are_refused(
    ray: Begin, judge: FakeJudge, monkeypatch: Patch, capsys: Capture
) -> None:
    fly()
    ray(dies=mortal(1))
    hosts = iter(["one", *["two"] * 99])
    loaded = [FakeJudge(view=judge.view, info={"sha256": n}) for n in "12222222"]
    monkeypatch.setattr("socket.gethostname", lambda: next(hosts))
    monkeypatch.setattr("toeline.judge.load.load_judge", lambda *_, **__: loaded.pop(0))
    assert on_ray("out") == 2
    assert "two: has other models than one or this machine, under the same names" in capsys.readouterr().err


def test_other_weights_than_those_here_are_refused(ray: Begin, monkeypatch: Patch, capsys: Capture) -> None:
    fly()
    ray()
    monkeypatch.setattr(RemoteInspector, "ready", lambda self: {**ready(self), "weights": {"a.onnx": "12"}})
    assert on_ray("out") == 2
    assert "under the same names, or another device. Install the same on all machines" in capsys.readouterr().err


ready = RemoteInspector.ready


def test_what_loading_raises_is_told_as_without_ray(ray: Begin, monkeypatch: Patch, capsys: Capture) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise ModelError("qwen: there is no such model. Check --judge.")

    fly()
    monkeypatch.setattr("toeline.judge.load.load_judge", load)
    ray()
    told = []
    for words in ((), ("--ray", "auto")):
        assert inspect("out", *words) == 2
        told.append(capsys.readouterr().err)
    assert told[0] == told[1]
    assert "qwen: there is no such model. Check --judge." in told[0]


def test_a_machine_that_does_not_see_the_photographs_is_named(ray: Begin, monkeypatch: Patch, capsys: Capture) -> None:
    fly()
    fake = ray()
    make = fake.remote

    def elsewhere(**options: Any) -> Any:
        made = make(**options)

        def of(cls: type) -> Any:
            actor = made(cls)
            return type("Class", (), {"remote": lambda _, job: actor.remote(moved(job))})()

        return of

    def moved(job: Any) -> Any:
        return replace(job, home=Path("/no home there"), folders=(Path("/no/photos"),))

    monkeypatch.setattr(fake, "remote", elsewhere)
    monkeypatch.setattr("socket.gethostname", lambda: "node-7")
    assert on_ray("out") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "/no/photos: there is no such folder on node-7, a machine of the cluster" in said


def test_what_ray_itself_fails_at_is_told(ray: Begin, capsys: Capture) -> None:
    fly()
    ray(dies=mortal(1), how=RayError("the disk is full\nmore words"))
    assert on_ray("out") == 2
    assert "Ray failed (the disk is full). See its logs; the same command again continues." in capsys.readouterr().err


def test_actors_that_never_load_end_the_run(ray: Begin, capsys: Capture) -> None:
    fly()
    fake = ray(dies=lambda method, _: method == "ready")
    assert on_ray("out", actors=2) == 2
    assert "no process of Ray is left" in capsys.readouterr().err
    assert fake.died == 2 * TRIES


def test_different_software_on_the_machines_is_a_note(ray: Begin, monkeypatch: Patch) -> None:
    fly(4)
    Path("photos/bad.jpg").unlink()
    ray()
    monkeypatch.setattr("socket.gethostname", lambda: "node-7")
    monkeypatch.setattr(
        RemoteInspector, "ready", lambda self: {**ready(self), "versions": {"torch": "9.9", "python": "3.12"}}
    )
    assert on_ray("out") == 0
    told = {r["what"] for r in read_lines(Path("out/errors.jsonl"))}
    assert any("machines are of different torch:" in what and "9.9 (node-7)" in what for what in told)


@pytest.mark.parametrize(
    ("wanted", "there", "machines", "device", "expected"),
    [
        (OnRay(ray="auto"), {"CPU": 2}, 1, "auto", (1, 0.0)),
        (OnRay(ray="auto"), {"CPU": 16}, 1, "auto", (16 // CPUS_EACH, 0.0)),
        (OnRay(ray="auto"), {"CPU": 6}, 3, "auto", (3, 0.0)),  # one on each machine
        (OnRay(ray="auto"), {"CPU": 32, "GPU": 4}, 2, "auto", (4, 1.0)),
        (OnRay(ray="auto"), {"CPU": 32, "GPU": 4}, 2, "cpu", (32 // CPUS_EACH, 0.0)),
        (OnRay(ray="auto", ray_gpus=0.5), {"CPU": 32, "GPU": 4}, 2, "auto", (8, 0.5)),
        (OnRay(ray="auto", ray_gpus=0.6), {"CPU": 32, "GPU": 4}, 2, "auto", (4, 0.6)),  # the rest of a GPU is none
        (OnRay(ray="auto", ray_gpus=1 / 3), {"CPU": 32, "GPU": 1}, 1, "cuda", (3, 1 / 3)),
        (OnRay(ray="auto", ray_gpus=2), {"CPU": 32, "GPU": 5}, 2, "auto", (2, 2)),
        (OnRay(ray="auto", ray_actors=5), {"CPU": 6}, 1, "auto", (5, 0.0)),
    ],
)
def test_how_many_actors_and_their_share_of_a_gpu(
    wanted: OnRay, there: dict[str, float], machines: int, device: str, expected: tuple[int, float]
) -> None:
    assert _places(FakeRay(resources=there, machines=machines), wanted, device) == (*expected, machines)


def test_what_ray_is_told(ray: Begin, threads: list[int], monkeypatch: Patch) -> None:
    fly(4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(on_ray_module, "cores", lambda: 6)
    fake = ray(resources={"CPU": 6.0, "GPU": 2.0})
    assert on_ray("out", "--ray-gpus", "0.5") == 1
    start = fake.called["init"]
    assert (start["address"], start["num_cpus"], start["include_dashboard"]) == ("local", 6, False)
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    actor = fake.called["actor"]
    assert (actor["num_cpus"], actor["num_gpus"]) == (1, 0.5)
    assert threads == [2, 2, 2]  # six cores, three actors
    settings = json.loads(Path("out/run.json").read_text())
    assert not {name for name in (*settings["settings"], *settings["options"]) if name.startswith("ray")}
