"""`toeline bundle`: one model folder made of parts, checked to belong together, and what they were promoted with.

Nothing is loaded but small files: weights are hashed and copied. What can be wrong with the parts is said before the
first byte is written.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from toeline.core.calibration import load_calibration
from toeline.core.finding import Problem
from toeline.core.provenance import settings_of
from toeline.core.question import PromptBudget
from toeline.core.reading import read_json
from toeline.core.run_folder import RUN, read_run, require_room
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.data.domain import load_domain
from toeline.detect import load as detectors
from toeline.detect.detector import DetectorOptions, read_thresholds
from toeline.errors import ModelError, SetupError
from toeline.evaluate.gate import PROMOTED, worst_of
from toeline.judge import load as judges
from toeline.judge.judge import fingerprint, require_fitted_for
from toeline.pipelines.evaluate import SCORECARD
from toeline.pipelines.evaluate_parts import chosen_prompt
from toeline.pipelines.gate import JSON as GATE
from toeline.pipelines.model_folder import (
    ADAPTER,
    BASELINE,
    BUNDLE,
    CALIBRATION,
    DETECTOR,
    DOMAIN,
    ENSEMBLE,
    JUDGE,
    MODEL,
    PICKLE,
    SCORECARDS,
    WORDS,
    ModelFolder,
    doubts,
    write_model,
)
from toeline.pipelines.progress import Summary, escape, saying
from toeline.pipelines.quantize import MARK
from toeline.pipelines.settings import BundleRun
from toeline.pipelines.trim import begun
from toeline.prompts.templates import PROMPTS
from toeline.report.quantization_page import size_words
from toeline.weights import SMALL, check_weights, find_model, hashes, is_hub_id, sha256_of

COPIED = ("*.safetensors", *SMALL, "*.md", "LICENSE*", MARK, "original/*")  # of a language model or an adapter


@dataclass(frozen=True)
class BundleParts:
    """Where the parts of a model lie, each as far as it has one; directories are on this machine."""

    detector: str
    judge: Path | None = None
    adapter: Path | None = None
    baseline: Path | None = None
    ensemble: Path | None = None
    calibration: Path | None = None
    domain: Path | None = None
    taxonomy: Path | None = None
    thresholds: tuple[str, ...] = ()
    prompt: str | None = None

    @classmethod
    def of(cls, run: BundleRun) -> BundleParts:
        """What was named; a hub id is downloaded. Raises ModelError, SetupError."""
        from toeline.judge.checkpoint import find_folder

        judge = find_folder(judges.source_of(run.judge, "bundled")) if run.judge else None
        detector = run.detector
        if is_hub_id(detector) and not Path(detector).exists() and not detector.endswith((".pt", ".onnx")):
            detector = str(find_model(detector, check=lambda _: None))
        return cls(
            detector, judge, run.adapter, run.baseline, run.ensemble, run.calibration, run.domain, run.taxonomy,
            run.thresholds, chosen_prompt(run.prompt),
        )  # fmt: skip

    @classmethod
    def inside(cls, folder: ModelFolder) -> BundleParts:
        """Those of a model folder."""
        return cls(
            folder.detector, folder.language_model, folder.adapter, folder.part(BASELINE), folder.part(ENSEMBLE),
            folder.calibration, folder.part(DOMAIN), folder.taxonomy, folder.thresholds,
        )  # fmt: skip

    def placed(self) -> dict[str, Path]:
        """Where each file goes -> where it lies now."""
        files = {f"{DETECTOR}/{_called(f)}": f for f in detectors.weight_files(self.detector)}
        for part, folder in ((JUDGE, self.judge), (ADAPTER, self.adapter)):
            if folder is not None:
                found = (f for pattern in COPIED for f in sorted(folder.glob(pattern)))
                files |= {f"{part}/{f.relative_to(folder).as_posix()}": f for f in found if f.is_file()}
                files.pop(f"{part}/{RUN}", None)  # a record of how it was made, with paths of another machine
        single = {
            BASELINE: self.baseline, ENSEMBLE: self.ensemble, CALIBRATION: self.calibration, DOMAIN: self.domain,
            WORDS: self.taxonomy,
        }  # fmt: skip
        return files | {name: file for name, file in single.items() if file is not None}


def _called(file: Path) -> str:
    """A detector's file as it is found in its folder: files of any name are given as such to --detector."""
    return {".pt": PICKLE, ".onnx": detectors.EMBEDDED.name}.get(file.suffix.lower(), file.name)


