"""Finds, checks and loads a model of the Qwen2-VL family, its tokenizer and its adapter.

Everything that can be wrong with a directory is said before weights are read, and nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toeline.errors import ModelError, SetupError, need
from toeline.judge.fast import branch_attention, patch_embed_as_linear
from toeline.judge.view import read_json, read_view

FAMILIES = ("qwen2_vl", "qwen2_5_vl")
HUB_TIMEOUT_S = 10.0
DEEPSTACK = "it feeds picture features into several layers (deepstack), which this packed forward does not carry"
REFUSED = {"qwen3_vl": DEEPSTACK, "qwen3_vl_moe": DEEPSTACK}


def load_parts(where: str, *, device: str, dtype: str, adapter: Path | None, **more: Any) -> dict[str, Any]:
    """The fields of a QwenVLJudge; `more` goes to from_pretrained. Raises ModelError, SetupError for the machine."""
    target = pick_device(device)
    folder = find_folder(where)
    config = read_config(folder)
    if adapter is not None:
        check_adapter(adapter)
    model = load_model(folder, dtype=pick_dtype(dtype, target), **more)
    if target == "cpu":
        branch_attention(model)
    if adapter is not None:
        model = add_adapter(model, adapter)
    vision = model.config.vision_config
    cell = vision.patch_size * vision.spatial_merge_size
    return {
        "model": model.to(target).eval(),
        "tokenizer": load_tokenizer(folder),
        "processor": load_processor(folder, vision),
        "view": read_view([adapter, folder] if adapter else [folder], cell=cell),
        "facts": {"model": where, "model_type": config["model_type"]},
        "folder": folder,
        "adapter": adapter,
    }


def pick_device(name: str) -> str:
    """`auto` is CUDA, else MPS, else CPU. Raises SetupError for a device that is not there."""
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device, here in there.items() if here)
    if name not in there:
        raise SetupError(f"unknown device {name!r}. Choose auto, {', '.join(there)}.")
    if not there[name]:
        have = ", ".join(device for device, here in there.items() if here)
        raise SetupError(
            f"torch {torch.__version__} finds no {name} device on this machine (it finds: {have}). "
            f"Choose --device {have.split(',')[0]}, or install the driver and a torch built for {name}."
        )
    return name


def pick_dtype(name: str, device: str) -> Any:
    """A torch dtype. `auto` is float32 on a CPU, else bfloat16, or float16 where bfloat16 is not supported.

    bfloat16 comes first because Qwen2-VL was trained in it and some of its activations pass the range of float16.
    """
    import torch

    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name in known:
        return known[name]
    if name != "auto":
        raise SetupError(f"unknown dtype {name!r}. Choose auto, {', '.join(known)}.")
    if device == "cpu":
        return torch.float32
    fine = torch.cuda.is_bf16_supported() if device == "cuda" else torch.backends.mps.is_macos_or_newer(14, 0)
    return torch.bfloat16 if fine else torch.float16


def find_folder(where: str) -> Path:
    """A directory as it is, a hub id as its snapshot in the hub's cache, downloaded if need be. Raises ModelError."""
    path = Path(where).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise ModelError(f"{where} is a file. Name the directory that holds config.json and the *.safetensors.")
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", where):
        raise ModelError(f"{where}: there is no such model directory. Check the path (a hub id looks like owner/name).")
    return _download(where)


def _download(hub_id: str) -> Path:
    """The newest snapshot of a model, or the one in the cache when the hub does not answer. Raises ModelError."""
    from huggingface_hub import snapshot_download

    small = ["*.json", "*.txt", "*.jinja"]
    commit, silence = _ask_hub(hub_id)
    local = commit is None
    try:
        folder = Path(snapshot_download(hub_id, revision=commit, local_files_only=local, allow_patterns=small))
        read_config(folder)  # before gigabytes are downloaded for nothing
        weights = [*small, "*.safetensors"]
        return Path(snapshot_download(hub_id, revision=commit, local_files_only=local, allow_patterns=weights))
    except ModelError:
        raise
    except Exception as why:
        raise ModelError(
            f"{hub_id}: no such directory here, not in the hub's cache, and the hub did not give it "
            f"({silence or _first_line(why)}). "
            f"Check the spelling and the network, log in if it is gated, or name the directory of a copy."
        ) from None


