"""Trains the embedded judge: a small Qwen2-VL from random weights, on drawn scenes, in three stages.

Stage one trains the vision tower alone: every merged image token of a crop is asked what covers it (from the renderer's
truth masks). Stage two shows crops and asks. Stage three shows what inspection shows, in every prompt that inspection
may use, and asks where marked things lie. The last two keep the dense loss beside the loss on the answer tree: without
it a model of this size learns almost nothing from tens of thousands of objects (measured in a prototype). Its head is
thrown away after training. Each stage is a run of the fine-tuning loop (train/callbacks.py) in a folder of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toeline.core.question import PromptBudget
from toeline.core.taxonomy import Taxonomy
from toeline.errors import need
from toeline.prompts.build import Answers
from toeline.prompts.texts import rendered_texts
from toeline.train.adapter import LoraLearner, load_weights, prepare, save, spread
from toeline.train.config import LoraRun
from toeline.train.datasets import SheetPool, counted
from toeline.train.loss import Answered, Packer, answered, dense_alone, half_precision_pays, headline, learn_packed
from toeline.train.samples import Plain, TrainingRow, augmented, row
from toeline.train.sampling import arguments_of, class_weights, steps_in
from toeline.train.spatial_samples import quiz_rows, where_row

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID
    from transformers import PreTrainedTokenizerBase, Qwen2VLForConditionalGeneration


VIEW = PromptBudget(scene_tokens=100, crop_tokens=36, marked_tokens=49, detail_px=1280, margin=0.3, prompt="relations")
CROPS_ONLY = replace(VIEW, scene_tokens=0, prompt="crop")
ALL_ANSWERS = 0.15  # share of photographs asked with all nine answers, so that Stage 2 can overrule a wrong type
BALANCE = 0.75  # power of the inverse frequency of a type: 0 counts objects alike, 1 counts types alike
DECAY = 0.6  # share of a stage over which the learning rate falls; worth 10 points of accuracy (docs/log.md)
EVERY_STEPS = 250  # between measurements on held-out scenes: what the log of a stage counts as an epoch
FULL, LOG = "full", "log.jsonl"
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
    way: a share `where` of the steps asks where things lie, the others use the prompts of `prompts` by their shares.
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


@dataclass(frozen=True)
class Stage:
    """One pass of the training loop: its rows, its peak learning rate, and whether the language model is trained."""

    name: str
    rows: JudgeRows
    lr: float
    answers: bool = True


def stages_of(run: JudgeRun, pool: SheetPool) -> Iterator[Stage]:
    """The stages that see a photograph at all, in order."""
    plan = (
        ("tokens", CROPS_ONLY, run.token_photographs, run.lr),
        ("crops", CROPS_ONLY, run.crop_photographs, run.full_lr),
        (FULL, VIEW, run.full_photographs, run.full_lr),
    )
    for n, (name, view, photographs, lr) in enumerate(plan):
        rows = JudgeRows(pool, view, photographs, run.seed * 10 + n, per_step=run.photographs_per_step)
        if name == FULL:
            rows = replace(rows, most=run.full_questions, prompts=PROMPT_SHARES, where=run.where)
        if photographs:
            yield Stage(name, rows, lr, answers=n > 0)


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
    learner = _start(run, taxonomy)
    weights = class_weights(counted(pool.classes()), taxonomy, type_power=BALANCE, condition_power=0.0)
    for stage in stages_of(run, pool):
        _train_stage(run, stage, learner, Packer(learner.judge, weights, dense=True), held_out)
    return _finish(run, learner)


def _start(run: JudgeRun, taxonomy: Taxonomy) -> LoraLearner:
    """A judge whose weights all learn, from random ones or a checkpoint, with the head of the dense loss on it."""
    import torch
    from transformers import AutoTokenizer, Qwen2VLForConditionalGeneration
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    from toeline.judge.attention import patch_embed_as_linear
    from toeline.judge.qwen_vl import QwenVLJudge
    from toeline.weights import quiet

    if run.start:
        tokenizer = AutoTokenizer.from_pretrained(run.start)
        with quiet():
            model = Qwen2VLForConditionalGeneration.from_pretrained(run.start, dtype=torch.float32)
    else:
        tokenizer = small_tokenizer(rendered_texts(taxonomy))
        model = small_model(
            tokenizer, width=run.width, vision_depth=run.vision_depth, language_depth=run.language_depth, seed=run.seed
        )
    patch_embed_as_linear(model)
    how = _loop_settings(run, run.lr)
    learner = prepare(how, QwenVLJudge(model.to(how.device), tokenizer, Qwen2VLImageProcessorPil(), VIEW))
    if run.start:
        load_weights(model, run.start)  # and the head, if this is a checkpoint and not a finished model
    return learner


def _loop_settings(run: JudgeRun, lr: float) -> LoraRun:
    """A stage as the fine-tuning loop takes it: all weights, and the head of the dense loss whatever it counts."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return LoraRun(
        full=True,
        dense=1.0,
        lr=lr,
        accumulate=run.photographs_per_step,
        device=device,
        dtype="bfloat16" if half_precision_pays(device) else "float32",
        workers=1,
        seed=run.seed,
    )


