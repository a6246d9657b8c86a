"""Where a model lies, whether its weight files can be read safely, and on what it runs: what both stages ask first.

Everything that can be wrong with a directory is said before weights are read. Knows no model family.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from logging import getLogger
from pathlib import Path
from typing import Any

from toeline.core.reading import file_hash, parse_json
from toeline.core.run_folder import RUN, write_whole
from toeline.core.threads import taken
from toeline.core.words import unknown
from toeline.errors import ModelError, SetupError, ToelineError, broken_library

HUB_TIMEOUT_S = 10.0
SMALL = ("*.json", "*.txt", "*.jinja")
PICKLES = ("*.bin", "*.pt", "*.pth")


def pick_device(name: str) -> str:
    """`auto` is CUDA, else MPS, else CPU. Raises SetupError for a device that is not there."""
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device, here in there.items() if here)
    if name not in there:
        raise SetupError(unknown("unknown device", name, ["auto", *there]))
    if not there[name]:
        have = ", ".join(device for device, here in there.items() if here)
        raise SetupError(
            f"torch {torch.__version__} finds no {name} device on this machine (it finds: {have}). "
            f"Choose --device {have.split(',')[0]}, or install the driver and a torch built for {name}."
        )
    return name


def is_hub_id(name: str) -> bool:
    """Whether a name has the form of a hub id, owner/name."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name) is not None


def find_model(where: str, *, check: Callable[[Path], object], pickles: bool = False, weights: bool = True) -> Path:
    """A directory as it is, a hub id as its snapshot in the hub's cache, downloaded if need be. Raises ModelError.

    `check` is called with a folder of the small files alone, before gigabytes are downloaded, and raises for a model
    that cannot be used. Weights are taken as safetensors only, unless `pickles`, and left out without `weights`.
    """
    path = Path(where).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise ModelError(f"{where} is a file. Name the directory that holds config.json and the *.safetensors.")
    if not is_hub_id(where):
        raise ModelError(f"{where}: there is no such model directory. Check the path (a hub id looks like owner/name).")
    wanted = ("*.safetensors", *(PICKLES[:1] if pickles else ())) if weights else ()
    return _download(where, check, wanted)


