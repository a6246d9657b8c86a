"""Makes what `toeline learn` wrote the model in the package: smaller weights, cards, NOTICE, and the list of weights.

    pip install onnx
    python benchmarks/ship.py runs/learned --why "Trained on ..." [--to src/toeline/models] [--scenes 200]

The judge's weights are rounded to float16 and computed in float32 as before. The detector's are kept: rounded, boxes of
several views join otherwise here and there (a side moved by 1.4 pixels). What differs is measured on drawn scenes, and
more than ROUNDING is refused; calibration and ensemble are then those of the rounded weights. The domain file gets a
second kind: drawn scenes, with what the stored models score on others of them. Figures in the cards are those of the
learned folder; `python benchmarks/embedded.py` measures what is stored.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from embedded import SEED, inspected, joint_figures
from half import compared, found_by, stored
from PIL import Image
from results import save
from safetensors.numpy import load_file, save_file

from toeline._version import __version__
from toeline.core.calibration import load_calibration
from toeline.core.ground_truth import join
from toeline.core.reading import file_hash
from toeline.core.scene import Instance
from toeline.core.taxonomy import Taxonomy
from toeline.data.domain import DomainCard, Score, load_domain, save_domain
from toeline.data.images import Photo
from toeline.data.yolo import LabeledScene, open_yolo, read_entry
from toeline.detect.detector import RESCORE
from toeline.evaluate.matching import match
from toeline.judge.ensemble import EnsembleJudge, save_ensemble
from toeline.judge.judge import fingerprint
from toeline.judge.load import load_judge
from toeline.pipelines.domain import SHIPPED
from toeline.pipelines.inspector import Inspector
from toeline.pipelines.learn import EXPECTED
from toeline.pipelines.model_folder import (
    BASELINE,
    CALIBRATION,
    DETECTOR,
    DOMAIN,
    ENSEMBLE,
    JUDGE,
    MODEL,
    WORDS,
    ModelFolder,
    write_model,
)
from toeline.synth.dataset import write_dataset
from toeline.synth.scene import draw

ROOT = Path(__file__).parent.parent
LISTED = ROOT / "tests" / "models" / "weights.json"
FIRST = 9_100_000  # seed of the first drawn scene for rounding, as in half.py
# A share, pixels of scenes of 640, two chances. Where a view's box just joins others or just does not, a side jumps.
ROUNDING = {"alone": 0.02, "side": 1.0, "confidence": 0.01, "probability": 0.02}
MOST_BYTES = 45_000_000
TRAINING = "training.json"  # how the language model was trained
TEXT = {".json", ".jinja", ".txt", ".md", ".toml"}
CREDIT = """\
trained on photographs published with the repository pratham-2097/clip-model (https://github.com/pratham-2097/clip-model):
exports of the Roboflow workspace "conditional-classes" with nine-class labels,
licensed under CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/). No photograph is in these files.
Changed: the photographs were cut by flight line into a train and a validation part, and models were fitted to the train
part, and to scenes that Toeline draws.
"""


def main() -> None:
    args = arguments()
    learned, to = ModelFolder.load(args.learned), args.to
    if WORDS in learned.files:
        raise SystemExit(f"{args.learned}: has classes of its own; the package is for the nine that Toeline knows.")
    drawn = next(k for k in load_domain(args.drawn).kinds if k.card.trained_on.startswith("drawn"))
    (to / MODEL).unlink(missing_ok=True)  # until all is there, it is no model: its hashes would not hold
    parts = [*detector(learned, to), *judge(learned, to)]
    made = ModelFolder(to, dict.fromkeys(parts, ""))
    moved = rounding(learned, made, args.rounded)
    save(to / CALIBRATION, as_json(calibration(learned, made)))
    score = on_drawn(made, args.scenes)
    domain(learned, to, replace(drawn, card=DomainCard("drawn scenes", f"{args.scenes} drawn scenes", (score,))))
    parts += [CALIBRATION, DOMAIN]
    told = {**learned.scores, "rounded": moved, "drawn": score._asdict()}
    write_model(to, parts, learned.trained_on, told)
    shipped = ModelFolder.load(to)
    cards(shipped, to, run_of(args.learned))
    listed(shipped, args.why)
    checked(to, args.learned)
    print(f"{to}: {sum(f.stat().st_size for f in to.rglob('*') if f.is_file()):,} bytes. Now measure what is stored:")
    print("python benchmarks/embedded.py --out benchmarks/results; python benchmarks/domain.py --pictures ...")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("learned", type=Path, help="the folder of toeline learn")
    parser.add_argument("--why", required=True, help="why these replace the present weights, for weights.json")
    parser.add_argument("--to", type=Path, default=ROOT / "src" / "toeline" / "models")
    parser.add_argument("--drawn", type=Path, default=SHIPPED, help="a domain file that has drawn scenes as a kind")
    parser.add_argument("--scenes", type=int, default=200, help="drawn scenes to measure on")
    parser.add_argument("--rounded", type=int, default=40, help="drawn scenes to measure rounding on")
    return parser.parse_args()


def as_json(record: Any) -> str:
    return json.dumps(record, indent=2, ensure_ascii=False)


def run_of(learned: Path) -> dict[str, Any]:
    """The settings of the training, without places on this machine."""
    record = json.loads((learned / "run.json").read_text(encoding="utf-8"))
    settings = {k: v for k, v in record["settings"].items() if not (isinstance(v, str) and "/" in v)}
    return {"command": "toeline learn", "settings": settings, "versions": record["versions"]}


def detector(learned: ModelFolder, to: Path) -> list[str]:
    """The network, and what stands beside it: its description, and what gives confidences anew where there is one."""
    card = to / DETECTOR / "detector.json"
    sizes_seen = json.loads(card.read_text(encoding="utf-8")).get("objects")  # of drawn scenes, which it saw too
    parts = parts_in(learned, DETECTOR, to)
    told = json.loads(card.read_text(encoding="utf-8"))
    save(card, json.dumps({**({"objects": sizes_seen} if sizes_seen else {}), **told}, indent=1))
    stored(learned.path / DETECTOR / "model.onnx", to / DETECTOR / "model.onnx", half=False)
    return parts


def parts_in(learned: ModelFolder, folder: str, to: Path) -> list[str]:
    """Copies a folder's files in place of those of before, but for the card."""
    names = [name for name in learned.files if Path(name).parts[0] == folder]
    (to / folder).mkdir(parents=True, exist_ok=True)
    for old in (to / folder).iterdir():
        if old.name != "README.md":
            old.unlink()
    for name in names:
        shutil.copyfile(learned.path / name, to / name)
    return names


