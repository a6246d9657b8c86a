"""The few calls of Ray that the package makes, answered in this process: actors answer in a drawn order, and may die.

What goes to an actor and comes back is pickled as Ray does it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import cloudpickle

MOST_ANSWERS = 1000
Dies = Callable[[str, list[str]], bool]  # of a method and the names of the photographs that it was given


class RayError(Exception):
    """Ray itself fails."""


class RayActorError(RayError):
    """The actor died."""


class RayTaskError(RayError):
    """The actor's code raised `cause`."""

    def __init__(self, cause: Exception) -> None:
        super().__init__("a trace")
        self.cause = cause


LOST = ("RayActorError", "WorkerCrashedError", "NodeDiedError", "ObjectLostError", "OutOfMemoryError")
EXCEPTIONS = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError, **dict.fromkeys(LOST, RayActorError))


@dataclass(eq=False)
class Answer:
    """A reference to what an actor will answer."""

    actor: FakeActor
    method: str
    args: bytes
    value: bytes = b""
    fault: Exception | None = None


def names_of(answer: Answer) -> list[str]:
    """The photographs that an actor is to inspect."""
    return [photo.name for given in cloudpickle.loads(answer.args) for photo in given]


@dataclass(eq=False)
class FakeActor:
    """Made when it is first asked."""

    made_of: type
    args: bytes
    alive: Any = None
    dead: bool = False

    def __getattr__(self, method: str) -> Any:
        assert not self.dead
        return SimpleNamespace(remote=lambda *args: Answer(self, method, cloudpickle.dumps(args)))


@dataclass
class FakeRay:
    """Put it in place of the module. `stop_after` so many answers, Ctrl+C is pressed.

    What is asked about the photograph `late` is answered when nothing else is left to wait for.
    """

    seed: int = 0
    late: str = ""
    dies: Dies = lambda *_: False
    how: Exception = field(default_factory=lambda: RayActorError("it died"))
    stop_after: int = 10**9
    resources: dict[str, float] = field(default_factory=lambda: {"CPU": 8.0})
    machines: int = 1
    called: dict[str, Any] = field(default_factory=dict)
    actors: list[FakeActor] = field(default_factory=list)
    made: int = 0
    died: int = 0
    running: bool = False
    exceptions: Any = field(default_factory=lambda: EXCEPTIONS)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def init(self, address: str, **options: Any) -> None:
        assert not self.running
        if address == "nowhere":
            raise ConnectionError("Could not find any running Ray instance.\nMore words.")
        self.running, self.called["init"] = True, {"address": address, **options}

    def shutdown(self) -> None:
        self.running = False
        self.actors.clear()

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def nodes(self) -> list[dict[str, bool]]:
        return [{"Alive": True}] * self.machines + [{"Alive": False}]

    def remote(self, **options: Any) -> Any:
        self.called["actor"] = options

        def make(made_of: type) -> Any:
            def remote(*args: Any) -> FakeActor:
                self.made += 1
                self.actors.append(FakeActor(made_of, cloudpickle.dumps(args)))
                return self.actors[-1]

            return SimpleNamespace(remote=remote)

        return make

    def wait(self, answers: Sequence[Answer], *, num_returns: int) -> tuple[list[Answer], list[Answer]]:
        assert self.running
        assert num_returns == 1
        assert len({answer.actor for answer in answers}) == len(answers), "an actor does one thing at a time"
        if self.stop_after == 0:
            raise KeyboardInterrupt
        self.stop_after -= 1
        self.called["wait"] = self.called.get("wait", 0) + 1
        assert self.called["wait"] < MOST_ANSWERS, "it never ends"
        chosen = self._chance.choice([answer for answer in answers if self.late not in names_of(answer)] or answers)
        self._answer(chosen)
        return [chosen], [answer for answer in answers if answer is not chosen]

    def _answer(self, answer: Answer) -> None:
        actor, args = answer.actor, cloudpickle.loads(answer.args)
        actor.alive = actor.alive or actor.made_of(*cloudpickle.loads(actor.args))
        try:
            answer.value = cloudpickle.dumps(getattr(actor.alive, answer.method)(*args))
        except Exception as why:  # as Ray does with whatever an actor raises
            answer.fault = RayTaskError(cloudpickle.loads(cloudpickle.dumps(why)))
        else:
            if self.dies(answer.method, names_of(answer)):
                self.died, actor.dead, answer.fault = self.died + 1, True, self.how

    def get(self, answer: Answer) -> Any:
        assert self.running
        if answer.fault:
            raise answer.fault
        return cloudpickle.loads(answer.value)
