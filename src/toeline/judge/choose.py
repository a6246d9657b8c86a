"""What a judge is, and which ones there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from toeline.core.calibration import Calibration
from toeline.core.question import Sheet, View
from toeline.errors import ModelError

EMBEDDED = Path(__file__).parent.parent / "models" / "judge"


class Judge(Protocol):
    """Stage 2, whatever stands behind it."""

    @property
    def view(self) -> View:
        """How much it wants to be shown."""

    @property
    def info(self) -> Mapping[str, Any]:
        """What its scores depend on, as JSON: back end, weights' hashes, precision, device, versions."""

    def score(self, sheet: Sheet) -> Sequence[Mapping[str, float]]:
        """Log-probability of every answer, question by question in the sheet's order."""


def fingerprint(info: Mapping[str, Any]) -> dict[str, Any]:
    """The hashes in a judge's info: the same for the same weights, wherever they lie and on whatever device.

    Empty for a replay, whose file is another one for every set of photographs, and for weights without a hash.
    """
    if info.get("back_end") == "replay":
        return {}
    if info.get("back_end") == "fuse":
        parts = [fingerprint(part) for part in info["parts"].values()]
        return {"weight": info["weight"], "temperatures": list(info["temperatures"]), "parts": parts}
    return {name: info[name] for name in ("weights", "adapter", "sha256") if name in info}


def require_fitted_for(calibration: Calibration, judge: Judge) -> None:
    """Raise ModelError when a calibration was fitted on the answers of other weights, or to another prompt.

    One that does not say for whom it was fitted is taken at the user's word.
    """
    of = calibration.fitted_for
    if not of:
        return
    others = [
        what
        for what, now in (("fingerprint", fingerprint(judge.info)), ("prompt", judge.view.prompt))
        if of.get(what) != now
    ]
    if others:
        what = "other weights" if "fingerprint" in others else f"the prompt {of.get('prompt')!r}"
        raise ModelError(
            f"the calibration was fitted for {what} (judge {of.get('judge')}), so it says nothing about this judge's "
            f"probabilities. Make it again with toeline evaluate --calibrate, or leave --calibration out."
        )


def _qwen_vl(where: str, device: str, adapter: Path | None) -> Judge:
    from toeline.judge.qwen_vl import QwenVLJudge  # torch and transformers load here

    return QwenVLJudge.load(where, device=device, adapter=adapter)


def _embedded(_: str, device: str, adapter: Path | None) -> Judge:
    if not (EMBEDDED / "config.json").is_file():
        raise ModelError(
            "the embedded judge is missing from this installation. Install toeline again, or give --judge."
        )
    return _qwen_vl(str(EMBEDDED), device, adapter)


def _replay(file: str, device: str, adapter: Path | None) -> Judge:
    from toeline.judge.replay import ReplayJudge

    if adapter is not None:
        raise ModelError(f"replay:{file} repeats saved scores, so an adapter would do nothing. Leave --adapter out.")
    return ReplayJudge.load(Path(file))


def _floor(file: str, device: str, adapter: Path | None) -> Judge:
    from toeline.judge.floor import FloorJudge

    if adapter is not None:
        raise ModelError(f"floor:{file} is no language model, so an adapter would do nothing. Leave --adapter out.")
    return FloorJudge.load(Path(file))


def _fuse(said: str, device: str, adapter: Path | None) -> Judge:
    """The adapter goes to the parts that can have one."""
    from toeline.judge.fuse import FuseJudge

    def part(name: str) -> Judge:
        return load_judge(name, device=device, adapter=None if name.startswith(("floor:", "replay:")) else adapter)

    return FuseJudge.load(said, part)


JUDGES: dict[str, Callable[[str, str, Path | None], Judge]] = {
    "embedded": _embedded,
    "replay": _replay,
    "floor": _floor,
    "fuse": _fuse,
}


def load_judge(name: str, *, device: str = "auto", adapter: Path | None = None) -> Judge:
    """The judge of that name, or a model directory or hub id of the Qwen2-VL family.

    Names are "embedded", "replay:FILE", "floor:FILE" (of `toeline floor`), "fuse:A,B" (two of these) and
    "fuse:FILE.json" (of `toeline fuse`). `adapter` is a peft adapter directory. Raises ModelError for the files,
    SetupError for the machine.
    """
    back_end, _, rest = name.partition(":")
    if name == "embedded" or (rest and back_end in JUDGES.keys() - {"embedded"}):
        return JUDGES[back_end](rest, device, adapter)
    return _qwen_vl(name, device, adapter)
