"""Trains the embedded judge: a small Qwen2-VL from random weights, on drawn scenes, in three stages.

Stage one trains the vision tower alone: every merged image token of a crop is asked what covers it (from the renderer's
truth masks). Stage two shows crops and asks. Stage three shows what inspection shows, in every prompt that inspection
may use, and asks where marked things lie. The last two keep the dense loss beside the loss on the answer tree: without
it a model of this size learns almost nothing from tens of thousands of objects (measured in a prototype). Its head is
thrown away after training. The loop is transformers' Trainer.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toeline.core.question import PromptBudget
from toeline.core.taxonomy import Taxonomy
from toeline.errors import need
from toeline.prompts.build import Answers
from toeline.prompts.templates import PROMPTS, ShownInstance
from toeline.train.datasets import SheetPool
from toeline.train.loss import Collate, accuracy, half_precision_pays, held_out_dense, judge_loss, share_right
from toeline.train.samples import TrainingRow, augmented, row, token_classes
from toeline.train.spatial_samples import quiz_rows, where_row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, Qwen2VLForConditionalGeneration


VIEW = PromptBudget(scene_tokens=100, crop_tokens=36, marked_tokens=49, detail_px=1280, margin=0.3, prompt="relations")
CROPS_ONLY = replace(VIEW, scene_tokens=0, prompt="crop")
ALL_ANSWERS = 0.15  # share of photographs asked with all nine answers, so that Stage 2 can overrule a wrong type
BALANCE = 0.75  # power of the inverse frequency of a type: 0 counts objects alike, 1 counts types alike
DECAY = 0.6  # share of a stage over which the learning rate falls; worth 10 points of accuracy (docs/log.md)
EVERY_STEPS = 250  # between checkpoints and measurements on held-out scenes
PROMPT_SHARES = {  # of the last stage's steps; the default prompt most often, and none so rarely that it is foreign
    "relations": 0.40,
    "definitions": 0.08,
    "evidence": 0.12,
    "minimal": 0.12,
    "user": 0.08,
    "crop": 0.10,
    "photograph": 0.10,
}
WHERE = "where"  # no prompt of inspection: the questions of prompts/spatial_questions.py
HELD_OUT_QUIZ = 60  # questions of a template about held-out scenes


@dataclass(frozen=True, kw_only=True)
class JudgeRun:
    """Settings of `toeline train-embedded judge`. A photograph is a drawn scene with all its objects.

    `token_`, `crop_` and `full_photographs` are how many are seen in the three stages, each time in another light;
    in the last, `full_questions` objects of each are asked about, for attention costs the square of a row's length,
    and a share `where` of the steps asks where marked things lie;
    `scenes` is how many are drawn. `start` is a checkpoint or a finished model to begin from; `threads` of 0 leaves
    torch's own choice.
    """

    out: Path
    scenes: int = 3000
    held_out: int = 100
    seed: int = 1
    token_photographs: int = 9_000
    crop_photographs: int = 3_600
    full_photographs: int = 8_400
    full_questions: int = 3
    where: float = 0.35
    photographs_per_step: int = 6
    lr: float = 4e-4
    full_lr: float = 3e-4
    token_loss: float = 1.0
    width: int = 256
    vision_depth: int = 6
    language_depth: int = 4
    threads: int = 0
    workers: int = 2
    start: Path | None = None
    resume: bool = False


@dataclass(frozen=True)
class JudgeRows:
    """A torch map-style data set: photograph `i` of a stage, in a light of its own that depends on (seed, i) alone.

    At most `most` of its objects are asked about, drawn at random. `per_step` photographs in a row are asked in one
    way, so that their rows are of like length and little padding is computed: a share `where` of the steps asks where
    things lie, the others use the prompts of `prompts` by their shares.
    """

    pool: SheetPool
    view: PromptBudget
    length: int
    seed: int
    most: int = 1000
    per_step: int = 1
    prompts: Mapping[str, float] = field(default_factory=dict)
    where: float = 0.0

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int) -> TrainingRow:
        rng = np.random.default_rng((self.seed, i))
        labeled = augmented(self.pool[i % len(self.pool)], rng)
        prompt = self._prompt(i // self.per_step)
        if prompt == WHERE:
            return where_row(labeled, self.pool.taxonomy, self.view, rng, most=self.most)
        answers: Answers = "all" if rng.random() < ALL_ANSWERS else "type"
        asked = [t.id for t in labeled.scene.instances if answers == "all" or self._leaves_a_choice(t.type_name)]
        some = rng.permutation(asked)[: self.most].tolist()
        return row(labeled, self.pool.taxonomy, replace(self.view, prompt=prompt), answers=answers, only=some)

    def _prompt(self, step: int) -> str:
        rng = np.random.default_rng((self.seed, step, 1))
        if rng.random() < self.where:
            return WHERE
        return str(rng.choice(list(self.prompts), p=list(self.prompts.values()))) if self.prompts else self.view.prompt

    def _leaves_a_choice(self, kind: str) -> bool:
        return len(self.pool.taxonomy.answers(kind)) > 1


def type_weights(pool: SheetPool) -> dict[str, float]:
    """How much the answers of each type count, 1 on average: rare types more, or toe drains are learned last."""
    counts = Counter(instance.type_name for i in range(len(pool)) for instance in pool.instances(i))
    rarity = {kind: n**-BALANCE for kind, n in counts.items()}
    mean = sum(rarity[k] * n for k, n in counts.items()) / counts.total()
    return {kind: r / mean for kind, r in rarity.items()}


def train_judge(run: JudgeRun) -> Path:
    """Draw the scenes, train, and write `out/model`, a directory that any Qwen2-VL loader reads. Returns it.

    Checkpoints are written as it goes; the same settings with `resume` go on from the last. Raises SetupError when the
    extra `train` is not installed.
    """
    import torch

    need("accelerate", extra="train")
    if run.threads:
        torch.set_num_threads(run.threads)
    taxonomy = Taxonomy.load()
    pool = SheetPool.drawn(run.out / "scenes", scenes=run.scenes, seed=run.seed, taxonomy=taxonomy, workers=run.workers)
    held_out = SheetPool.drawn(
        run.out / "held-out", scenes=run.held_out, seed=run.seed + 1_000_003, taxonomy=taxonomy, workers=run.workers
    )
    judge, weights = _start(run, taxonomy), type_weights(pool)
    stages = (
        ("tokens", CROPS_ONLY, run.token_photographs, run.lr),
        ("crops", CROPS_ONLY, run.crop_photographs, run.full_lr),
        ("full", VIEW, run.full_photographs, run.full_lr),
    )
    for n, (name, view, photographs, lr) in enumerate(stages):
        if photographs:
            rows = JudgeRows(pool, view, photographs, run.seed * 10 + n, per_step=run.photographs_per_step)
            if name == "full":
                rows = replace(rows, most=run.full_questions, prompts=PROMPT_SHARES, where=run.where)
            _train_stage(run, name, judge, rows, Collate(judge, weights), held_out, lr)
    return _finish(run, judge)


def _start(run: JudgeRun, taxonomy: Taxonomy) -> Any:
    """A judge, from random weights or a checkpoint, and on its model the head that is thrown away after training."""
    import torch
    from torch import nn
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    from toeline.judge.attention import matmul_attention, patch_embed_as_linear
    from toeline.judge.qwen_vl import QwenVLJudge

    head = nn.Linear(run.width, token_classes(taxonomy))
    if run.start:
        model, tokenizer = _checkpoint(run.start, head)
    else:
        tokenizer = small_tokenizer(rendered_texts(taxonomy))
        model = small_model(
            tokenizer, width=run.width, vision_depth=run.vision_depth, language_depth=run.language_depth, seed=run.seed
        )
    model.token_head = head
    patch_embed_as_linear(model)
    if not torch.cuda.is_available() and half_precision_pays("cpu"):
        matmul_attention(model)
    return QwenVLJudge(model, tokenizer, Qwen2VLImageProcessorPil(), VIEW)


def _checkpoint(folder: Path, head: Any) -> tuple[Any, Any]:
    """Model and tokenizer of a checkpoint of any stage; the training head's weights go into `head`.

    A finished model, such as the one in the package, has no such weights: the head then begins anew.
    """
    import torch
    from safetensors.torch import load_file
    from transformers import AutoTokenizer, Qwen2VLForConditionalGeneration

    kept = load_file(folder / "model.safetensors")
    trained = {k.removeprefix("token_head."): v for k, v in kept.items() if k.startswith("token_head.")}
    if trained:
        head.load_state_dict(trained)
    model = Qwen2VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(folder)


def _train_stage(
    run: JudgeRun, name: str, judge: Any, rows: JudgeRows, collate: Collate, held_out: SheetPool, lr: float
) -> None:
    from torch.utils.data import SequentialSampler
    from transformers import Trainer
    from transformers.trainer_utils import get_last_checkpoint

    class JudgeTrainer(Trainer):  # type: ignore[misc]  # the documented way to give Trainer another loss
        def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
            return judge_loss(model, inputs, answers=name != "tokens", token_loss=run.token_loss)[0]

        def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
            return SequentialSampler(rows)  # a row is drawn at random by its number; its neighbors are its step

    trainer = JudgeTrainer(
        model=judge.model,
        args=_arguments(run, run.out / name, rows.length // run.photographs_per_step, lr),
        train_dataset=rows,
        data_collator=collate,
        processing_class=judge.tokenizer,
        callbacks=[_measure(run, name, judge, held_out, rows.view)],
    )
    last = get_last_checkpoint(str(run.out / name)) if run.resume and (run.out / name).is_dir() else None
    trainer.train(resume_from_checkpoint=last)


def _arguments(run: JudgeRun, out: Path, steps: int, lr: float) -> Any:
    """transformers' settings of one stage: AdamW, a short warm-up, a flat part, a fall."""
    import torch
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(out),
        per_device_train_batch_size=run.photographs_per_step,
        max_steps=steps,
        learning_rate=lr,
        lr_scheduler_type="warmup_stable_decay",
        lr_scheduler_kwargs={"num_decay_steps": int(DECAY * steps), "min_lr_ratio": 0.05},
        warmup_steps=100,
        weight_decay=0.05,
        adam_beta2=0.98,
        use_cpu=not torch.cuda.is_available(),
        max_grad_norm=1.0,
        logging_steps=25,
        save_steps=EVERY_STEPS,
        save_total_limit=2,
        dataloader_num_workers=1,
        remove_unused_columns=False,
        report_to=[],
        seed=run.seed,
        ignore_data_skip=True,
    )


