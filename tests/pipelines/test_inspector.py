"""The rooms joined: what goes in, what comes out, and what one bad photograph does (nothing to the others)."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from PIL import Image
from tests.support.datasets import make_photo, write_photo
from tests.support.stand_ins import FakeDetector, FakeJudge, fake_inspector

import toeline
from toeline.core.finding import Problem
from toeline.core.question import PromptBudget, QuestionSheet
from toeline.core.scene import Alternative, Detection
from toeline.data.images import Photo, find_photos, read_photo
from toeline.detect.tiling import tiled
from toeline.errors import PhotoError
from toeline.pipelines import inspector as inspector_module
from toeline.prompts.templates import PROMPTS


def test_one_photograph_gives_one_finding_per_thing(tmp_path: Path) -> None:
    drain, rock, plant = fake_inspector().inspect(write_photo(tmp_path / "a.jpg", (200, 100)))
    assert (drain.photo, drain.instance_id, drain.type_name, drain.score) == ("a.jpg", "1", "slope_drain", 0.9)
    assert (drain.verdict.class_name, drain.verdict.condition) == ("slope drain blocked", "blocked")
    assert drain.verdict.probability == pytest.approx(0.7)
    assert ("above", "2") in [(r.name, r.other) for r in drain.relations]
    assert rock.verdict.class_name == "rock toe damaged"
    assert (plant.verdict.asked, plant.verdict.probabilities) == (False, {"vegetation": 1.0})


def test_a_type_with_one_legal_answer_is_not_asked_unless_all_answers_are_allowed(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "a.jpg", (200, 100))
    assert fake_inspector(answers="type").inspect(photo)[2].verdict.asked is False
    overruled = fake_inspector(answers="all").inspect(photo)[2]
    assert overruled.verdict.asked
    assert len(overruled.verdict.probabilities) == 9
    assert "detected as vegetation, judged as toe drain" in overruled.verdict.review


def test_pictures_in_memory_and_text_paths_are_taken_too(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "a.png", (200, 100))
    by_path = fake_inspector().inspect(str(photo))
    assert [f.verdict for f in by_path] == [f.verdict for f in fake_inspector().inspect(make_photo((200, 100)))]
    assert fake_inspector().inspect(make_photo((200, 100)))[0].photo == "picture"
    with Image.open(photo) as opened:
        assert fake_inspector().inspect(opened)[0].photo == "a.png"


def test_an_unsure_answer_is_marked_for_review(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "a.jpg", (200, 100))
    assert fake_inspector(review_below=0.5).inspect(photo)[0].verdict.review == ""
    assert (
        "0.70, under the review threshold of 0.75" in fake_inspector(review_below=0.75).inspect(photo)[0].verdict.review
    )


@dataclass(frozen=True)
class LimitedDetector(FakeDetector):
    """Says its thresholds: the plant, at 0.7, is little over its own."""

    limits: Mapping[str, float] = field(default_factory=lambda: {"slope_drain": 0.5, "vegetation": 0.65})


def test_what_is_weakly_detected_is_marked_for_review_in_tiles_as_well(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "a.jpg", (200, 100))
    for detector in (LimitedDetector(), tiled(LimitedDetector(), "auto")):
        reviews = [f.verdict.review for f in fake_inspector(detector=detector).inspect(photo)]
        assert reviews == ["", "", "weakly detected: at 0.70, little over the threshold of 0.65"]
    boxes = LimitedDetector().instances(make_photo((200, 100)))
    given = fake_inspector(detector=LimitedDetector(), boxes=lambda *_: (boxes, ()))
    assert not any(f.verdict.review for f in given.inspect(photo))  # a person's boxes have no threshold


def test_nothing_found_asks_nobody(tmp_path: Path) -> None:
    judge = FakeJudge()
    assert fake_inspector(judge).inspect(write_photo(tmp_path / "a.jpg", (10, 10))) == []
    assert judge.asked == []


def test_a_missing_photograph_raises_for_one_and_is_a_result_among_many(tmp_path: Path) -> None:
    gone = tmp_path / "gone.jpg"
    with pytest.raises(PhotoError, match="no such file"):
        fake_inspector().inspect(gone)
    fine = Photo(write_photo(tmp_path / "a.jpg", (200, 100)), "a.jpg")
    bad, good = fake_inspector().inspect_all([Photo(gone, "gone.jpg"), fine])
    assert (bad.failed, bad.findings, bad.photo) == (True, (), "gone.jpg")
    assert bad.problems == (Problem("gone.jpg", str(gone), "there is no such file. Check the path."),)
    assert (good.failed, len(good.findings), good.size_wh) == (False, 3, (200, 100))


def test_a_model_that_runs_out_of_memory_on_one_photograph_goes_on_with_the_next(tmp_path: Path) -> None:
    class Hungry(FakeJudge):
        def score(self, sheet: object) -> list[dict[str, float]]:
            if not self.asked:
                self.asked.append("first")
                raise RuntimeError("out of memory")
            return super().score(sheet)  # type: ignore[arg-type]

    for name in ("a.jpg", "b.jpg"):
        write_photo(tmp_path / name, (200, 100))
    first, second = fake_inspector(Hungry()).inspect_all(find_photos([tmp_path]))
    assert first.failed
    assert "RuntimeError: out of memory" in first.problems[0].what
    assert len(second.findings) == 3


def test_our_own_mistakes_are_not_hidden(tmp_path: Path) -> None:
    class Broken(FakeDetector):
        def find(self, images: Sequence[Image.Image]) -> list[list[Detection]]:
            raise TypeError("a mistake of ours")

    photo = Photo(write_photo(tmp_path / "a.jpg"), "a.jpg")
    with pytest.raises(TypeError, match="a mistake of ours"):
        list(fake_inspector(detector=Broken()).inspect_all([photo]))


@dataclass(frozen=True)
class Opinionated(FakeDetector):
    """As FakeDetector, and says of every object a class and something else that it might be."""

    says: str = ""
    also: str = ""

    def find(self, images: Sequence[Image.Image]) -> list[list[Detection]]:
        others = (Alternative("toe_drain", 0.05, self.also),) if self.also else ()
        return [[Detection(s.instance, self.says, others) for s in found] for found in super().find(images)]


@dataclass
class Listening(FakeJudge):
    """Keeps every sheet that it is asked."""

    heard: list[QuestionSheet] = field(default_factory=list)

    def score(self, sheet: QuestionSheet) -> list[dict[str, float]]:
        self.heard.append(sheet)
        return super().score(sheet)


def shown(sheet: QuestionSheet) -> tuple[object, ...]:
    """Everything that a judge can know of a sheet, pixels as bytes."""
    pixels = lambda picture: None if picture is None else (picture.size, picture.tobytes())  # noqa: E731
    asked = [(q.instance_id, q.text, q.answers, pixels(q.crop)) for q in sheet.questions]
    return sheet.photo, sheet.text, asked, pixels(sheet.picture), pixels(sheet.image), sheet.scene


@pytest.mark.parametrize("answers", ["type", "all"])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_no_prompt_changes_by_a_byte_whatever_class_the_detector_thought_of(
    prompt: str, answers: str, tmp_path: Path
) -> None:
    photo = write_photo(tmp_path / "a.jpg", (200, 100))
    opinions = [("", ""), ("slope drain damaged", "Toe drain- Blocked"), ("vegetation", ""), ("ZZTOP", "ZZTOP")]
    sheets, findings = [], []
    for says, also in opinions:
        judge = Listening(view=PromptBudget(prompt=prompt))
        findings.append(
            fake_inspector(judge, detector=Opinionated(says=says, also=also), answers=answers).inspect(photo)
        )
        sheets.append([shown(sheet) for sheet in judge.heard])
    assert sheets[0]
    assert all(sheet == sheets[0] for sheet in sheets)
    assert "ZZTOP" not in repr(sheets)
    for (says, also), found in zip(opinions, findings, strict=True):
        assert [(f.verdict, f.relations) for f in found] == [(f.verdict, f.relations) for f in findings[0]]
        assert {f.detector_class for f in found} == {says}
        assert {g.class_name for f in found for g in f.detector_others} == ({also} if also else set())


def test_two_classes_on_one_object_are_one_finding_of_the_surer_class(tmp_path: Path) -> None:
    class Torn(FakeDetector):
        def find(self, images: Sequence[Image.Image]) -> list[list[Detection]]:
            ((drain, *_),) = super().find(images)
            surer = Detection(replace(drain.instance, id="2", score=0.95), "slope drain blocked")
            return [[replace(drain, class_name="slope drain"), surer]]

    (found,) = fake_inspector(detector=Torn()).inspect(write_photo(tmp_path / "a.jpg", (200, 100)))
    assert (found.instance_id, found.detector_class, found.score) == ("1", "slope drain blocked", 0.95)
    assert found.detector_others == (Alternative("slope_drain", 0.9, "slope drain"),)


def test_boxes_of_people_are_never_taken_for_duplicates(tmp_path: Path) -> None:
    photo = Photo(write_photo(tmp_path / "a.jpg", (200, 100)), "a.jpg")
    drain = FakeDetector().instances(make_photo((200, 100)))[0]
    twice = [drain, replace(drain, id="2", type_name="toe_drain")]
    (result,) = fake_inspector(detector=None, boxes=lambda _, __: (twice, [])).inspect_all([photo])
    assert [(f.instance_id, f.type_name) for f in result.findings] == [("1", "slope_drain"), ("2", "toe_drain")]


def test_given_boxes_replace_the_detector_and_their_problems_are_passed_on(tmp_path: Path) -> None:
    photo = Photo(write_photo(tmp_path / "a.jpg", (200, 100)), "a.jpg")
    drain = FakeDetector().instances(make_photo((200, 100)))[0]
    problem = Problem("a.jpg", "a.txt", "line 2 is odd", line=2)
    (result,) = fake_inspector(detector=None, boxes=lambda _, __: ([drain], [problem])).inspect_all([photo])
    assert [f.instance_id for f in result.findings] == ["1"]
    assert (result.problems, result.failed) == ((problem,), False)


def test_of_an_animation_the_first_frame_is_read_and_that_is_said(tmp_path: Path) -> None:
    frames = [make_photo((60, 60), seed=i) for i in range(2)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:])
    (result,) = fake_inspector().inspect_all([Photo(tmp_path / "a.webp", "a.webp")])
    assert len(result.findings) == 3
    assert "first of 2 frames" in result.problems[0].what


@pytest.mark.parametrize(("workers", "batch"), [(0, 4), (1, 1), (1, 3), (4, 1), (4, 5)])
def test_threads_and_batches_change_nothing(tmp_path: Path, workers: int, batch: int) -> None:
    for n in range(11):
        write_photo(tmp_path / f"{n}.jpg", (40 + 10 * n, 60), seed=n)
    (tmp_path / "3.jpg").write_bytes(b"")
    (tmp_path / "7.jpg").write_bytes((tmp_path / "7.jpg").read_bytes()[:-300])
    photos = find_photos([tmp_path])
    plain = [replace(r, seconds=0) for r in fake_inspector().inspect_all(photos)]
    quick = [replace(r, seconds=0) for r in fake_inspector().inspect_all(photos, workers=workers, batch=batch)]
    assert quick == plain
    assert [r.photo for r in quick if r.failed] == ["3.jpg", "7.jpg"]


def test_the_detector_is_asked_about_a_batch_at_a_time(tmp_path: Path) -> None:
    sizes: list[int] = []

    class Counting(FakeDetector):
        def find(self, images: Sequence[Image.Image]) -> list[list[Detection]]:
            sizes.append(len(images))
            return super().find(images)

    for n in range(7):
        write_photo(tmp_path / f"{n}.jpg")
    assert len(list(fake_inspector(detector=Counting()).inspect_all(find_photos([tmp_path]), workers=2, batch=3))) == 7
    assert sizes == [3, 3, 1]


def test_one_photograph_that_the_detector_fails_on_does_not_spoil_its_batch(tmp_path: Path) -> None:
    class Picky(FakeDetector):
        def find(self, images: Sequence[Image.Image]) -> list[list[Detection]]:
            if any(image.width == 50 for image in images):
                raise RuntimeError("no memory for this one")
            return super().find(images)

    for n, wide in enumerate((40, 50, 60)):
        write_photo(tmp_path / f"{n}.jpg", (wide, 40))
    results = list(fake_inspector(detector=Picky()).inspect_all(find_photos([tmp_path]), workers=1, batch=3))
    assert [r.failed for r in results] == [False, True, False]
    assert "no memory for this one" in results[1].problems[0].what


@pytest.mark.parametrize("most", [1, 20_000])
def test_no_more_pixels_are_decoded_than_the_budget_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """A photograph here has 4,800 pixels, and whoever reads the results drops each picture before the next."""
    alive: list[weakref.ref[Image.Image]] = []
    peak = 0

    def reading(path: Path) -> Image.Image:
        nonlocal peak
        image = read_photo(path)
        alive.append(weakref.ref(image))
        peak = max(peak, sum(ref() is not None for ref in alive))
        return image

    for n in range(30):
        write_photo(tmp_path / f"{n}.jpg", (80, 60), seed=n)
    monkeypatch.setattr(inspector_module, "read_photo", reading)
    monkeypatch.setattr(inspector_module, "AHEAD_PX", most)
    for result in fake_inspector().inspect_all(find_photos([tmp_path]), workers=4, batch=8):
        assert not result.failed
        del result
    assert peak <= most // 4800 + 2


def test_the_public_names_are_these() -> None:
    assert toeline.__all__ == sorted(toeline.__all__)
    assert set(toeline.__all__) == {
        "Box", "Finding", "Findings", "Inspector", "Instance", "Relation", "Scene", "Taxonomy", "ToelineError",
        "Verdict",
    }  # fmt: skip
    assert [getattr(toeline, name).__name__ for name in toeline.__all__] == toeline.__all__
    assert set(toeline.__all__) <= set(dir(toeline))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = toeline.Nothing
