"""Both stages as one: detected boxes, then the judge, on the real valid split and on drawn scenes, by the commands.

    pip install -e .
    python benchmarks/integration.py [--scenes 100] [--real ../shared/data/lagoon-dyke] [--baseline] [--detector D]
        [--judge J] [--out benchmarks/results] [--stem integration] [--note "..."]

Runs `toeline evaluate --boxes detector` with the models in the package; with --baseline also with the baseline, the
judge without a language model, trained on the real train split (of drawn scenes of another seed where there are no
real ones). Writes integration.json and integration.md (or another --stem): every figure with n, interval and
majority-class baselines, errors by stage, the same judge on true boxes. Nothing is chosen here. docs/scorecard.md
defines every figure. A detector or judge of your own is called own-detector or own-judge in the results; --note says
in a sentence what they are.

Both stages trained on the real train split by hand; benchmarks/learn.py does it in one command:

    toeline train-detector ../shared/data/lagoon-dyke --out runs/trained-detector
    toeline finetune ../shared/data/lagoon-dyke --out runs/trained-judge --full --lr 1e-4 --epochs 12 \\
        --crop-tokens 100 --patience 0
    python benchmarks/integration.py --scenes 0 --baseline --detector runs/trained-detector/model.onnx \\
        --judge runs/trained-judge/model --stem own --note "..."
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from results import RESULTS, write

from evaluate import LIBRARIES, SEED, machine
from toeline.synth.dataset import write_dataset

BASELINE_SEED = 20_261_126  # drawn scenes that a baseline is trained on; nothing is measured on them
BASELINE_SCENES = 120
ON_THE_PAGE = ("headline", "judge_on_found_and_true_boxes")
BESIDE = ("where_found", "true_boxes", "cost_of_detected_boxes")  # tables beside that of both stages
MAIN = ("accuracy", "condition_given_type", "normal_or_not", "missed_defects", "false_alarms")
COUNTS = {
    "right": "right", "wrong_condition": "wrong condition", "wrong_type": "wrong type", "misplaced": "badly placed",
    "missed": "not found", "double": "double", "false": "of nothing",
}  # fmt: skip


def main() -> None:
    args = arguments()
    with tempfile.TemporaryDirectory() as folder:
        args.detector = named(Path(folder), args.detector, "own-detector")
        args.judge = named(Path(folder), args.judge, "own-judge")
        measured = [one for data in datasets(args, Path(folder)) for one in measure(args, Path(folder), *data)]
    record = {"note": args.note, "machine": machine(args, (*LIBRARIES, "onnxruntime")), "runs": measured}
    short = {**record, "runs": [shortened(run) for run in measured]}
    write(args.stem, "\n".join(page(measured, record["machine"], args.note)), short, args.out, all_of=record)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=100, help="0 leaves drawn scenes out")
    parser.add_argument("--real", type=Path, default=Path("../shared/data/lagoon-dyke"))
    parser.add_argument("--baseline", action="store_true", help="also the judge without a language model")
    parser.add_argument("--detector", default="embedded")
    parser.add_argument("--judge", default="embedded")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--note", default="", help="what the detector and the judge are")
    parser.add_argument("--stem", default="integration", help="name of the two files, without ending")
    return parser.parse_args()


def datasets(args: argparse.Namespace, top: Path) -> Iterator[tuple[str, Path, Path]]:
    """Name of each data set, where it is, and where a baseline for it is trained."""
    if (args.real / "data.yaml").is_file():
        yield "real", args.real.resolve(), args.real.resolve()
    if args.scenes:
        write_dataset(top / "drawn", scenes=args.scenes, seed=SEED, parts={"valid": 1.0}, masks=False)
        other = top / "drawn-train"
        if args.baseline:
            write_dataset(other, scenes=BASELINE_SCENES, seed=BASELINE_SEED, parts={"train": 1.0}, masks=False)
        yield "drawn", top / "drawn", other


def named(top: Path, model: str, name: str) -> str:
    """A detector or judge as commands in the folder `top` call it: one that lies on this machine is linked there."""
    given = Path(model).resolve()
    if not given.exists():
        return model
    (top / name).symlink_to(given if given.is_dir() else given.parent)
    return name if given.is_dir() else f"{name}/{given.name}"


def measure(args: argparse.Namespace, top: Path, name: str, data: Path, train: Path) -> Iterator[dict[str, Any]]:
    """One run for each judge."""
    judges = [("" if args.judge == "embedded" else "own-", args.judge)]
    if args.baseline:
        toeline(top, "baseline", train, "--out", f"{name}-baseline.safetensors", "--split", "train")
        judges.append(("baseline-", f"baseline:{name}-baseline.safetensors"))
    for prefix, judge in judges:
        out = f"both-{prefix}{name}"
        toeline(
            top, "evaluate", data, "--split", "valid", "--boxes", "detector", "--detector", args.detector,
            "--judge", judge, "--spatial", "0", "--out", out,
        )  # fmt: skip
        record = json.loads((top / out / "integration.json").read_text(encoding="utf-8"))
        seconds = json.loads((top / out / "scorecard.json").read_text(encoding="utf-8"))["cost"][
            "seconds_per_photograph"
        ]
        who = "baseline" if judge.startswith("baseline:") else judge
        yield {"data": name, "detector": args.detector, "judge": who, "seconds_per_photograph": seconds, **record}


def toeline(top: Path, *words: Any) -> None:
    """One command in the folder `top`, so that results name no path; 1 means that some input had problems."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "toeline", *map(str, words)], check=False, cwd=top)
    print(f"toeline {words[0]}: exit {done.returncode}, {time.perf_counter() - start:.0f} s", flush=True)
    if done.returncode > 1:
        sys.exit(done.returncode)