def _train_stage(run: JudgeRun, stage: Stage, learner: LoraLearner, packer: Packer, held_out: SheetPool) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from toeline.train.callbacks import Log, Watch, learn

    photographs, model, out = len(stage.rows), learner.judge.model, run.out / stage.name
    out.mkdir(parents=True, exist_ok=True)
    how = _loop_settings(run, stage.lr)
    total = steps_in(photographs, how.accumulate)
    recipe = {  # AdamW, a short warm-up, a flat part, a fall
        "lr_scheduler_type": "warmup_stable_decay",
        "lr_scheduler_kwargs": {"num_decay_steps": int(DECAY * total), "min_lr_ratio": 0.05},
        "warmup_steps": 100,
        "weight_decay": 0.05,
        "adam_beta2": 0.98,
    }
    learn_packed(model, answers=stage.answers, dense=run.token_loss if stage.answers else 1.0)
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task(stage.name, total=photographs)
        watch = Watch(
            Log(out / LOG),
            {step: n for n, step in enumerate([*range(EVERY_STEPS, total, EVERY_STEPS), total], 1)},
            measure=lambda: _measure(stage, packer, held_out),
            keep=None,
            patience=0,
            tell=lambda done, line: _tell(bar, task, done, line),
        )
        args = arguments_of(how, out, photographs, **recipe)
        learn(model, args, stage.rows, packer, watch, resume=run.resume, tokenizer=learner.judge.tokenizer)


def _tell(bar: Progress, task: TaskID, done: int, line: dict[str, Any] | None) -> None:
    """Photographs seen so far, and what each measurement found."""
    bar.update(task, completed=done)
    if line and "valid" in line:
        bar.console.print_json(data=line, indent=None)


def _measure(stage: Stage, packer: Packer, held_out: SheetPool) -> dict[str, Any]:
    """What the log says of held-out scenes, without augmentation: shares of right answers, or the dense loss alone."""
    view = stage.rows.view
    plain = Plain(held_out, held_out.taxonomy, view)
    rows = (plain[i] for i in range(len(plain)))
    if not stage.answers:
        return {"dense": dense_alone(packer, rows)}
    found = _by_kind(answered(packer, rows))
    if stage.name == FULL:
        found["where"] = _by_kind(answered(packer, quiz_rows(held_out, view, most_per_template=HELD_OUT_QUIZ)))
    return found


def _by_kind(found: Sequence[Answered]) -> dict[str, Any]:
    """The headline, and the share of right answers for each kind of question."""
    kinds = sorted({a.kind for a in found})
    return headline(found) | {kind: float(np.mean([a.right for a in found if a.kind == kind])) for kind in kinds}


def _finish(run: JudgeRun, learner: LoraLearner) -> Path:
    """Save in half precision without the training head, and beside it what it was trained with."""
    import torch

    out = run.out / "model"
    learner.judge.model.to(torch.float16)
    save(learner, out)
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