def _ask_hub(hub_id: str) -> tuple[str | None, str]:
    """The commit of a model's newest snapshot, or None and the reason why the hub did not say.

    Asked first and by itself, because snapshot_download asks it without a time limit: behind a wall that drops packets
    it would hang. The hub's errors have no common base across its versions and HTTP libraries, hence `Exception`.
    """
    from huggingface_hub import HfApi

    try:
        return HfApi().model_info(hub_id, timeout=HUB_TIMEOUT_S).sha, ""
    except Exception as why:
        return None, f"{type(why).__name__}: {_first_line(why)}"


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a model that can be packed exactly. Raises ModelError otherwise."""
    if not (folder / "config.json").is_file():
        hint = " This is an adapter: pass it with --adapter." if (folder / "adapter_config.json").is_file() else ""
        raise ModelError(f"{folder} is not a model directory: it has no config.json.{hint}")
    config = read_json(folder / "config.json")
    family = config.get("model_type")
    if family not in FAMILIES:
        why = f" {family} cannot be used: {REFUSED[family]}." if family in REFUSED else ""
        raise ModelError(
            f"{folder / 'config.json'}: model_type is {family!r}, and the judge runs {' and '.join(FAMILIES)}.{why} "
            f"Choose a model such as Qwen/Qwen2-VL-7B-Instruct."
        )
    text = config.get("text_config") or config
    if "sliding_attention" in (text.get("layer_types") or ()) or text.get("use_sliding_window"):
        raise ModelError(
            f"{folder / 'config.json'}: sliding-window attention cannot be packed. Set use_sliding_window to false."
        )
    return config


def check_weights(folder: Path) -> list[Path]:
    """The *.safetensors of a directory. Raises ModelError when there is none, one is corrupt, or all are pickles."""
    from safetensors import SafetensorError, safe_open

    files = sorted(folder.glob("*.safetensors"))
    if not files and (pickles := sorted([*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")])):
        raise ModelError(
            f"{folder} has its weights in {pickles[0].name} only: a pickle, which can run any program when it is read. "
            f"Get the model's safetensors, or convert it on a machine you can lose."
        )
    if not files:
        raise ModelError(f"{folder} holds no *.safetensors. Copy or download the model again.")
    for file in files:
        try:
            with safe_open(file, framework="pt"):
                pass
        except (SafetensorError, OSError) as why:
            raise ModelError(f"{file} is corrupt or cut short ({why}). Copy or download it again.") from None
    return files


def load_model(folder: Path, *, dtype: Any, **more: Any) -> Any:
    """A stock transformers model with every weight from the files. Raises ModelError for weights that do not fit."""
    from transformers import AutoModelForImageTextToText

    check_weights(folder)
    with quiet():
        try:
            model, found = AutoModelForImageTextToText.from_pretrained(
                folder,
                dtype=dtype,
                attn_implementation="sdpa",
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                **more,
            )
        except (OSError, ValueError, TypeError, KeyError, RuntimeError) as why:
            raise ModelError(
                f"{folder}: transformers cannot load this model ({_first_line(why)}). Download it again."
            ) from None
    if lacking := sorted(found["missing_keys"]):
        raise ModelError(
            f"{folder}: the weight files lack {len(lacking)} of the model's tensors, the first {lacking[0]}. "
            f"The download is incomplete, or config.json belongs to another model."
        )
    patch_embed_as_linear(model)
    return model


def _first_line(why: Exception) -> str:
    return next(iter(str(why).strip().splitlines()), type(why).__name__)


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, load reports or deprecations between libraries: what matters in them is raised."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def load_tokenizer(folder: Path) -> Any:
    """The directory's tokenizer. Raises ModelError when it has none or it lacks Qwen2-VL's marks."""
    from transformers import AutoTokenizer

    from toeline.judge.qwen_vl import alphabet_of

    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        raise ModelError(f"{folder} has no tokenizer.json. Copy the tokenizer files of the base model into it.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        alphabet_of(tokenizer)
    except (OSError, ValueError, TypeError, KeyError) as why:
        raise ModelError(
            f"{folder}: the tokenizer cannot be used ({_first_line(why)}). Copy its files again."
        ) from None
    return tokenizer


def load_processor(folder: Path, vision: Any) -> Any:
    """Cuts pictures into patches, always the Pillow one: with torchvision the other resizes and rounds differently."""
    from transformers import Qwen2VLImageProcessorPil

    sizes = {
        "patch_size": vision.patch_size,
        "merge_size": vision.spatial_merge_size,
        "temporal_patch_size": vision.temporal_patch_size,
    }
    saved = folder / "preprocessor_config.json"
    wanted = ("image_mean", "image_std", "rescale_factor")
    given = {key: value for key, value in read_json(saved).items() if key in wanted} if saved.is_file() else {}
    return Qwen2VLImageProcessorPil(**sizes, **given)


def check_adapter(folder: Path) -> None:
    """Raise ModelError unless this is a peft adapter with safetensors."""
    if not folder.is_dir() or not (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{folder} is not an adapter: it has no adapter_config.json. Name the folder that training wrote."
        )
    read_json(folder / "adapter_config.json")
    check_weights(folder)


def add_adapter(model: Any, folder: Path) -> Any:
    """The model with the adapter's layers inside, frozen. Raises ModelError for an adapter of another model."""
    from safetensors import safe_open

    peft = need("peft", extra="adapter")
    try:
        with quiet():
            wrapped = peft.PeftModel.from_pretrained(model, str(folder), is_trainable=False, local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as why:
        raise ModelError(
            f"{folder}: the adapter does not fit this model ({_first_line(why)}). Name its base model."
        ) from None
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
        given = set(file.keys())
    if odd := sorted(given ^ set(peft.get_peft_model_state_dict(wrapped, save_embedding_layers=False))):
        raise ModelError(
            f"{folder}: the adapter does not fit this model: {len(odd)} tensors have no counterpart, first {odd[0]}. "
            f"Name the base model that it was trained on."
        )
    return wrapped.get_base_model()


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every *.safetensors in a directory, by file name."""
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            found[file.name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found
