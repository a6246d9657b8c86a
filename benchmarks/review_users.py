"""Readers and reviewers of the review page, for locust; `review_load.py` starts it.

A reader asks for what the page asks for (`serve/static`): the page and its scripts, words, filters, a list of 108, the
36 crops of a grid and the 36 after it, progress, and every ten seconds what others decided; it turns pages and opens
single findings. A reviewer does the same and decides. Time between two of them is that of a person who looks.
"""

from __future__ import annotations

import os
import random
import re
import secrets
import time
from collections.abc import Iterable
from typing import Any

import gevent
from gevent.pool import Pool
from locust import FastHttpUser, between, events, task

BASE = "/api/v1"
SHOWN, PER_PAGE, LOOK_S = 36, 108, 10  # as static/grid.js, list.js and review.js have them
CONNECTIONS = 6  # of a browser to one server
PASSWORD = os.environ["TOELINE_LOAD_PASSWORD"]
READERS, REVIEWERS = int(os.environ["TOELINE_READERS"]), int(os.environ["TOELINE_REVIEWERS"])
SETTLE_S = float(os.environ["TOELINE_SETTLE_S"])
ORDERS = ("urgent", "least_sure", "disagree", "alike", "photo")


@events.spawning_complete.add_listener
def begin(user_count: int, **_: Any) -> None:
    """All are there: what is measured begins when the last one has the page too."""
    print(f"{user_count} people are there", flush=True)
    gevent.spawn_later(SETTLE_S, begin.environment.runner.stats.reset_all)  # type: ignore[attr-defined]


@events.init.add_listener
def remember(environment: Any, **_: Any) -> None:
    begin.environment = environment  # type: ignore[attr-defined]


class Person(FastHttpUser):
    """A browser in which somebody is signed in."""

    abstract = True
    name, order = "", "urgent"
    concurrency = CONNECTIONS
    network_timeout = connection_timeout = 60.0

    def on_start(self) -> None:
        self.pool, self.items, self.page, self.start = Pool(CONNECTIONS), [], 0, 0
        self.seen: set[str] = set()
        self.files: dict[str, tuple[bool, str, str]] = {}
        self.last, self.looked = 0, time.monotonic()
        said = self.client.post(f"{BASE}/login", json={"user": self.name, "password": PASSWORD}, name="log in")
        self.csrf = said.json()["csrf"]
        self.load()

    def get(self, path: str, name: str) -> Any:
        """JSON of the API."""
        return self.client.get(BASE + path, name=name).json()

    def picture(self, path: str, name: str) -> None:
        """A picture that the browser does not have yet; it keeps them for a day."""
        if path not in self.seen:
            self.seen.add(path)
            self.client.get(BASE + path, name=name)

    def scripts(self, html: str) -> None:
        """Scripts and styles of the page, and what they import."""
        wanted, asked = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', html)), set[str]()
        while new := wanted - asked:
            asked |= new
            for path, text in zip(new, self.pool.map(self.script, new), strict=True):
                folder = path.partition("?")[0].rpartition("/")[0]
                wanted |= {f"{folder}/{name}" for name in re.findall(r'from "\./([\w.]+)"', text)}

    def script(self, path: str) -> str:
        """One of them; what may be kept is not asked for again, or is told to be the same."""
        kept, tag, text = self.files.get(path, (False, "", ""))
        if not kept:
            said = self.client.get(path, headers={"if-none-match": tag} if tag else {}, name="script or style")
            kept, tag = "immutable" in said.headers.get("cache-control", ""), said.headers.get("etag") or tag
            text = said.text if said.status_code == 200 else text
            self.files[path] = (kept, tag, text)
        return text

    def load(self) -> None:
        """Open the page; until the crops of the grid are there it is one event, `whole page`."""
        began = time.perf_counter()
        html = self.client.get("/review", name="page").text
        self.scripts(html)
        self.get("/taxonomy", "words")
        self.get("/inspections", "inspections")
        self.items, self.page, self.start = [], 0, 0
        self.more()
        self.crops(self.items[:SHOWN])
        told = {"request_type": "all", "name": "whole page", "response_length": 0, "exception": None}
        self.environment.events.request.fire(**told, response_time=1000 * (time.perf_counter() - began))
        self.crops(self.items[SHOWN : 2 * SHOWN])
        self.last = self.get("/progress", "progress")["last_event"]

    def more(self) -> None:
        self.page += 1
        query = f"/findings?sort={self.order}&page={self.page}&per_page={PER_PAGE}"
        self.items += self.get(query, "list of findings")["items"]

    def crops(self, items: Iterable[dict[str, Any]]) -> None:
        paths = [f"/findings/{i['id']}/crop?margin=0.25&size=320&v={i['version']}" for i in items]
        self.pool.map(lambda path: self.picture(path, "crop"), paths)

    def turn(self) -> None:
        """The next grid: its crops are there, those after it are fetched."""
        self.start += SHOWN
        while len(self.items) < self.start + 2 * SHOWN:
            self.more()
        self.crops(self.items[self.start : self.start + 2 * SHOWN])

    def look(self) -> None:
        """What others decided since."""
        if time.monotonic() - self.looked > LOOK_S:
            self.looked = time.monotonic()
            self.last = self.get(f"/events?after={self.last}&limit=1000", "events")["last"]
            self.get("/progress", "progress")

    def single(self) -> None:
        """One finding, and those that may be opened next."""
        at = random.randrange(self.start, self.start + SHOWN)
        for item in self.items[at : at + 3]:
            self.picture(f"/findings/{item['id']}/crop?margin=0.25&size=800&v={item['version']}", "large crop")
            self.get(f"/findings/{item['id']}", "one finding")
            self.get(f"/photos/{item['photo_id']}", "one photograph")
            self.picture(f"/photos/{item['photo_id']}/image?width=1600", "photograph")