def _measure(run: JudgeRun, name: str, judge: Any, held_out: SheetPool, view: PromptBudget) -> Any:
    """A callback that measures on held-out scenes whenever a checkpoint is saved, and writes to `log.jsonl`."""
    from transformers import TrainerCallback

    class Measure(TrainerCallback):  # type: ignore[misc]
        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            measure = held_out_dense if name == "tokens" else accuracy
            entry = {"stage": name, "step": state.global_step, **measure(judge, held_out, view)}
            if name == "full":
                asked = quiz_rows(held_out, view, most_per_template=HELD_OUT_QUIZ)
                entry["where"] = share_right(judge, asked)
            with (run.out / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(entry) + "\n")

    return Measure()


def _finish(run: JudgeRun, judge: Any) -> Path:
    """Drop the training head, save in half precision with tokenizer, processor and view; weights load as float32."""
    import torch

    from toeline.judge.checkpoint import write_view

    out = run.out / "model"
    model = judge.model
    del model.token_head
    model.to(torch.float16).save_pretrained(out)
    judge.tokenizer.save_pretrained(out)
    judge.processor.save_pretrained(out)
    write_view(out, VIEW)
    record = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(run).items() if k not in {"out", "resume"}}
    (out / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return out


SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
CHAT = (  # Qwen2-VL's own turn format, for text-only and image chat through stock processors
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for c in m.content %}{% if c.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ c.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def rendered_texts(taxonomy: Taxonomy) -> Iterator[str]:
    """Every word that the prompts can say of this taxonomy, in the sentences that say it.

    The tokenizer is trained on rendered prompts: pieces tokenize differently (docs of the packed layout, section 5).
    """
    from toeline.prompts.evidence import Evidence
    from toeline.prompts.evidence import spoken as told
    from toeline.prompts.spatial_questions import ASK, NO, YES
    from toeline.prompts.templates import PHRASES

    yield from ASK.values()
    yield f"Marked in it: A (red) toe drain; B (blue) slope drain; C (yellow) rock toe. Answer {YES} or {NO}."
    yield from ("system\nYou are a helpful assistant.", "user\n", "assistant\n", *taxonomy.answers())
    kinds = [t.name for t in taxonomy.types]
    for n, (phrase, kind) in enumerate((p, k) for p in PHRASES.values() for k in kinds):
        spoken = taxonomy.spoken(kind)
        place = f"({n},{37 * n % 999}),({61 * n % 999},{999 - n})"
        words = ("touching", "under 1% away", f"{n}% away")[n % 3]
        around = f"{phrase} and {phrase} {spoken} {n}, {words}; {phrase} {spoken} {n + 1}, {words}" if n % 7 else ""
        evidence = told(Evidence(n % 100 / 100, (n % 41 - 20) / 100, n % 5, n % 30 / 100))
        meanings = {c.name: c.meaning for c in taxonomy.classes if c.type == kind}
        seen = ShownInstance(n, spoken, place, around, evidence, meanings)
        for prompt in PROMPTS.values():
            yield prompt.shared([seen, seen])
            for answers in (taxonomy.answers(kind), taxonomy.answers()):
                yield prompt.question(seen, answers)


def small_tokenizer(texts: Iterable[str], *, vocab_size: int = 768) -> PreTrainedTokenizerBase:
    """A byte-level BPE with Qwen2's pre-tokenization and special tokens, trained on `texts`; bytes cover other text."""
    from transformers import Qwen2Tokenizer

    tokenizer = Qwen2Tokenizer().train_new_from_iterator(
        texts, vocab_size=vocab_size, new_special_tokens=list(SPECIAL), show_progress=False
    )
    tokenizer.eos_token, tokenizer.pad_token = "<|im_end|>", "<|endoftext|>"
    tokenizer.chat_template = CHAT
    return tokenizer


def small_model(
    tokenizer: PreTrainedTokenizerBase,
    *,
    width: int = 256,
    heads: int = 4,
    vision_depth: int = 6,
    language_depth: int = 4,
    seed: int = 0,
) -> Qwen2VLForConditionalGeneration:
    """Random weights, about 10 M parameters at the defaults. Both towers share one width.

    Linear weights start at 1/sqrt(fan-in): transformers' fixed 0.02 is made for widths of thousands.
    """
    import torch
    from transformers import Qwen2VLForConditionalGeneration

    config = _config(tokenizer, width=width, heads=heads, vision_depth=vision_depth, language_depth=language_depth)
    torch.manual_seed(seed)
    model = Qwen2VLForConditionalGeneration._from_config(config, dtype=torch.float32)
    spread(model)
    return model


def spread(model: Any) -> None:
    """Draw the linear weights and the embeddings of a model anew, as large as their fan-in asks for."""
    from torch import nn

    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv3d):
            fan_in = module.weight[0].numel()
            nn.init.trunc_normal_(module.weight, std=1 / math.sqrt(fan_in))
    embedding = model.get_input_embeddings().weight
    nn.init.normal_(embedding, std=1 / math.sqrt(embedding.shape[1]))


def _config(
    tokenizer: PreTrainedTokenizerBase, *, width: int, heads: int, vision_depth: int, language_depth: int
) -> Any:
    from transformers import Qwen2VLConfig

    head = width // heads
    ids = {name: int(tokenizer.convert_tokens_to_ids(name)) for name in SPECIAL}
    rope = {
        "rope_type": "default",
        "rope_theta": 10_000.0,
        "mrope_section": [head // 8, 3 * head // 16, 3 * head // 16],
    }
    return Qwen2VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": width,
            "intermediate_size": 3 * width,
            "num_hidden_layers": language_depth,
            "num_attention_heads": heads,
            "num_key_value_heads": heads // 2,
            "max_position_embeddings": 8192,
            "rope_parameters": rope,
            "tie_word_embeddings": True,
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config={"depth": vision_depth, "embed_dim": width, "num_heads": heads, "hidden_size": width},
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