def judge(learned: ModelFolder, to: Path) -> list[str]:
    """Baseline, language model and ensemble; where none was trained the package keeps its language model."""
    shutil.copyfile(learned.path / BASELINE, to / BASELINE)
    (to / ENSEMBLE).unlink(missing_ok=True)
    names = language_model(learned, to) if any(n.startswith(f"{JUDGE}/") for n in learned.files) else []
    if ENSEMBLE not in learned.files:
        return [*names, BASELINE]
    ensemble(learned, to)
    return [*names, BASELINE, ENSEMBLE]


def language_model(learned: ModelFolder, to: Path) -> list[str]:
    """The judge's weights in float16, and how it was trained."""
    names = parts_in(learned, JUDGE, to)
    weights = to / JUDGE / "model.safetensors"
    tensors = {key: table.astype(np.float16) for key, table in load_file(weights).items()}
    if not all(np.isfinite(table).all() for table in tensors.values()):
        raise SystemExit(f"{learned.path}: its judge has weights that are too large for float16.")
    save_file(tensors, weights, metadata={"format": "pt"})
    config = json.loads((to / JUDGE / "config.json").read_text(encoding="utf-8"))
    save(to / JUDGE / "config.json", as_json({**config, "dtype": "float16"}))
    save(to / JUDGE / TRAINING, as_json(run_of(learned.path)))
    return list(dict.fromkeys([*names, f"{JUDGE}/{TRAINING}"]))


def ensemble(learned: ModelFolder, to: Path) -> None:
    """The weights and temperatures of before, for the rounded language model, under names that say no place."""
    saved = EnsembleJudge.of_file(
        learned.path / ENSEMBLE, [str(to / JUDGE), f"baseline:{to / BASELINE}"], load_judge, called=ENSEMBLE
    )
    facts = {name: value for name, value in saved.facts.items() if name != "mix"}
    save_ensemble(to / ENSEMBLE, replace(saved, names=("embedded", "baseline:embedded")), facts)


def calibration(learned: ModelFolder, made: ModelFolder) -> dict[str, Any]:
    """That of before, for the rounded weights: `rounding` has seen that they say the same."""
    answers = load_judge(made.judge)
    whose = {"judge": "model.json", "fingerprint": fingerprint(answers.info), "prompt": answers.view.prompt}
    return dict(replace(load_calibration(learned.calibration), fitted_for=whose).record())


