"""A model folder of `toeline learn` or `toeline bundle`: all parts, and what they were trained on and scored.

The package is one too: what answers where no judge is named is its judge, with its calibration (`with_shipped`).

`model.json` names the parts by their place in the folder, with a hash of each file, so that a folder may be moved and a
part that was exchanged is noticed; a file that was put into a part is, too.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from toeline.core.finding import Problem
from toeline.core.reading import read_json, whole
from toeline.core.run_folder import CLUTTER, write_whole
from toeline.core.taxonomy import Taxonomy
from toeline.detect.detector import typed_options
from toeline.detect.load import require_detector
from toeline.detect.tiling import Tiling
from toeline.errors import ModelError, SetupError
from toeline.judge import load as judges
from toeline.pipelines.changes import file_state
from toeline.pipelines.domain import AUTO, OFF
from toeline.pipelines.settings import EvaluateRun, InspectRun
from toeline.weights import sha256_of

Run = TypeVar("Run", InspectRun, EvaluateRun)
MODEL, VERSION = "model.json", 2
DETECTOR, JUDGE, BASELINE, ENSEMBLE = "detector", "judge", "baseline.safetensors", "ensemble.json"
ADAPTER, SCORECARDS = "adapter", "scorecards"
CALIBRATION, DOMAIN, WORDS = "calibration.json", "domain.safetensors", "taxonomy.toml"
PICKLE = "model.pt"  # what a detector of ultralytics is called in the folder DETECTOR
LEARN, BUNDLE = "toeline learn", "toeline bundle"
ADVICE = f"Name a folder that {LEARN} wrote, or {BUNDLE}."


@dataclass(frozen=True)
class ModelFolder:
    """One folder with all that inspection needs. `trained_on` and `scores` are what its makers measured.

    `thresholds` are those of the detector, as --threshold takes them. `unproven` says why quantized weights in it are
    not proven to be as good as those they were made of; it is empty where they are, and for whole precision.
    """

    path: Path
    files: Mapping[str, str]
    trained_on: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    thresholds: tuple[str, ...] = ()
    unproven: str = ""
    made_by: str = LEARN

    @classmethod
    def load(cls, path: Path) -> ModelFolder:
        """Read a folder, and compare each part with its hash. Raises ModelError."""
        made = cls.read(path)
        made._require_whole()
        return made

    @classmethod
    def read(cls, path: Path) -> ModelFolder:
        """What model.json says, whatever lies beside it. Raises ModelError."""
        record = read_json(path / MODEL, ModelError, advice=ADVICE)
        try:
            whole(record["version"], "version", low=1, high=VERSION)
            return cls(
                path,
                {str(name): str(sha256) for name, sha256 in record["files"].items()},
                dict(record["trained_on"]),
                dict(record["scores"]),
                tuple(map(str, record.get("thresholds", ()))),
                str(record.get("unproven", "")),
                str(record.get("made_by", LEARN)),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as why:
            what = f"{why} is missing" if isinstance(why, KeyError) else str(why)
            raise ModelError(f"{path / MODEL}: is no description of a model folder ({what}). {ADVICE}") from None

    def _require_whole(self) -> None:
        inside = self.path.resolve()
        for name, sha256 in self.files.items():
            file = self.path / name
            if not file.is_file() or not file.resolve().is_relative_to(inside):
                raise ModelError(f"{self.path}: {name} is missing. Copy the whole folder, or run {self.made_by} again.")
            if sha256_of(file) != sha256:
                raise ModelError(
                    f"{file}: is another file than {self.made_by} wrote, so what {MODEL} says of it does not hold. "
                    f"Bring it back, or name the parts by themselves (--detector, --judge, --calibration)."
                )
        if added := sorted(self._added()):
            raise ModelError(
                f"{self.path / added[0]}: is no file that {self.made_by} wrote, and the part that it lies in may be "
                f"read otherwise with it. Take it out of the folder."
            )

    def _added(self) -> Iterator[str]:
        """Files in the folders of its parts that it does not name, but for words about them, which nothing reads."""
        for part in {name.partition("/")[0] for name in self.files if "/" in name}:
            for file in (self.path / part).rglob("*"):
                name = file.relative_to(self.path).as_posix()
                ours = name in self.files or file.name in CLUTTER or file.suffix == ".md"
                if not ours and (file.is_symlink() or not file.is_dir()):
                    yield name

    def part(self, name: str) -> Path | None:
        """A part, whether it is a file or a folder, or None where the folder has none of this name."""
        there = any(file == name or file.startswith(f"{name}/") for file in self.files)
        return self.path / name if there else None

    @property
    def detector(self) -> str:
        """As --detector takes it."""
        return str(self.part(f"{DETECTOR}/{PICKLE}") or self.path / DETECTOR)

    @property
    def judge(self) -> str:
        """As --judge takes it: the ensemble where there is one, else the baseline, else the language model."""
        baseline = f"baseline:{self.path / BASELINE}"
        if self.part(ENSEMBLE) is None:
            return str(self.language_model or baseline)
        if "," in str(self.path):
            raise ModelError(f"{self.path}: the path of a model must hold no comma. Rename that folder.")
        return f"ensemble:{self.path / ENSEMBLE},{self.path / JUDGE},{baseline}"

    @property
    def language_model(self) -> Path | None:
        """That which answers, alone or in the ensemble; `toeline learn` keeps one beside a baseline that is better."""
        return self.part(JUDGE) if self.part(ENSEMBLE) or not self.part(BASELINE) else None

    @property
    def adapter(self) -> Path | None:
        """As --adapter takes it."""
        return self.part(ADAPTER)

    @property
    def calibration(self) -> Path | None:
        """As --calibration takes it."""
        return self.part(CALIBRATION)

    @property
    def domain(self) -> str:
        """As --domain takes it; off where there were too few photographs for one."""
        return str(self.part(DOMAIN) or OFF)

    @property
    def taxonomy(self) -> Path | None:
        """As --taxonomy takes it; None for the nine classes that Toeline knows."""
        return self.part(WORDS)


def doubts(model: Path | None) -> list[Problem]:
    """What is to be said before anything that a model folder says: that its weights are not proven. Raises ModelError.

    Of the folder that was named alone; with_model has compared its files.
    """
    why = ModelFolder.read(model).unproven if model else ""
    return [Problem.in_file(model / MODEL, why, note=True)] if model and why else []


def trained_with(weights: Path) -> Mapping[str, Any]:
    """What a model folder says of the photographs of a language model or an adapter in it; empty for any other."""
    there = weights.name in (JUDGE, ADAPTER) and (weights.parent / MODEL).is_file()
    return ModelFolder.read(weights.parent).trained_on if there else {}


def with_model(run: Run) -> Run:
    """Settings of an inspection or evaluation with the parts that `model` names, or else the package's judge.

    Raises ModelError, SetupError, TaxonomyError.
    """
    run = with_shipped(run) if run.model is None else _with_folder(run, run.model)
    _require_models(run)
    return run


def _require_models(run: InspectRun | EvaluateRun) -> None:
    """Raise ToelineError for a judge, detector or threshold that cannot be, before any work and any loading."""
    if run.judge:
        judges.require_judge(run.judge)
    if run.detector and (not run.boxes if isinstance(run, InspectRun) else run.boxes == "detector"):
        require_detector(run.detector)
    options = typed_options(run.thresholds, trust=run.trust, device=run.device, head=run.head)
    options.settled(Taxonomy.load(run.taxonomy))
    if isinstance(run, InspectRun):
        Tiling.read(run.tile)


def _with_folder(run: Run, model: Path) -> Run:
    for name, unnamed in (("detector", "embedded"), ("judge", AUTO), ("adapter", None), ("calibration", None)):
        if getattr(run, name, None) not in (None, unnamed):
            raise SetupError(f"--model {model} holds all parts: leave --{name} out, or name the parts without it.")
    folder = ModelFolder.load(model)
    run = replace(
        run,
        detector=folder.detector,
        judge=folder.judge,
        adapter=folder.adapter,
        taxonomy=run.taxonomy or folder.taxonomy,
        thresholds=run.thresholds or folder.thresholds,
    )
    if isinstance(run, InspectRun):  # evaluation calibrates by itself, and needs no domain
        domain = folder.domain if run.domain == AUTO else run.domain
        run = replace(run, calibration=folder.calibration, domain=domain)
    return run


def with_shipped(run: Run) -> Run:
    """Settings with the judge that the package answers with, where none is named.

    The detector of the package has its thresholds with it; of the calibration see `calibration_file`, of the domain
    pipelines/domain.py.
    """
    if run.judge and (Path(run.judge) / MODEL).is_file():
        raise SetupError(f"--judge {run.judge} is a whole model folder. Name it with --model.")
    if run.judge != AUTO:
        return run
    in_words = run.adapter is not None or run.prior != OFF
    if isinstance(run, EvaluateRun):
        in_words = in_words or run.prompt is not None or (run.decide, run.relations) != ("score", "given")
    return replace(run, judge=judge_for(Taxonomy.load(run.taxonomy), in_words=in_words))


def judge_for(taxonomy: Taxonomy, *, in_words: bool = False) -> str:
    """What answers where no judge is named: the package's, or of it the language model alone.

    That is for what only words can do (an adapter, a prior, another prompt, written answers), and for other classes
    than the nine that the package was trained on.
    """
    own, ours = ({c.name: c.type for c in words.classes} for words in (taxonomy, Taxonomy.load()))
    return judges.OURS if in_words or own != ours else shipped_judge()


def shipped() -> ModelFolder | None:
    """The model in the package, or None for a package of single parts. Raises ModelError for a damaged one."""
    state = file_state(judges.PACKAGE / MODEL)
    return _shipped(judges.PACKAGE, state) if state else None


@cache
def _shipped(package: Path, _: tuple[int, ...]) -> ModelFolder:
    return ModelFolder.load(package)  # reads all of it, so once


def shipped_judge() -> str:
    """Its judge, as --judge takes it; no name says where the package lies."""
    files = folder.files if (folder := shipped()) else {}
    if ENSEMBLE in files:
        return f"ensemble:{judges.OURS}"
    return f"baseline:{judges.OURS}" if BASELINE in files else judges.OURS


def calibration_file(calibration: Path | None, judge: str) -> Path | None:
    """The calibration that was named, or that of the package where its judge answers: it belongs to no other."""
    if calibration is not None or not (folder := shipped()) or judge != shipped_judge():
        return calibration
    return folder.calibration


def language_model_saw(judge: str) -> Mapping[str, Any]:
    """What the package's language model was trained on, where it answers; empty where that is drawn scenes only."""
    if not (folder := shipped()):
        return {}
    files = {f"{JUDGE}/{file.name}" for file in judges.packaged_files(judge) if file.parent == judges.EMBEDDED}
    return folder.trained_on if files & folder.files.keys() else {}


def seen_by_package(photographs_sha256: Collection[str]) -> int:
    """How many of these photographs the package's models were trained on, with which a training begins."""
    folder = shipped()
    return len({*(folder.trained_on.get("photographs_sha256", ()) if folder else ())} & {*photographs_sha256})


def write_model(
    path: Path, parts: Sequence[str], trained_on: Mapping[str, Any], scores: Mapping[str, Any], **more: Any
) -> None:
    """Write model.json. `parts` are files and folders in `path`; `more` are further fields of a ModelFolder."""
    files = [
        f for part in parts for f in (sorted((path / part).rglob("*")) if (path / part).is_dir() else [path / part])
    ]
    record = {
        "version": VERSION,
        **more,
        "files": {f.relative_to(path).as_posix(): sha256_of(f) for f in files if f.is_file()},
        "trained_on": dict(trained_on),
        "scores": dict(scores),
    }
    write_whole(path / MODEL, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
