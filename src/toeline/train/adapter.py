"""The model that is fine-tuned: loaded for this machine, in 4 bits or without its vision tower, LoRA layers in it."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toeline.core.question import PromptBudget
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import unknown
from toeline.errors import ModelError, SetupError, need
from toeline.train.config import TARGETS, LoraRun
from toeline.train.loss import learn_packed
from toeline.train.samples import token_classes
from toeline.weights import first_line

CHECKPOINTING_FROM = 500_000_000  # parameters; below it activations are small, and computing them twice costs a third
HEAD = "token_head."  # of the dense loss
SKIPPED = ("lm_head", "model.visual")  # stay as they are under --qlora: few weights, and accuracy hangs on them


@dataclass(frozen=True)
class LoraLearner:
    """`judge` scores with the model in training; `wrapped` is what the Trainer trains and saves.

    They share the weights: LoRA layers stand inside `judge.model`. With `checkpointing` activations are computed twice.
    """

    judge: Any
    wrapped: Any
    checkpointing: bool = False

    @property
    def trained(self) -> int:
        """How many numbers are trained."""
        return sum(w.numel() for w in self.wrapped.parameters() if w.requires_grad)

    @property
    def parameters(self) -> int:
        """How many numbers there are. Weights in 4 bits stand two to a byte, and count as the halves they are in."""
        return sum(w.numel() for w in self.wrapped.parameters())


def source_of(run: LoraRun) -> str:
    """The directory or hub id behind the judge's name. Raises ModelError for a judge that cannot be trained."""
    from toeline.judge.load import source_of as named

    return named(run.judge, "fine-tuned")


def load_judge(run: LoraRun, *, vision: bool = True) -> Any:
    """The judge as training takes it: frozen, in this run's precision, with this run's view.

    Raises ModelError, and SetupError for what this machine cannot do.
    """
    import torch

    from toeline.judge.checkpoint import load_parts
    from toeline.judge.qwen_vl import QwenVLJudge
    from toeline.weights import pick_device

    device = pick_device(run.device)
    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    parts = load_parts(
        source_of(run), device=device, dtype=weights_dtype(run), adapter=None, **_how(run, device, vision)
    )
    parts["facts"] = {**parts["facts"], "model": run.judge}
    judge = QwenVLJudge(**{**parts, "view": view_of(run, parts["view"])})
    judge.model.requires_grad_(False)
    if not vision:
        judge.model.model.visual = torch.nn.Identity()  # what was left of it: the mergers, 92 MB on the 7B
    return judge


def weights_dtype(run: LoraRun) -> str:
    """In what the weights are held. All weights are trained in float32: half precision loses small updates."""
    return "float32" if run.all_weights else run.dtype


def _how(run: LoraRun, device: str, vision: bool) -> dict[str, Any]:
    """What from_pretrained is told besides. On a GPU weights are read to where they stay, not to memory first."""
    from toeline.judge.checkpoint import find_folder, pick_dtype
    from toeline.judge.quantize import nf4

    more: dict[str, Any] = {}
    if device == "cuda":
        need("accelerate", extra="train")
        more["device_map"] = {"": f"cuda:{os.environ.get('LOCAL_RANK', 0)}"}
    if run.qlora:
        more["quantization_config"] = nf4(pick_dtype(run.dtype, device), kept=SKIPPED, extra="qlora")
    if not vision:
        from transformers import AutoConfig

        more["config"] = AutoConfig.from_pretrained(find_folder(source_of(run)), local_files_only=True)
        more["config"].vision_config.depth = 0
    return more


def view_of(run: LoraRun, own: PromptBudget) -> PromptBudget:
    """The judge's view with what this run changes. Raises ModelError for an unknown prompt."""
    from toeline.prompts.templates import PROMPTS

    if run.prompt is not None and run.prompt not in PROMPTS:
        raise ModelError(unknown("there is no prompt", run.prompt, PROMPTS))
    wanted: dict[str, Any] = {"prompt": run.prompt, "scene_tokens": run.scene_tokens, "crop_tokens": run.crop_tokens}
    return replace(own, **{name: value for name, value in wanted.items() if value is not None})


def own_view(run: LoraRun) -> PromptBudget:
    """The view that the judge was made for, before any weight is loaded. Raises ModelError."""
    from toeline.judge.checkpoint import find_folder, read_config, read_view
    from toeline.judge.shape import shape_of

    folder = find_folder(source_of(run))
    return read_view([folder], shape_of(read_config(folder), folder))


def prepare(run: LoraRun, judge: Any) -> LoraLearner:
    """Make the judge's model learn: LoRA layers, or all weights; the packed forward; checkpointing where it pays."""
    import torch

    from toeline.judge.attention import matmul_attention
    from toeline.weights import quiet

    model = judge.model
    learn_packed(model, dense=run.dense)
    torch.manual_seed(run.seed)
    if run.from_scratch:
        _scatter(model)
    if run.dense:  # thrown away after training: `save` leaves it out
        classes = token_classes(Taxonomy.load(run.taxonomy))
        model.token_head = torch.nn.Linear(model.config.text_config.hidden_size, classes, device=judge.device)
    wrapped = model.requires_grad_(True) if run.all_weights else add_lora(run, model)
    if run.all_weights and run.dtype == "bfloat16" and judge.device.type == "cpu":
        matmul_attention(model)  # torch's fused kernel for a CPU takes three times as long in bfloat16
    large = sum(w.numel() for w in model.parameters()) >= CHECKPOINTING_FROM
    twice = large if run.checkpointing == "auto" else run.checkpointing == "on"
    if twice:  # non-reentrant: the reentrant kind asks that inputs have gradients, which frozen embeddings have not
        with quiet():  # its newer name is not there in transformers 5.17
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return LoraLearner(judge, wrapped, twice)


