"""Packed scores are those of transformers' own processor, chat template and forward, with Qwen's real vocabulary.

Every family, every prompt, both ways to ask, one to eight objects. The stock model is loaded apart and never touched.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from tests.support.datasets import make_photo, make_scene
from tests.support.real_vocabulary import real_tokenizer
from tests.support.tiny_judges import CELLS, FAMILIES, make_model
from torch import Tensor
from transformers import AutoModelForImageTextToText, Qwen2VLImageProcessorPil
from transformers.models.qwen2_vl.processing_qwen2_vl import Qwen2VLProcessor
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor

from toeline.core.question import PromptBudget, Question, QuestionSheet
from toeline.core.taxonomy import Taxonomy
from toeline.judge import qwen_vl
from toeline.judge.packing import branch, trunk
from toeline.judge.qwen_vl import QwenVLJudge, patches
from toeline.prompts.build import ask
from toeline.prompts.relations import around
from toeline.prompts.templates import PROMPTS
from toeline.weights import quiet

TOLERANCE = 1e-4
FAR = 0.01  # what a mistake must exceed: a hundred times the tolerance
TAXONOMY = Taxonomy.load()
ROWS = (
    "slope_drain 20 10 26 70",
    "slope_drain 60 12 66 68",
    "toe_drain 0 70 100 80",
    "rock_toe 28 58 58 69",
    "slope_drain 80 10 86 60",
    "toe_drain 5 84 95 90",
    "rock_toe 60 58 78 69",
    "slope_drain 40 8 47 50",
)
# The published templates of Qwen2-VL, which is Qwen2.5-VL's too, and of Qwen3-VL; without tools, videos and numbered
# pictures, of which no prompt has any.
SYSTEM = (
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "{% endif %}"
)
TURNS = (
    "{% for message in messages %}@<|im_start|>{{ message['role'] }}\n{% for content in message['content'] %}"
    "{% if content['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in content %}"
    "{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEMPLATES = {family: TURNS.replace("@", "" if family == "qwen3_vl" else SYSTEM) for family in FAMILIES}
PROCESSORS = {"qwen2_vl": Qwen2VLProcessor, "qwen2_5_vl": Qwen2VLProcessor, "qwen3_vl": Qwen3VLProcessor}
HALVES = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "patch_size": 16}  # of Qwen3-VL's preprocessor_config.json


class Pair(NamedTuple):
    """One tiny model twice: as our judge loads it, and as transformers does with its processor."""

    judge: QwenVLJudge
    model: Any
    processor: Any


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    family, folder = str(request.param), tmp_path_factory.mktemp("judge")
    tokenizer = real_tokenizer()
    with quiet():  # three layers: what is added to pictures after the last one is never read
        make_model(tokenizer, family=family, layers=3).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        model = AutoModelForImageTextToText.from_pretrained(folder, attn_implementation="sdpa").eval()
    return Pair(QwenVLJudge.load(folder, device="cpu"), model, processor_of(family, tokenizer))


def processor_of(family: str, tokenizer: Any) -> Any:
    """The stock processor, but that it takes no videos: for these it wants torchvision."""

    stock: Any = PROCESSORS[family]

    class WithoutVideos(stock):
        def check_argument_for_proper_class(self, name: str, argument: Any) -> Any:
            return type(None) if argument is None else super().check_argument_for_proper_class(name, argument)

    smallest = {"shortest_edge": CELLS[family] ** 2, "longest_edge": 1 << 24}  # none of ours is enlarged
    images = Qwen2VLImageProcessorPil(size=smallest, **(HALVES if family == "qwen3_vl" else {}))
    return WithoutVideos(images, tokenizer, None, chat_template=TEMPLATES[family])


def sheet_of(pair: Pair, count: int, prompt: str, answers: Any) -> QuestionSheet:
    scene = make_scene(*ROWS[:count])
    view = PromptBudget(cell=CELLS[pair.model.config.model_type], scene_tokens=12, crop_tokens=6, prompt=prompt)
    relations = {t.id: around(scene, t.id) for t in scene.instances}
    return ask(scene, make_photo(scene.size_wh), relations, TAXONOMY, view, answers=answers)


def by_stock(pair: Pair, sheet: QuestionSheet, question: Question) -> dict[str, float]:
    """The question by itself through the stock processor and model, normalized at every fork of its answers."""
    shown, content = [], []
    for picture, text in ((sheet.picture, sheet.text and sheet.text.rstrip() + "\n"), (question.crop, question.text)):
        shown += [picture] if picture else []
        content += [{"type": "image", "image": picture}] if picture else []
        content += [{"type": "text", "text": text.strip(" ")}] if text else []
    prompt = pair.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    many = len(question.answers)
    given = pair.processor(
        text=[f"{prompt}{answer}<|im_end|>" for answer in question.answers],
        images=[shown] * many if shown else None,
        padding=True,
        padding_side="right",
        return_tensors="pt",
    )
    ends = given["attention_mask"].sum(1).tolist()
    spelled = [pair.processor.tokenizer(f"{answer}<|im_end|>")["input_ids"] for answer in question.answers]
    (start,) = {end - len(path) for end, path in zip(ends, spelled, strict=True)}
    check_inputs(pair, sheet, question, given, start)
    with torch.no_grad():
        logits = pair.model(**given, use_cache=False, logits_to_keep=given["input_ids"].shape[1] - start + 1).logits
    return dict(zip(question.answers, down_the_tree(logits, spelled), strict=True))


def check_inputs(pair: Pair, sheet: QuestionSheet, question: Question, given: Any, start: int) -> None:
    """Our tokens and patches are the processor's, one by one."""
    abc, shown = pair.judge.alphabet, [p for p in (sheet.picture, question.crop) if p]
    ours = np.concatenate([trunk(sheet, abc).ids, branch(question, abc).ids])
    assert ours.tolist() == given["input_ids"][0, :start].tolist()
    if shown:
        pixels, grids = patches(shown, pair.judge.processor)
        assert torch.equal(pixels, given["pixel_values"][: len(pixels)])
        assert torch.equal(grids, given["image_grid_thw"][: len(shown)])


