"""The accuracy that a model was promoted with: as its folder says, where that holds the weights of a run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toeline.core.reading import is_file, read_json
from toeline.errors import ModelError
from toeline.evaluate.metric import Metric, metric_from, metric_record
from toeline.evaluate.reviewed import BOTH_STAGES, GIVEN_TYPE
from toeline.judge.judge import fingerprint
from toeline.judge.load import PACKAGE
from toeline.pipelines.model_folder import MODEL, SCORECARDS, ModelFolder

LEARNED = {GIVEN_TYPE: "judge", BOTH_STAGES: "both_stages"}  # as `toeline learn` calls them in model.json
HASH = re.compile(r"[0-9a-f]{64}")
AGAIN = "Make the model folder again."


@dataclass(frozen=True)
class Promoted:
    """Figures by the keys of evaluate/reviewed.py, the name of the folder that they are from, and the split."""

    folder: str
    split: str
    figures: Mapping[str, Metric]

    def record(self) -> dict[str, Any]:
        """As JSON."""
        figures = {key: metric_record(metric) for key, metric in self.figures.items()}
        return {"folder": self.folder, "split": self.split, "figures": figures}


def promoted_from(record: Mapping[str, Any]) -> Promoted:
    """The figures of a record."""
    figures = {str(key): metric_from(metric) for key, metric in record["figures"].items()}
    return Promoted(str(record["folder"]), str(record["split"]), figures)


def promoted_of(run: Mapping[str, Any], named: Path | None = None) -> Promoted | None:
    """What the models of a run (its run.json) were promoted with; None where no folder is known to hold them.

    Looked for in `named`, or else in the folder that the run was told and in the package. Raises
    ModelError for a `named` one that cannot be read.
    """
    settings, wanted = run.get("settings", {}), _hashes(run)
    told = Path(settings["model"]) if settings.get("model") else None
    places = [named] if named else [folder for folder in (told, PACKAGE) if folder and is_file(folder / MODEL)]
    for folder in places if wanted else ():
        made = ModelFolder.read(folder)
        if wanted <= {*made.files.values()}:
            return _read(made, own_boxes=not settings.get("boxes") and not settings.get("thresholds"))
    return None


def _hashes(run: Mapping[str, Any]) -> set[str]:
    """SHA-256 of the weights of detector and judge."""
    judge = run.get("models", {}).get("judge", {})
    return set(HASH.findall(str([run.get("settings", {}).get("weights", {}), fingerprint(judge) if judge else {}])))


def _read(made: ModelFolder, *, own_boxes: bool) -> Promoted | None:
    """`own_boxes`: found by the detector as it was measured; else only the judge can be compared."""
    try:
        figures = dict(_figures(made))
    except (KeyError, TypeError, ValueError, AttributeError) as why:
        raise ModelError(f"{made.path}: its scores cannot be read ({why!r}). {AGAIN}") from None
    kept = {key: metric for key, metric in figures.items() if own_boxes or key != BOTH_STAGES}
    name = "the package" if made.path == PACKAGE else made.path.resolve().name
    return Promoted(name, str(made.scores.get("split", "")), kept) if kept else None


def _figures(made: ModelFolder) -> Iterator[tuple[str, Metric]]:
    """Of `toeline learn` as they stand in model.json; of `toeline bundle` in the scorecards that it was given."""
    for key, name in LEARNED.items():
        if isinstance(made.scores.get(name), Mapping):
            yield key, metric_from(made.scores[name])
    files = sorted(name for name in made.files if name.startswith(f"{SCORECARDS}/"))
    for card in (read_json(made.path / name, ModelError, advice=AGAIN) for name in files):
        if "judges" in card:  # of a gate: the one whose weights these are
            own = (j for j in card["judges"] if set(HASH.findall(str(j["fingerprint"]))) <= {*made.files.values()})
            yield from ((GIVEN_TYPE, metric_from(j["class"])) for j in own)
        elif not card.get("detected"):  # of an evaluation on true boxes
            yield from ((GIVEN_TYPE, metric_from(f)) for f in card["figures"] if f["key"] == "accuracy")
