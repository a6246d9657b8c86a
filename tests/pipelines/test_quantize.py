"""What surrounds a quantization, without the libraries that quantize: nothing is lost where something goes wrong."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from toeline.errors import ModelError, SetupError
from toeline.judge import quantize as q
from toeline.pipelines import quantize
from toeline.pipelines.settings import GateOptions, QuantizeRun
from toeline.weights import pick_device

RUN, HOW = QuantizeRun(judge="judge", to="int4"), GateOptions(data=Path("data"))


def files(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("there", [True, False])
def test_a_disk_that_fills_while_converting_leaves_what_was_there(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fills(run: QuantizeRun, how: GateOptions, place: Path) -> None:
        from safetensors import SafetensorError

        (place / "config.json").write_text("{}")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    (tmp_path / "run.json").write_text("{}")
    if there:  # half of an earlier one, which a kill left
        (tmp_path / "candidate" / ".staged.part").mkdir(parents=True)
        (tmp_path / "candidate" / ".staged.part" / "model.safetensors").write_bytes(b"half")
    monkeypatch.setattr(quantize, "convert_into", fills)
    with pytest.raises(OSError, match="No space left on device"):
        quantize.candidate(RUN, HOW, tmp_path)
    assert files(tmp_path) == {"run.json": b"{}"}
    assert not (tmp_path / "candidate").exists()


def test_a_judge_that_is_converted_is_not_converted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def once(run: QuantizeRun, how: GateOptions, place: Path) -> None:
        (place / "model.safetensors").write_bytes(b"small")
        (place / "config.json").write_text("{}")

    monkeypatch.setattr(quantize, "convert_into", once)
    assert quantize.candidate(RUN, HOW, tmp_path) == tmp_path / "candidate"
    before = files(tmp_path)
    assert before == {"candidate/config.json": b"{}", "candidate/model.safetensors": b"small"}
    monkeypatch.delattr(quantize, "convert_into")
    quantize.candidate(RUN, HOW, tmp_path)
    assert files(tmp_path) == before


def test_a_missing_library_or_card_is_told_with_what_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(q, "LIBRARIES", {"int8": "no_such_library", "int4": "no_such_library"})
    monkeypatch.setattr(quantize, "require_judge", lambda name: None)
    with pytest.raises(SetupError, match=r"no_such_library is not installed\. Run: .*pip install"):
        quantize.quantize_into(RUN, HOW, Path("nowhere"))
    assert not Path("nowhere").exists()
    backends = SimpleNamespace(mps=SimpleNamespace(is_available=lambda: False))
    torch = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: False), backends=backends, __version__="2")
    monkeypatch.setitem(__import__("sys").modules, "torch", torch)
    with pytest.raises(SetupError, match=r"finds no cuda device .*Choose --device cpu, or install the driver"):
        pick_device("cuda")


def test_an_adapter_of_other_weights_is_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(q, "LIBRARIES", {"int8": "json", "int4": "json"})
    monkeypatch.setattr(q, "read_config", lambda _: {})
    monkeypatch.setattr(q, "find_folder", Path)

    def refuse(*_: Any) -> None:
        raise ModelError("other weights")

    monkeypatch.setattr(q, "require_base", refuse)
    monkeypatch.setattr(q, "load_parts", lambda *_, **__: pytest.fail("weights were read"))
    with pytest.raises(ModelError, match="other weights"):
        q.load_for_quantizing("judge", to="int4", device="cpu", adapter=Path("adapter"))