def down_the_tree(logits: Tensor, spelled: list[list[int]]) -> list[float]:
    """(answers, steps, vocabulary) -> the sum over each answer's forks."""
    scores = []
    for row, path in zip(logits, spelled, strict=True):
        score = 0.0
        for n, token in enumerate(path):
            rivals = torch.tensor(sorted({other[n] for other in spelled if other[:n] == path[:n]}))
            score += float(row[n, token].double() - row[n, rivals].double().logsumexp(0))
        scores.append(score)
    return scores


def furthest(pair: Pair, sheet: QuestionSheet, scores: list[dict[str, float]]) -> float:
    """The largest difference of two log-probabilities: of all questions, or of many the first two and the last.

    The rest of many are held to the stock model in test_packed.py, with a small vocabulary.
    """
    some = sorted({0, min(1, len(scores) - 1), len(scores) - 1})
    stock = [by_stock(pair, sheet, sheet.questions[i]) for i in some]
    return apart([scores[i] for i in some], stock)


@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("answers", ["type", "all"])
@pytest.mark.parametrize("prompt", sorted(PROMPTS))
def test_packed_is_stock(pair: Pair, prompt: str, answers: str, count: int) -> None:
    sheet = sheet_of(pair, count, prompt, answers)
    assert len(sheet.questions) == count
    assert furthest(pair, sheet, pair.judge.score(sheet)) < TOLERANCE


def test_the_comparison_has_teeth(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features of a picture that are gone, or for another layer, are told from the right ones."""
    sheet, seen = sheet_of(pair, 3, "relations", "type"), qwen_vl.image_features
    right = pair.judge.score(sheet)
    levels = seen(pair.judge.model, *patches([sheet.picture], pair.judge.processor))[0].shape[1] // 32
    assert levels == (3 if pair.model.config.model_type == "qwen3_vl" else 1)
    for level in range(levels):

        def without(*given: Any, level: int = level) -> list[Tensor]:
            wide = slice(32 * level, 32 * (level + 1))
            return [f.index_fill(1, torch.arange(f.shape[1])[wide], 0.0) for f in seen(*given)]

        monkeypatch.setattr(qwen_vl, "image_features", without)
        assert apart(pair.judge.score(sheet), right) > FAR
    if levels > 1:
        monkeypatch.setattr(qwen_vl, "image_features", lambda *given: [f.roll(32, 1) for f in seen(*given)])
        assert apart(pair.judge.score(sheet), right) > FAR


def apart(one: list[dict[str, float]], other: list[dict[str, float]]) -> float:
    assert [list(row) for row in one] == [list(row) for row in other]
    return max(abs(a[name] - b[name]) for a, b in zip(one, other, strict=True) for name in b)