def add_lora(run: LoraRun, model: Any) -> Any:
    """The model as a peft model with fresh LoRA layers in its language model; they are float32. Raises SetupError."""
    peft = need("peft", extra="train")
    from toeline.weights import quiet

    config = peft.LoraConfig(
        r=run.rank,
        lora_alpha=run.alpha,
        lora_dropout=run.dropout,
        target_modules=list(TARGETS),
    )
    with quiet():
        wrapped = peft.get_peft_model(model, config)
    wrapped.peft_config["default"].base_model_name_or_path = None  # or peft asks the hub at every checkpoint
    if odd := [n for n, w in wrapped.named_parameters() if w.requires_grad and "visual" in n]:
        raise SetupError(f"this model's vision tower has layers called like the language model's ({odd[0]}).")
    return wrapped


def _scatter(model: Any) -> None:
    """Random weights in place of the model's own, as the embedded judge began."""
    import torch
    from transformers import AutoModelForImageTextToText

    fresh = AutoModelForImageTextToText.from_config(model.config, dtype=torch.float32)
    spread(fresh)
    model.load_state_dict(fresh.state_dict())


def save(learner: LoraLearner, folder: Path, *, name: str = "") -> None:
    """Write the adapter, or the whole model that any loader of its family reads, with the view that it was trained for.

    `name` is what an adapter says of its base model: as the user called it, not where it lies on this machine.
    """
    from toeline.judge.checkpoint import write_view
    from toeline.judge.vocabulary import carry_original
    from toeline.weights import hashes, quiet

    base = None
    with quiet():
        if learner.wrapped is learner.judge.model:
            weights = {k: w for k, w in learner.wrapped.state_dict().items() if not k.startswith(HEAD)}
            learner.wrapped.save_pretrained(folder, state_dict=weights)
        else:
            config = learner.wrapped.peft_config["default"]
            config.base_model_name_or_path = name
            learner.wrapped.save_pretrained(folder, save_embedding_layers=False)
            config.base_model_name_or_path = None
            base = hashes(learner.judge.folder) if learner.judge.folder else None
    if learner.wrapped is learner.judge.model:
        learner.judge.tokenizer.save_pretrained(folder)
        learner.judge.processor.save_pretrained(folder)
        if learner.judge.folder:
            carry_original(learner.judge.folder, folder)
    write_view(folder, learner.judge.view, base=base)


def load_weights(model: Any, folder: Path) -> None:
    """Put the weights of a checkpoint or a saved model into a model in memory, the dense loss's head included.

    transformers renames these weights as it reads and writes files, so by the names in a file alone nothing fits.
    Raises ModelError unless every tensor of the model is in the files and every tensor of the files in the model.
    """
    from safetensors.torch import load_file

    from toeline.weights import check_weights, load_whole

    files = check_weights(folder)
    kept = load_whole(type(model), folder, "model", beside=HEAD, dtype=model.dtype, use_safetensors=True).state_dict()
    head = {k: w for k, w in model.state_dict().items() if k.startswith(HEAD)}
    for file in files:
        head |= {k: w for k, w in load_file(file).items() if k in head}
    try:
        model.load_state_dict(kept | head)
    except RuntimeError as why:
        raise ModelError(f"{folder}: its weights do not fit this model ({first_line(why)}). Start again.") from None


def merge(run: LoraRun, adapter: Path, out: Path) -> Path:
    """Write the original weights with the adapter added to them: a directory for stock transformers. Returns it.

    In the weights' own precision; never from 4-bit weights, whose rounding would stay in it.
    """
    from toeline.core.run_folder import staged
    from toeline.judge.checkpoint import find_folder
    from toeline.judge.merge import merge as merge_into

    with staged(out, last="config.json") as place:
        merge_into(find_folder(source_of(run)), adapter, place)
    return out


def is_out_of_memory(why: BaseException) -> bool:
    """Whether an error says that memory ran out: CUDA, MPS and the CPU say it each in their own way."""
    said = str(why).lower()
    return isinstance(why, MemoryError) or "out of memory" in said or "can't allocate memory" in said


def advice(run: LoraRun, said: str) -> str:
    """What to change when memory runs out: what is not used yet, the cheapest in accuracy first."""
    ways = []
    if run.checkpointing != "on":
        ways.append("--checkpointing on (activations are computed twice instead of kept)")
    if run.max_tokens > 1024:
        ways.append(f"--max-tokens {max(1024, run.max_tokens // 2)} (shorter sequences, the same loss)")
    if ways:
        ways[-1] += ", both also for a run that continues" if len(ways) == 2 else ", also for a run that continues"
    if run.cache_features is None and not run.all_weights:
        ways.append("--cache-features DIR (the vision tower is not loaded: 1.3 GB of a 7B)")
    ways.append("--scene-tokens and --crop-tokens with smaller numbers (the judge sees less detail)")
    if run.all_weights:
        ways.append("LoRA instead of --full or --from-scratch")
    elif not run.qlora:
        ways.append("--qlora (frozen weights in 4 bits: about 5.5 GB instead of 15 for a 7B)")
    first = next(iter(said.splitlines()), "")[:200]
    return f"Memory ran out while training ({first}). Change, in this order: {'; '.join(ways)}."


def spread(model: Any) -> None:
    """Draw the linear weights and the embeddings of a model anew, as large as their fan-in asks for."""
    from torch import nn

    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv3d):
            fan_in = module.weight[0].numel()
            nn.init.trunc_normal_(module.weight, std=1 / math.sqrt(fan_in))
    embedding = model.get_input_embeddings().weight
    nn.init.normal_(embedding, std=1 / math.sqrt(embedding.shape[1]))