def rounding(learned: ModelFolder, made: ModelFolder, number: int) -> dict[str, Any]:
    """How far detections and probabilities move; too far is the end."""
    scenes = [Image.fromarray(draw(FIRST + n).image) for n in range(number)]
    one, other = (found_by(f.path / DETECTOR / "model.onnx", scenes) for f in (learned, made))
    boxes, moves = compared(one, other), list[float]()
    before, after = (Inspector.load(f.detector, f.judge) for f in (learned, made))
    for scene in scenes:
        said = before.inspect(scene)
        things = [Instance(f.instance_id, f.type_name, f.box) for f in said]
        again = replace(after, boxes=lambda *_, things=things: (things, ())).inspect(scene)
        for p, q in ((f.verdict.probabilities, g.verdict.probabilities) for f, g in zip(said, again, strict=True)):
            moves += [max(abs(p[name] - q[name]) for name in p)] if p else []
    figures = {
        "scenes": len(scenes),
        **boxes,
        "probability": {"median": float(np.median(moves)), "most": max(moves)},
    }
    too_far = {
        "alone": boxes["alone"] / max(boxes["detections"], 1),
        "side": boxes["side_px"]["most"],
        "confidence": boxes["confidence"]["most"],
        "probability": figures["probability"]["most"],
    }
    print(f"Rounding moves: {too_far}")
    if over := {name: value for name, value in too_far.items() if value > ROUNDING[name]}:
        raise SystemExit(f"That is more than is allowed: {over} against {ROUNDING}. Nothing may be shipped so.")
    return figures


def on_drawn(made: ModelFolder, number: int) -> Score:
    """What both stages score on drawn scenes of the seed of benchmarks/embedded.py."""
    taxonomy = Taxonomy.load()
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(Path(folder), scenes=number, seed=SEED, parts={"valid": 1.0}, masks=False)
        scenes = {e.photo.name: read_entry(e, taxonomy) for e in open_yolo(Path(folder), taxonomy).splits["valid"]}
        inspector = Inspector.load(made.detector, made.judge, taxonomy=taxonomy)
        found = inspected(inspector, [Photo(s.path, name) for name, s in scenes.items()])
    row = joint_figures([match(name, found[name], join(*truth_of(s))) for name, s in scenes.items()])["both, recall"]
    return Score(EXPECTED["both_stages"], row["value"], row["low"], row["high"], row["n"])


def truth_of(scene: LabeledScene) -> tuple[Any, Any]:
    return scene.scene.instances, scene.ground_truths


def domain(learned: ModelFolder, to: Path, drawn: Any) -> None:
    """Both kinds in one file; drawn scenes alone where too few photographs were trained on."""
    if DOMAIN not in learned.files:
        return save_domain(drawn, to / DOMAIN)
    return save_domain(replace(load_domain(learned.path / DOMAIN), others=(drawn,)), to / DOMAIN)


def share(metric: Mapping[str, Any]) -> str:
    low, high = metric["interval"]
    return f"{metric['value']:.1%} ({low:.1%} to {high:.1%}) | {metric['n']:,}"


@dataclass(frozen=True)
class Told:
    """What the cards say, from the learned folder."""

    shipped: ModelFolder
    run: Mapping[str, Any]

    @property
    def trained_on(self) -> str:
        on, settings = self.shipped.trained_on, self.run["settings"]
        said = ", ".join(f"{k} {v}" for k, v in settings.items() if isinstance(v, int | float) and v is not None)
        more = "".join(f" {k}: {v}." for k, v in on.items() if isinstance(v, int | str) and k not in KNOWN)
        return (
            f"{on['photographs']:,} real photographs of an ash-lagoon dyke ({on['objects']:,} labeled objects, "
            f"{len(on['flight_lines']):,} flight lines; NOTICE), from the models that had seen drawn scenes only, by "
            f"`toeline learn` ({said}).{more} What was chosen was chosen on {on['folds']} folds by flight line."
        )

    def scores(self, *keys: str) -> str:
        told, drawn = self.shipped.scores, self.shipped.scores["drawn"]
        rows = [f"| {LABELS[key]}, {told['split']} | {share(told[key])} |" for key in keys]
        if "both_stages" in keys:
            where = {**drawn, "interval": (drawn["low"], drawn["high"])}
            rows.append(f"| {LABELS['both_stages']}, drawn scenes | {share(where)} |")
        return "\n".join(["| measured | value (95 % interval) | objects |", "|---|--:|--:|", *rows])

    @property
    def rounded(self) -> str:
        f = self.shipped.scores["rounded"]
        return (
            f"The language model's weights are stored in float16 and computed in float32, the detector's are float32. "
            f"On {f['scenes']} drawn scenes, what is stored moved a side of a box by {f['side_px']['most']:.3f} pixels "
            f"at most, a confidence by {f['confidence']['most']:.4f}, a probability by {f['probability']['most']:.4f}; "
            f"{f['alone']} of {f['detections']} detections came or went."
        )


