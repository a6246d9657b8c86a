"""Trimming the real vocabulary of Qwen2 with a tiny model around it, and a small one where that tells the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.support.datasets import exit_code
from tests.support.real_vocabulary import real_tokenizer
from tests.support.taxonomies import OWN, load
from tests.support.tiny_judges import CELLS, make_model, make_sheet, make_tokenizer

from toeline.core.question import PromptBudget
from toeline.core.taxonomy import Taxonomy
from toeline.errors import ModelError, OutputError
from toeline.judge.checkpoint import load_tokenizer, write_view
from toeline.judge.judge import require_readable
from toeline.judge.qwen_vl import QwenVLJudge
from toeline.judge.shape import shape_of
from toeline.judge.trim import trim
from toeline.judge.vocabulary import Vocabulary, cut_otherwise, encodings, tokens_of
from toeline.pipelines.settings import TrimRun
from toeline.pipelines.trim import trim_into
from toeline.plan.model_shape import Weights, load_bytes
from toeline.prompts.spatial_questions import ASK
from toeline.prompts.texts import rendered_texts
from toeline.weights import quiet

SMALL = PromptBudget(scene_tokens=12, crop_tokens=6)
SAID = list(rendered_texts(Taxonomy.load()))


def write(where: Path, tokenizer: Any, **shape: Any) -> Path:
    """A tiny judge around a tokenizer, which is shown small pictures."""
    with quiet():
        make_model(tokenizer, hidden=32, layers=1, **shape).save_pretrained(where)
    tokenizer.save_pretrained(where)
    write_view(where, replace(SMALL, cell=CELLS[shape.get("family", "qwen2_vl")]))
    return where


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("real"), real_tokenizer())


@pytest.fixture(scope="module")
def trimmed(real: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return trim_into(TrimRun(judge=str(real), check=2, device="cpu"), tmp_path_factory.mktemp("out") / "trimmed")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("small"), make_tokenizer())


@pytest.fixture
def cut_small(small: Path, tmp_path: Path) -> Path:
    return cut(small, tmp_path / "cut")


def cut(folder: Path, out: Path, texts: list[str] = SAID[-40:], least: int = 64) -> Path:
    out.mkdir()
    trim(folder, out, texts, least=least, room=lambda _: None)
    return out


def test_scores_of_every_prompt_are_the_same(trimmed: Any) -> None:
    check = trimmed.record["check"]
    assert check["largest_change"] <= 1e-6
    assert check["answers_changed"] == 0
    assert (check["photographs"], check["questions"] >= 14) == (2, True)


def test_the_real_vocabulary_is_cut_to_the_rows_that_a_plan_counts_with(trimmed: Any) -> None:
    said = trimmed.record
    assert (said["rows"], said["rows_before"], said["needed"]) == (4096, 151_657, 2767)
    config = json.loads((trimmed.out / "config.json").read_text())
    planned = sum(load_bytes(shape_of(config, "here"), Weights("float32", "float32", "float32", vocab=4096)).values())
    on_disk = sum(file.stat().st_size for file in trimmed.out.glob("*.safetensors"))
    assert planned == said["bytes"] == pytest.approx(on_disk, rel=0.01)


def test_mixed_words_that_are_cut_otherwise_are_counted(trimmed: Any) -> None:
    assert trimmed.record["mixtures"] == {"texts": 3000, "cut_otherwise": 51, "rows_for_all": 4160}


def test_every_text_is_cut_as_before_and_others_are_refused_by_their_word(trimmed: Any, real: Path) -> None:
    judge = QwenVLJudge.load(trimmed.out, device="cpu")
    before, after = load_tokenizer(real), judge.tokenizer
    names = ["DJI_20260312101522_0042_V.JPG", "IMG_0001.jpg", "rock-toe_17-A.png", "(Slope drain: BLOCKED);\n"]
    texts = [*SAID, *ASK.values(), *names]
    was, now = ([one.tokens for one in encodings(texts, tokenizer)] for tokenizer in (before, after))
    assert was == now
    judge.read(texts)
    require_readable(judge, Taxonomy.load())
    with pytest.raises(ModelError, match=r"cannot read 'Verstopfung' in 'toe drain, Verstopfung, blocked'.*--taxonomy"):
        judge.alphabet.encode("toe drain, Verstopfung, blocked")


def test_words_of_another_owner_are_refused_at_load_unless_they_were_kept(
    trimmed: Any, real: Path, tmp_path: Path
) -> None:
    own = load(tmp_path, OWN)
    with pytest.raises(ModelError, match=r"cannot read 'FW', 'ok' in 'FW ok'.*--taxonomy"):
        require_readable(QwenVLJudge.load(trimmed.out, device="cpu"), own)
    kept = cut(real, tmp_path / "kept", [*rendered_texts(own)])
    require_readable(QwenVLJudge.load(kept, device="cpu"), own)


def test_stock_transformers_loads_it_and_every_id_names_its_token(trimmed: Any, real: Path) -> None:
    from transformers import AutoModelForImageTextToText, AutoTokenizer, Qwen2VLForConditionalGeneration

    before, after = (AutoTokenizer.from_pretrained(folder) for folder in (real, trimmed.out))
    assert sorted(after.get_vocab().values()) == list(range(4096))
    with quiet():
        model = AutoModelForImageTextToText.from_pretrained(trimmed.out)
        old = Qwen2VLForConditionalGeneration.from_pretrained(real)
    for part in ("config", "generation_config"):
        was, now = (json.loads((folder / f"{part}.json").read_text()) for folder in (real, trimmed.out))
        for a, b in ((was, now), (was.get("text_config", {}), now.get("text_config", {}))):
            ids = [key for key, value in a.items() if key.endswith("token_id") and value is not None]
            assert [before.convert_ids_to_tokens(a[k]) for k in ids] == [after.convert_ids_to_tokens(b[k]) for k in ids]
    assert (after.eos_token_id, after.pad_token_id) == tuple(
        map(after.convert_tokens_to_ids, ("<|im_end|>", "<|endoftext|>"))
    )
    assert model.get_input_embeddings().weight.shape == (4096, 32)
    rows = [before.convert_tokens_to_ids(token) for token in after.convert_ids_to_tokens(range(4096))]
    assert torch.equal(model.get_input_embeddings().weight, old.get_input_embeddings().weight[rows])


@pytest.mark.parametrize(
    ("family", "tied"),
    [("qwen2_vl", False), *((family, tied) for family in ("qwen2_5_vl", "qwen3_vl") for tied in (True, False))],
)
def test_head_and_embedding_are_cut_alike_in_all_families(family: str, tied: bool, tmp_path: Path) -> None:
    folder = write(tmp_path / "judge", make_tokenizer(), family=family, tied=tied, depth=2)
    out = cut(folder, tmp_path / "cut", ["slope drain blocked damaged", "user\n", "assistant\n", "things Which one?"])
    judges = [QwenVLJudge.load(where, device="cpu") for where in (folder, out)]
    rows = judges[1].model.lm_head.weight.shape[0]
    assert rows < judges[0].model.lm_head.weight.shape[0]
    assert len(judges[1].tokenizer) == rows
    answers = (("slope drain blocked", "slope drain damaged"),)
    sheet = make_sheet(2, answers=answers, text="things", cell=CELLS[family])
    whole = cut(
        folder,
        tmp_path / "whole",
        [sheet.text, "system\nYou are a helpful assistant.", *answers[0], *[q.text for q in sheet.questions]],
    )
    for a, b in zip(judges[0].score(sheet), QwenVLJudge.load(whole, device="cpu").score(sheet), strict=True):
        assert a == pytest.approx(b, abs=1e-6)


def test_older_forms_of_a_tokenizer_are_written_with_the_new_ids(small: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(small, tmp_path / "old")
    raw = json.loads((folder / "tokenizer.json").read_text())
    (folder / "vocab.json").write_text(json.dumps(raw["model"]["vocab"]))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in raw["model"]["merges"]))
    (folder / "added_tokens.json").write_text(json.dumps({t["content"]: t["id"] for t in raw["added_tokens"]}))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["added_tokens_decoder"] = {str(t["id"]): {"content": t["content"]} for t in raw["added_tokens"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    out = cut(folder, tmp_path / "cut", ["slope drain"])
    now = json.loads((out / "tokenizer.json").read_text())
    assert json.loads((out / "vocab.json").read_text()) == now["model"]["vocab"]
    assert len((out / "merges.txt").read_text().splitlines()) == len(now["model"]["merges"]) + 1
    assert json.loads((out / "added_tokens.json").read_text()) == {t["content"]: t["id"] for t in now["added_tokens"]}
    told = json.loads((out / "tokenizer_config.json").read_text())["added_tokens_decoder"]
    assert told == {str(t["id"]): {"content": t["content"]} for t in now["added_tokens"]}
    assert (out / "original" / "vocab.json").read_bytes() == (folder / "vocab.json").read_bytes()


def test_the_closure_keeps_parts_of_parts_and_the_order_of_merges(small: Path) -> None:
    tokenizer = load_tokenizer(small)
    whole = Vocabulary.of(tokenizer, small)
    kept = whole.closed(tokens_of(["blocked"], tokenizer))
    left = whole.trimmed(kept)
    assert all({*pair} <= kept for token in kept for pair in whole.made_of.get(token, ()))
    order = [whole.merges.index(pair) for pair in left.merges]
    assert order == sorted(order) != []
    assert cut_otherwise("blocked", tokenizer, tokenizer) == []


def test_what_is_no_trimmed_judge_any_more_is_refused(cut_small: Path) -> None:
    file = cut_small / "original" / "tokenizer.json"
    file.write_text(file.read_text() + "\n")
    with pytest.raises(ModelError, match="another file than `toeline trim` wrote"):
        QwenVLJudge.load(cut_small, device="cpu")
    file.unlink()
    with pytest.raises(ModelError, match="is missing, or another"):
        QwenVLJudge.load(cut_small, device="cpu")


def renamed(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(
        {**weights, "lm_head.weight_scale": torch.ones(4)}, folder / "model.safetensors", metadata={"format": "pt"}
    )


def named(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "video_token_id": 999}))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (renamed, "Trim the judge before it is quantized"),
        (named, "name the id 999, which its tokenizer lacks"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), "holds no \\*.safetensors"),
        (lambda folder: (folder / "trim.json").write_text("{}"), "was trimmed already"),
    ],
)
def test_a_judge_that_cannot_be_trimmed_is_refused_and_nothing_is_left(
    change: Callable[[Path], Any], says: str, small: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(small, tmp_path / "judge")
    change(folder)
    with pytest.raises(ModelError, match=says):
        trim_into(TrimRun(judge=str(folder)), tmp_path / "out")
    assert not (tmp_path / "out" / "config.json").exists()


def test_a_disk_that_is_full_leaves_the_folder_as_it_was(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = TrimRun(judge=str(small), check=1, device="cpu", rows=64)
    out = trim_into(run, tmp_path / "out").out
    before = {f.name: f.read_bytes() for f in out.iterdir() if f.is_file()}

    def full(*_: Any, **__: Any) -> None:
        from safetensors import SafetensorError

        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OutputError, match=r"No space left on device.*Make room"):
        trim_into(run, out)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(OutputError, match=r"0\.00 GB are free\. Make room"):
        trim_into(run, out)
    assert {f.name: f.read_bytes() for f in out.iterdir() if f.is_file()} == before
    with pytest.raises(OutputError, match="holds a run with other settings"):
        trim_into(TrimRun(judge=str(small), check=1, device="cpu", rows=128), out)


def test_the_command_says_what_was_kept_and_takes_words_of_a_file_and_names_of_photographs(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "words.txt").write_text("Verstopfung\n", encoding="utf-8")
    words = ("trim", str(small), "--out", str(tmp_path / "out"), "--check", "1", "--device", "cpu", "--rows", "64")
    assert exit_code(*words, "--words", str(tmp_path / "words.txt")) == 0
    said = capsys.readouterr().out
    assert "Kept" in said
    assert "largest change of a log-probability is 0" in said
    QwenVLJudge.load(tmp_path / "out", device="cpu").read(["Verstopfung", " VERSTOPFUNG."])
    assert exit_code("trim", str(tmp_path / "out"), "--out", str(tmp_path / "again")) == 2
    assert "was trimmed already" in capsys.readouterr().err
