"""The review under load: 50 readers and 5 reviewers on 100,000 findings, for a minute, by loopback.

    pip install 'locust>=2.47'          (beside toeline[serve]; in an environment of its own)
    python benchmarks/review_load.py [--findings 100000] [--seconds 60] [--folder DIR] [--out benchmarks/results]

Draws photographs, imports a run over them, starts `toeline serve` with accounts, and lets `review_users.py` work. Says
the 95th percentile of every kind of request; ends with an error if one failed or the chain of events is not whole.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from results import RESULTS, write

HOST, PORT = "127.0.0.2", 8799  # loopback, but not the address at which nobody needs an account
ON_A_PHOTO, DRAWN, SIZE = 50, 100, (640, 480)
SETTLE_S = 10
RAMP_S = 40  # in which they come and log in, which takes a tenth of a second of all cores each
SHOWN = (
    "page",
    "whole page",
    "list of findings",
    "crop",
    "one finding",
    "progress",
    "decision",
    "36 at once",
)
LIMIT_MS = 300
LIBRARIES = ("toeline", "fastapi", "starlette", "uvicorn", "locust")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--findings", type=int, default=100_000)
    options.add_argument("--readers", type=int, default=50)
    options.add_argument("--reviewers", type=int, default=5)
    options.add_argument("--seconds", type=int, default=60)
    options.add_argument("--folder", type=Path, help="keep the store here, and use it again")
    options.add_argument("--out", type=Path, default=RESULTS)
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        password = secrets.token_hex(8)
        make_store(folder, args.findings, args.reviewers, password)
        figures = {**vars(args), **measured(folder, args, password)}
    del figures["folder"], figures["out"]
    write("review_load", page(figures), figures, args.out)
    print(page(figures))
    if figures["failed"] or figures["faults"]:
        raise SystemExit(f"{figures['failed']} requests failed, {figures['faults']} faults in the chain of events.")


def make_store(folder: Path, findings: int, reviewers: int, password: str) -> None:
    """A store with drawn photographs and `findings` findings on them, as an import makes it, and the accounts."""
    from toeline.serve.accounts import Accounts
    from toeline.serve.imports import finished, import_run
    from toeline.serve.store import Store

    there = (folder / "store").is_dir()
    if not there:
        write_run(folder, findings)
    store = Store.open(folder / "store")
    if not there:
        print(f"{import_run(store, finished(folder / 'run')).findings:,} findings imported", file=sys.stderr)
    accounts = Accounts(store)
    for name in ("engineer", "reader", *(f"reviewer{n}" for n in range(reviewers))):
        accounts.add(name, {"engineer": "engineer", "reader": "viewer"}.get(name, "reviewer"), password)
    store.close()


def write_run(folder: Path, findings: int) -> None:
    """A finished run over photographs that are drawn; a hundred of them, each under many names."""
    from toeline.core.reading import file_hash
    from toeline.core.records import join_lines

    (folder / "photos").mkdir(parents=True)
    (folder / "run").mkdir()
    drawn = [draw(folder / f"drawn-{n}.jpg", n) for n in range(DRAWN)]
    hashes = [file_hash(photo) for photo in drawn]
    names = [f"DJI_{n:05d}.jpg" for n in range(findings // ON_A_PHOTO)]
    for at, name in enumerate(names):
        (folder / "photos" / name).hardlink_to(drawn[at % DRAWN])
    done = {"size": SIZE, "findings": ON_A_PHOTO, "problems": 0, "failed": False, "seconds": 0.1}
    lines = ({"photo": name, **done, "sha256": hashes[at % DRAWN]} for at, name in enumerate(names))
    (folder / "run" / "progress.jsonl").write_text(join_lines(lines), encoding="utf-8")
    (folder / "run" / "findings.jsonl").write_text(join_lines(found(names)), encoding="utf-8")
    run = {"command": "inspect", "settings": {"photos": [str(folder / "photos")]}, "models": {}, "finished": "drawn"}
    (folder / "run" / "run.json").write_text(json.dumps(run), encoding="utf-8")


def draw(file: Path, seed: int) -> Path:
    """A photograph of colored fields with grain."""
    import numpy as np
    from PIL import Image

    dice = np.random.default_rng(seed)
    fields = dice.integers(40, 215, (12, 16, 3)).repeat(40, 0).repeat(40, 1)
    Image.fromarray((fields + dice.normal(0, 12, fields.shape)).clip(0, 255).astype("uint8")).save(file, quality=90)
    return file


def found(names: list[str]) -> Iterator[dict[str, Any]]:
    """Findings as `toeline inspect` writes them: of every type and class, sure and unsure."""
    from toeline.core.taxonomy import Taxonomy

    words, dice = Taxonomy.load(), random.Random(0)
    answers = {t.name: [c for c in words.classes if c.type == t.name] for t in words.types}
    for name in names:
        for number in range(ON_A_PHOTO):
            kind = dice.choice(list(answers))
            yield finding(name, number, kind, answers[kind], words, dice)


def finding(photo: str, number: int, kind: str, classes: list[Any], words: Any, dice: random.Random) -> dict[str, Any]:
    x, y = dice.uniform(0, SIZE[0] - 120), dice.uniform(0, SIZE[1] - 120)
    shares = sorted((dice.random() for _ in classes), reverse=True)
    probabilities = {c.name: round(s / sum(shares), 6) for c, s in zip(classes, shares, strict=True)}
    best, share = next(iter(probabilities.items()))
    grade, ranks = words.grading.of(best), [s.name for s in words.grading.severities]
    graded = {"severity": grade.severity, "severity_rank": ranks.index(grade.severity), "action": grade.action}
    return {
        "photo": photo,
        "id": str(number + 1),
        "type": kind,
        "box": [x, y, x + dice.uniform(20, 120), y + dice.uniform(20, 120)],
        "detector_confidence": round(dice.uniform(0.3, 1), 6),
        "class": best,
        "condition": words.class_of(best).condition,
        "probability": share,
        "probabilities": probabilities,
        "asked": len(classes) > 1,
        "review_reason": f"{share:.2f} is under 0.72" if share < 0.72 else "",
        "relations": [],
        **graded,
        "immediate_reason": "",
    }


def measured(folder: Path, args: argparse.Namespace, password: str) -> dict[str, Any]:
    """What the users saw of a server of its own, and what the server came to."""
    from toeline.core.provenance import machine
    from toeline.serve.run import check_store

    command = ["-m", "toeline", "serve", "--store", str(folder / "store"), "--host", HOST, "--port", str(PORT)]
    server = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    try:
        wait_for(server)
        before = os.getloadavg()[0]
        rows = worked(folder, args, password)
        memory = int(metric("toeline_memory_peak_bytes"))
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=90)
    checked = check_store(folder / "store").record
    versions = {name: metadata.version(name) for name in LIBRARIES}
    return {
        "failed": int(rows["Aggregated"]["Failure Count"]),
        "requests_a_second": float(rows["Aggregated"]["Requests/s"]),
        "milliseconds": {name: [int(rows[name][p]) for p in ("50%", "95%")] for name in SHOWN if name in rows},
        "counts": {name: int(rows[name]["Request Count"]) for name in SHOWN if name in rows},
        "events": checked["events"],
        "faults": len(checked["faults"]),
        "memory_bytes": memory,
        "load_before": round(before, 2),
        "machine": {**machine(), "python": sys.version.split()[0], **versions},
    }


def worked(folder: Path, args: argparse.Namespace, password: str) -> dict[str, dict[str, str]]:
    """Let the users work; the statistics of locust by the name of the request, without the time in which they come."""
    people = {"TOELINE_READERS": str(args.readers), "TOELINE_REVIEWERS": str(args.reviewers)}
    people |= {"TOELINE_SETTLE_S": str(SETTLE_S), "TOELINE_LOAD_PASSWORD": password}
    number = args.readers + args.reviewers
    command = [
        *(
            sys.executable,
            "-m",
            "locust",
            "--headless",
            "--locustfile",
            str(Path(__file__).with_name("review_users.py")),
        ),
        *("--host", f"http://{HOST}:{PORT}", "--users", str(number), "--spawn-rate", str(number / RAMP_S)),
        *("--run-time", f"{args.seconds + RAMP_S + SETTLE_S}s", "--csv", str(folder / "locust")),
        *("--only-summary", "--loglevel", "WARNING", "--exit-code-on-error", "0"),
    ]
    subprocess.run(command, env={**os.environ, **people}, check=True)
    with (folder / "locust_stats.csv").open(newline="", encoding="utf-8") as file:
        return {row["Name"]: row for row in csv.DictReader(file)}


def wait_for(server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://{HOST}:{PORT}/readyz", timeout=5):
                return
        except OSError:
            if server.poll() is not None:
                raise SystemExit("The server did not start.") from None
            time.sleep(0.1)
    raise SystemExit("The server was not ready within a minute.")


def metric(name: str) -> float:
    with urllib.request.urlopen(f"http://{HOST}:{PORT}/metrics", timeout=5) as said:
        lines = said.read().decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


def page(f: dict[str, Any]) -> str:
    lines = [
        "# The review under load",
        "",
        f"{f['readers']} readers and {f['reviewers']} reviewers on {f['findings']:,} findings for {f['seconds']} s, by "
        f"loopback, on the cores that the users need too: {f['requests_a_second']:.0f} requests a second, "
        f"{f['failed']} failed; {f['events']:,} events in the store, {f['faults']} faults in their chain; the server "
        f"took {f['memory_bytes'] / 1e6:.0f} MB. Load of the machine before: {f['load_before']}.",
        "",
        "| request | number | median, ms | 95 %, ms |",
        "|---|--:|--:|--:|",
        *(f"| {n} | {f['counts'][n]:,} | {a:,} | {b:,} |" for n, (a, b) in f["milliseconds"].items()),
        "",
        f"Written by `benchmarks/review_load.py`; the aim is {LIMIT_MS} ms. `whole page`: until the crops of a grid "
        "are there. A reader looks at a grid for 10 to 30 s, a reviewer at a finding for 0.5 to 2 s. "
        + ", ".join(f"{k} {v}" for k, v in f["machine"].items())
        + ".",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
