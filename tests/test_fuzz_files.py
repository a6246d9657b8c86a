"""Files that lie: whatever stands in a config, a calibration, a taxonomy, saved results, a baseline or metadata, the
reader gives a value or a ToelineError, within a stated memory.
"""

from __future__ import annotations

import json
import math
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toeline.core.calibration import load_calibration
from toeline.core.geo import pose_from
from toeline.core.question import Question, QuestionSheet
from toeline.core.records import finding_from, finding_record, read_lines, to_line
from toeline.core.taxonomy import DEFAULT_FILE, Taxonomy
from toeline.data.images import Header
from toeline.data.metadata import position_of
from toeline.errors import ToelineError
from toeline.judge.baseline.model import KEY, load_baseline
from toeline.judge.checkpoint import load_preprocessing, read_config, read_view
from toeline.judge.replay import ReplayJudge
from toeline.judge.shape import shape_of
from toeline.plan.model_shape import Weights, find_model, load_bytes

MOST_BYTES = 32 << 20  # that a reader may hold for a file of at most 1 MB
DEEP = ("[" * 10_000 + "]" * 10_000).encode()
LIES: list[Any] = [
    math.nan, math.inf, -math.inf, -5, 0, -1, 1.5, 1e308, -1e308, 5e-324, 10**30, 10**400, True, False, None,
    "", "abc", "NaN", "9" * 100_000, "\u202e", "2026-13-45T99:00", [], {}, [[]], [None], {"a": None}, [1] * 1000,
]  # fmt: skip

