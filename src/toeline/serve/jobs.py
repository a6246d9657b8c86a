"""Jobs: photographs that the server inspects, one after another, in the one thread that holds the models.

A job is `pipelines.inspect` into a run folder of the store; a job that a kill stopped continues in the same folder.
"""

from __future__ import annotations

import json
import queue
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toeline.core.finding import Problem
from toeline.core.records import read_lines
from toeline.core.run_folder import FINDINGS, PROGRESS
from toeline.core.scene import Instance
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import cut
from toeline.data.images import read_photo
from toeline.errors import PhotoError, ToelineError
from toeline.pipelines.decisions import BoxDecisions, decide_boxes
from toeline.pipelines.inspect import Output, Summary, inspect_into, load_inspector, quick_weights
from toeline.pipelines.model_folder import with_model
from toeline.pipelines.progress import report_to
from toeline.pipelines.settings import InspectRun, Pace
from toeline.serve.decisions import Refused, required
from toeline.serve.imports import finished, import_run, insert
from toeline.serve.metrics import Metrics
from toeline.serve.store import Row, Store, now

if TYPE_CHECKING:
    from toeline.pipelines.inspector import Boxes, Inspector

FINISHED = ("done", "failed", "cancelled")
RUNS, UPLOADS = "runs", "uploads"
TICK_S = 0.2
STOP_S = 60  # that a photograph which is being inspected has to end; deploy/ waits longer before it kills
MOST_QUICK = 4  # photographs of `inspect now` that wait


class Stopped(Exception):
    """The job is cancelled, or the server ends."""


@dataclass(frozen=True)
class Model:
    """What inspects: settings of `toeline inspect` but for the photographs. It is loaded once."""

    run: InspectRun
    pace: Pace = field(default_factory=lambda: Pace(workers=0))

    @cached_property
    def taxonomy(self) -> Taxonomy:
        """Of the model, or the one that is named."""
        return Taxonomy.load(with_model(self.run).taxonomy)

    @cached_property
    def fingerprint(self) -> str:
        """Equal for equal weights."""
        return sha256(json.dumps(quick_weights(with_model(self.run)), sort_keys=True).encode()).hexdigest()[:16]


