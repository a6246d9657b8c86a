"""Files that lie: whatever stands in a file of somebody else, it is read or refused, without a traceback.

Each kind of file is drawn whole, then one or two of its values are replaced or dropped, or its text is torn. Its reader
may return or raise a ToelineError; anything else, and an allocation above LIMIT, fails.
"""

from __future__ import annotations

import copy
import json
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.datasets import NAMES, write_photo

from toeline.core.box import Box
from toeline.core.calibration import Calibration
from toeline.core.finding import Finding, Verdict
from toeline.core.records import finding_record
from toeline.core.taxonomy import Taxonomy
from toeline.data.coco import open_coco, read_coco
from toeline.data.datasets import read_split
from toeline.data.yolo import open_yolo
from toeline.detect.onnx import DetectorCard
from toeline.errors import ToelineError

LIMIT = 64 << 20  # bytes that Python may allocate for one small file

ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, -5, 1e308, float("nan"), float("inf"), 10**30),
    *("", "abc", "1", "\x1b[31m\n\u202e", "x" * 10_000),
    *([], {}, [[]], [None], {"a": 1}),
)
LAUGHS = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{c}: &{c} [{', '.join([f'*{p}'] * 8)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
)
TORN: dict[str, Callable[[str], str]] = {
    "cut": lambda text: text[: len(text) // 2],
    "twice": lambda text: text + text,
    "empty": lambda _: "",
    "deep": lambda _: "[" * 5000,
    "deep and closed": lambda _: '{"a":' * 500 + "1" + "}" * 500,
    "nulls": lambda text: text.replace(" ", "\0", 3),
    "no list": lambda _: "7",
    "laughs": lambda _: LAUGHS,
}


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to every value inside."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*at, key))


def changed(value: Any, at: tuple[Any, ...], to: Any) -> Any:
    """A copy with one value replaced, or dropped for `...`."""
    if not at:
        return None if to is ... else to
    made = copy.deepcopy(value)
    inner = made
    for key in at[:-1]:
        inner = inner[key]
    if to is ...:
        del inner[at[-1]]
    else:
        inner[at[-1]] = to
    return made


@dataclass(frozen=True)
class Kind:
    """A kind of file: what a good one holds, how it is written, and what reads it in a folder of its own."""

    good: Any
    name: str
    read: Callable[[Path], object]
    text: Callable[[Any], str] = json.dumps
    beside: Callable[[Path], object] = lambda _: None


BOX = {
    "id": 1,
    "image_id": 1,
    "category_id": 1,
    "bbox": [4, 3, 10, 8],
    "segmentation": [[4, 3, 14, 3, 14, 11]],
    "iscrowd": 0,
}
COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}],
    "annotations": [BOX, {**BOX, "id": 2, "segmentation": {"size": [30, 40], "counts": [305, 10, 885]}, "iscrowd": 1}],
    "categories": [{"id": 1, "name": "rock toe", "supercategory": "none"}],
}
FINDING = finding_record(
    Finding(
        "a.jpg",
        "1",
        "rock_toe",
        Box(1, 2, 3, 4),
        0.9,
        Verdict("rock toe", "normal", 0.9, {"rock toe": 0.9, "rock toe damaged": 0.1}),
    )
)
CALIBRATION = Calibration(1.5, {"rock_toe": 2.0}, 0.6, {"split": "train", "n": 5}, {"prompt": "plain"}).record()
CONFIG = {
    "model_type": "qwen2_vl",
    "text_config": {
        "vocab_size": 100,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
    "vision_config": {
        "embed_dim": 16,
        "depth": 2,
        "num_heads": 2,
        "mlp_ratio": 2,
        "patch_size": 14,
        "in_channels": 3,
        "temporal_patch_size": 2,
        "spatial_merge_size": 2,
    },
}
CARD = {
    "input_px": 320,
    "fill": 114,
    "kinds": ["toe_drain", "rock_toe"],
    "thresholds": {"toe_drain": 0.3, "rock_toe": 0.2},
    "nms_iou": 0.5,
}
DATA = {"path": ".", "train": "images", "val": ["images"], "nc": 9, "names": list(NAMES), "kpt_shape": [2, 3]}
TAXONOMY = {
    "name": "mine",
    "types": [{"name": "drain", "spoken": "a drain"}],
    "conditions": [{"name": "normal", "color": "#00ff00"}, {"name": "bad", "color": "#ff0000"}],
    "classes": [
        {"name": "good drain", "type": "drain", "condition": "normal", "spellings": ["d"]},
        {"name": "bad drain", "type": "drain", "condition": "bad"},
    ],
}
WORDS = Taxonomy.load()


def picture(folder: Path) -> None:
    """A photograph with one label."""
    write_photo(folder / "images" / "a.jpg")
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "labels" / "a.txt").write_text("3 0.5 0.5 0.2 0.2\n", encoding="utf-8")


