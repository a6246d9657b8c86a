"""`--boxes`: label files in place of a detector. Their conditions end in data/yolo.py and never come here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toeline.core.finding import Finding, Problem, Result, by_photo
from toeline.core.records import finding_from, read_lines
from toeline.core.run_folder import FINDINGS, PROGRESS
from toeline.core.scene import Instance
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import meant, some, unknown
from toeline.data.datasets import LabeledSplit
from toeline.data.images import Photo
from toeline.errors import LabelError, ModelError

if TYPE_CHECKING:
    from toeline.judge.judge import Judge
    from toeline.pipelines.inspector import Boxes


ADVICE = "Correct the file, then run the same command again; the rest was inspected without it."


def label_boxes(
    folder: Path, taxonomy: Taxonomy, photos: Sequence[Photo], *, classes: Path | None = None
) -> tuple[Boxes, list[Problem]]:
    """A function that gives the boxes of a photograph from `folder`, and what is wrong with the folder as a whole.

    Photographs in subfolders have their labels in subfolders of the same names, or all in one; `photos` are all that
    will be asked for, so that a label file that two could have is used for neither. `classes` is the file that names
    the class ids. Raises LabelError for a folder that is not there, and for one that holds labels of no photograph.
    """
    from toeline.data.class_names import above, find_names
    from toeline.data.matching import match_labels, photos_beside
    from toeline.data.yolo import instances_in, no_labels

    if not folder.is_dir():
        raise LabelError(f"{folder}: there is no such folder of label files. Check --boxes.")
    found = find_names([above(folder.resolve())], taxonomy, classes=classes)
    inside = {photo.path.parent: folder / Path(photo.name).parent for photo in photos}
    beside = (p for at in inside if at.is_dir() for p in photos_beside(at))  # what is not fetched yet has no folder
    there = dict.fromkeys([*(photo.path for photo in photos), *beside])
    matched = match_labels(there, lambda at: [inside[at], folder / at.name, folder])
    unclear = {Path(p.file): p for p in matched.problems}
    if photos and not matched.problems and not any(photo.path in matched.labels for photo in photos):
        raise LabelError(
            f"{folder}: none of the {some(len(photos), 'photograph')} has a label file there; of {photos[0].name} it "
            f"would be {folder / Path(photos[0].name).with_suffix('.txt')}. Check --boxes."
        )

    def boxes(photo: Photo, size_wh: tuple[int, int]) -> tuple[Sequence[Instance], Sequence[Problem]]:
        file = matched.labels.get(photo.path)
        if file is None:
            missing = unclear.get(photo.path) or no_labels(inside[photo.path.parent], photo.path)
            return (), [replace(missing, photo=photo.name, todo=missing.todo or ADVICE)]
        instances, said = instances_in(file, size_wh, taxonomy, found.names)
        return instances, [replace(p, photo=photo.name, todo=p.todo or ADVICE) for p in said]

    shared = [p for p in matched.problems if Path(p.file) not in there]
    return boxes, [replace(p, todo=p.todo or ADVICE) for p in (*found.problems, *shared)]


TRUTH, DETECTOR = "truth", "detector"  # `--boxes`; anything else is a file or a folder


@dataclass(frozen=True)
class Source:
    """Gives a Result for each photograph, in order. `models` is what run.json says of what answered.

    `notes` are what is to be said besides, when all are done.
    """

    results: Callable[[Sequence[Photo]], Iterator[Result]]
    models: Mapping[str, Any]
    notes: Callable[[], Iterable[Problem]] = tuple


def with_prompt(judge: Judge, prompt: str | None) -> Judge:
    """The same judge, asked with another prompt. Raises ModelError for one that does not exist or a judge without."""
    if prompt is None:
        return judge
    require_prompt(prompt)
    record: Any = judge
    if not is_dataclass(record) or "view" not in {f.name for f in fields(record) if f.init}:
        raise ModelError("this judge is not asked in words, so --prompt would change nothing. Leave it out.")
    change: Any = replace
    changed: Judge = change(record, view=replace(judge.view, prompt=prompt))
    return changed


def require_prompt(prompt: str) -> None:
    """Raise ModelError for a prompt that does not exist."""
    from toeline.prompts.templates import PROMPTS

    if prompt not in PROMPTS:
        raise ModelError(unknown("there is no prompt", prompt, PROMPTS))


def decided(judge: Judge, how: str, seed: int) -> Judge:
    """The same judge, scoring the answers or writing one of its own. Raises ModelError for one that cannot write."""
    if how == "score":
        return judge
    if judge.info.get("back_end") != "qwen_vl":
        raise ModelError(
            "--decide generate needs a language model that is loaded here; this judge writes no words. Leave it out."
        )
    from toeline.judge.generate import GeneratingJudge

    model: Any = judge
    return GeneratingJudge(model, seed=seed)


def true_boxes(split: LabeledSplit) -> Boxes:
    """Places and types of the true objects; their conditions stay behind."""

    def boxes(photo: Photo, size_wh: tuple[int, int]) -> tuple[Sequence[Instance], Sequence[Problem]]:
        return [t.instance for t in split.true[photo.name]], ()

    return boxes


def chosen_boxes(
    typed: str, split: LabeledSplit, taxonomy: Taxonomy, classes: Path | None = None
) -> tuple[Boxes | None, tuple[Problem, ...]]:
    """What `--boxes` names: None for a detector, else a function, and what is wrong with its files."""

    if typed == DETECTOR:
        return None, ()
    if typed == TRUTH:
        return true_boxes(split), ()
    require_boxes(typed)
    if Path(typed).is_file():
        return found_boxes(Path(typed), split), ()
    boxes, problems = label_boxes(Path(typed), taxonomy, split.photos, classes=classes)
    return boxes, tuple(problems)


def require_boxes(typed: str) -> None:
    """Raise LabelError for what `--boxes` cannot mean."""
    if typed not in (TRUTH, DETECTOR) and not Path(typed).exists():
        near = meant(typed, (TRUTH, DETECTOR))
        raise LabelError(
            f"--boxes {typed}: is neither {TRUTH} nor {DETECTOR}, and there is no such file or folder.{near}"
        )


def found_boxes(file: Path, split: LabeledSplit) -> Boxes:
    """The boxes of the findings of an earlier run; a photograph without findings has none."""
    saved = saved_findings(file, split)

    def boxes(photo: Photo, size_wh: tuple[int, int]) -> tuple[Sequence[Instance], Sequence[Problem]]:
        return [Instance(f.instance_id, f.type_name, f.box, f.score, f.polygon) for f in saved.get(photo.name, ())], ()

    return boxes


def saved(file: Path, split: LabeledSplit) -> Source:
    """The findings of an earlier run on the photographs of `split`, with its times where its folder still has them."""
    findings = saved_findings(file, split)
    names = _names(read_lines(file.with_name(PROGRESS)), split)
    progress = {names[r["photo"]]: r for r in read_lines(file.with_name(PROGRESS)) if r["photo"] in names}

    def results(photos: Sequence[Photo]) -> Iterator[Result]:
        for photo in photos:
            yield _saved_result(photo, tuple(findings.get(photo.name, ())), progress.get(photo.name), file)

    return Source(results, {"findings": {"file": str(file)}})


def _saved_result(photo: Photo, findings: tuple[Finding, ...], done: Mapping[str, Any] | None, file: Path) -> Result:
    if done is None and not findings:
        missing = Problem(
            photo.name, str(file), f"holds nothing of {photo.name}; it counts as seen, with nothing found.",
            "Inspect that photograph too, if it was left out.",
        )  # fmt: skip
        return Result(photo.name, problems=(missing,))
    done = done or {"size": (0, 0), "seconds": 0.0, "sha256": ""}
    wide, high = done["size"]
    return Result(photo.name, (wide, high), findings, seconds=done["seconds"], sha256=done["sha256"])


def saved_findings(file: Path, split: LabeledSplit) -> dict[str, list[Finding]]:
    """Findings by the split's names of their photographs; those on other photographs are left out.

    Raises LabelError when the file is not there or has nothing on the split, OutputError for a broken line.
    """
    if not file.is_file():
        raise LabelError(f"{file}: there is no such file of findings. Name the {FINDINGS} of a run.")
    records = read_lines(file)
    names = _names(records, split)
    found = [replace(finding_from(r), photo=names[r["photo"]]) for r in records if r.get("photo") in names]
    if not found:
        raise LabelError(f"{file}: none of its {len(records)} findings is on a photograph of the split {split.name!r}.")
    return by_photo(found)


def _names(records: Sequence[Mapping[str, Any]], split: LabeledSplit) -> dict[str, str]:
    """Names of photographs in saved records -> the split's; a run on a folder above has longer ones.

    A name is taken for the split's photograph when it is the same, or ends in it after a slash, or is its end.
    """
    own = {photo.name for photo in split.photos}
    found: dict[str, str] = {}
    for name in {str(r.get("photo", "")) for r in records}:
        ends = [o for o in own if name == o or name.endswith(f"/{o}") or (name and o.endswith(f"/{name}"))]
        if name in own or len(ends) == 1:
            found[name] = name if name in own else ends[0]
    return found
