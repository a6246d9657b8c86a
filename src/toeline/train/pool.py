"""Drawn scenes on disk with their truth masks: drawn once, read many times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toeline.core.scene import Thing
from toeline.core.taxonomy import Taxonomy
from toeline.data.yolo import Entry, open_yolo, read_entry
from toeline.train.rows import Labeled, state_map


@dataclass(frozen=True)
class Pool:
    """The photographs of a data set as `synth` writes them, one split or all. Indexing reads from disk."""

    entries: tuple[Entry, ...]
    taxonomy: Taxonomy

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, i: int) -> Labeled:
        """Photograph `i` with its truths and, where there are truth masks, the state of every pixel."""
        entry = self.entries[i]
        found = read_entry(entry, self.taxonomy)
        with Image.open(entry.photo) as file:
            image = file.convert("RGB")
        truths = {t.thing_id: t for t in found.truths}
        return Labeled(image, found.scene, truths, self._states(entry, found.scene.things))

    def things(self, i: int) -> tuple[Thing, ...]:
        """What is on photograph `i`, without its pixels."""
        return read_entry(self.entries[i], self.taxonomy).scene.things

    def _states(self, entry: Entry, things: Sequence[Thing]) -> NDArray[np.uint8] | None:
        masks = entry.photo.parent.parent / "masks"
        objects, states = (masks / f"{entry.photo.stem}_{what}.png" for what in ("object", "state"))
        if not objects.is_file() or not states.is_file():
            return None
        kinds = [t.kind for t in things]
        return state_map(np.asarray(Image.open(objects)), np.asarray(Image.open(states)), kinds, self.taxonomy)

    @classmethod
    def drawn(cls, out: Path, *, scenes: int, seed: int, taxonomy: Taxonomy, workers: int = 1) -> Pool:
        """Draw what is missing of `scenes` scenes under `out` and open them; once drawn, they are only read."""
        from toeline.synth import write_dataset

        write_dataset(out, scenes=scenes, seed=seed, parts={"train": 1.0}, workers=workers)
        return cls(open_yolo(out, taxonomy).splits["train"], taxonomy)
