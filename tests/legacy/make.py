"""How the files beside this one were made: by commit af1e2f2 (version 0.1.0, before the package was restructured).

They stand for what users have on their disks from then. They are not made anew when the code changes: a file here that
a later version cannot read is a fault of that version. tests/test_legacy.py reads them through the command line. Paths
in them are relative to this folder, in which every command below was run:

    git worktree add ../before af1e2f2 && cp -r tests/legacy ../before/tests/ && cd ../before
    python tests/legacy/make.py        (needs the extra train and the package onnx; four minutes)

All photographs are scenes that `toeline synth` drew, made small. The judge has random weights, the detector answers
with fixed boxes whose confidence is the brightness below them: neither can be wrong about anything, and both depend on
every input. Of the folders of runs only what some command reads again is kept: no pictures, no pages.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PHOTO_PX, DETECTOR_PX = 112, 32
SEED = 13  # of the judge: one whose temperatures and whose weight beside the floor are not all at their bounds
KEPT = {  # what is left of the folders that commands wrote; of those without names all but UNREAD
    "finished": ("run.json", "progress.jsonl", "findings.jsonl", "errors.jsonl"),
    "stopped": (),
    "evaluated": ("run.json", "progress.jsonl", "findings.jsonl", "errors.jsonl", "cases.jsonl", "spatial.jsonl"),
    "evaluated-floor": ("run.json", "cases.jsonl"),
    "trained": ("config.json", "model.safetensors", "preprocessor_config.json", "detector-training.json"),
    "tuned": ("adapter", "log.jsonl"),
    "tuning": (),
}
UNREAD = ("marked", "report", "report.html", "report.md", "README.md", "spatial.json", "relations", ".lock")
BOXES = ("data/valid/images", "--boxes", "data/valid/labels")
LEVEES = (BOXES[0], "--boxes", "levee/labels", "--taxonomy", "levee.toml")
OTHER = (BOXES[0], "--detector", "trained", "--threshold", "0.05")
TUNING = ("--rank", "2", "--alpha", "8", "--lr", "0.01", "--epochs", "2", "--accumulate", "2", "--patience", "0")
TRAIN = ("finetune", "data", "--judge", "judge", "--device", "cpu", "--threads", "1", *TUNING)
STAGES = ("inspect", "data/valid/images", "--detector", "detector", "--judge", "floor:floor.safetensors")
FIT = ("train-detector", "data", "--model", "drawn", "--size", "64", "--batch", "3", "--epochs", "2", "--lr", "0.01")

LEVEE = """\
name = "levees"
version = 1
[[types]]
name = "gabion"
spoken = "gabion wall"
[[types]]
name = "weir"
spoken = "weir"
[[conditions]]
name = "normal"
color = "#2e9e4f"
[[conditions]]
name = "torn"
color = "#d6336c"
[[severities]]
name = "none"
meaning = "nothing to do"
[[severities]]
name = "urgent"
meaning = "this week"
[[classes]]
name = "gabion"
type = "gabion"
condition = "normal"
severity = "none"
[[classes]]
name = "gabion torn"
type = "gabion"
condition = "torn"
spellings = ["Broken-Gabion"]
severity = "urgent"
action = "Close the basket."
[[classes]]
name = "weir"
type = "weir"
condition = "normal"
meaning = "water runs over its whole length"
severity = "none"
[[classes]]
name = "weir torn"
type = "weir"
condition = "torn"
severity = "urgent"
action = "Lower the water."
[[immediate]]
type = "gabion"
condition = "torn"
relation = "overlaps"
other_type = "weir"
why = "the weir stands on it"
"""


def toeline(*words: str) -> None:
    """One command, as it is typed."""
    done = subprocess.run([sys.executable, "-m", "toeline", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"toeline {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")


def killed(*words: str, until: Path, lines: int = 1, files: Sequence[str] = ()) -> None:
    """One command, killed as soon as `until` has so many lines, or holds these files."""
    with subprocess.Popen([sys.executable, "-m", "toeline", *words], stderr=subprocess.DEVNULL) as process:
        while not (_has(until, files) if files else until.exists() and until.read_bytes().count(b"\n") >= lines):
            if process.poll() is not None:
                raise SystemExit(f"toeline {' '.join(words)}: ended before it could be killed")
            time.sleep(0.0005)
        process.kill()


def _has(folder: Path, files: Sequence[str]) -> bool:
    return all((folder / name).is_file() and (folder / name).stat().st_size for name in files)


def draw() -> None:
    """data/: six scenes of train on three flight lines and three of valid, 112 pixels wide."""
    scratch = Path("scratch")
    toeline("synth", str(scratch), "--scenes", "30", "--seed", "5", "--size", "448")
    found = [p for p in sorted(scratch.glob("*/images/*.jpg")) if 4 <= len(_labels(p)) <= 6]
    for n, photo in enumerate(found[:9]):
        line = ("North", "South", "West", "East")[min(3, n // 2)]
        _keep(photo, Path("data") / ("valid" if n >= 6 else "train"), f"{line}_{n:04}")
    shutil.copyfile(scratch / "data.yaml", "data/data.yaml")
    shutil.rmtree(scratch)


def _labels(photo: Path) -> list[str]:
    """Its objects as boxes: class, center, width and height as shares, four decimals."""
    rows = []
    for line in (photo.parent.parent / "labels" / f"{photo.stem}.txt").read_text().splitlines():
        name, *numbers = line.split()
        points = np.array(numbers, float).reshape(-1, 2)
        low, high = points.min(0), points.max(0)
        rows.append(" ".join([name, *(f"{v:.4f}" for v in (*(low + high) / 2, *(high - low)))]))
    return rows


def _keep(photo: Path, split: Path, name: str) -> None:
    for folder in ("images", "labels"):
        (split / folder).mkdir(parents=True, exist_ok=True)
    with Image.open(photo) as image:
        image.resize((PHOTO_PX, PHOTO_PX), Image.Resampling.LANCZOS).save(split / f"images/{name}.jpg", quality=60)
    (split / f"labels/{name}.txt").write_text("".join(f"{row}\n" for row in _labels(photo)))


def write_judge() -> None:
    """judge/: the architecture of Qwen2-VL with 34,000 random weights, kept in bfloat16."""
    import torch
    from tests.support.tiny_judges import make_model, make_tokenizer

    tokenizer = make_tokenizer()
    model = make_model(tokenizer, seed=SEED, scale=5.0, hidden=16, vision_width=16, layers=1, mlp=32)
    model.to(torch.bfloat16).save_pretrained("judge")
    tokenizer.save_pretrained("judge")
    view = {"cell": 28, "scene_tokens": 12, "crop_tokens": 6, "marked_tokens": 12, "detail_px": 224, "margin": 0.3}
    Path("judge/toeline.json").write_text(json.dumps({"view": {**view, "prompt": "relations"}}, indent=2) + "\n")


def write_detector() -> None:
    """detector/: the form that `train-detector` and `train-embedded detector` export, around a few sums."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kinds = ["toe_drain", "rock_toe", "slope_drain", "vegetation"]
    rows = [_cells(line) for line in Path("data/valid/labels/East_0007.txt").read_text().splitlines()]
    rows.append(rows[0])  # a duplicate, for the suppression
    inside = np.zeros((DETECTOR_PX, DETECTOR_PX, len(rows)), np.float16)
    which = np.zeros((len(rows), len(kinds)), np.float32)
    for n, (kind, x1, y1, x2, y2) in enumerate(rows):
        inside[y1:y2, x1:x2, n] = 1
        which[n, kind] = 1 / ((x2 - x1) * (y2 - y1) * 255)
    constants = {
        "inside": inside.reshape(-1, len(rows)),
        "row": np.array([1, DETECTOR_PX**2], np.int64),
        "column": np.array([len(rows), 1], np.int64),
        "which": which,
        "fixed": np.array([row[1:] for row in rows], np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["photo"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["gray"], axes=[3], keepdims=0),
        helper.make_node("Reshape", ["gray", "row"], ["flat"]),
        helper.make_node("Cast", ["inside"], ["weights"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["flat", "weights"], ["light"]),
        helper.make_node("Reshape", ["light", "column"], ["tall"]),
        helper.make_node("Mul", ["tall", "which"], ["scores"]),
        helper.make_node("Identity", ["fixed"], ["boxes"]),
    ]
    shapes = {"boxes": (len(rows), 4), "scores": (len(rows), len(kinds))}
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("photo", TensorProto.UINT8, (1, DETECTOR_PX, DETECTOR_PX, 3))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    Path("detector").mkdir()
    onnx.save(model, "detector/model.onnx")
    card = {
        "format": 1,
        "input_px": DETECTOR_PX,
        "fill": 114,
        "kinds": kinds,
        "thresholds": {"toe_drain": 0.45, "rock_toe": 0.4, "slope_drain": 0.3, "vegetation": 0.35},
        "nms_iou": 0.6,
        "objects": {"frame_px": 112, "size": {"10": 0.08, "50": 0.2, "90": 0.5}, "n": 60},
        "training": {"settings": {"seed": 1}},
    }
    Path("detector/detector.json").write_text(json.dumps(card, indent=1) + "\n")


def _cells(line: str) -> tuple[int, int, int, int, int]:
    """A line of labels as its type's place in the list, and corners in the detector's pixels."""
    name, x, y, wide, high = line.split()
    corners = (float(c) + side * float(size) / 2 for side in (-1, 1) for c, size in ((x, wide), (y, high)))
    x1, y1, x2, y2 = (round(DETECTOR_PX * c) for c in corners)
    return (0, 0, 0, 1, 1, 2, 2, 2, 3)[int(name)], x1, y1, x2, y2


def write_trained() -> None:
    """trained/: a YOLOS of 3,000 weights that `train-detector --model` fitted."""
    from tests.support import tiny_detectors

    config = {"hidden_size": 8, "num_hidden_layers": 1, "intermediate_size": 8, "image_size": [32, 32]}
    known = tiny_detectors.FAMILIES["yolos"]
    tiny_detectors.FAMILIES = {"yolos": ({**known[0], **config, "num_detection_tokens": 6}, *known[1:])}
    tiny_detectors.save_detector(Path("drawn"), "yolos")
    toeline(*FIT, "--device", "cpu", "--threads", "1", "--out", "trained")
    shutil.rmtree("drawn")


def write_levee() -> None:
    """levee.toml and levee/: another owner's taxonomy, and labels by it on two photographs of valid."""
    Path("levee.toml").write_text(LEVEE)
    Path("levee/labels").mkdir(parents=True)
    Path("levee/data.yaml").write_text("names: ['weir', 'Broken-Gabion', 'gabion', 'weir torn']\n")
    rows = ["1 0.3 0.5 0.4 0.5", "0 0.4 0.6 0.3 0.4", "2 0.8 0.8 0.2 0.2"]
    for n, photo in enumerate(sorted(Path("data/valid/images").iterdir())):
        (Path("levee/labels") / f"{photo.stem}.txt").write_text("".join(f"{row}\n" for row in rows[: n % 4]))


def write_runs() -> None:
    """Everything that commands wrote."""
    toeline("floor", "data", "--out", "floor.safetensors", "--folds", "3")
    toeline(*STAGES, "--out", "finished")
    killed(*STAGES, "--workers", "0", "--batch", "1", "--out", "stopped", until=Path("stopped/findings.jsonl"), lines=6)
    toeline("fuse", "data", "--judge", "judge", "--judge", "floor:floor.safetensors", "--out", "fuse.json")
    measured = ("evaluate", "data", "--split", "valid", "--device", "cpu", "--spatial", "4")
    toeline(*measured, "--judge", "judge", "--out", "evaluated")
    toeline(*measured, "--judge", "floor:floor.safetensors", "--out", "evaluated-floor")
    toeline(*measured[:-1], "0", "--judge", "judge", "--prompt", "all", "--calibrate", "train", "--out", "prompts")
    toeline(*TRAIN, "--out", "tuned")
    checkpoint = Path("tuned/checkpoints/checkpoint-3")
    files = [p.name for p in checkpoint.iterdir()]
    killed(*TRAIN, "--out", "tuning", until=Path("tuning/checkpoints/checkpoint-3"), files=files)


def expected() -> None:
    """expected.json, levee.jsonl, levee.csv: what the commands of tests/test_legacy.py said then."""
    said: dict[str, Any] = {}
    for name, words in {
        "judge": ("--judge", "judge"),
        "all": ("--judge", "judge", "--answers", "all"),
        "calibrated": ("--judge", "judge", "--calibration", "calibration.json"),
        "adapted": ("--judge", "judge", "--adapter", "tuned/adapter"),
        "fused": ("--judge", "fuse:fuse.json"),
        "floor": ("--judge", "floor:floor.safetensors"),
    }.items():
        toeline("inspect", *BOXES, "--device", "cpu", *words, "--out", f"scratch/{name}")
        said[name] = [answer(line) for line in _lines(Path("scratch") / name / "findings.jsonl")]
    toeline("inspect", *LEVEES, "--judge", "judge", "--device", "cpu", "--out", "scratch/levee")
    for suffix, file in ((".jsonl", "findings.jsonl"), (".csv", "worklist.csv")):
        shutil.copyfile(f"scratch/levee/{file}", f"levee{suffix}")
    toeline("inspect", *OTHER, "--judge", "floor:floor.safetensors", "--device", "cpu", "--out", "scratch/trained")
    said["trained"] = [{**answer(x), "box": x["box"]} for x in _lines(Path("scratch/trained/findings.jsonl"))]
    toeline("evaluate", "data", "--split", "valid", "--findings", "evaluated/findings.jsonl", "--out", "scratch/found")
    said["found"] = _figures(json.loads(Path("scratch/found/scorecard.json").read_text()))
    toeline("evaluate-detector", "data", "--detector", "detector", "--against", "trained", "--out", "scratch/boxes")
    said["detector"] = _figures(json.loads(Path("scratch/boxes/scorecard.json").read_text()))
    toeline("compare", "evaluated", "evaluated-floor", "--out", "scratch/compared")
    (told,) = json.loads(Path("scratch/compared/compare.json").read_text())["comparisons"]
    said["compared"] = told["differences"][:4]
    Path("expected.json").write_text(
        "{\n" + ",\n".join(f"{json.dumps(name)}: {_rows(rows)}" for name, rows in said.items()) + "\n}\n"
    )
    shutil.rmtree("scratch")


def answer(record: dict[str, Any]) -> dict[str, Any]:
    """What a line of findings.jsonl says of an object."""
    return {name: record[name] for name in ("photo", "id", "class", "probabilities", "review")}


def _figures(card: dict[str, Any]) -> list[dict[str, Any]]:
    kept = ("key", "value", "interval", "n", "count")
    return [{name: figure[name] for name in kept if name in figure} for figure in card["figures"]]


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def _rows(rows: Sequence[Any]) -> str:
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]"


def tidy() -> None:
    """Drop what nothing reads again."""
    for name in ("prompts.json", "calibration.json"):
        shutil.move(f"prompts/{name}", name)
    shutil.rmtree("prompts")
    for name, kept in KEPT.items():
        for path in sorted(Path(name).rglob("*"), reverse=True):
            first = path.relative_to(name).parts[0]
            if path.name in UNREAD or (kept and first not in kept):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def made() -> Iterator[Path]:
    """What lies here beside this file."""
    return (p for p in HERE.iterdir() if p.suffix != ".py" and p.name != "__pycache__")


def main() -> None:
    os.chdir(HERE)
    os.environ.update(HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    sys.path[:0] = [str(ROOT / "src"), str(ROOT)]  # this checkout's package, whatever is installed
    for path in made():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    steps: list[Any] = [draw, write_judge, write_detector, write_trained, write_levee, write_runs, tidy, expected]
    for step in steps:
        step()
    print(f"{sum(p.stat().st_size for p in HERE.rglob('*') if p.is_file()):,} bytes")


if __name__ == "__main__":
    main()