CALIBRATION = {
    "version": 1, "temperature": 1.5, "by_type": {"rock_toe": 2.0}, "review_below": 0.5, "fitted_on": {"n": 3},
    "fitted_for": {"judge": "x"},
}  # fmt: skip
CONFIG = {
    "model_type": "qwen2_vl", "dtype": "float32", "tie_word_embeddings": True,
    "text_config": {
        "vocab_size": 100, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "layer_types": ["full_attention"] * 2,
    },
    "vision_config": {
        "depth": 2, "embed_dim": 32, "num_heads": 4, "hidden_size": 64, "mlp_ratio": 4, "patch_size": 14,
        "spatial_merge_size": 2, "temporal_patch_size": 2, "in_channels": 3,
    },
}  # fmt: skip
PROCESSOR = {"image_processor": {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "rescale_factor": 1 / 255}}
VIEW = {"view": {"cell": 28, "prompt": "plain", "scene_tokens": 3}}
SAVED = {"a.jpg": {"1": {"x": -0.1, "y": -2.0}}}
FINDING = {
    "photo": "a.jpg", "id": "1", "type": "slope_drain", "box": [1.0, 2.0, 3.0, 4.0], "detector_confidence": 0.5,
    "detector_class": "", "detector_others": [{"type": "rock_toe", "class": "x", "confidence": 0.3}], "class": "x",
    "condition": "normal", "probability": 0.9, "probabilities": {"x": 0.9, "y": 0.1}, "asked": True, "review": False,
    "review_reason": "", "relations": [{"name": "above", "other": "2", "distance": 0.1}],
    "polygon": [[1, 2], [3, 4], [5, 1]], "severity": "low", "severity_rank": 1, "action": "x", "immediate": True,
    "immediate_reason": "y", "position": {"latitude": 1.0, "longitude": 2.0, "kind": "ground", "error_m": 3.0},
    "group": "g1", "same_as": {"photo": "b.jpg", "id": "2"}, "group_conditions": ["normal"],
}  # fmt: skip
PLACE = {"latitude": 1.0, "longitude": 2.0, "height_m": 30.0, "yaw": 1.0, "pitch": -90.0, "focal": 0.6, "time": "2026"}
METADATA = {
    "exif": {"37386": 8.8, "41989": 24, "41988": 1.0, "40962": 4000, "40963": 3000, "41486": 400.0, "41487": 400.0,
             "41488": 3, "36867": "2026:05:01 09:30:00", "36881": "+05:30"},
    "gps": {"1": "N", "2": [1.0, 2.0, 3.0], "3": "E", "4": [1.0, 2.0, 3.0], "5": 0, "6": 12.0, "7": [9.0, 1.0, 2.0],
            "29": "2026:05:01"},
    "dji": {"CalibratedFocalLength": "3666", "CalibratedOpticalCenterX": "2640", "CalibratedOpticalCenterY": "1980",
            "RelativeAltitude": "30", "GimbalYawDegree": "1", "GimbalPitchDegree": "-90", "GimbalRollDegree": "0"},
}  # fmt: skip
QUESTION = QuestionSheet("a.jpg", None, "", (Question("1", "", None, ("x", "y")),))
OLD_BASELINE = (Path(__file__).parent / "legacy" / "floor.safetensors").read_bytes()
HEAD_END = 8 + int.from_bytes(OLD_BASELINE[:8], "little")
BASELINE = json.loads(json.loads(OLD_BASELINE[8:HEAD_END])["__metadata__"][KEY])


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place within a value, as the keys that lead there."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """A value in which one thing is another, or is gone."""
    path, lie = draw(st.sampled_from(list(places(value)))), draw(st.sampled_from(LIES))
    if not path:
        return lie
    value = deepcopy(value)
    at = value
    for key in path[:-1]:
        at = at[key]
    if draw(st.integers(0, 9)):
        at[path[-1]] = deepcopy(lie)
    else:
        del at[path[-1]]
    return value


@st.composite
def damaged(draw: st.DrawFn, raw: bytes) -> bytes:
    """Bytes that were cut, hit, doubled, or never were such a file."""
    at = draw(st.integers(0, len(raw) - 1))
    bad = (raw[:at], raw[:at] + draw(st.binary(min_size=1, max_size=9)) + raw[at + 1 :], raw + raw, b"\xff\xfe" + raw)
    return draw(st.sampled_from([*bad, DEEP, b'{"a":' * 10_000, b""]))


def as_json(value: Any) -> st.SearchStrategy[bytes]:
    return st.one_of(changed(value).map(lambda v: json.dumps(v).encode()), damaged(json.dumps(value).encode()))


def toml(value: Any) -> str:
    """A value of TOML; what TOML does not have becomes a date."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(k))} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return "1979-05-27" if value is None else json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")


def taxonomies() -> st.SearchStrategy[bytes]:
    import tomllib

    text = DEFAULT_FILE.read_bytes()
    value = tomllib.loads(text.decode())
    lines = changed(value).map(
        lambda v: "".join(f"{k} = {toml(w)}\n" for k, w in v.items()) if isinstance(v, dict) else ""
    )
    return st.one_of(lines.map(str.encode), damaged(text))


def baselines() -> st.SearchStrategy[bytes]:
    """Another head around the same tensors."""
    outer = json.loads(OLD_BASELINE[8:HEAD_END])

    def built(head: bytes) -> bytes:
        meta = {**outer, "__metadata__": {KEY: head.decode(errors="replace")}}
        text = json.dumps(meta).encode()
        return len(text).to_bytes(8, "little") + text + OLD_BASELINE[HEAD_END:]

    return st.one_of(as_json(BASELINE).map(built), damaged(OLD_BASELINE))


def calibration(file: Path) -> None:
    found = load_calibration(file)
    assert found.review_below is None or 0 <= found.review_below <= 1
    assert sum(found.temper({"a": 0.9, "b": 0.1}, "rock_toe").values()) == pytest.approx(1)


def taxonomy(file: Path) -> None:
    found = Taxonomy.load(file)
    assert [found.class_of(name).name for name in found.answers()] == list(found.answers())


def config(file: Path) -> None:
    assert all(size > 0 for size in load_bytes(find_model(str(file.parent)).shape, Weights("int4", "int8")).values())
    read_config(file.parent)