KNOWN = {"split", "photographs", "objects", "folds"}
LABELS = {
    "detector": "mAP@0.5 of the detector",
    "judge": "right class on true boxes (nine classes)",
    "both_stages": "right class in the right place",
}
ELSEWHERE = """\
What is stored was measured in `benchmarks/results/embedded.md`, on drawn scenes and on the validation split; how it was
learned is in `benchmarks/results/learn.md`."""
LIMITS = """\
It was measured on other flight lines of the site that it was trained on, and nowhere else. On another site `toeline
inspect` says so ({up}docs/domain.md), and `toeline learn` makes a model of your own labels."""
LICENSE = "Apache-2.0, like Toeline; the photographs it was trained on are CC BY 4.0, see `{up}NOTICE`."
NOT_DRAWN = "The one that has seen drawn scenes only is made anew by `toeline train-embedded {part} --out DIR`."


def cards(shipped: ModelFolder, to: Path, run: Mapping[str, Any]) -> None:
    told = Told(shipped, run)
    save(to / "README.md", package_card(told).rstrip())
    save(to / DETECTOR / "README.md", detector_card(told).rstrip())
    if any(name.startswith(f"{JUDGE}/") for name in shipped.files):
        save(to / JUDGE / "README.md", judge_card(told).rstrip())
    own = "The models in this folder, but for features/ (see features/NOTICE), were\n" + CREDIT
    save(to / "NOTICE", own.rstrip())
    root = to.parent.parent.parent / "NOTICE"
    head = "The models in src/toeline/models (in an installed package: toeline/models):\n"
    if root.is_file() and head not in root.read_text(encoding="utf-8"):
        quoted = "\n".join(f"    {line}" for line in own.rstrip().splitlines())
        save(root, f"{root.read_text(encoding='utf-8').rstrip()}\n\n{head}\n{quoted}")


def package_card(told: Told) -> str:
    both = ENSEMBLE in told.shipped.files
    kept = "the ensemble of both (`ensemble.json`)" if both else "and of these the baseline alone, by its log loss"
    return f"""\
# The model in the package

A model folder as `toeline learn` writes it. `toeline inspect`, `evaluate` and `demo` use all of it where neither
--model nor --judge is given. `detector/` finds objects, with thresholds of its own; `judge/` (a language model) and
`baseline.safetensors` say their class, {kept}. `calibration.json` has the temperatures and review thresholds of that
answer, `domain.safetensors` says what the photographs were like, `model.json` has a hash of each file. Single parts:
`--detector embedded`, `--judge embedded`, `--judge baseline:embedded`. `features/` has a card of its own.

## What it was trained on

{told.trained_on}

Models that have seen drawn scenes only are made anew by `toeline train-embedded detector --out DIR` and
`toeline train-embedded judge --out DIR`.

## What it scores

{told.scores("detector", "judge", "both_stages")}

{ELSEWHERE}

{told.rounded}

## Domain

`domain.safetensors` knows two kinds of photographs, each with a limit and scores of its own: those of the site, and
drawn scenes. A photograph that is like neither is said to be so. No photograph is in the file. The drawn kind is made
by `python benchmarks/domain.py --drawn FILE`; rates are in `benchmarks/results/domain.md`.

## Limits

{LIMITS.format(up="../../../")}

All of this folder but `features/` is written by `python benchmarks/ship.py LEARNED`.

License: {LICENSE.format(up="")}
"""


