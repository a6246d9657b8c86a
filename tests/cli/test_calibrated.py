"""From `toeline evaluate --calibrate` to `toeline inspect --calibration`: the same numbers, for the same judge only."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat
from tests.support.colored import write_colored
from tests.support.datasets import exit_code, write_photo, write_yolo
from tests.support.stand_ins import FakeJudge, stand_in

from toeline.core.calibration import calibration_from, load_calibration
from toeline.core.finding import Verdict
from toeline.core.question import PromptBudget
from toeline.core.reading import file_hash
from toeline.core.records import finding_from, read_lines
from toeline.core.taxonomy import DEFAULT_FILE, Taxonomy
from toeline.data.yolo import open_dataset
from toeline.errors import OutputError
from toeline.evaluate.matching import read_cases
from toeline.judge.baseline.model import load_baseline, save_baseline
from toeline.judge.judge import fingerprint
from toeline.pipelines import evaluate as evaluation
from toeline.report.document import Plot
from toeline.train.baseline import BaselineRun, train_baseline
from toeline.train.datasets import read_labeled_split

TAXONOMY = Taxonomy.load()

# The fake judge gives the second answer of a type 0.7: here it is right on half of what it is asked.
TRAIN = {"c_1.jpg": ["6 0.2 0.3 0.1 0.5", "5 0.6 0.3 0.1 0.5"], "d_1.jpg": ["4 0.5 0.8 0.8 0.2", "3 0.5 0.2 0.8 0.2"]}
VALID = {"a_1.jpg": ["6 0.2 0.3 0.1 0.5", "8 0.8 0.5 0.2 0.2"], "b_1.jpg": ["2 0.5 0.5 0.8 0.1"]}
SIZE = (200, 100)


@pytest.fixture
def judge() -> FakeJudge:
    return FakeJudge(info={"back_end": "fake", "weights": {"model.safetensors": "aa"}})


@pytest.fixture
def calibration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, judge: FakeJudge) -> Path:
    """calibration.json of an evaluation of `judge`, with the data set beside it."""
    monkeypatch.chdir(tmp_path)
    write_yolo(tmp_path / "data", {"valid": VALID, "train": TRAIN}, size_wh=SIZE)
    for seed, name in enumerate(TRAIN, start=100):
        write_photo(tmp_path / "data" / "train" / "images" / name, SIZE, seed=seed)
    stand_in(monkeypatch, judge)
    assert (
        exit_code("evaluate", "data", "--split", "valid", "--calibrate", "train", "--spatial", "0", "--out", "eval")
        == 0
    )
    return tmp_path / "eval" / "calibration.json"


def inspect(*words: str) -> int:
    return exit_code("inspect", "data/valid/images", "--boxes", "data/valid/labels", "--out", "out", *words)


def verdicts(out: Path) -> list[tuple[str, Verdict]]:
    """Type and verdict of every object that was asked about."""
    found = [finding_from(record) for record in read_lines(out / "findings.jsonl")]
    return [(f.type_name, f.verdict) for f in found if f.verdict.asked]


def test_an_inspection_says_the_probabilities_that_the_evaluation_measured(calibration: Path, tmp_path: Path) -> None:
    made = load_calibration(calibration)
    assert made.temperature > 1  # right half of the time at 0.7: too sure
    assert inspect("--calibration", "eval/calibration.json") == 0
    asked = verdicts(tmp_path / "out")
    assert len(asked) == 2
    for kind, verdict in asked:
        scored = {name: 0.3 / (len(verdict.probabilities) - 1) for name in verdict.probabilities}
        tempered = made.temper({**scored, verdict.class_name: 0.7}, kind)
        assert dict(verdict.probabilities) == pytest.approx(tempered, abs=1e-5)
        assert verdict.probability == pytest.approx(max(tempered.values()), abs=1e-5)
        assert verdict.probability < 0.7
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert calibration_from(run["models"]["review"]["calibration"]) == made
    assert run["models"]["review"]["below"] == made.review_below
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "calibrated on 4 objects of the split train" in html
    assert "the model's own" not in html


def test_the_threshold_is_the_calibrations_unless_one_is_given(calibration: Path, tmp_path: Path) -> None:
    record = json.loads(calibration.read_text())
    calibration.write_text(json.dumps({**record, "review_below": 0.99}))
    assert inspect("--calibration", str(calibration)) == 0
    assert all("under the review threshold of 0.99" in verdict.review for _, verdict in verdicts(tmp_path / "out"))
    assert inspect("--calibration", str(calibration), "--review-below", "0.1", "--out", "low") == 0
    assert not any(verdict.review for _, verdict in verdicts(tmp_path / "low"))
    assert inspect("--review-below", "0.8", "--out", "plain") == 0
    assert all(
        "at 0.70, under the review threshold of 0.80" in verdict.review for _, verdict in verdicts(tmp_path / "plain")
    )


@pytest.mark.parametrize("on", [{}, {"n": 3}, {"objects": None, "split": []}])
def test_a_calibration_need_not_say_what_it_was_fitted_on(calibration: Path, on: dict[str, object]) -> None:
    record = json.loads(calibration.read_text())
    calibration.write_text(json.dumps({**record, "fitted_on": on}))
    assert inspect("--calibration", str(calibration)) == 0


def test_any_risk_can_be_asked_for(calibration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four answers, half of them wrong: at most 90 % wrong is sure, and 10 %, the default, is not."""
    made = load_calibration(calibration)
    assert (made.risk, made.review_below) == (0.1, 1.0)
    assert inspect("--calibration", str(calibration)) == 0
    assert all("no answer is sure enough for at most 10 % wrong" in v.review for _, v in verdicts(tmp_path / "out"))
    assert inspect("--calibration", str(calibration), "--risk", "90", "--out", "any") == 0
    assert not any(verdict.review for _, verdict in verdicts(tmp_path / "any"))
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Every answer goes to a person, so that of others like them at most 10 % are wrong" in page
    table = (tmp_path / "out" / "findings.csv").read_text(encoding="utf-8")
    assert "no answer is sure enough for at most 10 % wrong" in table
    record = json.loads(calibration.read_text())
    old = tmp_path / "old.json"
    old.write_text(json.dumps({k: v for k, v in record.items() if k != "review"}))
    capsys.readouterr()
    for words, told in (
        (("--risk", "90"), "--risk needs --calibration"),
        (("--risk", "90", "--calibration", "old.json"), "that one has no risks"),
        (("--risk", "90", "--calibration", str(calibration), "--review-below", "0.5"), "Leave one of them out"),
    ):
        assert inspect(*words, "--out", "none") == 2
        assert told in " ".join(capsys.readouterr().err.split())