@dataclass(frozen=True)
class JudgeOnDisk:
    """What loading a judge would say of it, from its files alone."""

    view: PromptBudget
    info: Mapping[str, Any]


def on_disk(parts: BundleParts) -> JudgeOnDisk:
    """The judge that parts make, checked to be one. Raises ModelError, SetupError."""
    if parts.judge is None and parts.baseline is None:
        raise SetupError("a model needs something that answers. Name a --judge, a --baseline, or both and --ensemble.")
    if (both := parts.judge is not None and parts.baseline is not None) != (parts.ensemble is not None):
        what = "says how two judges are joined" if not both else "is missing: it says how the two are joined"
        raise SetupError(f"--ensemble {what}. Name --judge, --baseline and --ensemble (of toeline ensemble) together.")
    alone = [_language_model(parts, parts.judge)] if parts.judge else []
    alone += [_baseline(parts.baseline)] if parts.baseline else []
    if not parts.ensemble:
        return alone[0]
    from toeline.judge.ensemble import read_ensemble

    mix, fitted = read_ensemble(parts.ensemble)
    if fitted != [fingerprint(one.info) for one in alone]:
        raise ModelError(
            f"{parts.ensemble}: was fitted for other weights than these of --judge and --baseline, or in the other "
            f"order. Fit it again with `toeline ensemble`, the language model first."
        )
    named = dict(zip((JUDGE, BASELINE), (one.info for one in alone), strict=True))
    return JudgeOnDisk(alone[0].view, {"back_end": "fuse", **asdict(mix), "parts": named})


def _language_model(parts: BundleParts, folder: Path) -> JudgeOnDisk:
    """A judge with its adapter. Raises ModelError for weights that cannot be read, and an adapter of other weights."""
    from toeline.judge.checkpoint import called, read_config, read_view
    from toeline.judge.shape import shape_of

    config = read_config(folder)
    check_weights(folder)
    if parts.adapter is not None:
        from toeline.judge.lineage import require_fits

        require_fits(folder, parts.adapter)
    view = read_view([f for f in (parts.adapter, folder) if f], shape_of(config, folder))
    view = replace(view, prompt=parts.prompt) if parts.prompt else view
    adapter = hashes(parts.adapter) if parts.adapter else {}
    info = {"back_end": "qwen_vl", "weights": hashes(folder), "adapter": adapter}
    return JudgeOnDisk(view, {**info, "quantized": called(config.get("quantization_config"))})


def _baseline(file: Path) -> JudgeOnDisk:
    from toeline.judge.baseline.judge import BaselineJudge

    judge = BaselineJudge.load(file)
    return JudgeOnDisk(judge.view, judge.info)


def require_fit(parts: BundleParts) -> JudgeOnDisk:
    """The judge of parts that belong together. Raises ToelineError, before anything is written."""
    words = Taxonomy.load(parts.taxonomy)
    by_type, general = read_thresholds(parts.thresholds)
    DetectorOptions(by_type, general).settled(words)
    if not detectors.weight_files(parts.detector):
        raise ModelError(f"{parts.detector}: there is no such detector. {detectors.WAYS}.")
    if parts.judge is None and (needs := parts.adapter or parts.prompt):
        raise SetupError(f"{needs} is for a language model. Name it with --judge, or leave that out.")
    if parts.prompt and parts.prompt not in PROMPTS:
        raise ModelError(f"there is no prompt {parts.prompt!r}. Choose one of: {', '.join(PROMPTS)}.")
    judge = on_disk(parts)
    if parts.judge is not None:
        _require_readable(parts.judge, words)
    if parts.calibration is not None:
        require_fitted_for(load_calibration(parts.calibration), judge.info, judge.view.prompt)
    if parts.domain is not None:
        load_domain(parts.domain)
    return judge


def _require_readable(folder: Path, words: Taxonomy) -> None:
    """Raise ModelError for a judge whose vocabulary was trimmed to other words."""
    from toeline.judge.vocabulary import TRIM, check_of, load_original
    from toeline.prompts.texts import rendered_texts

    if (folder / TRIM).is_file():
        from toeline.judge.checkpoint import load_tokenizer

        check = check_of(load_tokenizer(folder), load_original(folder, load_tokenizer))
        for text in rendered_texts(words):
            check(text)


