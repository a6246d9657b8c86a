"""The only file that joins the rooms; it reads like the flow: photograph, things, relations, sheet, findings."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from toeline.core.calibration import Calibration, load_calibration
from toeline.core.finding import UNLIKE_PHOTO, Finding, Problem, Result, graded, grave, held_back, may_be_immediate
from toeline.core.prefetch import Budget, ahead, batches
from toeline.core.reading import file_hash
from toeline.core.scene import Detection, Instance, Relation, Scene
from toeline.core.taxonomy import Taxonomy
from toeline.data.domain import DomainModel, Standing, load_domain
from toeline.data.feature_maps import feature_network
from toeline.data.images import Photo, find_photos, photo_size, read_photo
from toeline.data.metadata import Reading, read_position
from toeline.data.photo_measures import measures_of
from toeline.errors import OutputError, SetupError, ToelineError
from toeline.judge.decide import Floor, decide, doubtful, sure, unreadable
from toeline.pipelines.changes import boxes_hash, file_state
from toeline.pipelines.domain import AUTO
from toeline.pipelines.findings import Findings, in_memory
from toeline.pipelines.model_folder import calibration_file, judge_for
from toeline.prompts.build import Answers, Options, ask
from toeline.prompts.relation_ablation import Told, given
from toeline.prompts.relations import relate

if TYPE_CHECKING:
    from toeline.detect.detector import Detector, DetectorOptions
    from toeline.judge.judge import Judge
    from toeline.judge.prior import Prior
    from toeline.pipelines.findings import Given


Boxes = Callable[[Photo, tuple[int, int]], tuple[Sequence[Instance], Sequence[Problem]]]
Found = tuple[Sequence[Detection], Sequence[Problem]]
FAULTS = (ToelineError, OSError, MemoryError, RuntimeError, ValueError)  # of one photograph, or of its labels
AHEAD_PX = 120_000_000  # pixels that are decoded at a time (360 MB); what is larger goes nearly one by one

NOWHERE = Reading()


@dataclass(frozen=True)
class Underway:
    """A photograph between reading and judging; `image` is None when `fault` says why. `seconds` were spent on it."""

    photo: Photo
    image: Image.Image | None = None
    sha256: str = ""
    found: Found = ((), ())
    fault: Problem | None = None
    where: Reading = NOWHERE
    file: tuple[int, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Inspector:
    """A detector and a judge with the vocabulary they share. Build it with `load`, or hand in your own two.

    `answers` is "type" (the class names of the object's type) or "all" (so that the judge can overrule the detector),
    or class names by object, of which the others are not asked about. A finding is marked for review as judge/decide.py
    says: its answer by `review_below`, or what `calibration` says for `risk` (a share; its own when None); besides,
    what was weakly detected and near ties between types.
    `boxes`, when given, replaces the detector: a function of a photograph and its size in pixels that returns its
    things and what was wrong with their labels. `relations` is what the judge is told of where things lie; experiments
    hand in something else (prompts/relation_ablation.py). `domain` knows the photographs that the models were measured
    on: on others every finding is for a person, and none is to be acted on immediately.
    """

    detector: Detector | None
    judge: Judge
    taxonomy: Taxonomy
    answers: Answers | Options = "type"
    review_below: float | None = None
    boxes: Boxes | None = None
    relations: Callable[[Scene], Told] = given
    calibration: Calibration | None = None
    risk: float | None = None
    domain: DomainModel | None = None
    closed: bool = field(default=False, init=False, compare=False, repr=False)

    @classmethod
    def load(
        cls,
        detector: str | Path = "embedded",
        judge: str | Path = AUTO,
        *,
        adapter: str | Path | None = None,
        taxonomy: Taxonomy | str | Path | None = None,
        device: str = "auto",
        answers: Answers = "type",
        review_below: float | None = None,
        boxes: Boxes | None = None,
        detector_options: DetectorOptions | None = None,
        tile: str = "auto",
        calibration: Calibration | str | Path | None = None,
        risk: float | None = None,
        domain: DomainModel | str | Path | None = None,
        prior: Prior | str | Path = "off",
    ) -> Inspector:
        """Load both models, by default those that Toeline ships; with `boxes` no detector is loaded.

        `detector` is "embedded", a weight file, a model directory or a hub id, `judge` "auto" (the package's, with its
        calibration), "embedded" (the language model of it), a model directory or a hub id, `adapter` a peft adapter
        directory, `taxonomy` a TOML file, `device` auto, cpu, cuda or mps.
        `detector_options` has thresholds and whether the detector's file is trusted to run code, `tile` how large
        photographs are cut for the detector: auto, off, or a side in pixels. `calibration` is what `toeline evaluate
        --calibrate` wrote for this judge; `review_below` is then its review threshold, else 0.5. `domain` is a
        domain file (data/domain.py); without one nothing is compared. `prior` is off, content-free, or what `toeline
        evaluate --prior` wrote (judge/prior.py). Raises ModelError, OutputError, SetupError and TaxonomyError.
        """
        from toeline.detect.detector import DetectorOptions
        from toeline.detect.load import load_detector
        from toeline.detect.tiling import tiled
        from toeline.judge.judge import require_fitted_for, require_readable
        from toeline.judge.load import load_judge
        from toeline.judge.prior import OFF, with_prior

        words = taxonomy if isinstance(taxonomy, Taxonomy) else Taxonomy.load(Path(taxonomy) if taxonomy else None)
        in_words = adapter is not None or prior != OFF
        judge = judge_for(words, in_words=in_words) if judge == AUTO else str(judge)
        if not isinstance(calibration, Calibration):
            calibration = calibration_file(Path(calibration) if calibration else None, judge)
        made = load_calibration(calibration) if isinstance(calibration, Path) else calibration
        require_thresholds(made, review_below, risk)
        options = detector_options or DetectorOptions(device=device)
        looked_at = load_domain(Path(domain)) if isinstance(domain, str | Path) else domain
        stage_1 = None if boxes else tiled(load_detector(str(detector), taxonomy=words, options=options), tile)
        stage_2 = load_judge(judge, device=device, adapter=Path(adapter) if adapter else None)
        require_readable(stage_2, words)
        stage_2 = with_prior(stage_2, prior, words, answers=answers)
        if made is not None:
            require_fitted_for(made, stage_2.info, stage_2.view.prompt)
        return cls(
            detector=stage_1,
            judge=stage_2,
            taxonomy=words,
            answers=answers,
            review_below=review_below,
            boxes=boxes,
            calibration=made,
            risk=risk,
            domain=looked_at,
        )

    @property
    def floor(self) -> Floor:
        """Under which probability an answer goes to a person, and what for."""
        return Floor.chosen(self.review_below, self.calibration, self.risk)

    @cached_property
    def _limits(self) -> Mapping[str, float]:
        """The detector's thresholds; none where boxes are given."""
        from toeline.detect.detector import limits_of

        return {} if self.boxes is not None else limits_of(self.detector)

    def inspect(self, photo: Given) -> Findings:
        """The findings on one photograph: a file, a picture of Pillow, or an array.

        An array is (height, width, 3) in RGB or (height, width) gray, of 8 bits. Pictures in memory count as upright;
        their findings call them by their file name, or "picture". Raises PhotoError for what cannot be read, and for a
        folder: see inspect_many.
        """
        given = in_memory(photo) if not isinstance(photo, str | Path) else Photo(Path(photo), Path(photo).name)
        image = given.image or read_photo(given.path)
        ((detections, _),) = self._find([Underway(given, image)])
        found = self._findings(image, given, detections, self._standing(image))
        return Findings(found, self.taxonomy, given.name, image)

    def inspect_many(
        self, photos: Path | str | Iterable[Given], *, workers: int = 0, batch: int = 4
    ) -> Iterator[Findings]:
        """The findings of each photograph of a folder, or of many of what `inspect` takes, one after another.

        Nothing is raised for a photograph that cannot be read: its Findings are `failed`, and `problems` say why.
        `workers` and `batch` as in inspect_all. Raises PhotoError for a folder without photographs.
        """
        if isinstance(photos, str | Path):
            photos = [photos]
        for result in self.inspect_all(_each(photos), workers=workers, batch=batch):
            image = result.image if isinstance(result.image, Image.Image) else None
            yield Findings(result.findings, self.taxonomy, result.photo, image, result.problems, result.failed)

    def __enter__(self) -> Inspector:
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the models, and of the memory of a graphics card."""
        for name, value in (("detector", None), ("judge", None), ("closed", True)):
            object.__setattr__(self, name, value)
        gc.collect()
        torch: Any = sys.modules.get("torch")  # not imported for this
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()

    def inspect_all(self, photos: Iterable[Photo], *, workers: int = 0, batch: int = 1) -> Iterator[Result]:
        """One Result per photograph, as it is done, in the order given; a bad photograph gives a Result that says so.

        Faults of a photograph, of its labels and of the machine (no memory) end up in `Result.problems`; mistakes of
        ours (TypeError and the like) are not caught. `workers` threads read photographs ahead, another one asks the
        detector about `batch` of them at a time, and this one asks the judge; with 0 all happens in this one, but for
        what a detector does side by side in a batch. What comes out is the same for any numbers. Memory holds about
        AHEAD_PX pixels, or two photographs if they are larger, as long as nobody keeps `Result.image`.
        """
        budget = Budget(AHEAD_PX)
        counted = ((photo, self._counted(photo, budget) if workers else 0) for photo in photos)
        work = partial(self._open, budget=budget)
        opened = ahead(work, counted, workers=workers, most=workers + batch, room=budget.room)
        groups = batches(opened, batch, budget.room)
        found = ahead(self._detect, groups, workers=min(workers, 1), most=2, room=budget.room)
        for group in found:
            while group:  # emptied as it goes, so that no picture outlives its result
                yield self._case(group.pop(0))

    @staticmethod
    def _counted(photo: Photo, budget: Budget) -> int:
        """Pixels of a photograph that is about to be read, counted as used; 0 for one that cannot be read."""
        try:
            wide, high = photo_size(photo.path)
        except FAULTS:
            return 0
        budget.take(wide * high)
        return wide * high

    def _open(self, given: tuple[Photo, int], budget: Budget) -> Underway:
        photo, pixels = given
        start, file, image = time.perf_counter(), tuple[int, ...](), None
        try:
            if photo.image is not None:
                return Underway(photo, photo.image, seconds=time.perf_counter() - start)
            file = file_state(photo.path)  # before it is read: what is written from now on is a change
            image = read_photo(photo.path)
            budget.give_with(image, pixels)
            seen = Underway(photo, image, file_hash(photo.path), where=read_position(photo.path), file=file)
        except FAULTS as why:
            if image is None:
                budget.give(pixels)
            seen = Underway(photo, fault=_fault(photo, why), file=file)
        return replace(seen, seconds=time.perf_counter() - start)

    def _detect(self, group: Sequence[Underway]) -> list[Underway]:
        """What the detector sees on several photographs; where one of them is too much for it, they go one by one."""
        good = [seen for seen in group if seen.image is not None]
        start = time.perf_counter()
        try:
            found = iter(self._find(good))
        except FAULTS as why:
            if len(group) > 1:
                return [self._detect([seen])[0] for seen in group]
            return [replace(seen, image=None, fault=_fault(seen.photo, why)) for seen in group]
        share = (time.perf_counter() - start) / max(len(good), 1)
        return [
            replace(seen, found=next(found), seconds=seen.seconds + share) if seen.image is not None else seen
            for seen in group
        ]

    def _case(self, seen: Underway) -> Result:
        start = time.perf_counter()
        try:
            result = self._result(seen)
        except FAULTS as why:
            result = _failed(seen.photo, _fault(seen.photo, why))
        return replace(result, file=seen.file, seconds=seen.seconds + time.perf_counter() - start)

    def _result(self, seen: Underway) -> Result:
        photo, image = seen.photo, seen.image
        if image is None:
            return _failed(photo, *filter(None, [seen.fault]))
        detections, problems = seen.found
        given = boxes_hash((d.instance for d in detections), problems) if self.boxes is not None else ""
        if self.boxes is not None and not detections and grave(problems):
            # Its boxes could not be read: that is not a photograph with nothing on it.
            return replace(_failed(photo, *problems), sha256=seen.sha256, boxes_sha256=given)
        standing = self._standing(image)
        findings = self._findings(image, photo, detections, standing)
        if note := image.info.get("note"):
            todo = "Save what you mean as a file of its own, if it is another part."
            problems = (*problems, Problem(photo.name, str(photo.path), note, todo, note=True))
        if seen.where.wrong:
            kept = "stand where the camera was" if seen.where.place else "are kept without a place"
            todo = f"Its findings {kept}; inspect the file as the camera wrote it if it matters."
            problems = (*problems, Problem(photo.name, str(photo.path), seen.where.wrong, todo))
        if seen.where.assumed:
            problems = (*problems, Problem(photo.name, str(photo.path), seen.where.assumed, note=True))
        return Result(
            photo.name,
            image.size,
            findings,
            tuple(problems),
            sha256=seen.sha256,
            place=seen.where.place,
            boxes_sha256=given,
            domain=standing,
            image=image,
        )

    def _standing(self, image: Image.Image) -> Standing | None:
        return self.domain.standing(measures_of(image, feature_network())) if self.domain else None

    def _find(self, group: Sequence[Underway]) -> list[Found]:
        """For each photograph, all of which are open: what is on it, and what is wrong with its labels."""
        from toeline.detect.postprocess import find_settled

        if self.closed:
            raise SetupError("this Inspector let go of its models when its with block ended. Load another one.")
        images = [seen.image for seen in group if seen.image is not None]
        if self.boxes is not None:
            given = [self.boxes(seen.photo, image.size) for seen, image in zip(group, images, strict=True)]
            return [([Detection(instance) for instance in instances], problems) for instances, problems in given]
        if self.detector is None or not images:
            return [([], ()) for _ in images]
        found = find_settled(self.detector, images)
        opened = [seen.photo for seen in group if seen.image is not None]
        return [(_own(detections, photo), ()) for photo, detections in zip(opened, found, strict=True)]

    def _findings(
        self, image: Image.Image, photo: Photo, detections: Sequence[Detection], standing: Standing | None
    ) -> tuple[Finding, ...]:
        scene = Scene(Path(photo.name), image.size, tuple(s.instance for s in detections))
        relations = self.relations(scene)
        sheet = ask(scene, image, relations, self.taxonomy, self.judge.view, answers=self.answers)
        scores = self.judge.score(sheet) if sheet.questions else []
        said = {q.instance_id: s for q, s in zip(sheet.questions, scores, strict=True)}
        findings = [self._finding(photo, s, said.get(s.instance.id), relations[s.instance.id]) for s in detections]
        done = graded_in(scene, findings, self.taxonomy)
        return tuple(held_back(f, UNLIKE_PHOTO) for f in done) if standing and standing.beyond else done

    def _finding(
        self, photo: Photo, seen: Detection, log_probs: Mapping[str, float] | None, relations: tuple[Relation, ...]
    ) -> Finding:
        """`log_probs` is None for a thing whose type leaves one answer, such as vegetation: it was not asked.

        They are empty when an answer was written that is none of the names.
        """
        instance = seen.instance
        if log_probs is None:
            verdict = sure(self.taxonomy.answers(instance.type_name)[0], self.taxonomy)
        elif log_probs:
            verdict = decide(
                log_probs,
                self.taxonomy,
                kind=instance.type_name,
                review_below=self.review_below,
                calibration=self.calibration,
                risk=self.risk,
            )
        else:
            verdict = unreadable()
        verdict = doubtful(verdict, seen, self._limits, self.taxonomy)
        return Finding(
            photo.name, instance.id, instance.type_name, instance.box, instance.score, verdict, relations,
            instance.polygon, seen.class_name, seen.others,
        )  # fmt: skip


def graded_in(scene: Scene, findings: Sequence[Finding], taxonomy: Taxonomy) -> tuple[Finding, ...]:
    """How bad each is, by the relations that truly hold, whatever the judge was told of them."""
    if not may_be_immediate(findings, taxonomy):
        return graded(findings, (), taxonomy)
    said = {f.instance_id: f.verdict.class_name for f in findings}
    kinds = {i: taxonomy.class_of(name).type for i, name in said.items() if name}
    instances = tuple(replace(t, type_name=kinds.get(t.id, t.type_name)) for t in scene.instances)
    return graded(findings, relate(replace(scene, instances=instances)), taxonomy)


def _each(photos: Iterable[Given]) -> Iterator[Photo]:
    """Files, the photographs of folders, and pictures in memory, which are numbered."""
    for number, one in enumerate(photos, start=1):
        if isinstance(one, str | Path):
            yield from find_photos([Path(one)])
        else:
            yield in_memory(one, f"picture {number}")


def require_thresholds(made: Calibration | None, review_below: float | None, risk: float | None) -> None:
    """Raise OutputError for a risk that nothing says the threshold for."""
    if risk is None:
        return
    if review_below is not None:
        raise OutputError("--risk and --review-below both say what goes to a person. Leave one of them out.")
    if made is None or not made.steps:
        lacks = "needs --calibration" if made is None else "needs a calibration of this version; that one has no risks"
        raise OutputError(f"--risk {lacks}: make one with toeline evaluate --calibrate, or give --review-below.")


def _own(detections: Sequence[Detection], photo: Photo) -> Sequence[Detection]:
    """Those of a part of a larger picture that are no other part's."""
    if photo.core is None:
        return detections
    x1, y1, x2, y2 = photo.core
    centers = [(d, *d.instance.box.center) for d in detections]
    return [d for d, x, y in centers if x1 <= x < x2 and y1 <= y < y2]


def _failed(photo: Photo, *problems: Problem) -> Result:
    return Result(photo.name, problems=problems, failed=True)


def _fault(photo: Photo, why: Exception) -> Problem:
    """A ToelineError says what to do by itself; other faults are named by their kind."""
    if isinstance(why, ToelineError):
        return Problem.unread(photo.path, why, name=photo.name)
    if isinstance(why, FileNotFoundError):
        return Problem(
            photo.name, str(photo.path), "vanished while it was read.", "Bring it back, then run this again."
        )
    what = f"{type(why).__name__}: {why}".strip(": ")
    return Problem(photo.name, str(photo.path), what, "Run this photograph alone; report it if it continues.")
