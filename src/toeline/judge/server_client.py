"""Speaks HTTP with a vLLM-class server: addresses, keys, time-outs, retries, what it counts. Knows no layout.

A request is sent again after what may pass (no connection, time-outs, 408, 425, 429, 5xx, a body that is no JSON), with
waits that grow and are drawn at random ("full jitter"), or as long as Retry-After says. Every other refusal is final.
"""

from __future__ import annotations

import json
import os
import re
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from toeline.core.words import cut
from toeline.errors import ModelError, SetupError, need
from toeline.weights import is_hub_id

if TYPE_CHECKING:
    import httpx
    from tenacity import RetryCallState

KEY = "TOELINE_SERVER_KEY"  # the variable of the environment that holds the key, where the server wants one
CONNECT_S, ANSWER_S = 10.0, 120.0  # until a connection stands; until an answer, which may wait behind others
TRIES = 6  # of one request: with the waits below, 31 s on average and 62 s at most
FIRST_WAIT_S, LONGEST_WAIT_S = 2.0, 60.0  # of the first retry at most, doubled with each; of any, Retry-After too
PASSING = {408, 425, 429, 500, 502, 503, 504}
FORM = "openai:URL#MODEL, such as openai:http://127.0.0.1:8000/v1#Qwen/Qwen2-VL-7B-Instruct"
LATER = "When it is there again, run the same command: it continues, and asks again about what failed."


class Unavailable(Exception):
    """A request failed in a way that may pass; `after` is how many seconds the server wants to be left alone."""

    def __init__(self, what: str, after: float = 0.0) -> None:
        """`what` is said if no other try succeeds."""
        super().__init__(what)
        self.after = after


class Refusal(ModelError):
    """A request that the server will never take as it is; `status` is that of HTTP."""

    def __init__(self, message: str, status: int) -> None:
        """The message says what, where and what to do."""
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class ServerAddress:
    """Where a judge is served. `url` ends in /v1 and holds no secret; `model` is its name there.

    `files` is a folder or hub id with its config and tokenizer.
    """

    url: str
    model: str
    files: str

    @classmethod
    def typed(cls, said: str) -> ServerAddress:
        """What follows `openai:`: URL#MODEL, or URL#MODEL=FOLDER. Raises ModelError, without the secret of a URL.

        >>> ServerAddress.typed("http://gpu:8000#judge=runs/tuned")
        ServerAddress(url='http://gpu:8000/v1', model='judge', files='runs/tuned')
        """
        url, _, rest = said.partition("#")
        model, named, files = rest.partition("=")
        try:
            parts = urlsplit(url)
            parts.port  # noqa: B018 (raises ValueError for one that is no number)
        except ValueError:
            raise ModelError(f"the address of the server cannot be read. Write {FORM}.") from None
        if "@" in said or parts.query:
            raise ModelError(
                f"the address of a server must hold no user, password or query: it is written into run.json. Put the "
                f"key into the environment variable {KEY}, and write {FORM}."
            )
        if parts.scheme not in ("http", "https") or not parts.hostname or not model or (named and not files):
            raise ModelError(f"openai: is not followed by the address of a server and a model's name. Write {FORM}.")
        if re.search(r"[\s,]", said):
            raise ModelError(f"the address of a server must hold no comma and no space. Write {FORM}.")
        base = url.rstrip("/")
        return cls(base if base.endswith("/v1") else f"{base}/v1", model, files or model)

    @property
    def root(self) -> str:
        """The address without /v1, below which vLLM has what OpenAI's API lacks."""
        return self.url.removesuffix("/v1")


def server_key() -> str:
    """The key for servers, from the environment; empty for none. Raises SetupError for what no header can hold."""
    key = os.environ.get(KEY, "").strip()
    if not re.fullmatch(r"[\x21-\x7e]*", key):
        raise SetupError(f"{KEY} holds what no key may hold, such as a space or a line break. Set it again.")
    return key


@dataclass
class Traffic:
    """What was sent and received so far: bytes are those of bodies, `retries` are requests that were sent again."""

    requests: int = 0
    retries: int = 0
    sent: int = 0
    received: int = 0


