"""One round with a person in the loop: inspect, correct in the service, labels, train, and what that was worth.

    python benchmarks/round.py DATA --detector FILE --work DIR [--corrections 60] [--rounds 5] [--out FOLDER]

The judge to begin with is a baseline of drawn scenes alone, and DETECTOR should be one that has never seen a photograph
either (`toeline train-embedded detector`). The photographs of `train` are inspected once. In each round they come in
another drawn order, and a script answers in `toeline serve`, by the true labels, every finding of one photograph after
the other until it has corrected so many: another class, no object, or an object that was missed. What
`toeline labels` writes is learned from, beside the same drawn scenes, and both judges are measured on `valid`, object
by object. No label of `valid` is corrected or learned from. Everything is done by the commands and the API that people
use; what is in --work already is not done again.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from results import RESULTS, write

from toeline.core.box import Box
from toeline.core.ground_truth import TrueInstance
from toeline.core.provenance import machine, versions
from toeline.core.taxonomy import Taxonomy
from toeline.data.datasets import read_split
from toeline.data.yolo import open_yolo
from toeline.evaluate.classification import HEADLINE
from toeline.evaluate.compare import compare
from toeline.evaluate.matching import pair_up
from toeline.pipelines.compare import read_run_cases

SCENES, SEED = 168, 7_700_000  # drawn scenes of the judge to begin with; of a seed of their own
MEND = 0.8  # a box that overlaps the true one less is drawn anew
PORT = 8790
ROWS = {HEADLINE: "condition, given the type", "accuracy": "nine classes"}
HEADS = ("round", "photographs", "confirmed", "changed", "rejected", "added", "before %", "after %", "points", "p")
Truth = Mapping[str, Sequence[TrueInstance]]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("data", type=Path)
    options.add_argument("--detector", required=True)
    options.add_argument("--work", type=Path, required=True)
    options.add_argument("--corrections", type=int, default=60)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--out", type=Path, default=RESULTS)
    args = options.parse_args()
    begun = begin(args.data, args.detector, args.work)
    taxonomy = Taxonomy.load()
    true = read_split(open_yolo(args.data, taxonomy), "train", taxonomy).true
    rounds = []
    for number in range(args.rounds):
        rounds.append(one_round(number, args, begun, true))
        print(json.dumps(rounds[-1]["worth"][HEADLINE]), flush=True)
    figures = {"rounds": rounds, "asked": args.corrections, "machine": {**machine(), **versions()}}
    write("round", "\n".join(page(figures)), figures, args.out)


def begin(data: Path, detector: str, work: Path) -> Path:
    """The judge that knows drawn scenes alone, its run over `train`, and its accuracy on `valid`."""
    judge = work / "before.safetensors"
    toeline(work / "drawn", "synth", work / "drawn", "--scenes", SCENES, "--seed", SEED)
    toeline(judge, "baseline", work / "drawn", "--split", "train", "--out", judge)
    known = ["--judge", f"baseline:{judge}"]
    toeline(work / "run", "inspect", data / "train" / "images", "--detector", detector, *known, "--out", work / "run")
    toeline(work / "before", "evaluate", data, "--split", "valid", *known, "--spatial", 0, "--out", work / "before")
    return judge


def one_round(number: int, args: argparse.Namespace, begun: Path, true: Truth) -> dict[str, Any]:
    """Corrections, labels, training, and both judges on the same objects."""
    work = args.work / f"round-{number}"
    store, labels, judge = work / "store", work / "labels", work / "after.safetensors"
    toeline(store, "serve", "import", args.work / "run", "--store", store)
    answered = work / "answered.json"
    if not answered.is_file():
        with served(store) as api:
            save(answered, correct(api, true, args.corrections, random.Random(number)))
    toeline(labels, "labels", store, "--out", labels)
    toeline(judge, "baseline", labels / "yolo", "--split", "train", "--mix-drawn", SCENES, "--out", judge)
    known = ["--judge", f"baseline:{judge}", "--spatial", 0]
    toeline(work / "after", "evaluate", args.data, "--split", "valid", *known, "--out", work / "after")
    both = [read_run_cases(folder) for folder in (args.work / "before", work / "after")]
    worth = compare(both[0], both[1], Taxonomy.load())
    record = json.loads((labels / "labels.json").read_text(encoding="utf-8"))
    card = json.loads((work / "after" / "scorecard.json").read_text(encoding="utf-8"))
    return {
        **json.loads(answered.read_text(encoding="utf-8")),
        "labeled": record["objects"],
        "n": worth.objects,
        "photographs": worth.photographs,
        "majority": next(f["floor"] for f in card["figures"] if f["key"] == HEADLINE),
        "worth": {d.key: asdict(d) for d in worth.differences if d.key in ROWS},
    }


class Api:
    """What a script sends and gets, as JSON."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __call__(self, path: str, sent: Any = None) -> Any:
        body = None if sent is None else json.dumps(sent).encode()
        asked = urllib.request.Request(f"{self.url}{path}", body, {"content-type": "application/json"})
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return json.load(answer)

    def photographs(self) -> list[dict[str, Any]]:
        """All of the store, those without a finding too."""
        first = self("/photos?per_page=500")
        pages = range(2, 2 + (first["total"] - 1) // 500)
        return [*first["items"], *(p for at in pages for p in self(f"/photos?per_page=500&page={at}")["items"])]


def correct(api: Api, true: Truth, wanted: int, order: random.Random) -> dict[str, Any]:
    """Answer photograph after photograph in a drawn order, each completely, until so many answers were corrections."""
    photographs = api.photographs()
    done: Counter[str] = Counter()
    looked = 0
    for photo in order.sample(photographs, len(photographs)):
        if sum(n for action, n in done.items() if action != "confirm") >= wanted:
            break
        found = api(f"/photos/{photo['id']}")["items"]
        sent = list(decisions(photo["id"], found, true.get(photo["name"], ())))
        if not found:
            continue  # an engineer looks at findings; a photograph without one comes up in no queue
        results = api("/decisions/batch", {"items": sent})["results"]
        refused = [r for r in results if r["status"] != 200]
        if refused:
            raise SystemExit(f"{photo['name']}: {refused[0]}")
        done.update(d["action"] for d in sent)
        looked += 1
    return {"looked_at": looked, "answers": dict(done)}


def decisions(photo: int, found: list[dict[str, Any]], true: Sequence[TrueInstance]) -> Iterator[dict[str, Any]]:
    """What a person who knows the truth answers to the findings of one photograph, and adds to them."""
    ranked = sorted(found, key=lambda f: -f["confidence"])
    places = pair_up([("", Box(*f["box"])) for f in ranked], [("", t.instance.box) for t in true])
    for at, finding in enumerate(ranked):
        key = f"round-{finding['id']:08d}"
        said: dict[str, Any] = {"finding": finding["id"], "version": finding["version"], "key": key}
        if at not in places:
            yield said | {"action": "reject"}
            continue
        its = true[places[at]]
        name = its.ground_truth.class_name
        answer = {"action": "confirm"} if name == finding["class"] else {"action": "change", "class": name}
        moved = its.instance.box.iou(Box(*finding["box"])) < MEND
        yield said | answer | ({"box": list(its.instance.box.xyxy)} if moved else {})
    for at, missed in enumerate(true):
        if at not in places.values():
            box = {"box": list(missed.instance.box.xyxy), "class": missed.ground_truth.class_name}
            yield {"action": "add", "photo": photo, "key": f"round-{photo:06d}-{at:04d}", **box}


@contextmanager
def served(store: Path) -> Iterator[Api]:
    """The service over a store, as a process of its own."""
    process = subprocess.Popen([sys.executable, "-m", "toeline", "serve", "--store", str(store), "--port", str(PORT)])
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{PORT}/readyz", timeout=5).close()
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.5)
        yield Api(f"http://127.0.0.1:{PORT}/api/v1")
    finally:
        process.terminate()
        process.wait(60)