def test_a_calibration_that_makes_things_worse_is_said_before_it_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, judge: FakeJudge
) -> None:
    """Always right on train: there the temperature is lowest, and on valid, right half of the time, that is a lie."""
    monkeypatch.chdir(tmp_path)
    train = {"c_1.jpg": ["6 0.2 0.3 0.1 0.5", "4 0.5 0.8 0.8 0.2"]}
    write_yolo(tmp_path / "data", {"valid": VALID, "train": train}, size_wh=SIZE)
    write_photo(tmp_path / "data" / "train" / "images" / "c_1.jpg", SIZE, seed=100)
    stand_in(monkeypatch, judge)
    file, told = tmp_path / "eval" / "calibration.json", []
    monkeypatch.setattr(evaluation, "tell_problems", lambda problems: told.append((file.exists(), *problems)))
    assert (
        exit_code("evaluate", "data", "--split", "valid", "--calibrate", "train", "--spatial", "0", "--out", "eval")
        == 1
    )
    ((there, problem),) = told
    assert not there
    assert "the calibration of train makes probabilities worse on valid" in problem.what
    assert "it raises the calibration error from" in problem.what
    assert "and the log loss from" in problem.what
    assert "worse on valid" in read_lines(tmp_path / "eval" / "errors.jsonl")[0]["what"]
    assert "makes probabilities worse on valid" in (tmp_path / "eval" / "report.md").read_text(encoding="utf-8")
    made = load_calibration(file)
    assert made.temperature < 0.1
    before, after = made.fitted_on["log_loss"]
    assert (made.fitted_on["measured_on"], after > before + 1) == ("valid", True)


def record_of_training(folder: Path, **more: Any) -> None:
    settings = {"split": "train", "data": "data", "data_sha256": {"train": "?", "valid": "?"}}
    (folder / "adapter").mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"command": "finetune", "settings": settings, **more}))


def test_the_split_that_an_adapter_was_trained_on_is_refused(
    calibration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "evaluate",
        "data",
        "--split",
        "valid",
        "--calibrate",
        "train",
        "--adapter",
        "tuned/adapter",
        "--out",
        "new",
    )
    photo = tmp_path / "data" / "train" / "images" / "c_1.jpg"
    record_of_training(tmp_path / "tuned", photographs_sha256=[file_hash(photo)])
    assert exit_code(*words) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "tuned/adapter was trained on 1 of the 2 photographs of that split" in told
    assert "--split train of data" in told
    assert "toeline split" in told
    assert not (tmp_path / "new").exists()
    record = json.loads((tmp_path / "tuned" / "run.json").read_text())
    del record["photographs_sha256"]  # earlier records have one hash of the whole split
    whole = read_labeled_split(open_dataset(tmp_path / "data", TAXONOMY), "train", TAXONOMY)
    record["settings"]["data_sha256"]["train"] = whole.sha256
    (tmp_path / "tuned" / "run.json").write_text(json.dumps(record))
    assert exit_code(*words) == 2
    assert "was trained on all 2 photographs" in " ".join(capsys.readouterr().err.split())
    (tmp_path / "tuned" / "run.json").write_text(json.dumps({**record, "photographs_sha256": ["another"]}))
    assert exit_code(*words) == 0


