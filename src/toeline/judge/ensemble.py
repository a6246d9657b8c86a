"""Two judges as one: the weighted mean of their log-probabilities, each cooled or warmed by its own temperature.

`combined` and `fit_weights` know numbers only; EnsembleJudge joins two judges that may be shown different crops.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toeline.core.calibration import fit_temperature, log_loss, normalized, padded
from toeline.core.question import PromptBudget, QuestionSheet
from toeline.core.run_folder import write_whole
from toeline.errors import ModelError
from toeline.judge.checkpoint import read_json
from toeline.judge.judge import fingerprint

if TYPE_CHECKING:
    from toeline.judge.judge import Judge


Scores = Mapping[str, float]  # answer -> log-probability
LOWEST = -50.0  # stands for an impossible answer (e to the -50), so that the other judge can still be heard


@dataclass(frozen=True)
class EnsembleWeights:
    """How two judges are joined: `weight` of the second, 0 to 1, and the temperature that divides each one's scores."""

    weight: float = 0.5
    temperatures: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1 or not all(0 < t < math.inf for t in self.temperatures):
            raise ValueError(f"a weight of {self.weight} or temperatures of {self.temperatures} mix nothing")


def combined(a: Scores, b: Scores, mix: EnsembleWeights) -> dict[str, float]:
    """One question's log-probabilities from two judges', normalized, in the order of `a`.

    >>> first, second = {"x": math.log(0.9), "y": math.log(0.1)}, {"x": math.log(0.1), "y": math.log(0.9)}
    >>> both = combined(first, second, EnsembleWeights())
    >>> {name: round(math.exp(value), 3) for name, value in both.items()}
    {'x': 0.5, 'y': 0.5}
    """
    if a.keys() != b.keys():
        raise ValueError(f"two judges were asked about other answers: {', '.join(sorted(a.keys() ^ b.keys()))}")
    first, second = (
        normalized(scores, temperature=at, lowest=LOWEST) for scores, at in zip((a, b), mix.temperatures, strict=True)
    )
    return normalized({name: (1 - mix.weight) * first[name] + mix.weight * second[name] for name in a})


def fit_weights(a: Sequence[Scores], b: Sequence[Scores], right: Sequence[str]) -> EnsembleWeights:
    """Each judge's own temperature first, then the weight of least log loss; the loss is convex in the weight.

    Raises ValueError for no question at all.
    """
    from scipy.optimize import minimize_scalar

    if not right:
        raise ValueError("there is no question to fit a temperature on")
    at = [list(scores).index(answer) for scores, answer in zip(a, right, strict=True)]
    rows = [
        [[max(scores[name], LOWEST) for name in names] for scores, names in zip(said, a, strict=True)]
        for said in (a, b)
    ]
    first, second = (round(fit_temperature(of_one, at), 4) for of_one in rows)

    def loss(weight: float) -> float:
        mix = EnsembleWeights(weight, (first, second))
        return log_loss(padded([list(combined(x, y, mix).values()) for x, y in zip(a, b, strict=True)]), at)

    found = minimize_scalar(loss, bounds=(0.0, 1.0), method="bounded", options={"xatol": 1e-3})
    return EnsembleWeights(round(float(found.x), 2), (first, second))