def processor(file: Path) -> None:
    assert all(std > 0 for std in load_preprocessing(file.parent).get("image_std", ()))


def view(file: Path) -> None:
    assert read_view([file.parent], shape_of({"model_type": "qwen2_vl"}, file)).cell == 28


def saved(file: Path) -> None:
    assert all(not math.isnan(p) for row in ReplayJudge.load(file).score(QUESTION) for p in row.values())


def findings(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\n")
    ReplayJudge.load(file)
    for line in read_lines(file):
        to_line(finding_record(finding_from(line)))


def place(file: Path) -> None:
    found = pose_from(json.loads(file.read_bytes()))
    assert found is None or isinstance(found.time, str)


def metadata(file: Path) -> None:
    """As Pillow gives it: any type of value under any tag."""
    said = json.loads(file.read_bytes())
    exif, gps, dji = (
        part if isinstance(said, dict) and isinstance(part := said.get(name), dict) else {} for name in METADATA
    )
    tags, places = ({int(k): v for k, v in part.items()} for part in (exif, gps))
    fields = "".join(f' d:{name}="{str(value)[:99]}"' for name, value in dji.items())
    packet = f'<a xmlns:d="http://www.dji.com/drone-dji/1.0/"{fields}/>'
    found = position_of(Header((1320, 990), 1, tags, places, packet.encode()))
    assert found.place is None or found.place.focal is None or 0.1 < found.place.focal < 100


def baseline(file: Path) -> None:
    import numpy as np

    found, _ = load_baseline(file)
    for kind in found.kinds:
        assert np.isfinite(found.log_probs(kind, np.zeros((1, len(found.names)), np.float32))).all()


KINDS: dict[str, tuple[Callable[[Path], None], str, st.SearchStrategy[bytes], int]] = {
    "calibration": (calibration, "calibration.json", as_json(CALIBRATION), 60),
    "taxonomy": (taxonomy, "taxonomy.toml", taxonomies(), 60),
    "config": (config, "config.json", as_json(CONFIG), 80),
    "processor": (processor, "processor_config.json", as_json(PROCESSOR), 40),
    "view": (view, "toeline.json", as_json(VIEW), 40),
    "saved answers": (saved, "saved.json", as_json(SAVED), 40),
    "findings": (findings, "findings.jsonl", as_json(FINDING), 80),
    "place": (place, "place.json", changed(PLACE).map(lambda v: json.dumps(v).encode()), 20),
    "metadata": (metadata, "metadata.json", changed(METADATA).map(lambda v: json.dumps(v).encode()), 40),
    "baseline": (baseline, "baseline.safetensors", baselines(), 40),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_lies_gives_a_value_or_a_word(kind: str) -> None:
    read, name, files, examples = KINDS[kind]

    @settings(max_examples=examples, deadline=None, database=None, derandomize=True)
    @given(files)
    def check(raw: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, name)
            file.write_bytes(raw)
            tracemalloc.start()  # not while files are drawn: it makes Python several times slower
            try:
                with suppress(ToelineError):
                    read(file)
                assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
            finally:
                tracemalloc.stop()

    check()


def test_a_honest_file_of_each_kind_is_read(tmp_path: Path) -> None:
    """So that the test above does not find refusals only."""
    honest = {
        "calibration": CALIBRATION, "config": CONFIG, "processor": PROCESSOR, "view": VIEW, "saved answers": SAVED,
        "findings": FINDING, "place": PLACE, "metadata": METADATA,
    }  # fmt: skip
    for kind, value in honest.items():
        read, name, _, _ = KINDS[kind]
        file = tmp_path / kind / name
        file.parent.mkdir()
        file.write_text(json.dumps(value))
        read(file)
    assert finding_record(finding_from(FINDING))["position"] == FINDING["position"]
    assert load_preprocessing(tmp_path / "processor")["image_std"] == [0.5] * 3