def test_a_baseline_is_calibrated_on_what_it_said_in_its_cross_validation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("toeline.train.baseline.TREES", 3)
    for plot in ("confusion_plot", "reliability_plot", "band_plot"):
        monkeypatch.setattr(f"toeline.report.judge_page.{plot}", lambda *_, **__: Plot("<svg></svg>", "not drawn here"))
    data = write_colored(tmp_path / "data")
    save_baseline(train_baseline(BaselineRun(data=data), TAXONOMY).model, tmp_path / "floor")
    write_colored(data, split="valid", lines=2, per_line=3)
    for photo in (data / "valid" / "images").iterdir():  # other bytes, or these would be photographs of train
        photo.write_bytes(photo.read_bytes() + b" ")
    words = ("evaluate", "data", "--split", "valid", "--spatial", "0", "--calibrate", "train", "--judge")
    for name in ("baseline:floor", "ensemble:baseline:floor,baseline:floor"):
        assert exit_code(*words, name, "--out", name[:3]) in (0, 1)
        kept = load_baseline(tmp_path / "floor")[0].out_of_fold
        hashes = {p.name: file_hash(p) for p in (data / "train" / "images").iterdir()}
        cases = [c for c in read_cases(tmp_path / name[:3] / "calibration") if c.asked]
        assert cases
        for case in cases:
            said = kept[hashes[case.photo]][case.instance_id]
            chances = {name: math.exp(score) for name, score in said.items()}
            assert dict(case.probabilities) == pytest.approx(chances, abs=1e-5)
        made = load_calibration(tmp_path / name[:3] / "calibration.json")
        assert made.fitted_on["answers"] == "out of fold"
        notes = read_lines(tmp_path / name[:3] / "calibration" / "errors.jsonl")
        assert any("what it said of them in its cross-validation" in n["what"] and n["note"] for n in notes)


def as_new(*words: str) -> None:
    """What lies in `out` is what a new run with the same words gives, marked pictures included."""
    assert inspect(*words, "--out", "new") == 0
    for name in ("findings.jsonl", "findings.csv", "worklist.csv"):
        assert Path("out", name).read_bytes() == Path("new", name).read_bytes(), name
    runs = [json.loads(Path(out, "run.json").read_text()) for out in ("out", "new")]
    assert runs[0]["models"] == runs[1]["models"]
    assert runs[0]["settings"] == runs[1]["settings"]
    for picture in Path("new/marked").iterdir():
        with Image.open(picture) as new, Image.open(Path("out/marked", picture.name)) as old:
            apart = ImageStat.Stat(ImageChops.difference(new, old)).mean  # boxes on disk are rounded: a line may move
        assert max(apart) < 2, picture
    shutil.rmtree("new")


@pytest.fixture
def no_models(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[pytest.MonkeyPatch]]:
    """A block in which nothing may load a model."""

    @contextmanager
    def block() -> Iterator[pytest.MonkeyPatch]:
        with monkeypatch.context() as patch:
            patch.setattr("toeline.judge.load.load_judge", lambda *_, **__: pytest.fail("a judge was loaded"))
            patch.setattr("toeline.detect.load.load_detector", lambda *_, **__: pytest.fail("a detector was loaded"))
            yield patch

    return block


