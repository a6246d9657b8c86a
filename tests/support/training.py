"""A tiny model and a tiny data set to fine-tune it on, and what both ways of running them are compared by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.datasets import write_yolo
from tests.support.tiny_judges import make_model, make_tokenizer, save_model

from toeline.train.config import LoraRun
from toeline.train.finetune import finetune, read_training_data

SIZE = (160, 120)
PHOTOS = {  # class ids are the nine classes'; every photograph but e.jpg leaves a choice
    "a.jpg": ["5 0.3 0.4 0.1 0.6", "0 0.5 0.9 1.0 0.1", "8 0.8 0.3 0.2 0.2"],
    "b.jpg": ["6 0.5 0.4 0.1 0.6", "4 0.5 0.8 0.9 0.1"],
    "c.jpg": ["7 0.7 0.5 0.2 0.6"],
    "d.jpg": ["5 0.2 0.5 0.1 0.5", "6 0.5 0.5 0.1 0.5", "2 0.5 0.95 1.0 0.1", "3 0.5 0.8 0.5 0.1"],
    "e.jpg": ["8 0.2 0.5 0.1 0.5"],
}
VALID = {"v.jpg": ["5 0.3 0.4 0.1 0.6", "1 0.5 0.9 1.0 0.1"], "w.jpg": ["4 0.5 0.8 0.9 0.1"]}
SMALL = {"device": "cpu", "scene_tokens": 12, "crop_tokens": 6, "accumulate": 2, "epochs": 2, "lr": 1e-3}


def write_data(root: Path, **splits: Any) -> Path:
    """The photographs above, or those of other splits."""
    return write_yolo(root, splits or {"train": PHOTOS, "valid": VALID}, size_wh=SIZE)


def write_judge(where: Path, *, family: str = "qwen2_vl") -> Path:
    """A tiny judge with weights of a size at which training is steady."""
    return save_model(where, scale=3.0, family=family)


def settings(judge: Path, **more: Any) -> LoraRun:
    return LoraRun(**{**SMALL, "judge": str(judge), **more})


def silent(*_: Any) -> None:
    """Hears nothing."""


def train(run: LoraRun, data: Path, out: Path, *, resume: bool = False, tell: Any = silent) -> Any:
    return finetune(run, read_training_data(run, data), out, resume=resume, tell=tell)


__all__ = ["make_model", "make_tokenizer", "settings", "silent", "train", "write_data", "write_judge"]
