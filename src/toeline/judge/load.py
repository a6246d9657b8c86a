"""What a judge is, and which ones there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from toeline.core.words import meant
from toeline.errors import ModelError
from toeline.judge.judge import Judge
from toeline.judge.server_client import require_server
from toeline.weights import is_hub_id

PACKAGE = Path(__file__).parent.parent / "models"
EMBEDDED, BASELINE, ENSEMBLE = PACKAGE / "judge", PACKAGE / "baseline.safetensors", PACKAGE / "ensemble.json"
OURS = "embedded"  # after baseline: and ensemble: too, that of the package
NAMES = ("auto", OURS, f"baseline:{OURS}", f"ensemble:{OURS}")
WAYS = (
    "Give auto or embedded; baseline:FILE, ensemble:FILE.json or ensemble:A,B; a model directory of the Qwen-VL "
    "families, or its hub id, owner/name; openai:URL#MODEL for one that a server has"
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


def _baseline(file: str, device: str, adapter: Path | None) -> Judge:
    from toeline.judge.baseline.judge import BaselineJudge

    if adapter is not None:
        raise ModelError(f"baseline:{file} is no language model, so an adapter would do nothing. Leave --adapter out.")
    if file == OURS:
        return replace(BaselineJudge.load(_packaged(BASELINE)), file=OURS)
    return BaselineJudge.load(Path(file))


def _openai(said: str, device: str, adapter: Path | None) -> Judge:
    from toeline.judge.server import ServerJudge

    if adapter is not None:
        raise ModelError(
            "an adapter is loaded by the server (vLLM: --enable-lora --lora-modules NAME=DIR). Leave --adapter out and "
            "name it: openai:URL#NAME=FOLDER, the folder being that of the judge that it belongs to."
        )
    return ServerJudge.load(said, embedded=EMBEDDED)


def _ensemble(said: str, device: str, adapter: Path | None) -> Judge:
    """The adapter goes to the parts that can have one."""
    from toeline.judge.ensemble import EnsembleJudge

    def part(name: str) -> Judge:
        takes_one = JUDGES.get(name.partition(":")[0]) not in (_baseline, _replay)
        return load_judge(name, device=device, adapter=adapter if takes_one else None)

    if said == OURS:
        return EnsembleJudge.of_file(_packaged(ENSEMBLE), (), part, called=OURS)
    return EnsembleJudge.load(said, part)


def _packaged(file: Path) -> Path:
    if not file.is_file():
        raise ModelError(f"{file.stem}:{OURS}: this package has none. Name a file, or name two judges for an ensemble.")
    return file


def packaged_files(name: str) -> list[Path]:
    """The files of the package with weights that a judge's name stands for, as far as they are there."""
    files = {
        "embedded": sorted(EMBEDDED.glob("*.safetensors")),
        "baseline:embedded": [BASELINE],
        "ensemble:embedded": [ENSEMBLE, BASELINE, *sorted(EMBEDDED.glob("*.safetensors"))],
    }
    back_end, _, rest = name.partition(":")
    parts = rest.split(",") if back_end in ("ensemble", "fuse") and rest != OURS else [name]
    return [file for part in parts for file in files.get(part.strip(), ()) if file.is_file()]


JUDGES: dict[str, Callable[[str, str, Path | None], Judge]] = {
    "embedded": _embedded,
    "replay": _replay,
    "baseline": _baseline,
    "ensemble": _ensemble,
    "openai": _openai,
    "floor": _baseline,  # what these two were called before
    "fuse": _ensemble,
}


def require_judge(name: str) -> None:
    """Raise ModelError for what is no judge, as far as its name and the places in it tell: nothing is loaded."""
    back_end, _, rest = name.partition(":")
    if name == OURS:
        return
    if not rest or back_end not in JUDGES.keys() - {OURS}:
        if not (Path(name).expanduser().exists() or is_hub_id(name)):
            raise ModelError(f"{name}: there is no such judge.{meant(name, NAMES)} {WAYS}.")
    elif JUDGES[back_end] is _openai:
        require_server(rest)
    elif JUDGES[back_end] is _ensemble:
        for part in (part.strip() for part in rest.split(",")):
            is_mix = part.endswith(".json") and not part.startswith("replay:")
            _require_file(name, part) if is_mix else require_judge(part)
    else:
        _require_file(name, rest)


def _require_file(name: str, file: str) -> None:
    if file != OURS and not Path(file).is_file():
        raise ModelError(f"{name}: there is no such file as {file}.{meant(file, [OURS])} {WAYS}.")


def source_of(name: str, what: str) -> str:
    """The directory or hub id behind a judge's name. Raises ModelError for a judge to which `what` cannot be done."""
    if name == "embedded":
        return str(EMBEDDED)
    if name.partition(":")[0] in JUDGES and not Path(name).exists():
        raise ModelError(f"{name} cannot be {what}. Choose embedded, or a model of the Qwen-VL families.")
    require_judge(name)
    return name


def load_judge(name: str, *, device: str = "auto", adapter: Path | None = None) -> Judge:
    """The judge of that name, or a model directory or hub id of the Qwen-VL families.

    Names are "embedded", "replay:FILE", "baseline:FILE" (of `toeline baseline`), "openai:URL#MODEL" (of a server),
    "ensemble:A,B" (two of these) and "ensemble:FILE.json" (of `toeline ensemble`); floor: and fuse: are their former
    names. "baseline:embedded" and "ensemble:embedded" are those of the package, where it has them.
    `adapter` is a peft adapter directory. Raises ModelError for the files, SetupError for the machine.
    """
    back_end, _, rest = name.partition(":")
    if name == "embedded" or (rest and back_end in JUDGES.keys() - {"embedded"}):
        return JUDGES[back_end](rest, device, adapter)
    require_judge(name)
    return _qwen_vl(name, device, adapter)
