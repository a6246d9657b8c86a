"""`toeline inspect --ray`: photographs inspected by actors of Ray, on this machine or on a cluster.

Ray places the actors, and carries paths there and results back. In place of an actor that died another one is made, and
what it was busy with is given to the next free one. Results come in the order of the photographs and are written here,
by the same code as those of a single process, so that a run looks the same and continues the same, wherever it was
made. An actor writes nothing. Why plain actors: docs/decisions/0014-ray.md.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from toeline.core.finding import Problem, Result
from toeline.core.prefetch import ahead, cores
from toeline.core.provenance import machine, versions
from toeline.core.taxonomy import Taxonomy
from toeline.core.threads import take, taken
from toeline.core.words import some
from toeline.data.images import Photo
from toeline.errors import ModelError, SetupError, ToelineError, need
from toeline.pipelines.boxes import Source
from toeline.pipelines.inspect import Output, drawn, lasting, load_inspector, models_of, quick_weights
from toeline.pipelines.inspector import Boxes, Inspector
from toeline.pipelines.join import differences
from toeline.pipelines.progress import errors, escape
from toeline.pipelines.settings import InspectRun, OnRay, Pace

LOCAL = "local"
CPUS_EACH = 4  # of an actor without a GPU: a quarter of the work is done by one thread
GROUPS = 4  # of `batch` photographs, at most, that an actor is given at a time
TRIES = 3  # of one photograph, each of which ended an actor; and of loading the models
LOST = ("RayActorError", "WorkerCrashedError", "NodeDiedError", "ObjectLostError", "OutOfMemoryError")  # do it again
OBJECTS = 500_000_000  # bytes of shared memory that results may take on this machine, before they go to its disk


def with_ray(output: Output, where: OnRay, device: str) -> Output:
    """The output of a run that Ray inspects. Raises SetupError, before any work, for what cannot be done there."""
    gpus = where.ray_gpus
    if not where.ray:
        raise SetupError("--ray-actors and --ray-gpus say nothing without --ray. Add --ray local, or --ray auto.")
    if output.load:
        raise SetupError("models that this process holds cannot be lent to Ray. Inspect without --ray.")
    if gpus and gpus > 1 and gpus % 1:
        raise SetupError(f"--ray-gpus {gpus:g}: Ray gives a share of one GPU, or whole ones. Type 0.5, 1 or 2.")
    if (device == "cuda" and gpus == 0) or (device in ("cpu", "mps") and gpus):
        raise SetupError(f"--device {device} and --ray-gpus {gpus:g} contradict each other. Leave one of them out.")
    need("ray", extra="ray")
    return replace(output, source=partial(on_ray, pace=output.pace, where=where))


@dataclass(frozen=True)
class RemoteJob:
    """What an actor is told when it is made.

    `home` is where relative paths begin, `folders` are those of the photographs. `beside` is how many actors share a
    machine; with 0 `threads` each computes with its part of the cores.
    """

    run: InspectRun
    taxonomy: Taxonomy
    boxes: Boxes | None
    pace: Pace
    home: Path
    folders: tuple[Path, ...]
    beside: int = 1
    threads: int = 0


class RemoteInspector:
    """The two models in a process of their own. Ray makes an actor of this class."""

    def __init__(self, job: RemoteJob) -> None:
        self._job = job

    def ready(self) -> dict[str, Any]:
        """Load the models; what they are, and on what machine. Raises ToelineError."""
        job = self._job
        return {
            "models": models_of(job.run, self._inspector),
            "weights": quick_weights(job.run),
            "versions": versions(),
            "machine": machine(),
            "host": socket.gethostname(),
        }

    def inspect(self, photos: Sequence[Photo]) -> list[Result]:
        """A Result of each photograph, with its marked picture. Raises ToelineError if the models cannot be loaded."""
        workers = self._job.pace.workers
        results = self._inspector.inspect_all(photos, workers=workers, batch=self._job.pace.batch)
        mark = partial(drawn, taxonomy=self._job.taxonomy)
        return list(ahead(mark, results, workers=workers, most=workers + 1, greedy=False))

    @cached_property
    def _inspector(self) -> Inspector:
        """Loaded when it is first asked for."""
        job = self._job
        take(job.threads or max(1, cores() // job.beside))  # Ray leaves one thread to each
        if job.home.is_dir():
            os.chdir(job.home)
        if gone := [folder for folder in job.folders if not folder.is_dir()]:
            raise SetupError(
                f"{gone[0]}: there is no such folder on {socket.gethostname()}, a machine of the cluster. Photographs "
                f"have to lie under the same path on all of them."
            )
        return load_inspector(job.run, job.taxonomy, job.boxes)


@contextmanager
def on_ray(
    run: InspectRun,
    photos: Sequence[Photo],
    taxonomy: Taxonomy,
    boxes: Boxes | None,
    pace: Pace,
    where: OnRay,
) -> Iterator[Source]:
    """Actors that inspect `photos`, until the block ends. The first of them has loaded its models.

    Raises SetupError where there is no such cluster or it cannot hold the actors, and what loading the models raises.
    """
    ray: Any = need("ray", extra="ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # it would tell its makers
    with _connected(ray, str(where.ray), where.ray_actors):
        actors, gpus, machines = _places(ray, where, run.device)
        folders = tuple(dict.fromkeys(photo.path.parent for photo in photos))
        job = RemoteJob(run, taxonomy, boxes, pace, Path.cwd(), folders, -(-actors // machines), taken())
        made = ray.remote(num_cpus=1, num_gpus=gpus, scheduling_strategy="SPREAD")(RemoteInspector)
        inspectors = _Inspectors(ray, partial(made.remote, job), actors, quick_weights(run))
        models = inspectors.models()
        yield Source(partial(inspectors.inspect_all, batch=pace.batch), models, inspectors.notes)


@contextmanager
def _connected(ray: Any, address: str, actors: int | None) -> Iterator[None]:
    """While Ray runs on this machine, or is connected to the cluster of `address`. Raises SetupError."""
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address == LOCAL:
            there = {"include_dashboard": False, "object_store_memory": OBJECTS}
            ray.init(address=LOCAL, num_cpus=max(cores(), actors or 1), **there, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as why:
        said = next(iter(str(why).splitlines()), type(why).__name__)
        raise SetupError(
            f"--ray {address}: cannot be reached ({said}). Start a cluster with ray start --head, or type --ray local."
        ) from None
    try:
        yield
    finally:
        ray.shutdown()  # ends the actors, too


def _places(ray: Any, where: OnRay, device: str) -> tuple[int, float, int]:
    """How many actors, the GPUs of each, and on how many machines. Raises SetupError where these are not there."""
    there = ray.cluster_resources()
    cpus, gpus = int(there.get("CPU", 0)), float(there.get("GPU", 0))
    machines = sum(bool(node["Alive"]) for node in ray.nodes())
    each = where.ray_gpus
    if each is None:
        each = 1.0 if device == "cuda" or (device == "auto" and gpus) else 0.0
    on_gpus = int(gpus) * int(1 / each + 1e-6) if 0 < each < 1 else int(gpus // (each or 1))
    room = min(cpus, on_gpus) if each else cpus
    actors = where.ray_actors or (room if each else min(room, max(machines, cpus // CPUS_EACH)))
    if not 0 < actors <= room:
        raise SetupError(
            f"--ray {where.ray}: has no room for {some(max(actors, 1), 'process', 'processes')} of {each:g} GPUs and a "
            f"CPU each: there are {gpus:g} GPUs and {cpus} CPUs. Type less with --ray-actors or --ray-gpus."
        )
    return actors, each, machines


@dataclass(frozen=True)
class _Task:
    """Photographs that an actor is given at a time; `at` is the place of the first, `lost` how many actors died."""

    at: int
    photos: Sequence[Photo]
    lost: int = 0


@dataclass
class _Inspectors:
    """Actors and what they are busy with. `make` has Ray place one more; `number` are wanted.

    `starting` (with how many others died before it, one after another, as they loaded the models) and `working` are by
    the reference to what they will answer.
    """

    ray: Any
    make: Callable[[], Any]
    number: int
    weights: Mapping[str, str]
    idle: list[Any] = field(default_factory=list)
    starting: dict[Any, tuple[Any, int]] = field(default_factory=dict)
    working: dict[Any, tuple[Any, _Task]] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)  # of each machine, by its name

    def models(self) -> dict[str, Any]:
        """What the actors have loaded; waits for the first of them. Raises ToelineError."""
        for _ in range(self.number):
            self._start()
        while not self.facts:
            self._wait()
        return dict(self._first["models"])

    @property
    def _first(self) -> dict[str, Any]:
        return next(iter(self.facts.values()))

    def inspect_all(self, photos: Sequence[Photo], *, batch: int) -> Iterator[Result]:
        """One Result for each photograph, in their order, whatever becomes of the actors. Raises ToelineError.

        A photograph over which TRIES actors died, one after another, gives a Result that says so. Memory holds about
        two tasks for each actor.
        """
        size = batch * min(GROUPS, max(1, len(photos) // (batch * GROUPS * self.number)))
        todo = deque(_Task(at, photos[at : at + size]) for at in range(0, len(photos), size))
        done: dict[int, list[Result]] = {}
        at, most = 0, 2 * size * self.number
        while at < len(photos):
            while self.idle and todo and todo[0].at < at + most:
                actor, task = self.idle.pop(), todo.popleft()
                self.working[actor.inspect.remote(task.photos)] = actor, task
            if at in done:
                results = done.pop(at)
                at += len(results)
                yield from results
            elif ended := self._wait():
                task, found = ended
                if found is None and task.lost + 1 >= TRIES and len(task.photos) == 1:
                    found = [_given_up(task.photos[0])]
                if found is None:
                    todo.extendleft(reversed(_again(task)))
                else:
                    done[task.at] = found

    def notes(self) -> Iterator[Problem]:
        """What differs between the machines, this one among them, that findings may depend on."""
        here = {"versions": versions(), "machine": machine()}
        return differences([("here", here), *self.facts.items()], "machines")

    def _wait(self) -> tuple[_Task, list[Result] | None] | None:
        """Until an actor answers: nothing if it is ready now, else its task with the results, None if it died."""
        waiting = [*self.starting, *self.working]
        if not waiting:
            raise SetupError(
                f"no process of Ray is left: each ended {TRIES} times while it loaded the models, as for want of "
                f"memory. Type less --ray-actors, or see the logs of Ray."
            )
        (answer,), _ = self.ray.wait(waiting, num_returns=1)
        if answer in self.starting:
            actor, failed = self.starting.pop(answer)
            if (facts := self._get(answer)) is not None:
                self.facts.setdefault(facts["host"], facts)
                self._require_same(facts)
                self.idle.append(actor)
            elif failed + 1 < TRIES:
                self._start(failed + 1)
            return None
        actor, task = self.working.pop(answer)
        found: list[Result] | None = self._get(answer)
        if found is None:
            errors.print(
                escape(f"A process of Ray was lost. {some(len(task.photos), 'photograph')} go to another one.")
            )
            self._start()
        else:
            self.idle.append(actor)
        return task, found

    def _start(self, failed: int = 0) -> None:
        """Have Ray place an actor, when there is room, and let it load the models."""
        actor = self.make()
        self.starting[actor.ready.remote()] = actor, failed

    def _get(self, answer: Any) -> Any:
        """What an actor answered; None if it died, or its machine. What it raised is raised."""
        try:
            return self.ray.get(answer)
        except self.ray.exceptions.RayTaskError as why:
            if isinstance(cause := why.cause, ToelineError):
                raise cause from None
            raise
        except tuple(getattr(self.ray.exceptions, name) for name in LOST):
            return None
        except self.ray.exceptions.RayError as why:
            said = next(iter(str(why).splitlines()), type(why).__name__)
            raise SetupError(f"Ray failed ({said}). See its logs; the same command again continues.") from None

    def _require_same(self, facts: Mapping[str, Any]) -> None:
        """Raise ModelError for other models than those of the first, or of this machine."""
        if facts["weights"] != self.weights or lasting(facts["models"]) != lasting(self._first["models"]):
            raise ModelError(
                f"{facts['host']}: has other models than {self._first['host']} or this machine, under the same names, "
                f"or another device. Install the same on all machines of the cluster."
            )


def _again(task: _Task) -> list[_Task]:
    """What is to be done of a task whose actor died; the second time, one photograph after another."""
    if len(task.photos) == 1 or not task.lost:
        return [_Task(task.at, task.photos, task.lost + 1)]
    return [_Task(task.at + n, [photo]) for n, photo in enumerate(task.photos)]


def _given_up(photo: Photo) -> Result:
    what = f"{TRIES} processes ended, one after another, while they inspected it."
    todo = "Run this photograph alone; report it if it continues."
    return Result(photo.name, problems=(Problem(photo.name, str(photo.path), what, todo),), failed=True)