@dataclass(frozen=True)
class Proofs:
    """What was measured of a judge: files by their names in SCORECARDS, a sentence of each, and the gates' answer.

    `answer` is the worst of all gates that held it against another judge, or empty, with that gate's sentence.
    """

    files: Mapping[str, Path]
    scores: Mapping[str, str]
    answer: str = ""
    sentence: str = ""


def proofs_of(run: BundleRun, parts: BundleParts, judge: JudgeOnDisk) -> Proofs:
    """What --scorecard names, and what a gate wrote beside the judge. Raises ModelError for that of other weights."""
    own = [fingerprint(one) for one in (judge.info, *judge.info.get("parts", {}).values())]
    old = _made_of(parts)
    files, scores, gates = dict[str, Path](), dict[str, str](), list[tuple[str, str]]()
    beside = [parts.judge.parent] if parts.judge and (parts.judge.parent / GATE).is_file() else []
    for folder in (*run.scorecards, *(f for f in beside if f not in run.scorecards)):
        record = read_run(folder)
        if (folder / GATE).is_file():
            file, found = folder / GATE, list(_gated(folder / GATE, own, old))
        else:
            file, found = folder / SCORECARD, list(_evaluated(folder, record, own))
        if not found and folder in run.scorecards:
            raise ModelError(
                f"{file}: speaks of other weights than these, or holds them against others than they were made of. "
                f"Measure this judge, or leave it out."
            )
        if found:
            name = f"{len(files) + 1}-{record.get('command')}-{record['settings'].get('split')}.json"
            files[name], scores[name] = file, " ".join(sentence for _, sentence in found)
            gates += [(answer, sentence) for answer, sentence in found if answer]
    gates += _marked(parts, own, old) if not gates else []
    worst = worst_of([answer for answer, _ in gates]) if gates else ""
    return Proofs(files, scores, worst, next((said for answer, said in gates if answer == worst), ""))