def page(runs: Sequence[dict[str, Any]], made: dict[str, Any], note: str) -> Iterator[str]:
    """The figures as Markdown."""
    yield "# Both stages as one"
    yield ""
    sets = ["*real* is the valid split of `lagoon-dyke`"]
    if scenes := made["drawn"]["scenes"]:
        sets.append(f"*drawn* {scenes} scenes of seed {made['drawn']['seed']}")
    yield (
        "Made by [`benchmarks/integration.py`](../integration.py); the definitions are in "
        "[scorecard.md](../../docs/scorecard.md). Detected boxes are matched to true ones at IoU 0.5, one to one, and "
        "a miss is wrong. 95 % intervals draw whole photographs. Majority class: the detector's boxes, each with the "
        f"most common class of its type, counted on these objects or in train. {', '.join(sets)}."
    )
    yield from ("", note) if note else ()
    for run in runs:
        yield from ("", f"## {run['data']}: detector {run['detector']}, judge {run['judge']}", "", run["headline"], "")
        yield from figures(run)
        yield from ("", *stages(run), "", *types(run))
        yield from ("", f"{run['seconds_per_photograph']:.2f} seconds per photograph on this machine, both stages.")
    yield from ("", "## Machine", "", *(f"- {k}: {v}" for k, v in made.items()))


def shortened(run: dict[str, Any]) -> dict[str, Any]:
    """A run for the small JSON: what the page has of both stages, and the main figures of the tables beside it."""
    short = {k: v for k, v in run.items() if k not in (*BESIDE, *ON_THE_PAGE)}
    both = run["both_stages"]
    told = [f for f in both["figures"] if is_told(f["key"])]
    short["both_stages"] = {k: v for k, v in both.items() if k != "confusion"} | {"figures": told}
    for name in BESIDE:
        rows = (run[name] or {}).get("figures") or (run[name] or {}).get("differences") or []
        short[name] = [row for row in rows if row["key"] in MAIN]
    return short


def is_told(key: str) -> bool:
    """Whether the page has a row for a figure."""
    return key in MAIN or key.startswith(("type/", "condition/"))


def figures(run: dict[str, Any]) -> Iterator[str]:
    """Both stages beside the judge on true boxes."""
    both, true, found = (
        {f["key"]: f for f in (run[name] or {"figures": []})["figures"]}
        for name in ("both_stages", "true_boxes", "where_found")
    )
    cost = {d["key"]: d for d in (run["cost_of_detected_boxes"] or {"differences": []})["differences"]}
    yield "| measured | n | both stages | majority class | from train | true boxes | points | where found | n |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    for key, f in both.items():
        if not f["n"] or not is_told(key):
            continue
        name = f"{f['label']} (lower is better)" if f["lower_is_better"] else f["label"]
        majority = [percent(f[k]) for k in ("floor", "train_floor")]
        where = found.get(key, {"n": 0})
        cells = [said(f), *majority, said(true.get(key)), points(cost.get(key)), said(where), str(where["n"])]
        yield f"| {name} | {f['n']} | {' | '.join(cells)} |"


def stages(run: dict[str, Any]) -> Iterator[str]:
    """What went wrong where, as shares."""
    yield "| stage | share | n |"
    yield "|---|--:|--:|"
    for f in run["figures"]:
        if f["n"]:
            yield f"| {f['label']} | {said(f)} | {f['n']} |"


def types(run: dict[str, Any]) -> Iterator[str]:
    """Counts by type."""
    yield f"| type | {' | '.join(COUNTS.values())} |"
    yield f"|---|{'--:|' * len(COUNTS)}"
    for kind, counts in {**run["by_type"], "all": run["counts"]}.items():
        yield f"| {kind.replace('_', ' ')} | {' | '.join(str(counts[k]) for k in COUNTS)} |"


def said(figure: dict[str, Any] | None) -> str:
    if not figure or not figure["n"]:
        return ""
    low, high = figure["interval"]
    return f"{percent(figure['value'])} ({100 * low:.1f} to {100 * high:.1f})"


def points(difference: dict[str, Any] | None) -> str:
    if not difference or difference["difference"] is None:
        return ""
    low, high = difference["interval"]
    return f"{100 * difference['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


if __name__ == "__main__":
    main()