def test_second_thoughts_are_applied_to_what_is_on_disk(
    calibration: Path, no_models: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads(calibration.read_text())
    Path("sharp.json").write_text(json.dumps({**record, "temperature": 0.3, "by_type": {}}))
    mild = DEFAULT_FILE.read_text().replace('severity = "moderate"', 'severity = "high"')
    Path("mild.toml").write_text(mild.replace('spoken = "rock toe"', 'spoken = "stone toe"'))
    assert inspect() == 0
    for words in (
        ("--review-below", "0.8"),
        ("--calibration", str(calibration)),
        ("--calibration", "sharp.json", "--review-below", "0.99"),
        ("--calibration", str(calibration), "--taxonomy", "mild.toml"),
        (),
    ):
        with no_models():
            assert inspect(*words) == 0
        assert "Applied again to what is on disk, without a model" in capsys.readouterr().err
        as_new(*words)


def test_a_kill_while_they_are_applied_is_made_good(calibration: Path, no_models: Any) -> None:
    assert inspect() == 0
    with no_models() as patch:
        patch.setattr("toeline.pipelines.again._draw_again", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        inspect("--calibration", str(calibration))
    assert "applied_again" in json.loads(Path("out/run.json").read_text())
    with no_models():
        assert inspect("--calibration", str(calibration)) == 0
    assert "applied_again" not in json.loads(Path("out/run.json").read_text())
    as_new("--calibration", str(calibration))


def test_other_classes_are_another_run(calibration: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect() == 0
    fewer = DEFAULT_FILE.read_text().replace('name = "rock toe damaged"', 'name = "rock toe gone"')
    Path("fewer.toml").write_text(fewer)
    assert inspect("--taxonomy", "fewer.toml") == 2
    assert "taxonomy_sha256" in capsys.readouterr().err


def test_the_same_folder_by_another_path_is_the_same_folder(
    calibration: Path, tmp_path: Path, no_models: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inspect() == 0
    before = Path("out/findings.jsonl").read_bytes()
    Path("link").symlink_to("data/valid")
    moved = lambda: Path("data/valid").rename("elsewhere")  # noqa: E731
    for photos, labels in (
        (str(tmp_path / "data/valid/images"), str(tmp_path / "data/valid/labels")),
        ("link/images", "link/labels"),
        ("elsewhere/images", "data/labels"),
    ):
        if photos.startswith("elsewhere"):
            moved()
            Path("elsewhere/labels").rename("data/labels")
        with no_models():
            rc = exit_code("inspect", photos, "--boxes", labels, "--out", "out")
        if photos.startswith("elsewhere"):
            assert rc == 2  # the labels are other files, and say so
            assert "boxes was" in capsys.readouterr().err
        else:
            assert rc == 0
    assert Path("out/findings.jsonl").read_bytes() == before
    assert exit_code("inspect", "elsewhere/images", "--out", "plain") == 0
    shutil.move("elsewhere/images", "photos")
    with no_models():
        assert exit_code("inspect", "photos", "--out", "plain") == 0
    assert json.loads(Path("plain/run.json").read_text())["settings"]["photos"] == ["photos"]


def test_another_folder_with_the_same_names_is_another_run(
    calibration: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("inspect", "data/valid/images", "--out", "out") == 0
    for name in VALID:
        write_photo(Path("others") / name, SIZE, seed=77)
    assert exit_code("inspect", "others", "--out", "out") == 2
    assert "photos was" in capsys.readouterr().err


def test_another_judge_and_another_prompt_are_refused(
    calibration: Path, judge: FakeJudge, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    judge.info = {**judge.info, "weights": {"model.safetensors": "bb"}, "device": "cuda"}
    assert inspect("--calibration", str(calibration)) == 2
    assert "was fitted for other weights (judge embedded)" in " ".join(capsys.readouterr().err.split())
    judge.info, judge.view = (
        {"back_end": "fake", "weights": {"model.safetensors": "aa"}},
        PromptBudget(prompt="minimal"),
    )
    assert inspect("--calibration", str(calibration)) == 2
    assert f"for the prompt {PromptBudget().prompt!r}" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out" / "report.html").exists()
    record = json.loads(calibration.read_text())
    calibration.write_text(json.dumps({k: v for k, v in record.items() if k != "fitted_for"}))
    assert inspect("--calibration", str(calibration)) == 0  # an older file does not say for whom


@pytest.mark.parametrize("content", ["nope", "[]", '{"version": 1}', None])
def test_a_file_that_is_no_calibration_is_named(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "mine.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(OutputError, match=r"mine\.json.*toeline evaluate"):
        load_calibration(file)


def test_a_judges_hashes_are_its_name_wherever_it_lies() -> None:
    floor, model = {"back_end": "floor", "sha256": "f"}, {"back_end": "qwen_vl", "weights": {"a": "1"}, "device": "cpu"}
    joined = {"back_end": "fuse", "weight": 0.5, "temperatures": (1.0, 2.0), "parts": {"x": model, "y": floor}}
    assert fingerprint(model) == fingerprint({**model, "device": "cuda", "model": "elsewhere"})
    assert fingerprint(joined) == fingerprint(json.loads(json.dumps({**joined, "parts": {"p": model, "q": floor}})))
    assert fingerprint(joined) != fingerprint({**joined, "weight": 0.6})
    assert fingerprint({"back_end": "replay", "sha256": "r"}) == {}
