"""What a judge is, and which ones there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from toeline.errors import ModelError
from toeline.judge.judge import Judge

EMBEDDED = Path(__file__).parent.parent / "models" / "judge"


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


def _baseline(file: str, device: str, adapter: Path | None) -> Judge:
    from toeline.judge.baseline.judge import BaselineJudge

    if adapter is not None:
        raise ModelError(f"baseline:{file} is no language model, so an adapter would do nothing. Leave --adapter out.")
    return BaselineJudge.load(Path(file))


def _ensemble(said: str, device: str, adapter: Path | None) -> Judge:
    """The adapter goes to the parts that can have one."""
    from toeline.judge.ensemble import EnsembleJudge

    def part(name: str) -> Judge:
        takes_one = JUDGES.get(name.partition(":")[0]) not in (_baseline, _replay)
        return load_judge(name, device=device, adapter=adapter if takes_one else None)

    return EnsembleJudge.load(said, part)


JUDGES: dict[str, Callable[[str, str, Path | None], Judge]] = {
    "embedded": _embedded,
    "replay": _replay,
    "baseline": _baseline,
    "ensemble": _ensemble,
    "floor": _baseline,  # what these two were called before
    "fuse": _ensemble,
}


def load_judge(name: str, *, device: str = "auto", adapter: Path | None = None) -> Judge:
    """The judge of that name, or a model directory or hub id of the Qwen2-VL family.

    Names are "embedded", "replay:FILE", "baseline:FILE" (of `toeline baseline`), "ensemble:A,B" (two of these)
    and "ensemble:FILE.json" (of `toeline ensemble`); floor: and fuse: are their former names.
    `adapter` is a peft adapter directory. Raises ModelError for the files, SetupError for the machine.
    """
    back_end, _, rest = name.partition(":")
    if name == "embedded" or (rest and back_end in JUDGES.keys() - {"embedded"}):
        return JUDGES[back_end](rest, device, adapter)
    return _qwen_vl(name, device, adapter)