class Reader(Person):
    """Looks, and decides nothing."""

    fixed_count = READERS
    wait_time = between(10, 30)  # half a second for each of 36 crops
    name = "reader"

    def on_start(self) -> None:
        self.order = random.choice(ORDERS)
        super().on_start()

    @task(6)
    def turns(self) -> None:
        self.turn()
        self.look()

    @task(3)
    def opens(self) -> None:
        self.single()
        self.look()

    @task(2)
    def loads(self) -> None:
        self.order = random.choice(ORDERS)
        self.load()


class Reviewer(Person):
    """Decides a finding about every second, and now and then a whole grid."""

    fixed_count = REVIEWERS
    wait_time = between(0.5, 2.0)
    numbers = iter(range(10**6))

    def on_start(self) -> None:
        number = next(Reviewer.numbers)
        self.name, self.order, self.at = f"reviewer{number}", ORDERS[number % len(ORDERS)], 0
        super().on_start()

    def form(self, item: dict[str, Any]) -> dict[str, Any]:
        key = secrets.token_hex(12)
        return {"finding": item["id"], "version": item["version"], "action": "confirm", "seconds": 1.0, "key": key}

    def send(self, path: str, form: dict[str, Any], name: str) -> None:
        head = {"x-csrf-token": self.csrf}
        with self.client.post(BASE + path, json=form, headers=head, name=name, catch_response=True) as said:
            if said.status_code == 409:  # another reviewer was first, and it says so
                said.success()

    def ahead(self, number: int) -> list[dict[str, Any]]:
        while len(self.items) < self.at + number + SHOWN:
            self.more()
            self.crops(self.items[-PER_PAGE:][:SHOWN])
        self.at += number
        return self.items[self.at - number : self.at]

    @task(30)
    def decides(self) -> None:
        self.send("/decisions", self.form(self.ahead(1)[0]), "decision")
        self.look()

    @task(1)
    def decides_a_grid(self) -> None:
        self.send("/decisions/batch", {"items": [self.form(i) for i in self.ahead(SHOWN)]}, "36 at once")
