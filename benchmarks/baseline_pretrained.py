"""What the features of an ImageNet network add to the baseline (`toeline baseline --features pretrained`).

    python benchmarks/baseline_pretrained.py [--data ../shared/data/lagoon-dyke] [--out benchmarks/results]

The recipe was chosen by cross-validation inside train only, cut by flight line in six ways: the five folds that
`toeline baseline` cuts, and five shuffled cuts. Every figure is the mean over the six; probabilities are calibrated by
one temperature for each cut, as the product does. Before, some 25 recipes had been compared on these folds, which
flatters what was taken. Valid chose nothing. Boxes and types are the true ones. Intervals are 95 %, by a bootstrap over
flight lines (train) or photographs (valid). CPU seconds are those of cores that other work shared.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from baseline import best_of, measured_on, sheet_of
from results import write
from scipy.special import log_softmax
from sklearn.model_selection import GroupKFold

from toeline.core.calibration import fit_temperature
from toeline.core.statistics import Interval
from toeline.core.taxonomy import Taxonomy
from toeline.data.feature_maps import feature_network
from toeline.data.images import read_photo
from toeline.data.pooling import COLUMNS
from toeline.data.yolo import open_yolo, read_entry
from toeline.evaluate.metric import ClusterBootstrap, share_of
from toeline.judge.baseline.judge import BaselineJudge
from toeline.judge.baseline.model import LEAST, TypeModel
from toeline.pipelines.baseline import Said
from toeline.train.baseline import TEMPERATURES, BaselineRun, FeatureTable, fit, fit_wide, measured, train_baseline

FOLDS = 5
CUTS = (None, 0, 1, 2, 3, 4)  # None: that of `toeline baseline`; the others: shuffled with this seed
FLOOR, CHOSEN = "measures", "half of each (`--features pretrained`)"
CONTROL = "half of each, but the second linear model sees the measures alone"
Array = np.ndarray[Any, np.dtype[np.float64]]
Read = Callable[[TypeModel, Any], Any]


def wide_alone(model: TypeModel, rows: Any) -> Any:
    assert model.wide
    return np.log(LEAST + (1 - LEAST * len(model.answers)) * model.wide.probabilities(rows))


READERS: dict[str, Read] = {
    FLOOR: lambda m, rows: replace(m, wide=None).log_probs(rows),
    "one linear model of measures and pretrained features": wide_alone,
    CHOSEN: lambda m, rows: m.log_probs(rows),
    CONTROL: lambda m, rows: m.log_probs(rows),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/lagoon-dyke"))
    parser.add_argument("--out", type=Path, help="folder for baseline_pretrained.json and baseline_pretrained.md")
    args = parser.parse_args()
    taxonomy = Taxonomy.load()
    figures = {"train": cross_validated(args.data, taxonomy), "valid": valid(args.data, taxonomy)}
    print(text := page(figures))
    if args.out:
        write("baseline_pretrained", text, figures, args.out)


def cross_validated(data: Path, taxonomy: Taxonomy) -> list[dict[str, Any]]:
    table, _ = measured(open_yolo(data, taxonomy), "train", taxonomy, lambda _: None, feature_network())
    found = outcomes(table, taxonomy)
    asked = np.array([len(taxonomy.answers(str(kind))) > 1 for kind in table.kinds])
    lines = ClusterBootstrap.of([str(g) for g in table.groups])
    return [
        {
            "read": name,
            "nine_by_cut": [round(float(v), 4) for v in right.mean(axis=1)],
            **compared(right.mean(axis=0), found[FLOOR][0].mean(axis=0), "nine", lines),
            **compared(right.mean(axis=0), found[FLOOR][0].mean(axis=0), "condition", lines, asked),
            **compared(loss.mean(axis=0), found[FLOOR][1].mean(axis=0), "log_loss", lines, asked),
        }
        for name, (right, loss) in found.items()
    ]


def outcomes(table: FeatureTable, taxonomy: Taxonomy) -> dict[str, tuple[Array, Array]]:
    """For each way of reading (cuts, objects): whether the answer is right, and its calibrated log loss."""
    rights: dict[str, list[Any]] = {name: [] for name in READERS}
    losses: dict[str, list[Any]] = {name: [] for name in READERS}
    options = [taxonomy.answers(str(kind)) for kind in table.kinds]
    target = [o.index(c) for o, c in zip(options, table.classes, strict=True)]
    asked = [i for i, o in enumerate(options) if len(o) > 1]
    for cut in CUTS:
        for name, rows in answered(cut, table, taxonomy).items():
            warm = fit_temperature([rows[i] for i in asked], [target[i] for i in asked], bounds=TEMPERATURES)
            rights[name].append([float(np.argmax(s) == t) for s, t in zip(rows, target, strict=True)])
            losses[name].append([-log_softmax(s / warm)[t] for s, t in zip(rows, target, strict=True)])
        print(cut, {name: round(float(np.mean(right[-1])), 4) for name, right in rights.items()}, flush=True)
    return {name: (np.array(rights[name]), np.array(losses[name])) for name in READERS}


def answered(cut: int | None, table: FeatureTable, taxonomy: Taxonomy) -> dict[str, list[Any]]:
    """For each way of reading the log-probabilities of each object, by models that saw nothing of its flight line."""
    said = {name: [np.zeros(1)] * len(table.rows) for name in READERS}
    for seen, unseen in folds(cut, table):
        part = table.only(seen)
        for kind, model in fit(part, taxonomy, seed=0, pooled=COLUMNS).items():
            blind = without_network(model, part.only(part.kinds == kind))
            for i in unseen[table.kinds[unseen] == kind]:
                for name, read in READERS.items():
                    said[name][i] = read(blind if name == CONTROL else model, table.rows[i : i + 1])[0]
    return said


def without_network(model: TypeModel, part: FeatureTable) -> TypeModel:
    """The same with a second linear model that was fitted where all pooled features are 0."""
    rows = part.rows.copy()
    rows[:, -COLUMNS:] = 0
    target = np.array([model.answers.index(name) for name in part.classes])
    return replace(model, wide=fit_wide(rows, target, len(model.answers), COLUMNS))


def folds(cut: int | None, table: FeatureTable) -> Iterator[tuple[Any, Any]]:
    how = GroupKFold(FOLDS) if cut is None else GroupKFold(FOLDS, shuffle=True, random_state=cut)
    yield from how.split(table.rows, groups=table.groups)


def compared(mine: Any, floor: Any, key: str, clusters: ClusterBootstrap, among: Any = None) -> dict[str, Any]:
    """The mean of `mine` (n,) among these, and how far it is from that of `floor`, with its interval."""
    among = np.ones(len(mine), bool) if among is None else among
    columns = np.column_stack([(mine - floor) * among, among])
    interval = clusters.interval(columns, share_of, among=among, limits=Interval(-9.0, 9.0))
    difference = float((mine - floor)[among].mean())
    return {key: float(mine[among].mean()), f"{key}_minus_measures": [difference, *interval]}


def valid(data: Path, taxonomy: Taxonomy) -> dict[str, Any]:
    """Everything is trained and fitted on train; valid is measured."""
    judges, found = {}, open_yolo(data, taxonomy)
    clocks: dict[str, float] = {}
    for name, features in ((FLOOR, "measures"), (CHOSEN, "pretrained")):
        judges[name] = BaselineJudge(train_baseline(BaselineRun(data=data, features=features), taxonomy).model, name)  # type: ignore[arg-type]
    said: dict[str, list[Said]] = {name: [] for name in judges}
    losses: dict[str, list[float]] = {name: [] for name in judges}
    entries = found.splits["valid"]
    loaded = [(entry, read_entry(entry, taxonomy, found.names), read_photo(entry.photo)) for entry in entries]
    for name, judge in judges.items():
        start = time.process_time()
        sheets = [sheet_of(judge, labeled.scene, image, taxonomy) for _, labeled, image in loaded]
        scored = [judge.score(sheet) for sheet in sheets]
        clocks[name] = (time.process_time() - start) / len(loaded)
        for (entry, labeled, _), sheet, rows in zip(loaded, sheets, scored, strict=True):
            by_id = {q.instance_id: row for q, row in zip(sheet.questions, rows, strict=True)}
            for true in labeled.ground_truths:
                row = by_id.get(true.instance_id, {true.class_name: 0.0})
                said[name].append(Said(entry.photo.name, "", true.instance_id, true.class_name, best_of(row)))
                losses[name].append(-row[true.class_name])
    photos = ClusterBootstrap.of([s.photo for s in said[FLOOR]])
    asked = np.array([len(taxonomy.answers(taxonomy.class_of(s.right).type)) > 1 for s in said[FLOOR]])
    right = {name: np.array([float(s.answer == s.right) for s in rows]) for name, rows in said.items()}
    loss = {name: np.array(rows) for name, rows in losses.items()}
    return {
        name: {
            "cpu_seconds_per_photograph": clocks[name],
            "temperature": judges[name].model.temperature,
            **compared(right[name], right[FLOOR], "nine", photos),
            **compared(right[name], right[FLOOR], "condition", photos, asked),
            **compared(loss[name], loss[FLOOR], "log_loss", photos, asked),
            "gained": int((right[name] > right[FLOOR]).sum()),
            "lost": int((right[name] < right[FLOOR]).sum()),
            **measured_on(said[name], taxonomy),
        }
        for name in judges
    }


HEAD = (
    "| read | nine classes | minus measures | condition given type | minus measures | log loss | minus measures |\n"
    "|---|--:|---|--:|---|--:|---|"
)


def page(f: dict[str, Any]) -> str:
    v = f["valid"]
    lines = [
        "# The baseline with pretrained features\n",
        "\n\n".join((__doc__ or "").split("\n\n")[2:]),
        f"## Train, mean of {len(CUTS)} cross-validations by flight line\n\n{HEAD}",
        *(as_row(row["read"], row) for row in f["train"]),
        f"\nNine classes, cut by cut: {'; '.join(by_cut(row) for row in f['train'])}.",
        f"\n## Valid, for the recipe that was chosen\n\n{HEAD}",
        *(as_row(name, row) for name, row in v.items()),
        "",
        *(f"- {name}: {figures_of(row)}" for name, row in v.items()),
        f"\n| class | {' | '.join(v)} |\n|---|{'--:|' * len(v)}",
    ]
    for c in v[FLOOR]["right_of"]:
        lines.append(f"| {c} | {' | '.join('{} of {}'.format(*row['right_of'][c]) for row in v.values())} |")
    return "\n".join(lines)


def by_cut(row: dict[str, Any]) -> str:
    return f"{row['read']} {', '.join(f'{100 * value:.1f}' for value in row['nine_by_cut'])}"


def as_row(name: str, row: dict[str, Any]) -> str:
    cells = [name]
    for key, times, digits in (("nine", 100, 1), ("condition", 100, 1), ("log_loss", 1, 3)):
        mean, low, high = (f"{times * value:+.{digits}f}" for value in row[f"{key}_minus_measures"])
        same = name == FLOOR
        cells += [f"{times * row[key]:.{digits}f}", "" if same else f"{mean} ({low} to {high})"]
    return f"| {' | '.join(cells)} |"


def figures_of(row: dict[str, Any]) -> str:
    told = []
    for figure in row["figures"]:
        low, high = figure["interval"]
        told.append(f"{figure['label']} {100 * figure['value']:.1f} % ({100 * low:.1f} to {100 * high:.1f})")
    told.append(f"{row['gained']} objects won and {row['lost']} lost against the measures alone")
    return "; ".join([*told, f"{row['cpu_seconds_per_photograph']:.3f} CPU seconds a photograph"])


if __name__ == "__main__":
    main()