@dataclass(frozen=True)
class EnsembleJudge:
    """Two judges as one. `names` are what the user called them; `facts` go into `info`.

    Its view is that of the part that reads pictures and words: the classical judge measures the photograph by itself,
    and a replay looks at nothing. Build it with `load`.
    """

    parts: tuple[Judge, Judge]
    names: tuple[str, str]
    mix: EnsembleWeights = EnsembleWeights()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len({part.view for part in self.parts if not is_blind(part)}) > 1:
            raise ModelError(
                f"{' and '.join(self.names)} want to be shown different pictures, and one sheet holds one kind. "
                f"Inspect with one of them first, then give its findings.jsonl as replay:FILE."
            )

    @classmethod
    def load(cls, said: str, load: Callable[[str], Judge]) -> EnsembleJudge:
        """Two judges by what follows `ensemble:`; `load` loads one by its name. Raises ModelError.

        "A,B" gives both the same weight, "FILE.json" is what `toeline ensemble` wrote, "FILE.json,A,B" takes the
        weight and temperatures of the file for two other judges, such as the same ones replayed.
        """
        first, *names = [word.strip() for word in said.split(",")]
        if not first.endswith(".json") or first.startswith("replay:"):
            return cls._joined((first, *names), EnsembleWeights(), {}, load)
        return cls.of_file(Path(first), names, load, called=first)

    @classmethod
    def of_file(cls, file: Path, names: Sequence[str], load: Callable[[str], Judge], *, called: str) -> EnsembleJudge:
        """What `toeline ensemble` wrote, for the judges that it names itself or for `names`. Raises ModelError."""
        saved = read_json(file)
        mix, facts = _weights_of(saved, str(file))
        judge = cls._joined(names or saved["judges"], mix, {**facts, "mix": called}, load)
        if not names:
            _require_same(saved["fingerprints"], judge, called)
        return judge

    @classmethod
    def _joined(
        cls, names: Sequence[str], mix: EnsembleWeights, facts: Mapping[str, Any], load: Callable[[str], Judge]
    ) -> EnsembleJudge:
        if len(names) != 2 or not all(names) or any(name.startswith(("ensemble:", "fuse:")) for name in names):
            raise ModelError(
                f"ensemble:{','.join(names)}: name two judges, as in ensemble:embedded,baseline:FILE, "
                "or a file of `toeline ensemble`."
            )
        a, b = names
        return cls((load(a), load(b)), (a, b), mix, facts)

    @property
    def view(self) -> PromptBudget:
        """What the part wants that reads pictures and words."""
        return next((part.view for part in self.parts if not is_blind(part)), self.parts[0].view)

    @property
    def info(self) -> Mapping[str, Any]:
        """How they are joined, and both parts' own."""
        return {
            "back_end": "fuse",
            **self.facts,
            **asdict(self.mix),
            "parts": {name: dict(part.info) for name, part in zip(self.names, self.parts, strict=True)},
        }

    def score(self, sheet: QuestionSheet) -> list[dict[str, float]]:
        """The fused log-probabilities, question by question."""
        return [combined(a, b, self.mix) for a, b in zip(*self.score_parts(sheet), strict=True)]

    def score_parts(self, sheet: QuestionSheet) -> tuple[Sequence[Scores], Sequence[Scores]]:
        """What each of the two says, uncalibrated: with `combined`, three judges from one pass, on the same objects."""
        a, b = self.parts
        return a.score(sheet), b.score(sheet)


def is_blind(judge: Judge) -> bool:
    """Whether a judge looks at no picture or text of a sheet, so that any view will do."""
    from toeline.judge.baseline.judge import BaselineJudge
    from toeline.judge.replay import ReplayJudge

    return isinstance(judge, BaselineJudge | ReplayJudge)


def save_ensemble(file: Path, judge: EnsembleJudge, facts: Mapping[str, Any]) -> None:
    """Write what `ensemble:FILE.json` loads: names, mix, which weights it was fitted for, and `facts`."""
    record = {
        "judges": judge.names,
        **asdict(judge.mix),
        "fingerprints": [fingerprint(part.info) for part in judge.parts],
        "facts": dict(facts),
    }
    write_whole(file, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def read_ensemble(file: Path) -> tuple[EnsembleWeights, list[Mapping[str, Any]]]:
    """The mix of an ensemble file, and the fingerprints of the two judges that it was fitted for. Raises ModelError."""
    saved = read_json(file)
    return _weights_of(saved, str(file))[0], list(saved["fingerprints"])


def is_ensemble(file: Path) -> bool:
    """Whether a file is one of these."""
    try:
        _weights_of(read_json(file), str(file))
    except (OSError, ModelError):
        return False
    return True


def _weights_of(saved: Mapping[str, Any], file: str) -> tuple[EnsembleWeights, dict[str, Any]]:
    """The mix and the facts of a fusion file. Raises ModelError for another file."""
    try:
        a, b = map(float, saved["temperatures"])
        names, prints = saved["judges"], saved["fingerprints"]
        if not (len(names) == len(prints) == 2 and all(isinstance(name, str) for name in names)):
            raise ValueError("two judges were expected")
        return EnsembleWeights(float(saved["weight"]), (a, b)), dict(saved["facts"])
    except (KeyError, TypeError, ValueError) as why:
        raise ModelError(
            f"{file}: is no file of `toeline ensemble` ({why!r}). Fit it again, or name two judges."
        ) from None


def _require_same(prints: Sequence[Mapping[str, Any]], judge: EnsembleJudge, file: str) -> None:
    for name, part, print_ in zip(judge.names, judge.parts, prints, strict=True):
        if fingerprint(part.info) != print_:
            raise ModelError(
                f"{file}: was fitted for other weights than {name} has now. Fit it again with `toeline ensemble`, "
                f"or say ensemble:{file},{','.join(judge.names)} to use it all the same."
            )