def detector_card(told: Told) -> str:
    card = json.loads((told.shipped.path / DETECTOR / "detector.json").read_text(encoding="utf-8"))
    px, kinds = card["input_px"], ", ".join(f"`{kind}`" for kind in card["kinds"])
    limits = ", ".join(f"{kind} {at}" for kind, at in card["thresholds"].items())
    return f"""\
# The embedded detector

Finds four types of object on photographs of embankments ({kinds}), never their condition.
`model.onnx` and `detector.json` are read by `toeline/detect/onnx.py` with onnxruntime; nothing else is needed.

- Network: CSPDarknet with path aggregation, depth 0.33, width 0.25 (YOLOX), and an anchor-free head with task-aligned
  assignment (YOLOv9), built from libreyolo.
- Input: `photo` (1, {px}, {px}, 3) uint8 RGB, the whole photograph between gray margins ({card["fill"]}); scaling
  is in the graph.
- Output: `boxes` (A, 4), x1, y1, x2, y2 in pixels of the input; `scores` (A, {len(card["kinds"])}), 0 to 1, in
  the order of `kinds`; not yet suppressed.
- Thresholds, chosen out of fold: {limits}.

## What it was trained on

{told.trained_on} {NOT_DRAWN.format(part="detector")}

## What it scores

{told.scores("detector", "both_stages")}

{ELSEWHERE}

{told.rounded}

## Limits

{LIMITS.format(up="../../../../")}

License: {LICENSE.format(up="../")} The network's code is MIT and Apache-2.0. Nothing from ultralytics was used.
"""


def judge_card(told: Told) -> str:
    both = ENSEMBLE in told.shipped.files
    alone = (
        "Where no judge is named it answers together with the baseline (`../ensemble.json`)."
        if both
        else "Where no judge is named the baseline answers alone: with both the log loss out of fold was no less."
    )
    return f"""\
# The embedded judge

A small model of the Qwen2-VL architecture: `Qwen2VLForConditionalGeneration` of transformers, 9.6 million parameters,
its own byte-level tokenizer, float16 on disk, no pickles. It loads like any other directory of that family.
{alone} `--judge embedded` is this part alone, and its probabilities are not calibrated.

## What it was trained on

{told.trained_on} {NOT_DRAWN.format(part="judge")}

The settings are in `training.json`, what it is shown in `toeline.json`.

## What {"the ensemble" if both else "the package without it"} scores

{told.scores("judge", "both_stages")}

{ELSEWHERE}

{told.rounded}

## Limits

It answers with the nine classes of the default taxonomy. It cannot chat, and cannot write a name out: it learned the
choice between names and nothing else. Its tokenizer knows the words of Toeline's prompts, and spells all others in
bytes.
{LIMITS.format(up="../../../../")}

License: {LICENSE.format(up="../")}
"""


def sizes(file: Path) -> Iterator[int]:
    """How many values each table of weights has."""
    if file.suffix == ".safetensors":
        yield from (table.size for table in load_file(file).values())
        return
    import onnx

    yield from (math.prod(tensor.dims) for tensor in onnx.load(file).graph.initializer)


def listed(shipped: ModelFolder, why: str) -> None:
    """weights.json, which a test compares with what is there."""
    file = LISTED if shipped.path.resolve().is_relative_to(ROOT.resolve()) else shipped.path.parent / LISTED.name
    known = json.loads(LISTED.read_text(encoding="utf-8"))
    made = {"detector": "float32", "baseline": "float64", "domain": "float32"}
    if f"{JUDGE}/model.safetensors" in shipped.files:
        made["judge"] = "float16"
    places = {"detector": "detector/model.onnx", "judge": "judge/model.safetensors", "baseline": BASELINE}
    known.pop("rescore", None)
    if (rescore := f"{DETECTOR}/{RESCORE}") in shipped.files:
        made["rescore"], places["rescore"] = "float64", rescore
    for name, dtype in made.items():
        weights = shipped.path / places.get(name, DOMAIN)
        if known.get(name, {}).get("sha256") == file_hash(weights):
            continue
        known[name] = {
            "file": places.get(name, DOMAIN),
            "sha256": file_hash(weights),
            "dtype": dtype,
            "parameters": sum(sizes(weights)),
            "since": f"{date.today().isoformat()}, for {__version__}",
            "why": why,
            "measured": "benchmarks/results/learn.md",
        }
    save(file, as_json(dict(sorted(known.items()))))


def checked(to: Path, learned: Path) -> None:
    """The package is small, and says of no machine where things lie."""
    files = [f for f in to.rglob("*") if f.is_file()]
    if (size := sum(f.stat().st_size for f in files)) > MOST_BYTES:
        raise SystemExit(f"{to}: has {size:,} bytes; at most {MOST_BYTES:,}.")
    places = [str(Path.home()), str(learned.resolve()), str(ROOT.resolve()), str(to.resolve())]
    told = [f"{f}: {place}" for f in files for place in places if place.encode() in f.read_bytes()]
    if told:
        raise SystemExit("Places of this machine stand in:\n" + "\n".join(told))


if __name__ == "__main__":
    main()
