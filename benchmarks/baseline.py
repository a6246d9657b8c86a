"""What the baseline scores: its choices inside train; then, on valid, it and its ensemble with the embedded judge.

    python benchmarks/baseline.py [--data ../shared/data/lagoon-dyke] [--out benchmarks/results]

Choices are compared by cross-validation inside train only, cut by flight line in several ways (`SHUFFLES`), so that no
photograph of a flight is on both sides. Then valid is looked at, with everything fixed: weight and temperatures
of the ensemble are fitted on train, on the baseline's out-of-fold scores. Boxes and types are the true ones. Intervals
are 95 % and clustered by photograph on valid (docs/scorecard.md).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from results import write
from sklearn.model_selection import GroupKFold

from toeline.core.box import Box
from toeline.core.scene import Scene
from toeline.core.taxonomy import Taxonomy
from toeline.data.images import read_photo
from toeline.data.yolo import open_yolo, read_entry
from toeline.evaluate.metric import metric_record
from toeline.judge.baseline.features import measure_names
from toeline.judge.baseline.judge import BaselineJudge
from toeline.judge.baseline.model import TypeModel
from toeline.judge.ensemble import EnsembleJudge, combined
from toeline.judge.load import load_judge
from toeline.pipelines.baseline import SHOWN, Said
from toeline.pipelines.baseline import measured as figures_of
from toeline.prompts.build import ask
from toeline.prompts.relations import around
from toeline.train.baseline import FeatureTable, fit, measured, train_baseline
from toeline.train.config import BaselineRun
from toeline.train.ensemble import ask_both, fit_on

SHUFFLES = 3
FOLDS = 5
Read = Callable[[TypeModel, Any], Any]
READERS: dict[str, Read] = {
    "linear and trees": lambda m, rows: m.log_probs(rows),
    "linear alone": lambda m, rows: np.log(m.linear.probabilities(rows[:, : len(m.linear.weights)])),
    "trees alone": lambda m, rows: np.log(m.forest.probabilities(rows) + 1e-9),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/lagoon-dyke"))
    parser.add_argument("--out", type=Path, help="folder for baseline.json and baseline.md")
    args = parser.parse_args()
    taxonomy = Taxonomy.load()
    results = {"choices": choices(args.data, taxonomy), "valid": valid(args.data, taxonomy)}
    text = page(results)
    print(text)
    if args.out:
        write("baseline", text, results, args.out)


def choices(data: Path, taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """One row per variant: means over the SHUFFLES of accuracy, balanced accuracy, normal or not, and log loss."""
    found = open_yolo(data, taxonomy)
    table, _ = measured(found, "train", taxonomy, lambda _: None)
    names = measure_names(tuple(t.name for t in taxonomy.types))
    without = {
        "all measures": (),
        "without the strip": ("strip ",),
        "without patterns": ("pattern ", "core pattern ", "green pattern "),
        "without place and overlaps": (
            "off middle",
            "y",
            "top",
            "bottom",
            "width",
            "height",
            "log ",
            "cut ",
            "things",
            "hi",
        ),
    }
    rows = []
    for what, left_out in without.items():
        keep = [i for i, n in enumerate(names) if not left_out or not n.startswith(left_out)]
        part = replace(table, rows=table.rows[:, keep])
        readers = READERS if what == "all measures" else {"linear and trees": READERS["linear and trees"]}
        rows += [{"measures": f"{what} ({len(keep)})", **row} for row in compared(part, taxonomy, readers)]
        print(rows[-1], flush=True)
    return rows


def compared(table: FeatureTable, taxonomy: Taxonomy, readers: dict[str, Read]) -> list[dict[str, Any]]:
    sums: dict[str, list[list[float]]] = {name: [] for name in readers}
    for shuffle in range(SHUFFLES):
        said: dict[str, list[Any]] = {name: [None] * len(table.rows) for name in readers}
        for seen, unseen in GroupKFold(FOLDS, shuffle=True, random_state=shuffle).split(
            table.rows, groups=table.groups
        ):
            models = fit(table.only(seen), taxonomy, seed=0)
            for name, read in readers.items():
                for i in unseen:
                    model = models.get(str(table.kinds[i]))
                    said[name][i] = read(model, table.rows[i : i + 1])[0] if model else np.zeros(1)
        for name in readers:
            sums[name].append(scored(table, taxonomy, said[name]))
    keys = (*SHOWN, "log_loss")
    return [
        {"model": name, **{k: round(float(v), 4) for k, v in zip(keys, np.mean(rows, axis=0), strict=True)}}
        for name, rows in sums.items()
    ]


def scored(table: FeatureTable, taxonomy: Taxonomy, said: Sequence[Any]) -> list[float]:
    options = [taxonomy.answers(str(kind)) for kind in table.kinds]
    best = np.array([o[int(np.argmax(s))] for o, s in zip(options, said, strict=True)])
    rows = zip(table.photos, table.groups, table.instances, table.classes, best, strict=True)
    by_key = {f.key: f.value for f in figures_of((Said(*map(str, row)) for row in rows), taxonomy)}
    loss = [-s[o.index(c)] for o, s, c in zip(options, said, table.classes, strict=True) if len(o) > 1]
    return [*(by_key[key] for key in SHOWN), float(np.mean(loss))]


def valid(data: Path, taxonomy: Taxonomy) -> dict[str, Any]:
    """Everything is trained and fitted on train; valid is measured."""
    start = time.process_time()
    trained = train_baseline(BaselineRun(data=data), taxonomy)
    seconds = time.process_time() - start
    baseline = BaselineJudge(trained.model, "baseline")
    judge = EnsembleJudge((load_judge("embedded", device="cpu"), baseline), ("embedded", "baseline"))
    judge = replace(judge, mix=fit_on(ask_both(data, "train", judge, taxonomy).asked))
    found = open_yolo(data, taxonomy)
    rows: dict[str, list[Said]] = {}
    clock = 0.0
    rng = np.random.default_rng(0)
    for entry in found.splits["valid"]:
        labeled, image = read_entry(entry, taxonomy, found.names), read_photo(entry.photo)
        start = time.process_time()
        said = answers(baseline, labeled.scene, image, taxonomy)
        clock += time.process_time() - start
        sheet = sheet_of(judge, labeled.scene, image, taxonomy)
        a, b = judge.score_parts(sheet)
        ids = [q.instance_id for q in sheet.questions]
        judged = {
            "baseline": said,
            "embedded": dict(zip(ids, map(best_of, a), strict=True)),
            "ensemble": {i: best_of(combined(x, y, judge.mix)) for i, x, y in zip(ids, a, b, strict=True)},
            **{
                f"baseline, edges off by {share:.0%}": answers(
                    baseline, jittered(labeled.scene, rng, share), image, taxonomy
                )
                for share in (0.05, 0.1)
            },
        }
        for ground_truth in labeled.ground_truths:
            for name, found_answers in judged.items():
                answer = found_answers.get(ground_truth.instance_id, taxonomy.answers(ground_truth.type_name)[0])
                rows.setdefault(name, []).append(
                    Said(entry.photo.name, "", ground_truth.instance_id, ground_truth.class_name, answer)
                )
    pairs = list(zip(rows["ensemble"], rows["baseline"], strict=True))
    return {
        "train_cpu_seconds": round(seconds, 1),
        "cpu_seconds_per_photograph": round(clock / len(found.splits["valid"]), 4),
        "mix": {"weight_of_baseline": judge.mix.weight, "temperatures": judge.mix.temperatures},
        "temperature": trained.model.temperature,
        "judges": {name: measured_on(cases, taxonomy) for name, cases in rows.items()},
        "disagree": {
            "ensemble right, baseline wrong": sum(f.answer == f.right != g.answer for f, g in pairs),
            "baseline right, ensemble wrong": sum(g.answer == g.right != f.answer for f, g in pairs),
        },
    }


def measured_on(said: list[Said], taxonomy: Taxonomy) -> dict[str, Any]:
    right_of = {
        c: [sum(s.answer == s.right == c for s in said), sum(s.right == c for s in said)] for c in taxonomy.answers()
    }
    return {"figures": [metric_record(f) for f in figures_of(said, taxonomy)], "right_of": right_of}


def sheet_of(judge: Any, scene: Scene, image: Any, taxonomy: Taxonomy) -> Any:
    return ask(scene, image, {t.id: around(scene, t.id) for t in scene.instances}, taxonomy, judge.view)


def answers(judge: Any, scene: Scene, image: Any, taxonomy: Taxonomy) -> dict[str, str]:
    sheet = sheet_of(judge, scene, image, taxonomy)
    return {q.instance_id: best_of(s) for q, s in zip(sheet.questions, judge.score(sheet), strict=True)}


def best_of(scores: Any) -> str:
    return str(max(scores, key=scores.__getitem__))


def jittered(scene: Scene, rng: np.random.Generator, share: float) -> Scene:
    """Every edge moved by a normal error whose deviation is a share of the box's side, as a detector's boxes are."""
    instances = []
    for instance in scene.instances:
        b, (x1, y1, x2, y2) = instance.box, rng.normal(0, share, 4)
        xs = sorted((b.x1 + x1 * b.width, b.x2 + x2 * b.width))
        ys = sorted((b.y1 + y1 * b.height, b.y2 + y2 * b.height))
        instances.append(replace(instance, box=Box(xs[0], ys[0], xs[1], ys[1]).clipped(scene.size_wh), polygon=()))
    return replace(scene, instances=tuple(instances))


def page(results: dict[str, Any]) -> str:
    rows = [
        "# The baseline\n",
        "\n\n".join((__doc__ or "").split("\n\n")[2:3]) + "\n",
        f"## Choices: train alone, mean of {SHUFFLES} cross-validations by flight line\n",
        "| measures | model | condition given type | nine classes | balanced | normal or not | log loss |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for r in results["choices"]:
        shares = " | ".join(f"{100 * r[k]:.1f} %" for k in SHOWN)
        rows.append(f"| {r['measures']} | {r['model']} | {shares} | {r['log_loss']:.3f} |")
    v = results["valid"]
    rows += [
        "\n## Valid, with true boxes and types\n",
        "| judge | measured | right | 95 % interval | n | majority class |",
        "|---|---|--:|---|--:|--:|",
    ]
    for name, judged in v["judges"].items():
        for f in judged["figures"]:
            low, high = f["interval"]
            told = f"{100 * f['value']:.1f} % | {100 * low:.1f} to {100 * high:.1f} | {f['n']} | {100 * f['floor']:.1f}"
            rows.append(f"| {name} | {f['label']} | {told} |")
    rows += ["", "| class | " + " | ".join(v["judges"]) + " |", "|---|" + "--:|" * len(v["judges"])]
    for c in next(iter(v["judges"].values()))["right_of"]:
        told = [f"{j['right_of'][c][0]} of {j['right_of'][c][1]}" for j in v["judges"].values()]
        rows.append(f"| {c} | {' | '.join(told)} |")
    mix, disagree = v["mix"], v["disagree"]
    rows += [
        f"\nEnsemble: weight {mix['weight_of_baseline']} of the baseline, temperatures {mix['temperatures']}; right "
        f"where the baseline is wrong {disagree['ensemble right, baseline wrong']} times, the reverse "
        f"{disagree['baseline right, ensemble wrong']} times. The baseline's own temperature: {v['temperature']}.\n",
        f"Training took {v['train_cpu_seconds']} CPU seconds, a photograph {v['cpu_seconds_per_photograph']}.\n",
    ]
    return "\n".join(rows)


if __name__ == "__main__":
    main()