class Jobs:
    """The queue of jobs of a store, and the thread that does them."""

    def __init__(self, store: Store, model: Model | None, roots: Sequence[Path], most: int, metrics: Metrics) -> None:
        """`roots` are the folders below which a job may name photographs; `most` jobs may wait."""
        self.store, self.model, self.roots, self.most, self.metrics = store, model, roots, most, metrics
        self.fingerprint = model.fingerprint if model else ""
        self.ready, self.fault = model is None, ""
        self._inspector: Inspector | None = None
        self._quick: queue.Queue[tuple[Callable[[], Any], Future[Any]]] = queue.Queue(MOST_QUICK)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._held, self._claimed = ExitStack(), False

    def claim(self) -> None:
        """Keep other servers from the store until `stop`. Raises OutputError when there is one."""
        if not self._claimed:
            self._held.enter_context(self.store.serving())
            self._claimed = True

    def start(self) -> None:
        """Take up what a kill left, and begin to work. Raises OutputError when another process does."""
        self.claim()
        with self.store.write() as db:
            db.execute("UPDATE jobs SET state = 'waiting' WHERE state = 'running'")
        shutil.rmtree(self.store.folder / "quick", ignore_errors=True)  # of a kill
        if self.model is not None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._work, name="toeline model", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End after the photograph that is being inspected; the job continues when the server is started again."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=STOP_S)
        self._held.close()
        self._claimed = False

    def count(self, state: str) -> int:
        """How many jobs are in a state."""
        return int(self.store.value("SELECT COUNT(*) FROM jobs WHERE state = ?", state))

    def require_room(self) -> None:
        """Raise Refused when no more may wait, or when there is no model."""
        if self.model is None:
            raise Refused(503, "no_model", "this server has no model. Start it with --model.")
        if self.count("waiting") >= self.most:
            raise Refused(429, "busy", f"{self.most} jobs wait already. Try again when one is done.")

    def add(self, name: str, user: str, fill: Callable[[int], Path]) -> Row:
        """A new job; `fill` is given its number and returns the folder of its photographs. Raises Refused."""
        self.require_room()
        with self.store.write() as db:
            number = insert(
                db, "jobs", {"name": name, "user": user, "photos": "", "state": "preparing", "created": now()}
            )
        try:
            folder = fill(number)
        except BaseException:
            shutil.rmtree(self.store.folder / UPLOADS / f"job-{number}", ignore_errors=True)
            with self.store.write() as db:
                db.execute("DELETE FROM jobs WHERE id = ?", [number])
            raise
        with self.store.write() as db:
            db.execute(
                "UPDATE jobs SET photos = ?, state = 'waiting' WHERE id = ?",
                (str(folder).encode("utf-8", "surrogateescape").hex(), number),
            )
        return self.row(number)

    def row(self, number: int) -> Row:
        """A job. Raises Refused when there is none."""
        row = self.store.row("SELECT * FROM jobs WHERE id = ? AND state != 'preparing'", number)
        return required(row, "job", number)

    def cancel(self, number: int) -> Row:
        """Cancel a job that waits or runs; what it found so far is not imported."""
        row = self.row(number)
        with self.store.write() as db:
            db.execute("UPDATE jobs SET cancel = 1 WHERE id = ?", [number])
            db.execute("UPDATE jobs SET state = 'cancelled' WHERE id = ? AND state = 'waiting'", [number])
        return self.row(row["id"])

    def quickly(self, work: Callable[[], Any], seconds: float) -> Any:
        """Do something with the models now: between two photographs of a job. Raises Refused."""
        if self.model is None:
            raise Refused(503, "no_model", "this server has no model. Start it with --model.")
        future: Future[Any] = Future()
        try:
            self._quick.put_nowait((work, future))
        except queue.Full:
            raise Refused(429, "busy", "too many photographs wait. Try again in some seconds.") from None
        try:
            return future.result(timeout=seconds)
        except TimeoutError:
            future.cancel()
            raise Refused(
                503, "busy", f"the photograph was not done within {seconds:.0f} s. Try again, or start a job."
            ) from None

    def load(self, run: InspectRun, taxonomy: Taxonomy, boxes: Boxes | None) -> Inspector:
        """The models, loaded once."""
        if self._inspector is None:
            start = time.perf_counter()
            self._inspector = load_inspector(run, taxonomy, boxes)
            self.metrics.stages.labels("load").observe(time.perf_counter() - start)
        return self._inspector

    def _work(self) -> None:
        assert self.model is not None
        try:
            self.load(with_model(self.model.run), self.model.taxonomy, None)
            self.ready = True
        except Exception as why:  # told by /readyz and by every job; the review works without a model
            self.fault = cut(str(why), 300)
        while not self._stop.is_set():
            self._serve_quick(TICK_S)
            if job := self.store.row("SELECT * FROM jobs WHERE state = 'waiting' ORDER BY id LIMIT 1"):
                self._do(job)

    def _serve_quick(self, wait_s: float = 0.0) -> None:
        """Photographs that somebody waits for."""
        with suppress(queue.Empty):
            while True:
                work, future = self._quick.get(block=wait_s > 0, timeout=wait_s or None)
                wait_s = 0.0
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    future.set_result(work())
                except Exception as why:  # given to whoever waits
                    future.set_exception(why)

    def _do(self, job: Row) -> None:
        try:
            self._set(job["id"], state="running")
            summary = self._inspect(job)
            run = finished(self.store.folder / RUNS / f"job-{job['id']}")
            imported = import_run(self.store, run, name=job["name"])
            self._set(
                job["id"],
                state="done",
                done=summary.photographs,
                total=summary.photographs,
                findings=summary.findings,
                problems=summary.problems,
                inspection=imported.inspection,
            )
        except Stopped:
            self._set(job["id"], state="waiting" if self._stop.is_set() else "cancelled")
        except Exception as why:  # of this job: told in it, and the next one is done
            known = isinstance(why, ToelineError)
            with suppress(ToelineError):  # a disk that is full: the job is taken up at the next start
                self._set(
                    job["id"], state="failed", message=cut(str(why) if known else f"{type(why).__name__}: {why}", 500)
                )

    def _inspect(self, job: Row) -> Summary:
        assert self.model is not None
        photos = Path(bytes.fromhex(job["photos"]).decode("utf-8", "surrogateescape"))
        total = _number_of(photos)
        self._set(job["id"], total=total)
        run = replace(self.model.run, photos=(photos,))
        told = 0.0

        def hears(share: float) -> None:
            """After each photograph."""
            nonlocal told
            self._serve_quick()
            stopped = self._stop.is_set() or self.store.value("SELECT cancel FROM jobs WHERE id = ?", job["id"])
            if stopped:
                raise Stopped
            if time.monotonic() - told > TICK_S:
                told = time.monotonic()
                self._set(job["id"], done=round(share * total))

        start = time.perf_counter()
        with report_to(hears):
            out = self.store.folder / RUNS / f"job-{job['id']}"
            summary = inspect_into(
                run, Output(out=out, command="inspect", title=job["name"], pace=self.model.pace, load=self.load)
            )
        self.metrics.stages.labels("job").observe(time.perf_counter() - start)
        return summary

    def _set(self, number: int, **values: Any) -> None:
        with self.store.write() as db:
            db.execute(
                f"UPDATE jobs SET {', '.join(f'{n} = ?' for n in values)} WHERE id = ?", [*values.values(), number]
            )

    def inspect_now(self, photo: Path, out: Path) -> dict[str, Any]:
        """One photograph, in the model's thread: its findings, and where its files are."""
        assert self.model is not None
        start = time.perf_counter()
        run = replace(self.model.run, photos=(photo,))
        with report_to(lambda _: None):
            inspect_into(run, Output(out=out, command="inspect", pace=Pace(workers=0), load=self.load))
        self.metrics.stages.labels("inspect").observe(time.perf_counter() - start)
        (done,) = read_lines(out / PROGRESS)
        if done["failed"]:
            problems = [r["what"] for r in read_lines(out / "errors.jsonl") if r["photo"] == done["photo"]]
            raise PhotoError(f"the photograph cannot be inspected: {'; '.join(problems)}")
        said = {
            "size": done["size"],
            "seconds": round(time.perf_counter() - start, 3),
            "marked": done.get("marked", ""),
        }
        return {"findings": read_lines(out / FINDINGS), **said}

    def decide_now(
        self, photo: Path, instances: Sequence[Instance], options: Mapping[str, tuple[str, ...]]
    ) -> BoxDecisions:
        """Decisions about boxes of one photograph, in the model's thread.

        Raises PhotoError, which does not say where it lies, and Refused for a box outside of it.
        """
        assert self.model is not None
        inspector = self.load(with_model(self.model.run), self.model.taxonomy, None)
        start = time.perf_counter()
        try:
            image = read_photo(photo)
        except PhotoError as why:
            raise PhotoError(f"photograph: {Problem.unread(photo, why).what}") from None
        wide, high = image.size
        for one in instances:
            if one.box.x1 >= wide or one.box.y1 >= high or one.box.x2 <= 0 or one.box.y2 <= 0:
                said = f"the box of {one.id} lies outside the photograph, which has {wide} x {high} pixels upright."
                raise Refused(422, "invalid", said, where=["body", "state", "boxes", one.id])
        decided = decide_boxes(inspector, image, instances, options)
        self.metrics.stages.labels("decide").observe(time.perf_counter() - start)
        return decided


def _number_of(photos: Path) -> int:
    from toeline.data.images import search_photos

    return len(search_photos([photos], may_be_none=True).photos)


def job_record(row: Row) -> dict[str, Any]:
    """A job as the API gives it."""
    names = ("id", "name", "state", "done", "total", "findings", "problems", "user", "created", "message", "inspection")
    return {name: row[name] for name in names}
