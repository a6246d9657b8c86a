"""A model folder, as `toeline learn` writes it: detector, judge, calibration, and what they were trained on and scored.

The package is one too: what answers where no judge is named is its judge, with its calibration (`with_shipped`).

`model.json` names the parts by their place in the folder, with a hash of each file, so that a folder may be moved and a
part that was exchanged is noticed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from toeline.core.reading import read_json, whole
from toeline.core.run_folder import write_whole
from toeline.core.taxonomy import Taxonomy
from toeline.data.images import file_hash
from toeline.detect.detector import typed_options
from toeline.detect.load import require_detector
from toeline.detect.tiling import Tiling
from toeline.errors import ModelError, SetupError
from toeline.judge import load as judges
from toeline.pipelines.changes import file_state
from toeline.pipelines.domain import AUTO, OFF
from toeline.pipelines.settings import EvaluateRun, InspectRun

Run = TypeVar("Run", InspectRun, EvaluateRun)
MODEL, VERSION = "model.json", 1
DETECTOR, JUDGE, BASELINE, ENSEMBLE = "detector", "judge", "baseline.safetensors", "ensemble.json"
CALIBRATION, DOMAIN, WORDS = "calibration.json", "domain.safetensors", "taxonomy.toml"
ADVICE = "Name a folder that toeline learn wrote."


@dataclass(frozen=True)
class ModelFolder:
    """One folder with all that inspection needs. `trained_on` and `scores` are what its makers measured."""

    path: Path
    files: Mapping[str, str]
    trained_on: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> ModelFolder:
        """Read a folder, and compare each part with its hash. Raises ModelError."""
        record = read_json(path / MODEL, ModelError, advice=ADVICE)
        try:
            version = whole(record["version"], "version", low=1, high=VERSION)
            files = {str(name): str(sha256) for name, sha256 in record["files"].items()}
            made = cls(path, files, dict(record["trained_on"]), dict(record["scores"]))
        except (KeyError, TypeError, ValueError, AttributeError) as why:
            what = f"{why} is missing" if isinstance(why, KeyError) else str(why)
            raise ModelError(f"{path / MODEL}: is no description of a model folder ({what}). {ADVICE}") from None
        assert version == VERSION
        made._require_whole()
        return made

    def _require_whole(self) -> None:
        inside = self.path.resolve()
        for name, sha256 in self.files.items():
            file = self.path / name
            if not file.is_file() or not file.resolve().is_relative_to(inside):
                raise ModelError(f"{self.path}: {name} is missing. Copy the whole folder, or run toeline learn again.")
            if file_hash(file) != sha256:
                raise ModelError(
                    f"{file}: is another file than toeline learn wrote, so what {MODEL} says of it does not hold. "
                    f"Bring it back, or name the parts by themselves (--detector, --judge, --calibration)."
                )

    @property
    def detector(self) -> str:
        """As --detector takes it."""
        return str(self.path / DETECTOR)

    @property
    def judge(self) -> str:
        """As --judge takes it: the ensemble where there is one, else the baseline."""
        baseline = f"baseline:{self.path / BASELINE}"
        if ENSEMBLE not in self.files:
            return baseline
        if "," in str(self.path):
            raise ModelError(f"{self.path}: the path of a model must hold no comma. Rename that folder.")
        return f"ensemble:{self.path / ENSEMBLE},{self.path / JUDGE},{baseline}"

    @property
    def calibration(self) -> Path:
        """As --calibration takes it."""
        return self.path / CALIBRATION

    @property
    def domain(self) -> str:
        """As --domain takes it; off where there were too few photographs for one."""
        return str(self.path / DOMAIN) if DOMAIN in self.files else OFF

    @property
    def taxonomy(self) -> Path | None:
        """As --taxonomy takes it; None for the nine classes that Toeline knows."""
        return self.path / WORDS if WORDS in self.files else None


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
    words = run.taxonomy or folder.taxonomy
    run = replace(run, detector=folder.detector, judge=folder.judge, taxonomy=words)
    if isinstance(run, InspectRun):  # evaluation calibrates by itself, and needs no domain
        domain = folder.domain if run.domain == AUTO else run.domain
        run = replace(run, calibration=folder.calibration, domain=domain)
    return run


def with_shipped(run: Run) -> Run:
    """Settings with the judge that the package answers with, where none is named.

    The detector of the package has its thresholds with it; of the calibration see `calibration_file`, of the domain
    pipelines/domain.py.
    """
    if run.judge != AUTO:
        return run
    in_words = run.adapter is not None
    if isinstance(run, EvaluateRun):
        in_words = in_words or run.prompt is not None or (run.decide, run.relations) != ("score", "given")
    return replace(run, judge=judge_for(Taxonomy.load(run.taxonomy), in_words=in_words))


def judge_for(taxonomy: Taxonomy, *, in_words: bool = False) -> str:
    """What answers where no judge is named: the package's, or of it the language model alone.

    That is for what only words can do (an adapter, another prompt, written answers), and for other classes than the
    nine that the package was trained on.
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
    return folder.calibration if CALIBRATION in folder.files else None


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


def write_model(path: Path, parts: Sequence[str], trained_on: Mapping[str, Any], scores: Mapping[str, Any]) -> None:
    """Write model.json. `parts` are files and folders in `path`."""
    files = [
        f for part in parts for f in (sorted((path / part).rglob("*")) if (path / part).is_dir() else [path / part])
    ]
    record = {
        "version": VERSION,
        "files": {f.relative_to(path).as_posix(): file_hash(f) for f in files if f.is_file()},
        "trained_on": dict(trained_on),
        "scores": dict(scores),
    }
    write_whole(path / MODEL, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
