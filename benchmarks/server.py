"""A judge behind HTTP beside the packed one: how far apart their log-probabilities are, and what a dead server costs.

    python benchmarks/server.py --work DIR [--photographs 40] [--out benchmarks/results]
    python benchmarks/server.py --work DIR --url openai:http://127.0.0.1:8000/v1#NAME=FOLDER --judge FOLDER

The first starts a fake server (tests/support/fake_server.py: vLLM's JSON, the package's judge, stock transformers) as a
process of its own. It compares every answer on drawn photographs, then inspects them with `toeline inspect`, kills the
server when a third is done, starts it again, and gives the same command once more.

The second asks a server that runs already, such as a real vLLM (docs/server_judge.md says how to start one), and only
compares. In bfloat16 both round: expect 0.03 where float32 gives 0.00001.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from results import write

from toeline.cli import main as toeline
from toeline.core.provenance import versions
from toeline.core.records import read_lines
from toeline.core.run_folder import FINDINGS, PROGRESS
from toeline.core.scene import Scene
from toeline.core.taxonomy import Taxonomy
from toeline.data.images import find_photos, read_photo
from toeline.judge.judge import Judge
from toeline.judge.load import EMBEDDED, load_judge
from toeline.judge.server import ServerJudge
from toeline.judge.server_client import ServerClient, Traffic
from toeline.pipelines.boxes import label_boxes
from toeline.prompts.build import ask
from toeline.prompts.relation_ablation import given
from toeline.synth.dataset import write_dataset

ROOT = Path(__file__).parent.parent
SEED = 81_500_000
OBJECTS = 5  # of a photograph
TOLERANCE = 1e-4


def main() -> None:
    args = arguments()
    photos, labels = drawn(args.work, args.photographs)
    if args.url:
        figures = compared(load_judge(args.judge), served_by(args.url), photos, labels)
    else:
        figures = on_fake(args.work, photos, labels)
    figures |= {"fake": not args.url, "seed": SEED, "versions": versions()}
    print(page := words(figures))
    if args.out:
        write("server", page, figures, args.out)
    sys.exit(0 if figures["largest"] <= TOLERANCE and figures.get("complete", True) else 1)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--photographs", type=int, default=40)
    parser.add_argument("--url", help="a server that runs already, as --judge takes it")
    parser.add_argument("--judge", default="embedded", help="with --url: the same model, to be packed here")
    parser.add_argument("--out", type=Path, help="folder for server.json and server.md")
    return parser.parse_args()


def drawn(folder: Path, count: int) -> tuple[Path, Path]:
    """Photographs, drawn unless they are there, and label files with the first few objects of each."""
    data = write_dataset(folder / "drawn", scenes=count, seed=SEED, size=448, parts={"valid": 1.0}, masks=False)
    labels = folder / "labels"
    labels.mkdir(exist_ok=True)
    shutil.copy(data, labels)  # the names of the classes
    for file in (data.parent / "valid" / "labels").glob("*.txt"):
        (labels / file.name).write_text("".join(file.read_text().splitlines(keepends=True)[:OBJECTS]))
    return data.parent / "valid" / "images", labels


def say(*words: Any) -> int:
    """A command as it is typed; its exit code."""
    try:
        toeline([str(word) for word in words])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def served_by(name: str) -> ServerJudge:
    judge = load_judge(name)
    assert isinstance(judge, ServerJudge)
    return judge


def compared(packed: Judge, served: ServerJudge, photos: Path, labels: Path) -> dict[str, Any]:
    """Both judges on the same sheets, one after the other."""
    taxonomy, found = Taxonomy.load(), find_photos([photos])
    boxes, _ = label_boxes(labels, taxonomy, found)
    largest, questions, same = 0.0, 0, 0
    for n, photo in enumerate(found):
        image = read_photo(photo.path)
        instances, _ = boxes(photo, image.size)
        scene = Scene(Path(photo.name), image.size, tuple(instances))
        sheet = ask(scene, image, given(scene), taxonomy, served.view, answers="all" if n % 2 else "type")
        for a, b in zip(packed.score(sheet), served.score(sheet), strict=True):
            largest = max(largest, *(abs(a[answer] - b[answer]) for answer in a))
            same += max(a, key=a.__getitem__) == max(b, key=b.__getitem__)
        questions += len(sheet.questions)
    counts = served.client.counts
    return {
        "photographs": len(found),
        "questions": questions,
        "largest": largest,
        "same_answers": same,
        "way": served.session.way,
        "requests": counts.requests,
        "retries": counts.retries,
        "mb_sent": counts.sent / 1e6,
        "mb_received": counts.received / 1e6,
        "server": served.info["versions"]["server"],
    }


def on_fake(work: Path, photos: Path, labels: Path) -> dict[str, Any]:
    """The comparison with a fake server, then a run in which it is killed."""
    port = free_port()
    name = f"openai:http://127.0.0.1:{port}/v1#embedded"
    with serving(port):
        figures = compared(load_judge("embedded", device="cpu"), served_by(name), photos, labels)
    return figures | killed(work, port, name, photos, labels)


def killed(work: Path, port: int, name: str, photos: Path, labels: Path) -> dict[str, Any]:
    """`toeline inspect` with a server that is killed in its middle, and again with one that lives."""
    out, packed = work / "run", work / "packed"
    for folder in (out, packed):
        shutil.rmtree(folder, ignore_errors=True)
    total = len(list(photos.iterdir()))
    words = ("inspect", photos, "--boxes", labels, "--domain", "off", "--device", "cpu", "--judge")
    with serving(port) as process:
        watcher = threading.Thread(target=kill_at, args=(process, out / PROGRESS, total // 3), daemon=True)
        watcher.start()
        with counting() as counts:
            first = say(*words, name, "--out", out)
        watcher.join()
    failed = sum(row["failed"] for row in read_lines(out / PROGRESS))
    with serving(port):
        second = say(*words, name, "--out", out)
    third = say(*words, "embedded", "--out", packed)
    mine, own = ({(f["photo"], f["id"]): f for f in read_lines(place / FINDINGS)} for place in (out, packed))
    apart = max(abs(mine[key]["probabilities"][n] - p) for key, f in own.items() for n, p in f["probabilities"].items())
    lines = len(read_lines(out / FINDINGS))
    return {
        "failed": failed,
        "exit_codes": [first, second, third],
        "killed_requests": counts[0].requests,
        "killed_retries": counts[0].retries,
        "findings": lines,
        "probabilities_apart": apart,
        "complete": (first, second, third) == (1, 0, 0) and 0 < failed < total and len(mine) == lines == len(own),
    }


@contextmanager
def counting() -> Iterator[list[Traffic]]:
    """What the clients that are made meanwhile count."""
    made, ready = list[Traffic](), ServerClient.__post_init__

    def noted(client: ServerClient) -> None:
        ready(client)
        made.append(client.counts)

    ServerClient.__post_init__ = noted  # type: ignore[method-assign]
    try:
        yield made
    finally:
        ServerClient.__post_init__ = ready  # type: ignore[method-assign]


def kill_at(process: subprocess.Popen[str], progress: Path, number: int) -> None:
    """Kill a server as soon as so many photographs are done."""
    while process.poll() is None:
        with suppress(OSError):
            if progress.read_bytes().count(b"\n") >= number:
                process.send_signal(signal.SIGKILL)
        time.sleep(0.2)


@contextmanager
def serving(port: int) -> Iterator[subprocess.Popen[str]]:
    """A fake server as a process of its own."""
    words = [sys.executable, "-m", "tests.support.fake_server", str(EMBEDDED), "--port", str(port)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(
        [*words, "--name", "embedded"], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    process.stdout.readline()  # it listens
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def words(figures: Mapping[str, Any]) -> str:
    """The page."""
    f = figures
    what = "a fake server: vLLM's JSON, stock transformers, CPU, float32" if f["fake"] else f"server {f['server']}"
    rows = [
        ("photographs, questions", f"{f['photographs']}, {f['questions']}"),
        ("largest difference of a log-probability", f"{f['largest']:.1e}"),
        ("same answer", f"{f['same_answers']} of {f['questions']}"),
        ("asked by", f"`{f['way']}`"),
        ("requests, of them sent again", f"{f['requests']:,}, {f['retries']}"),
        ("sent, received", f"{f['mb_sent']:.1f} MB, {f['mb_received']:.2f} MB"),
    ]
    if "failed" in f:
        rows += [
            ("server killed: photographs that failed, and exit code", f"{f['failed']}, {f['exit_codes'][0]}"),
            ("requests of that run, of them sent again", f"{f['killed_requests']}, {f['killed_retries']}"),
            ("the same command again: findings, exit code", f"{f['findings']}, {f['exit_codes'][1]}"),
            ("largest difference of a probability to a packed run", f"{f['probabilities_apart']:.1e}"),
        ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"""# A judge behind HTTP beside the packed one

`python benchmarks/server.py`, with {what}. Photographs are drawn
(448 pixels, seed {f["seed"]}), with up to {OBJECTS} objects; on half of them answers are of the type, on half all.
Nothing was timed: a fake server says nothing of a vLLM with a graphics card.

| | |
|---|---|
{table}
"""


if __name__ == "__main__":
    main()