def _download(hub_id: str, check: Callable[[Path], object], weights: tuple[str, ...]) -> Path:
    """The newest snapshot of a model, or the one in the cache when the hub does not answer. Raises ModelError."""
    from huggingface_hub import snapshot_download

    commit, silence = _ask_hub(hub_id)
    local = commit is None
    try:
        folder = Path(snapshot_download(hub_id, revision=commit, local_files_only=local, allow_patterns=[*SMALL]))
        check(folder)
        wanted = [*SMALL, *weights]
        return Path(snapshot_download(hub_id, revision=commit, local_files_only=local, allow_patterns=wanted))
    except ToelineError:
        raise
    except Exception as why:
        raise ModelError(
            f"{hub_id}: no such directory here, not in the hub's cache, and the hub did not give it "
            f"({silence or first_line(why)}). "
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
        return None, f"{type(why).__name__}: {first_line(why)}"


def check_weights(folder: Path) -> list[Path]:
    """The *.safetensors of a directory. Raises ModelError when there is none, one is corrupt, or all are pickles."""
    from safetensors import SafetensorError, safe_open

    files = sorted(folder.glob("*.safetensors"))
    if not files and (pickles := pickles_in(folder)):
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


def pickles_in(folder: Path) -> list[Path]:
    """Weight files of a directory that are pickles."""
    return [file for pattern in PICKLES for file in sorted(folder.glob(pattern))]


def load_whole(family: Any, folder: Path, called: str, *, beside: str | None = None, **how: Any) -> Any:
    """A model of a transformers auto class, every weight from the folder's files. `called` is its word in errors.

    With `beside` every weight of the files must find its place too, but for those whose names begin with it. Raises
    ModelError when it cannot be loaded or lacks weights, and ImportError for a library that it needs.
    """
    try:
        with quiet():
            model, found = family.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, output_loading_info=True, **how
            )
    except Exception as why:  # for a config that contradicts itself or the weights, transformers raises anything
        if broken := broken_library(why):
            raise broken from None
        if isinstance(why, ImportError):
            raise
        raise ModelError(
            f"{folder}: transformers cannot load this {called} ({first_line(why)}). Download it again."
        ) from None
    if lacking := sorted(found["missing_keys"]):
        raise ModelError(
            f"{folder}: the weight files lack {len(lacking)} of the {called}'s tensors, the first {lacking[0]}. "
            f"The download is incomplete, or config.json belongs to another model."
        )
    odd = sorted(k for k in found["unexpected_keys"] if k.endswith(("weight", "bias")))
    if beside is not None and (odd := [k for k in odd if not (beside and k.startswith(beside))]):
        raise ModelError(
            f"{folder}: {len(odd)} tensors of the weight files have no place in the {called}, the first {odd[0]}. "
            f"config.json belongs to another model: copy both from the same place."
        )
    return model


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every *.safetensors in a directory, by file name."""
    return {file.name: sha256_of(file) for file in sorted(folder.glob("*.safetensors"))}


def sha256_of(file: Path) -> str:
    """SHA-256 of a file's bytes, in hex. A file that did not change is read once: weights are asked for it often."""
    facts = file.stat()
    return _sha256(file.resolve(), facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


@lru_cache(maxsize=1000)
def _sha256(file: Path, *_: int) -> str:
    return file_hash(file)


SHARD = 1 << 30  # bytes of one file of weights that are written anew, and so of memory that it takes
INDEX = "model.safetensors.index.json"


def each_tensor(folder: Path) -> Iterator[tuple[str, Any]]:
    """Every tensor of a directory's safetensors with its name; its numbers stay on the disk until they are used."""
    from safetensors import safe_open

    for file in check_weights(folder):
        with safe_open(file, framework="pt") as tensors:
            yield from ((name, tensors.get_tensor(name)) for name in sorted(tensors.keys()))


def rewrite_weights(folder: Path, out: Path, change: Callable[[str, Any], Any]) -> int:
    """Write every tensor of a directory as `change(name, tensor)` makes it, under its name. Returns the bytes of all.

    One file of at most SHARD bytes is held at a time; tensors are read from the disk when they are asked for.
    """
    files, waiting, held = list[Path](), dict[str, Any](), dict[str, Path]()
    size = total = 0
    for name, tensor in each_tensor(folder):
        made = change(name, tensor).contiguous()
        if waiting and size + made.nbytes > SHARD:
            files.append(_shard(out, len(files), waiting))
            waiting, size = {}, 0
        waiting[name], size, total = made, size + made.nbytes, total + made.nbytes
        held[name] = out / str(len(files))
    files.append(_shard(out, len(files), waiting))
    names = {file: f"model-{n:05}-of-{len(files):05}.safetensors" for n, file in enumerate(files, 1)}
    names = names if len(files) > 1 else {files[0]: "model.safetensors"}
    for file, name in names.items():
        file.replace(out / name)
    if len(files) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": {name: names[file] for name, file in held.items()}}
        write_whole(out / INDEX, json.dumps(index, indent=2, sort_keys=True) + "\n")
    return total


def copy_small(folder: Path, out: Path) -> None:
    """What stands beside a model's weights: configs, tokenizer, processor, words about it; not the record of a run."""
    for file in (f for pattern in (*SMALL, "*.md", "LICENSE*") for f in folder.glob(pattern)):
        if file.is_file() and file.name not in (INDEX, RUN):
            shutil.copyfile(file, out / file.name)


@contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """What the disk refuses while safetensors writes becomes an OSError: its number stands in the text alone."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as why:
        if found := re.search(r"os error (\d+)|code: (\d+)", str(why)):
            code = int(found[1] or found[2])
            raise OSError(code, os.strerror(code), str(place)) from None
        raise


def _shard(out: Path, number: int, tensors: Mapping[str, Any]) -> Path:
    """One file of tensors. Raises OSError when the disk refuses."""
    from safetensors.torch import save_file

    with disk_errors(out / str(number)):
        save_file(dict(tensors), out / str(number), metadata={"format": "pt"})
    return out / str(number)


def write_tables(file: Path, tables: Mapping[str, Any], head: Mapping[str, Any], key: str) -> None:
    """A safetensors file with a record under `key` of its header, whole or not at all. Equal content, equal bytes."""
    import numpy as np
    from safetensors.numpy import save

    plain = {name: np.ascontiguousarray(table) for name, table in tables.items()}
    write_whole(file, save(plain, metadata={key: json.dumps(head, ensure_ascii=False, allow_nan=False)}))


def tables_of(raw: bytes, file: Path, key: str, *, what: str, advice: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The record and the tables of such a file's bytes. Raises ModelError for what is no `what`."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tables = load(raw)
        size = int.from_bytes(raw[:8], "little")
        outer = parse_json(raw[8 : 8 + size].decode(), str(file), ModelError, advice=advice)
        head = parse_json(outer["__metadata__"][key], str(file), ModelError, advice=advice)
    except (SafetensorError, ValueError, KeyError, TypeError):
        head = None
    if not isinstance(head, dict):
        raise ModelError(f"{file}: is no {what}. {advice}")
    return head, tables


def open_session(weights: Path, threads: int) -> Any:
    """An onnxruntime session on the CPU; 0 threads are what was taken (core/threads.py), else one for each core.

    Raises ModelError for an unreadable file.
    """
    import onnxruntime as runtime

    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads or taken()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # see core/threads.py
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    try:
        return runtime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
    except Exception as why:  # onnxruntime has no common base for its own errors
        raise ModelError(
            f"{weights}: not a readable ONNX model ({str(why).splitlines()[0][:200]}). Fetch or export it again."
        ) from None


def first_line(why: Exception) -> str:
    """What a library's error says, without the rest of it."""
    return next(iter(str(why).strip().splitlines()), type(why).__name__)


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, load reports or deprecations between libraries: what matters in them is raised."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    loud = {name: getLogger(name) for name in ("torchao", "torch.utils._pytree")}  # of kernels that nobody asked for
    levels = {name: logger.level for name, logger in loud.items()}
    logging.set_verbosity_error()
    for logger in loud.values():
        logger.setLevel("ERROR")
    try:
        with warnings.catch_warnings(), no_bars():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        for name, logger in loud.items():
            logger.setLevel(levels[name])


@contextmanager
def no_bars() -> Iterator[None]:
    """No progress bars of transformers beside ours, such as those of checkpoints that are written."""
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if bars:
            logging.enable_progress_bar()
