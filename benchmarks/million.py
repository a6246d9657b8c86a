"""A million findings: how long `toeline join` takes from parts to tables, report and Parquet, and in how much memory.

    python benchmarks/million.py --work DIR [--findings 1000000] [--parts 8] [--out benchmarks/results]

Writes the parts as `toeline inspect --part` does, without a model: a drone follows dykes and sees each object on four
photographs. Then merges them in a process of its own, and looks at its time and at its largest resident memory.
1,000,000 findings need 10 GB in DIR.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image
from results import write

from toeline.core.box import Box
from toeline.core.finding import Finding, Verdict, graded
from toeline.core.geo import Meters, Point, moved
from toeline.core.provenance import start_record, versions
from toeline.core.records import finding_record, to_line
from toeline.core.run_folder import ERRORS, FINDINGS, PROGRESS, write_run
from toeline.core.scene import Relation
from toeline.core.taxonomy import Taxonomy
from toeline.data.domain import load_domain
from toeline.data.images import Photo
from toeline.pipelines.domain import SHIPPED, domain_facts
from toeline.pipelines.parts import SHARE, Part, Portion

SEED, SIZE_WH, HEIGHT_M, FOCAL = 70_618, (4000, 3000), 40.0, 0.6
STEP_M, LINE = 10.0, 1000  # between photographs; photographs of a flight line
OBJECT_M = 5.0  # between objects along a dyke: 8 on a photograph, each on four
LINKS = 50_000  # names of one picture: a file system allows no more than 65,000
MIB = 1024 * 1024


def main() -> None:
    args = arguments()
    parts = written_parts(args.work / "parts", args.findings, args.parts)
    out = args.work / "joined"
    shutil.rmtree(out, ignore_errors=True)
    load = os.getloadavg()[0]
    measured = joined(parts, out, args.workers)
    figures = {
        **{name: json.loads((out / "run.json").read_text())["counts"][name] for name in ("photographs", "findings")},
        "parts": args.parts,
        **measured,
        "load": [load, os.getloadavg()[0]],
        "cores": os.cpu_count(),
        **rows(out),
        "gb": {file.name: file.stat().st_size / 1e9 for file in out.iterdir() if file.is_file() and big(file)},
        "pages": len(list((out / "report").iterdir())),
        "python": versions()["python"],
    }
    page = words(figures)
    print(page)
    if args.out:
        write("million", page, figures, args.out)
    if not args.keep:
        shutil.rmtree(args.work / "parts")
        shutil.rmtree(out)
    sys.exit(0 if figures["peak_mib"] < 2048 and figures["seconds"] < 600 else 1)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--findings", type=int, default=1_000_000)
    parser.add_argument("--parts", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="keep parts and run")
    parser.add_argument("--out", type=Path, help="folder for million.json and million.md")
    return parser.parse_args()


def big(file: Path) -> bool:
    return file.stat().st_size > 10_000_000


def joined(parts: list[Path], out: Path, workers: int) -> dict[str, float]:
    """Wall and CPU seconds of `toeline join`, and the most resident memory of its processes together."""
    words = [sys.executable, "-m", "toeline", "join", *map(str, parts), "--out", str(out), "--parquet"]
    start = time.monotonic()
    process = subprocess.Popen([*words, "--workers", str(workers), "--json"], stdout=subprocess.DEVNULL)
    peak, ended, watched = 0, 0, psutil.Process(process.pid)
    while not ended:
        time.sleep(0.5)
        with suppress(psutil.Error):
            peak = max(peak, sum(one.memory_info().rss for one in (watched, *watched.children(recursive=True))))
        ended, status, used = os.wait4(process.pid, os.WNOHANG)
    if status:
        sys.exit(f"toeline join ended with {os.waitstatus_to_exitcode(status)}")
    seconds = time.monotonic() - start
    return {"seconds": seconds, "cpu_s": used.ru_utime + used.ru_stime, "peak_mib": peak / MIB}


def rows(out: Path) -> dict[str, int]:
    """Rows of each table, read by others than who wrote them."""
    import pyarrow.parquet

    with (out / "worklist.csv").open(encoding="utf-8-sig") as file:
        work = sum(1 for _ in file) - 1
    with (out / FINDINGS).open("rb") as file:
        keys = {hash((r["photo"], r["id"])) for r in map(json.loads, file)}
    return {
        "distinct": len(keys),
        "work_list": work,
        "parquet": pyarrow.parquet.ParquetFile(out / "findings.parquet").metadata.num_rows,
    }


def words(f: dict[str, Any]) -> str:
    return (
        f"# {f['findings']:,} findings joined\n\n"
        f"`toeline join` of {f['parts']} parts ({f['photographs']:,} photographs with positions and marked pictures) "
        f"with report ({f['pages']} pages), Parquet and work list: **{f['seconds']:.0f} s** ({f['cpu_s']:.0f} s CPU), "
        f"at most **{f['peak_mib']:.0f} MiB**; load of {f['load'][0]:.1f} to {f['load'][1]:.1f} from others on "
        f"{f['cores']} cores. {f['distinct']:,} distinct findings, {f['parquet']:,} Parquet rows, {f['work_list']:,} "
        f"lines of work.\n\nAimed at: under 2,048 MiB, {kept(f['peak_mib'] < 2048)}; under 600 s, "
        f"{kept(f['seconds'] < 600)}.\n\nMade by `benchmarks/million.py`.\n"
    )


def kept(reached: bool) -> str:
    return "reached" if reached else "not reached under that load"


def written_parts(folder: Path, findings: int, of: int) -> list[Path]:
    """The folders of all parts; what an earlier start has written is kept."""
    parts = [folder / str(n) for n in range(1, of + 1)]
    if all((part / "run.json").exists() for part in parts):
        return parts
    shutil.rmtree(folder, ignore_errors=True)
    taxonomy, rng = Taxonomy.load(), random.Random(SEED)
    photos = [
        Photo(Path(f"line {n // LINE}/DJI_{n:06}.JPG"), f"line {n // LINE}/DJI_{n:06}.JPG")
        for n in range(findings // 8)
    ]
    templates = [line_of(name, taxonomy, rng) for name in (c.name for c in taxonomy.classes) for _ in range(16)]
    for number, part in enumerate(parts, start=1):
        write_part(part, Portion(Part(number, of), photos), taxonomy, templates)
    return parts


def write_part(folder: Path, share: Portion, taxonomy: Taxonomy, templates: list[str]) -> None:
    part = share.part
    assert part is not None
    folder.mkdir(parents=True)
    place = {photo.name: n for n, photo in enumerate(share.found)}
    pictures = list(marked(folder, len(share.mine) // LINKS + 1))
    with ExitStack() as stack:
        findings, progress, rows = (stack.enter_context((folder / n).open("w")) for n in (FINDINGS, PROGRESS, SHARE))
        for at, photo in enumerate(share.mine):
            n = place[photo.name]
            lines = list(seen(photo.name, n, templates))
            findings.writelines(lines)
            progress.write(to_line(done(photo.name, n, len(lines))))
            rows.write(to_line({"place": n, "file": photo.name, "photographs": [photo.name]}))
            target = folder / "marked" / photo.name.replace(".JPG", ".JPG.jpg")
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(pictures[at // LINKS], target)
    (folder / ERRORS).touch()
    settings = {"photos": ["dykes"], "judge": "auto", "taxonomy": None, "part": str(part)}
    models = {"judge": {"model": "auto"}, "detector": {"model": "embedded"}, "domain": facts()}
    record = start_record("inspect", settings, taxonomy) | share.record() | {"models": models}
    write_run(folder, record | {"finished": record["started"]})


def facts() -> dict[str, Any]:
    assert SHIPPED is not None
    return dict(json.loads(json.dumps(domain_facts(load_domain(SHIPPED), SHIPPED, as_measured=True))))


def marked(folder: Path, number: int) -> Iterator[Path]:
    """Pictures like marked ones, each to be linked under many names."""
    noise = np.random.default_rng(SEED).integers(0, 256, (600, 800, 3), dtype=np.uint8)
    for n in range(number):
        Image.fromarray(noise).save(folder / f".{n}.jpg", quality=50)
        yield folder / f".{n}.jpg"


def line_of(class_name: str, taxonomy: Taxonomy, rng: random.Random) -> str:
    """A line of findings.jsonl as the package writes it, with room for photograph, id and box."""
    asked = taxonomy.class_of(class_name)
    answers = taxonomy.answers(asked.type)
    spread = [1 + 4 * (a == class_name) * rng.random() + rng.random() for a in answers]
    shares = {a: s / sum(spread) for a, s in zip(answers, spread, strict=True)}
    verdict = Verdict(class_name, asked.condition, shares[class_name], shares, len(answers) > 1, "", dict(shares))
    relations = tuple(Relation("0", name, str(n), rng.random()) for n, name in enumerate(("above", "near"), start=1))
    finding = Finding("PHOTO", "ID", asked.type, Box(1, 2, 3, 4), rng.uniform(0.4, 1), verdict, relations)
    record = finding_record(graded([finding], (), taxonomy)[0])
    line = to_line({**record, "box": "BOX"}).replace("%", "%%")
    return line.replace('"PHOTO"', '"%s"').replace('"ID"', '"%d"').replace('"BOX"', "[%.2f, %.2f, %.2f, %.2f]")


def seen(photo: str, n: int, templates: list[str]) -> Iterator[str]:
    """The objects under photograph `n`, which looks straight down and flies north."""
    line, step = divmod(n, LINE)
    meters = HEIGHT_M / (FOCAL * math.hypot(*SIZE_WH))  # of a pixel
    high = SIZE_WH[1] * meters
    first = math.ceil((step * STEP_M - high / 2) / OBJECT_M)
    for number, thing in enumerate(range(first, first + 8), start=1):
        rng = random.Random(line * 10_000_019 + thing)
        x = SIZE_WH[0] / 2 + rng.uniform(-0.4, 0.4) * SIZE_WH[0]
        y = SIZE_WH[1] / 2 - (thing * OBJECT_M - step * STEP_M) / meters
        box = x - 60, max(0.0, y - 40), x + 60, min(float(SIZE_WH[1]), y + 40)
        yield rng.choice(templates) % (photo, number, *box)


def done(photo: str, n: int, findings: int) -> dict[str, Any]:
    line, step = divmod(n, LINE)
    at = moved(moved(Point(23.5, 85.25), Meters(line * 200.0, 0)), Meters(0, step * STEP_M))
    day, second = divmod(n * 2, 86_400)
    clock = f"2026-05-{1 + day % 28:02}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    place = {"latitude": at.latitude, "longitude": at.longitude, "height_m": HEIGHT_M, "yaw": 0.0, "pitch": -90.0,
             "roll": 0.0, "focal": FOCAL, "time": clock}  # fmt: skip
    facts = {"photo": photo, "size": list(SIZE_WH), "findings": findings, "problems": 0, "failed": False}
    return facts | {"seconds": 0.5, "sha256": f"{n:064x}", "domain": [0.5, "texture", 0], "place": place}


if __name__ == "__main__":
    main()