def toml(value: Any) -> str:
    """A value as TOML, as far as it goes; what TOML has no form for is written as JSON has it."""
    if not isinstance(value, dict):
        return f"a = {json.dumps(value)}"
    lines = [f"{json.dumps(str(k))} = {inline(v)}" for k, v in value.items()]
    return "\n".join(lines)


def inline(value: Any) -> str:
    """One value of TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(k))} = {inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    return {"NaN": "nan", "Infinity": "inf", "null": '"null"'}.get(said := json.dumps(value), said)


def label_rows(value: Any) -> str:
    """Label lines."""
    rows = value if isinstance(value, list) else [value]
    return "".join(" ".join(map(str, row if isinstance(row, list) else [row])) + "\n" for row in rows)


def read_set(folder: Path) -> object:
    """As training and evaluation read it."""
    return read_split(open_yolo(folder, WORDS), None, WORDS)


KINDS = {
    "coco": Kind(
        COCO,
        "a.json",
        lambda f: read_coco(open_coco(f / "a.json"), f / "a.json"),
        beside=lambda f: write_photo(f / "a.jpg"),
    ),
    "data.yaml": Kind(DATA, "data.yaml", read_set, yaml.safe_dump, picture),
    "labels": Kind(
        [[3, 0.5, 0.5, 0.2, 0.2], [1, 0.1, 0.1, 0.9, 0.1, 0.9, 0.8]], "labels/a.txt", read_set, label_rows, picture
    ),
    "classes.txt": Kind([[n] for n in NAMES], "classes.txt", read_set, label_rows, picture),
    "notes.json": Kind(
        {"categories": [{"id": i, "name": n} for i, n in enumerate(NAMES)]}, "notes.json", read_set, beside=picture
    ),
    "detector": Kind(CARD, "d.json", lambda f: DetectorCard.load(f / "d.json", WORDS)),
}


@st.composite
def lies(draw: st.DrawFn) -> tuple[str, str]:
    """A kind of file, and the text of one that lies."""
    name = draw(st.sampled_from(sorted(KINDS)))
    value = KINDS[name].good
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.sampled_from(sorted(places(value), key=str)))
        value = changed(value, at, draw(st.sampled_from([..., *ODD])))
    text = KINDS[name].text(value)
    if tear := draw(st.sampled_from(["", "", "", *TORN])):
        text = TORN[tear](text)
    return name, text


def fate(name: str, text: str) -> str:
    """What became of it: "read", or the refusal."""
    kind = KINDS[name]
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top)
        kind.beside(folder)
        (folder / kind.name).write_text(text, encoding="utf-8", errors="surrogatepass")
        tracemalloc.start()
        try:
            kind.read(folder)
            said = "read"
        except ToelineError as why:
            said = str(why)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < LIMIT, f"{most:,} bytes"
    assert len(said) < 2000
    return said


@settings(max_examples=100)
@given(lie=lies())
def test_a_file_that_lies_is_read_or_refused(lie: tuple[str, str]) -> None:
    fate(*lie)


def test_good_files_are_read() -> None:
    assert {name: fate(name, kind.text(kind.good)) for name, kind in KINDS.items()} == dict.fromkeys(KINDS, "read")
