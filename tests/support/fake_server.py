"""A server with the JSON of vLLM's, which answers from a small model through stock transformers. For tests only.

It shares no code with the judge: prompts are rendered by a chat template, pictures are decoded and cut by the model's
own image processor, and every request is one plain forward of one sequence. As a process of its own:

    python -m tests.support.fake_server FOLDER --port 8001 --name judge
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from toeline.weights import quiet

# Form of the published template of Qwen2-VL, and of Qwen3-VL without SYSTEM; no tools, videos and numbered pictures.
SYSTEM = (
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "{% endif %}"
)
TEMPLATE = (
    "{% for message in messages %}@<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
UNLIKELY = -9999.0  # what vLLM writes for minus infinity


@dataclass(frozen=True)
class Fault:
    """What one request gets in place of an answer; with `close` the connection ends, `hang_s` comes before it."""

    status: int = 500
    body: bytes = b'{"error": {"message": "broken"}}'
    headers: Mapping[str, str] = field(default_factory=dict)
    close: bool = False
    hang_s: float = 0.0


class Engine:
    """The stock model of a folder: one sequence at a time. What a server of another age does not know is in `lacks`.

    That is any of logprob_token_ids, allowed_token_ids, prompt_token_ids, tokenize, logprobs, mm_processor_kwargs.
    """

    def __init__(self, folder: Path, *, lacks: frozenset[str] = frozenset(), processed: bool = False) -> None:
        """`processed` is vLLM's --logprobs-mode processed_logprobs."""
        from transformers import AutoModelForImageTextToText, AutoTokenizer, Qwen2VLImageProcessorPil

        with quiet():
            self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
            self.tokenizer = AutoTokenizer.from_pretrained(folder)
        newer = self.model.config.model_type == "qwen3_vl"
        self.tokenizer.chat_template = self.tokenizer.chat_template or TEMPLATE.replace("@", "" if newer else SYSTEM)
        self.sizes = (56 * 56, 28 * 28 * 1280)
        pixels = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "patch_size": 16} if newer else {}
        self.processor = partial(Qwen2VLImageProcessorPil, **pixels)
        self.lacks, self.processed, self.lock = lacks, processed, threading.Lock()

    def prompt(self, body: Mapping[str, Any]) -> tuple[list[int], dict[str, Any]]:
        """Token ids and pictures of a request, cut as the server is set up."""
        messages, shown = [], list[Image.Image]()
        for message in body["messages"]:
            content = message["content"]
            if not isinstance(content, str):
                shown += [_picture(p["image_url"]["url"]) for p in content if p["type"] == "image_url"]
                content = [{"type": "image"} if p["type"] == "image_url" else p for p in content]
            messages.append({"role": message["role"], "content": content})
        text = self.tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=body.get("add_generation_prompt", True),
            continue_final_message=body.get("continue_final_message", False),
        )
        if not shown:
            return self.tokenizer(text)["input_ids"], {}
        kwargs = {} if "mm_processor_kwargs" in self.lacks else body.get("mm_processor_kwargs") or {}
        least, most = kwargs.get("min_pixels", self.sizes[0]), kwargs.get("max_pixels", self.sizes[1])
        cut = self.processor(size={"shortest_edge": least, "longest_edge": most})(images=shown, return_tensors="pt")
        for grid in cut["image_grid_thw"].tolist():
            many = grid[1] * grid[2] // 4
            text = text.replace("<|image_pad|>", "<|placeholder|>" * many, 1)
        return self.tokenizer(text.replace("<|placeholder|>", "<|image_pad|>"))["input_ids"], dict(cut)

    def log_probs(self, ids: list[int], shown: Mapping[str, Any]) -> torch.Tensor:
        """(vocabulary,) of the next token."""
        given = torch.tensor([ids])
        kinds = (given == self.model.config.image_token_id).int()
        with self.lock, torch.inference_mode():
            done = self.model(input_ids=given, mm_token_type_ids=kinds, logits_to_keep=1, use_cache=False, **shown)
        return done.logits[0, -1].float().log_softmax(-1)

    def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A chat completion of one token."""
        ids, shown = self.prompt(body)
        raw = self.log_probs(ids, shown)
        allowed, chosen = body.get("allowed_token_ids"), raw
        if allowed and "allowed_token_ids" not in self.lacks:
            chosen = torch.full_like(raw, -torch.inf)
            chosen[allowed] = raw[allowed]
            chosen = chosen.log_softmax(-1)
        if self.processed:
            raw = chosen
        token = int(chosen.argmax())
        wanted = body.get("logprob_token_ids") if "logprob_token_ids" not in self.lacks else None
        ranked = wanted or raw.topk(min(int(body.get("top_logprobs") or 0), len(raw))).indices.tolist()
        rows = [self._row(one, raw) for one in dict.fromkeys([token, *ranked])]
        logprobs = {"content": [{**rows[0], "top_logprobs": rows if ranked else []}]}
        known = {} if "prompt_token_ids" in self.lacks else {"prompt_token_ids": ids}
        return {
            "id": "chatcmpl-0",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": body["model"],
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": self.tokenizer.decode([token]), "refusal": None},
                    "logprobs": None if "logprobs" in self.lacks else logprobs,
                    "finish_reason": "length",
                    "stop_reason": None,
                    "token_ids": [token],
                }
            ],
            "usage": {"prompt_tokens": len(ids), "total_tokens": len(ids) + 1, "completion_tokens": 1},
            "prompt_logprobs": None,
            **known,
        }

    def _row(self, token: int, raw: torch.Tensor) -> dict[str, Any]:
        text = self.tokenizer.decode([token])
        return {"token": f"token_id:{token}", "logprob": max(float(raw[token]), UNLIKELY), "bytes": list(text.encode())}


def _picture(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")


@dataclass
class FakeServer:
    """A running server. `faults` are given to the next chat completions, one each; `asked` are their bodies.

    After `lives` chat completions it lets every connection go, as one that was killed. `events` are "in" and "out" of
    chat completions in their order.
    """

    engine: Engine
    name: str = "judge"
    root: str = "judge"
    key: str = ""
    faults: deque[Fault] = field(default_factory=deque)
    asked: list[dict[str, Any]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    lives: int = 10**9
    url: str = ""

    @property
    def most_at_a_time(self) -> int:
        """How many chat completions were answered at a time, at most."""
        return max(self.events[:n].count("in") - self.events[:n].count("out") for n in range(len(self.events) + 1))

    def answer(self, method: str, path: str, body: Mapping[str, Any], key: str) -> tuple[int, Any]:
        """Status and JSON of a request."""
        if self.key and key != f"Bearer {self.key}":
            return 401, {"error": {"message": f"{key} is no key", "code": 401}}
        if (method, path) == ("GET", "/v1/models"):
            card = {"id": self.name, "object": "model", "created": int(time.time()), "owned_by": "vllm"}
            return 200, {"object": "list", "data": [{**card, "root": self.root, "parent": None, "max_model_len": 4096}]}
        if (method, path) == ("GET", "/version"):
            return 200, {"version": "0.32.0"}
        if body.get("model") != self.name:
            return 404, {"error": {"message": f"The model `{body.get('model')}` does not exist.", "code": 404}}
        if path == "/v1/chat/completions":
            return 200, self.engine.complete(body)
        if path == "/tokenize" and "tokenize" not in self.engine.lacks:
            ids, _ = self.engine.prompt(body)
            image = self.engine.model.config.image_token_id
            short = [t for at, t in enumerate(ids) if t != image or ids[at - 1] != image]  # one for each picture
            return 200, {"count": len(short), "max_model_len": 4096, "tokens": short, "token_strs": None}
        return 404, {"detail": "Not Found"}


def _handler(server: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._do("GET", b"{}")

        def do_POST(self) -> None:
            self._do("POST", self.rfile.read(int(self.headers["content-length"])))

        def _do(self, method: str, raw: bytes) -> None:
            body, chat = json.loads(raw), self.path == "/v1/chat/completions"
            if server.lives <= 0:
                self._fail(Fault(close=True))
                return
            if chat:
                server.asked.append(body)
                if server.faults:
                    self._fail(server.faults.popleft())
                    return
                server.lives -= 1
                server.events.append("in")
            status, said = server.answer(method, self.path, body, self.headers.get("authorization", ""))
            if chat:
                server.events.append("out")
            self._send(status, json.dumps(said).encode(), {"content-type": "application/json"})

        def _fail(self, fault: Fault) -> None:
            time.sleep(fault.hang_s)
            if fault.close:
                self.close_connection = True
                self.connection.close()
                return
            self._send(fault.status, fault.body, fault.headers)

        def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            try:
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
            except OSError:  # whoever asked has gone
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    return Handler


class _Listening(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: Any) -> None:
        """A client that has gone is no fault."""


@contextmanager
def listening(server: FakeServer, port: int = 0) -> Iterator[FakeServer]:
    """Serve on the loopback while the block lasts; `url` says where."""
    web = _Listening(("127.0.0.1", port), _handler(server))
    server.url = f"http://127.0.0.1:{web.server_port}/v1"
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        web.shutdown()
        web.server_close()
        thread.join()


def main() -> None:
    """Serve a folder until it is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--name", default="judge")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with listening(FakeServer(Engine(args.folder), args.name), args.port) as server:
        print(server.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
