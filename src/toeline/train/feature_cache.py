"""Image features kept on disk, so that a frozen vision tower looks at every picture once and is then not loaded.

All that the language model is told of a picture is kept: its features for the input embeddings, and beside them those
for deeper layers where a family has them (Qwen3-VL: four times as much). A file is named by what is in the pictures and
what looked at them: other weights, boxes, sizes or light are other files, and nothing is ever out of date.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toeline.core.question import Picture
from toeline.errors import ModelError, OutputError
from toeline.train.samples import TrainingRow

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class FeatureStore:
    """Features under `folder`; `tower` says what made them: hashes of the weights, precision, processor."""

    folder: Path
    tower: str

    @classmethod
    def of(cls, folder: Path, made_by: Mapping[str, Any]) -> FeatureStore:
        """A store for what `made_by` names."""
        return cls(folder, hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest())

    def path(self, shown: Sequence[Picture]) -> Path:
        """The file of one photograph's pictures, all together."""
        said = hashlib.sha256(self.tower.encode())
        for picture in shown:
            said.update(repr(picture.size).encode())
            said.update(picture.tobytes())
        key = said.hexdigest()
        return self.folder / key[:2] / f"{key}.safetensors"

    def read(self, shown: Sequence[Picture]) -> list[Tensor]:
        """One (tokens, levels x hidden) tensor per picture. Raises ModelError when they are not there or not whole."""
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        file = self.path(shown)
        try:
            kept = load_file(file)
        except (OSError, SafetensorError) as why:
            raise ModelError(f"{file}: image features are gone or damaged ({why}). Run again with --resume.") from None
        return list(torch.split(kept["features"], kept["lengths"].tolist()))

    def write(self, shown: Sequence[Picture], features: Sequence[Tensor]) -> None:
        """Keep features, in one step: a kill leaves no half of a file. Raises OutputError when the disk is full."""
        import torch
        from safetensors.torch import save_file

        file = self.path(shown)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=file.parent, suffix=".part")
            os.close(handle)
            lengths = torch.tensor([len(f) for f in features])
            save_file({"features": torch.cat(list(features)).cpu().contiguous(), "lengths": lengths}, name)
            Path(name).replace(file)
        except OSError as why:
            raise OutputError(
                f"{file}: image features cannot be kept ({why.strerror}). Make room, name another folder, keep fewer "
                f"--variants, or leave --cache-features out."
            ) from None

    def missing(self, rows: Iterator[TrainingRow]) -> Iterator[tuple[Picture, ...]]:
        """The pictures of each row whose features are not known yet."""
        from toeline.judge.packing import pictures

        for row in rows:
            shown = tuple(pictures(row.sheet))
            if shown and not self.path(shown).is_file():
                yield shown


def look(judge: Any, shown: Sequence[Picture]) -> list[Tensor]:
    """What the judge's vision tower makes of pictures, without gradients."""
    import torch

    from toeline.judge.qwen_vl import image_features, patches

    with torch.inference_mode():
        pixels, grids = patches(shown, judge.processor)
        return image_features(judge.model, pixels.to(judge.device), grids.to(judge.device))