def _made_of(parts: BundleParts) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a fingerprint, or that of a part, is of a judge that the one in `parts` was made of, where that is known.

    A gate that holds weights against themselves, or against worse ones, proves nothing.
    """
    from toeline.judge.lineage import ancestors

    known = ancestors(parts.judge) if parts.judge else []
    return lambda old: not known or any(one in known for one in (old, *old.get("parts", ())))


def _gated(
    file: Path, own: Sequence[Mapping[str, Any]], old: Callable[[Mapping[str, Any]], bool]
) -> Iterator[tuple[str, str]]:
    """The answers of a gate that held these weights against those that they were made of."""
    record = read_json(file, ModelError, advice="Run toeline gate again.")
    try:
        first, *others = record["judges"]
        for one in others if old(first["fingerprint"]) else ():
            if one["fingerprint"] in own:
                yield str(one["gate"]["answer"]), str(one["gate"]["sentence"])
    except (KeyError, TypeError, ValueError, AttributeError) as why:
        raise ModelError(f"{file}: is no record of a gate ({why!r}). Run toeline gate again.") from None


def _evaluated(folder: Path, record: Mapping[str, Any], own: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """What an evaluation of these weights came to; it answers nothing about other ones."""
    card = read_json(folder / SCORECARD, ModelError, advice="Name the folder of toeline evaluate or toeline gate.")
    info = record.get("models", {}).get("judge", {})
    if info and fingerprint(info) in own:
        yield "", str(card.get("headline", ""))


def _marked(
    parts: BundleParts, own: Sequence[Mapping[str, Any]], old: Callable[[Mapping[str, Any]], bool]
) -> list[tuple[str, str]]:
    """What a promoted judge that was copied without its gate says of itself."""
    if parts.judge is None or not (parts.judge / MARK).is_file():
        return []
    note = read_json(parts.judge / MARK, ModelError, advice="Copy the judge again.")
    fits = isinstance(note, dict) and note.get("weights") in own and old(note.get("against", {}))
    return [(str(note.get("answer")), str(note.get("sentence")))] if fits else []


def unproven(judge: JudgeOnDisk, proofs: Proofs) -> str:
    """Why quantized weights are not known to be as good as those that they were made of; empty where they are."""
    every = (judge.info, *judge.info.get("parts", {}).values())
    kind = next((one["quantized"] for one in every if one.get("quantized")), "")
    if not kind or proofs.answer == PROMOTED:
        return ""
    why = proofs.sentence or "no gate has held it against the judge that it was made of."
    return f"the judge is quantized ({kind}) and not proven to be as good as it was before: {why}"


@dataclass(frozen=True)
class Bundled:
    """A model folder that was made or checked, and what is to be said of it."""

    folder: ModelFolder
    judge: JudgeOnDisk
    notes: tuple[Problem, ...]
    checked: bool = False


def bundle_into(run: BundleRun, out: Path) -> Bundled:
    """Check parts, copy them into `out`, and check what was written. Raises ToelineError."""
    parts = BundleParts.of(run)
    judge = require_fit(parts)
    proofs = proofs_of(run, parts, judge)
    why = unproven(judge, proofs)
    if why and not run.allow_unproven:
        raise ModelError(
            f"{parts.judge}: {why} Run toeline gate with --against the judge that it was made of and name its folder "
            f"with --scorecard, or type --allow-unproven: then {MODEL} and every inspection say so."
        )
    files = parts.placed() | {f"{SCORECARDS}/{name}": file for name, file in proofs.files.items()}
    settings = {**settings_of(run), "files": {name: sha256_of(file) for name, file in files.items()}}
    settings["prompt"] = parts.prompt
    with begun(out, "bundle", settings, "Bundling", last=MODEL) as (place, _), saying("Copying the parts"):
        require_room(out, sum(file.stat().st_size for file in files.values()))
        for name, file in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place / name)
        if parts.prompt and parts.judge:
            _ask_with(parts.prompt, place, judge.view)
        top = sorted({name.partition("/")[0] for name in files})
        more = {"made_by": BUNDLE, "thresholds": list(run.thresholds), "unproven": why}
        write_model(place, top, seen_by(parts), proofs.scores, **more)
    return Bundled(ModelFolder.load(out), judge, tuple(doubts(out)))


def _ask_with(prompt: str, place: Path, view: PromptBudget) -> None:
    """Let the adapter, or the judge without one, say that it is asked with another prompt."""
    from toeline.judge.adapter import VIEW_FILE
    from toeline.judge.checkpoint import read_json, write_view

    folder = place / (ADAPTER if (place / ADAPTER).is_dir() else JUDGE)
    said = read_json(folder / VIEW_FILE) if (folder / VIEW_FILE).is_file() else {}
    write_view(folder, replace(view, prompt=prompt), base=said.get("base"))


def seen_by(parts: BundleParts) -> dict[str, Any]:
    """The photographs that judge and adapter were trained on, as far as their folders say."""
    from toeline.judge.lineage import trainings
    from toeline.pipelines.model_folder import trained_with

    weights = [w for w in (parts.judge, parts.adapter) if w]
    records = [record for w in weights for _, record in trainings(w)] + [trained_with(w) for w in weights]
    seen = dict.fromkeys(sha256 for record in records for sha256 in record.get("photographs_sha256", ()))
    return {"photographs": len(seen), "photographs_sha256": list(seen)} if seen else {}


def check_folder(path: Path) -> Bundled:
    """A model folder, every file compared with its hash and every part with the others. Raises ToelineError."""
    folder = ModelFolder.load(path)
    return Bundled(folder, require_fit(BundleParts.inside(folder)), tuple(doubts(path)), checked=True)


def summary(done: Bundled) -> Summary:
    """What the folder holds, what its judge was promoted with, and how it is used."""
    folder, path = done.folder, done.folder.path
    size = size_words(sum((path / name).stat().st_size for name in folder.files))
    what = "is whole" if done.checked else "is made"
    lines = [f"[bold]The model {what}: {some(len(folder.files), 'file')}, {size}.[/]"]
    lines += [f"[bold yellow]{escape(str(note))}[/]" for note in done.notes]
    lines += [escape(f"{name}: {said}") for name, said in folder.scores.items() if isinstance(said, str) and said]
    record = {
        "model": str(path),
        "files": len(folder.files),
        "unproven": folder.unproven,
        "scores": dict(folder.scores),
    }
    use = f"Inspect with it: toeline inspect PHOTOS --model {escape(str(path))} --out ..."
    return Summary(lines, {"model": str(path)}, record, last=use)