@dataclass(eq=False)
class ServerClient:
    """The connection with one server, for any number of threads. `faults` counts tries that failed.

    When all tries of a request have failed, the server is `away`: until one succeeds, requests are tried once, so that
    a run of many photographs ends soon. Once `give_up` is set, no request is sent again.
    """

    address: ServerAddress
    tries: int = TRIES
    answer_s: float = ANSWER_S
    sleep: Callable[[float], object] | None = None  # in place of waiting, for tests
    counts: Traffic = field(default_factory=Traffic)
    faults: int = 0
    away: bool = False
    give_up: threading.Event = field(default_factory=threading.Event, repr=False)
    key: str = field(default_factory=server_key, repr=False)

    def __post_init__(self) -> None:
        """Opens no connection yet. Raises SetupError where a library is missing."""
        http = need("httpx", extra="server")
        need("tenacity", extra="server")
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        times = http.Timeout(self.answer_s, connect=min(CONNECT_S, self.answer_s), pool=None)
        self._http: httpx.Client = http.Client(headers=headers, timeout=times)  # redirects would carry the key away
        self._counting = threading.Lock()
        weakref.finalize(self, self._http.close)

    def get(self, url: str) -> Any:
        """The JSON of an address. Raises ModelError."""
        return self._ask("GET", url, b"")

    def post(self, url: str, body: Mapping[str, Any]) -> Any:
        """The JSON that answers a JSON. Raises ModelError; a Refusal for what is wrong with the request."""
        return self._ask("POST", url, json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode())

    def _ask(self, method: str, url: str, body: bytes) -> Any:
        from tenacity import Retrying, retry_if_exception_type

        trying = Retrying(
            retry=retry_if_exception_type(Unavailable), stop=self._is_last, wait=self._wait, sleep=self._rest,
            reraise=True,
        )  # fmt: skip
        try:
            answer = trying(self._once, method, url, body)
        except Unavailable as why:
            self.away = self.away or not self.give_up.is_set()
            raise ModelError(f"{self.address.url}: {why}. {LATER}") from None
        self.away = False
        return answer

    def _is_last(self, state: RetryCallState) -> bool:
        return self.away or self.give_up.is_set() or state.attempt_number >= self.tries

    def _wait(self, state: RetryCallState) -> float:
        from tenacity import wait_random_exponential

        why = state.outcome.exception() if state.outcome else None
        drawn: float = wait_random_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S)(state)
        return max(drawn, min(getattr(why, "after", 0.0), LONGEST_WAIT_S))

    def _rest(self, seconds: float) -> None:
        self._count(retries=1)
        (self.sleep or self.give_up.wait)(seconds)

    def _count(self, **more: int) -> None:
        with self._counting:
            for name, number in more.items():
                setattr(self.counts, name, getattr(self.counts, name) + number)

    def _once(self, method: str, url: str, body: bytes) -> Any:
        try:
            return self._sent(method, url, body)
        except Unavailable:
            self.faults += 1
            raise

    def _sent(self, method: str, url: str, body: bytes) -> Any:
        import httpx

        self._count(requests=1, sent=len(body))
        try:
            said = self._http.request(method, url, content=body, headers={"content-type": "application/json"})
        except httpx.TimeoutException:
            raise Unavailable(f"the server did not answer within {self.answer_s:g} s") from None
        except httpx.TransportError as why:
            raise Unavailable(f"the server cannot be reached ({self._plain(str(why))})") from None
        self._count(received=len(said.content))
        if said.status_code in PASSING:
            what = f"the server answers {said.status_code} {said.reason_phrase}".rstrip()
            raise Unavailable(what, _seconds(said.headers.get("retry-after", "")))
        if said.status_code != httpx.codes.OK:
            raise self._refusal(said)
        try:
            return said.json()
        except ValueError:
            raise Unavailable("the server answers with something that is no JSON") from None

    def _refusal(self, said: httpx.Response) -> Refusal:
        status, url = said.status_code, self.address.url
        if status in (401, 403):
            return Refusal(f"{url}: the server refuses the key ({status}). Set {KEY} to one that it takes.", status)
        told = f"{url}: the server refuses a request with {status} ({self._plain(said.text)})."
        return Refusal(f"{told} Look into its log, and see docs/server_judge.md.", status)

    def _plain(self, text: str) -> str:
        """What a server or library says, short, on one line, and without the key."""
        hidden = text.replace(self.key, "***") if self.key else text
        return cut(" ".join(hidden.split()), 200)


def _seconds(said: str) -> float:
    """The seconds of a Retry-After, which is a number of them or a date; 0 for what is neither.

    >>> _seconds("7"), _seconds("soon"), _seconds("Wed, 21 Oct 2015 07:28:00 GMT")
    (7.0, 0.0, 0.0)
    """
    if re.fullmatch(r"\d{1,9}", said.strip()):
        return float(said)
    try:
        return max(0.0, (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def require_server(said: str) -> None:
    """Raise ModelError for what follows `openai:` and is no address, or names a folder that is not there."""
    address = ServerAddress.typed(said)
    there = address.files == "embedded" or Path(address.files).expanduser().is_dir() or is_hub_id(address.files)
    if not there:
        raise ModelError(
            f"openai:{said}: there is no folder {address.files} with config.json and tokenizer of the served model. "
            f"Name one after it: openai:{address.url}#{address.model}=FOLDER."
        )
