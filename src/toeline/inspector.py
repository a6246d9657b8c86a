"""The only file that joins the rooms; it reads like the flow: photograph, things, relations, sheet, findings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from toeline.ask.ask import Answers, ask
from toeline.core.finding import Finding
from toeline.core.result import Problem, Result
from toeline.core.scene import Relation, Scene, Thing
from toeline.core.taxonomy import Taxonomy
from toeline.data.images import Photo, file_hash, read_photo
from toeline.errors import ToelineError
from toeline.judge.decide import FLOOR, decide, sure, unreadable
from toeline.relate.alter import Told, given

if TYPE_CHECKING:
    from toeline.detect.choose import Detector
    from toeline.judge.choose import Judge

Boxes = Callable[[Photo, tuple[int, int]], tuple[Sequence[Thing], Sequence[Problem]]]


@dataclass(frozen=True)
class Inspector:
    """A detector and a judge with the vocabulary they share. Build it with `load`, or hand in your own two.

    `answers` is "type" (the class names of the object's type) or "all" (so that the judge can overrule the detector).
    A finding whose probability is under `floor` is marked for review. `boxes`, when given, replaces the detector: a
    function of a photograph and its size in pixels that returns its things and what was wrong with their labels.
    `relations` is what the judge is told of where things lie; experiments hand in something else (relate/alter.py).
    """

    detector: Detector | None
    judge: Judge
    taxonomy: Taxonomy
    answers: Answers = "type"
    floor: float = FLOOR
    boxes: Boxes | None = None
    relations: Callable[[Scene], Told] = given

    @classmethod
    def load(
        cls,
        detector: str | Path = "embedded",
        judge: str | Path = "embedded",
        *,
        adapter: str | Path | None = None,
        taxonomy: Taxonomy | str | Path | None = None,
        device: str = "auto",
        answers: Answers = "type",
        floor: float = FLOOR,
        boxes: Boxes | None = None,
        tile: str = "auto",
    ) -> Inspector:
        """Load both models, by default those that Toeline ships; with `boxes` no detector is loaded.

        `detector` is "embedded" or a weight file, `judge` "embedded", a model directory or a hub id, `adapter` a peft
        adapter directory, `taxonomy` a TOML file, `device` auto, cpu, cuda or mps, `tile` how large photographs are cut
        for the detector: auto, off, or a side in pixels. Raises ModelError, SetupError and TaxonomyError.
        """
        from toeline.detect.choose import load_detector
        from toeline.detect.tiles import tiled
        from toeline.judge.choose import load_judge

        words = taxonomy if isinstance(taxonomy, Taxonomy) else Taxonomy.load(Path(taxonomy) if taxonomy else None)
        return cls(
            detector=None if boxes else tiled(load_detector(str(detector), taxonomy=words), tile),
            judge=load_judge(str(judge), device=device, adapter=Path(adapter) if adapter else None),
            taxonomy=words,
            answers=answers,
            floor=floor,
            boxes=boxes,
        )

    def inspect(self, photo: str | Path | Image.Image) -> list[Finding]:
        """The findings on one photograph. Raises PhotoError for a file that cannot be read.

        A picture that is given as such counts as upright; its findings call it by its file name, or "picture".
        """
        if isinstance(photo, Image.Image):
            path = Path(getattr(photo, "filename", "") or "picture")
            return list(self._look(photo.convert("RGB"), Photo(path, path.name))[0])
        return list(self._look(read_photo(Path(photo)), Photo(Path(photo), Path(photo).name))[0])

    def inspect_all(self, photos: Iterable[Photo]) -> Iterator[Result]:
        """One Result per photograph, as it is done, in the order given; a bad photograph gives a Result that says so.

        Faults of a photograph, of its labels and of the machine (no memory) end up in `Result.problems`; mistakes of
        ours (TypeError and the like) are not caught.
        """
        for photo in photos:
            start = time.perf_counter()
            try:
                result = self._result(photo)
            except (ToelineError, OSError, MemoryError, RuntimeError, ValueError) as why:
                result = Result(photo.name, problems=(_fault(photo, why),), failed=True)
            yield replace(result, seconds=time.perf_counter() - start)

    def _result(self, photo: Photo) -> Result:
        image = read_photo(photo.path)
        findings, problems = self._look(image, photo)
        if note := image.info.get("note"):
            problems = (*problems, Problem(photo.name, str(photo.path), note, "Save the frame you mean as a file."))
        return Result(photo.name, image.size, findings, problems, sha256=file_hash(photo.path), image=image)

    def _look(self, image: Image.Image, photo: Photo) -> tuple[tuple[Finding, ...], tuple[Problem, ...]]:
        things, problems = self._find(image, photo)
        scene = Scene(Path(photo.name), image.size, tuple(things))
        relations = self.relations(scene)
        sheet = ask(scene, image, relations, self.taxonomy, self.judge.view, answers=self.answers)
        scores = self.judge.score(sheet) if sheet.questions else []
        said = {q.thing_id: s for q, s in zip(sheet.questions, scores, strict=True)}
        findings = (self._finding(photo, thing, said.get(thing.id), relations[thing.id]) for thing in scene.things)
        return tuple(findings), tuple(problems)

    def _find(self, image: Image.Image, photo: Photo) -> tuple[Sequence[Thing], Sequence[Problem]]:
        if self.boxes is not None:
            return self.boxes(photo, image.size)
        return [s.thing for s in self.detector.find([image])[0]] if self.detector else [], ()

    def _finding(
        self, photo: Photo, thing: Thing, log_probs: Mapping[str, float] | None, relations: tuple[Relation, ...]
    ) -> Finding:
        """`log_probs` is None for a thing whose type leaves one answer, such as vegetation: it was not asked.

        They are empty when an answer was written that is none of the names.
        """
        if log_probs is None:
            verdict = sure(self.taxonomy.answers(thing.kind)[0], self.taxonomy)
        elif log_probs:
            verdict = decide(log_probs, self.taxonomy, kind=thing.kind, floor=self.floor)
        else:
            verdict = unreadable()
        return Finding(photo.name, thing.id, thing.kind, thing.box, thing.score, verdict, relations, thing.polygon)


def _fault(photo: Photo, why: Exception) -> Problem:
    """A ToelineError says what to do by itself; other faults are named by their kind."""
    if isinstance(why, ToelineError):
        return Problem(photo.name, str(photo.path), str(why).removeprefix(f"{photo.path}: "))
    what = f"{type(why).__name__}: {why}".strip(": ")
    return Problem(photo.name, str(photo.path), what, "Run this photograph alone; report it if it goes on.")