def toeline(made: Path, *words: object) -> None:
    """A command, unless it was done already: what says so stands beside what it makes."""
    stamp = made.with_name(f".{made.name}.done")
    if stamp.is_file():
        return
    command = [sys.executable, "-m", "toeline", *map(str, words)]
    made.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, check=False)
    if done.returncode > 1:  # 1: something is said of single photographs or labels
        raise SystemExit(f"{' '.join(command)}: ended with {done.returncode}")
    save(stamp, {"command": command, "exit_code": done.returncode})


def save(file: Path, record: Any) -> None:
    file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def page(figures: dict[str, Any]) -> Iterator[str]:
    rounds = figures["rounds"]
    first = rounds[0]
    yield "# A round with a person in the loop"
    yield ""
    yield (
        f"Written by `python benchmarks/round.py`: the photographs of the real train split are inspected with a judge "
        f"(a baseline) and a detector that know drawn scenes alone; a script answers in `toeline serve` by the true "
        f"labels, photograph after photograph in a drawn order, until {figures['asked']} answers were corrections; "
        f"`toeline labels`; `toeline baseline` on these labels beside {SCENES} drawn scenes; both judges on the real "
        f"valid split, on true boxes: {first['n']} objects on {first['photographs']} photographs. Points are "
        f"the difference, paired, with 95 % intervals drawn over photographs. The majority-class baseline of the "
        f"condition given the type gets {percent(first['majority'])} %."
    )
    for key, words in ROWS.items():
        yield ""
        yield f"## {words.capitalize()}"
        yield ""
        yield f"| {' | '.join(HEADS)} |"
        yield "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
        yield from (row(number, one, one["worth"][key]) for number, one in enumerate(rounds))
    yield ""
    yield (
        "Rounds differ in which photographs were drawn; they are measured on the same objects, so they are no "
        "independent trials. p is McNemar's exact test, which takes objects as independent."
    )
    yield ""
    yield "- " + ", ".join(f"{k} {v}" for k, v in figures["machine"].items())


def row(number: int, one: dict[str, Any], d: dict[str, Any]) -> str:
    answers, (low, high) = one["answers"], d["interval"]
    counts = " | ".join(str(answers.get(action, 0)) for action in ("confirm", "change", "reject", "add"))
    return (
        f"| {number + 1} | {one['looked_at']} | {counts} | {percent(d['first'])} | {percent(d['second'])} | "
        f"{100 * d['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}) | {d['p_value']:.3f} |"
    )


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


if __name__ == "__main__":
    main()
