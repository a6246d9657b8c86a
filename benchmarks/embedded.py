"""What the embedded models score: on drawn scenes of a seed never trained on, and on real photographs if there are any.

    pip install -e '.[dev]'
    python benchmarks/embedded.py [--scenes 200] [--real ../shared/data/lagoon-dyke] [--out benchmarks/results]

Three measurements: the judge on true boxes, the detector alone (COCO average precision by pycocotools, at IoU 0.5), and
both together (a finding counts if its box has IoU >= 0.5 with an object and its class is right). Every figure has a
95 % interval from a bootstrap over photographs, and n. Nothing is chosen here: thresholds come with the models.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from results import write

from toeline.core.finding import Finding
from toeline.core.ground_truth import TrueInstance, join
from toeline.core.taxonomy import Taxonomy
from toeline.data.images import Photo, read_photo
from toeline.data.yolo import Entry, open_yolo, read_entry
from toeline.detect.detector import DetectorOptions
from toeline.detect.load import load_detector
from toeline.evaluate.average_precision import precisions
from toeline.evaluate.classification import most_common, score
from toeline.evaluate.detection import detection_metrics
from toeline.evaluate.matching import Case, Matched, match, on_found_boxes
from toeline.evaluate.metric import Metric
from toeline.judge.load import load_judge
from toeline.pipelines.inspector import Inspector

SEED = 20_261_121  # of this benchmark alone: no training run, demo or test draws from it
EVERY_BOX = 0.001  # average precision needs the whole curve, not only what passes the thresholds


def main() -> None:
    args = arguments()
    taxonomy = Taxonomy.load()
    results: dict[str, Any] = {"machine": machine(), "seed": SEED, "sets": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name, entries in data_sets(args, Path(folder), taxonomy).items():
            results["sets"][name] = measured(entries, taxonomy)
            print(table(name, results["sets"][name]), flush=True)
    if args.out:
        page = ["# The embedded models\n", (__doc__ or "").split("\n\n")[2], f"Measured on {results['machine']}.\n"]
        page += [table(name, rows) for name, rows in results["sets"].items()]
        write("embedded", "\n".join(page), results, args.out)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--real", type=Path, default=Path("../shared/data/lagoon-dyke"))
    parser.add_argument("--out", type=Path, help="folder for embedded.json and embedded.md")
    return parser.parse_args()


def machine() -> str:
    names = ("toeline", "torch", "transformers", "onnxruntime", "numpy", "pillow", "opencv-python-headless")
    return f"{platform.machine()}, Python {platform.python_version()}, " + ", ".join(f"{n} {version(n)}" for n in names)


def data_sets(args: argparse.Namespace, folder: Path, taxonomy: Taxonomy) -> dict[str, tuple[Entry, ...]]:
    """The drawn scenes, and the real valid split where it is."""
    from toeline.synth.dataset import write_dataset

    drawn = folder / "drawn"
    write_dataset(drawn, scenes=args.scenes, seed=SEED, parts={"valid": 1.0}, masks=False)
    found = {f"{args.scenes} drawn scenes": open_yolo(drawn, taxonomy).splits["valid"]}
    if (args.real / "data.yaml").is_file():
        found["real photographs, valid split"] = open_yolo(args.real, taxonomy).splits["valid"]
    return found


def measured(entries: Sequence[Entry], taxonomy: Taxonomy) -> dict[str, Any]:
    """All figures of one data set, by name."""
    ground_truth = {e.photo.name: read_entry(e, taxonomy) for e in entries}
    photos = [Photo(e.photo, e.photo.name) for e in entries]
    true = {name: join(t.scene.instances, t.ground_truths) for name, t in ground_truth.items()}
    given = Inspector.load(taxonomy=taxonomy, boxes=lambda photo, size: (ground_truth[photo.name].scene.instances, ()))
    start = time.process_time()
    judged = inspected(given, photos)
    seconds = time.process_time() - start
    words = inspected(replace(given, judge=load_judge("embedded")), photos)
    joint = inspected(Inspector.load(taxonomy=taxonomy), photos)
    return {
        "photographs": len(photos),
        "objects": sum(map(len, true.values())),
        "judge_cpu_seconds_per_photograph": round(seconds / len(photos), 3),
        **judge_figures([match(name, judged[name], t, iou=0.99) for name, t in true.items()], taxonomy),
        **words_alone([match(name, words[name], t, iou=0.99) for name, t in true.items()], taxonomy),
        **detector_figures(photos, true, taxonomy),
        **joint_figures([match(name, joint[name], t) for name, t in true.items()]),
    }


def inspected(inspector: Inspector, photos: Sequence[Photo]) -> dict[str, Sequence[Finding]]:
    found: dict[str, Sequence[Finding]] = {}
    for result in inspector.inspect_all(photos):
        if result.failed:
            raise SystemExit(f"{result.photo}: {result.problems}")
        found[result.photo] = result.findings
    return found


def judge_figures(matched: Sequence[Matched], taxonomy: Taxonomy) -> dict[str, Any]:
    cases = [case for m in matched for case in on_found_boxes(m)]
    card, majority = score(cases, taxonomy), score(as_majority(cases, taxonomy), taxonomy)
    kinds = [t.name for t in taxonomy.types if len(taxonomy.answers(t.name)) > 1]
    return {
        "judge, nine classes": row(card["accuracy"]),
        "judge, condition given type, no vegetation": row(card.headline),
        **{f"judge, {kind}": row(card[f"type/{kind}"]) for kind in sorted(kinds)},
        "majority-class baseline, nine classes": row(majority["accuracy"]),
        "majority-class baseline, condition given type, no vegetation": row(majority.headline),
        "judge, right by class": {f.label: f"{f.count}/{f.n}" for f in card.under("class")},
    }


def words_alone(matched: Sequence[Matched], taxonomy: Taxonomy) -> dict[str, Any]:
    """The language model in the package, without the baseline."""
    card = score([case for m in matched for case in on_found_boxes(m)], taxonomy)
    return {
        "language model alone, nine classes": row(card["accuracy"]),
        "language model alone, condition given type, no vegetation": row(card.headline),
    }


def as_majority(cases: Sequence[Case], taxonomy: Taxonomy) -> list[Case]:
    """The same objects, each called the class that is most common among those of its type: no picture is looked at."""
    said = most_common([(case.type_name, case.true_class) for case in cases], taxonomy)
    return [replace(case, said_class=said[case.type_name]) for case in cases]


def joint_figures(matched: Sequence[Matched]) -> dict[str, Any]:
    found, real, f1, recall, precision = detection_metrics(matched)
    return {
        "both, F1": row(f1),
        "both, precision": row(precision),
        "both, recall": row(recall),
        "detector at its thresholds, objects found": row(found),
        "detector at its thresholds, boxes that are an object": row(real),
    }


def row(figure: Metric) -> dict[str, Any]:
    majority = {} if figure.majority_baseline is None else {"floor": figure.majority_baseline}
    ends = {"low": figure.interval.low, "high": figure.interval.high}
    return {"value": figure.value, **ends, "n": figure.n, **majority}


def detector_figures(
    photos: Sequence[Photo], true: dict[str, tuple[TrueInstance, ...]], taxonomy: Taxonomy
) -> dict[str, Any]:
    """mAP@0.5 over the types, its interval, and average precision by type."""
    options = DetectorOptions(general=EVERY_BOX)
    detector = load_detector("embedded", taxonomy=taxonomy, options=options)
    found = [[s.instance for s in detector.find([read_photo(p.path)])[0]] for p in photos]
    kinds, names = [t.name for t in taxonomy.types], [p.name for p in photos]
    said = precisions(found, [[t.instance for t in true[name]] for name in names], kinds, names)
    whole = said.figures()[0]
    return {
        "detector, mAP@0.5": {"value": whole.value, "low": whole.interval.low, "high": whole.interval.high},
        **{f"detector, AP@0.5 {k}": {"value": float(v)} for k, v in zip(kinds, said.at_50, strict=True)},
    }


def table(name: str, rows: dict[str, Any]) -> str:
    """One data set as a Markdown table."""
    lines = [f"\n## {name}\n", "| measured | value | 95 % interval | n | majority class |", "|---|--:|---|--:|--:|"]
    for what, r in rows.items():
        if isinstance(r, dict) and "value" in r:
            ends = f"{100 * r['low']:.1f} to {100 * r['high']:.1f}" if "low" in r else ""
            majority = f"{100 * r['floor']:.1f}" if "floor" in r else ""
            lines.append(f"| {what} | {100 * r['value']:.1f} % | {ends} | {r.get('n', '')} | {majority} |")
        elif not isinstance(r, dict):
            lines.append(f"| {what} | {r} | | | |")
    by = rows["judge, right by class"]
    lines.append("\nJudge on true boxes, right of how many: " + ", ".join(f"{k} {v}" for k, v in by.items()) + ".\n")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
