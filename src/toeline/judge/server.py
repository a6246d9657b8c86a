"""A judge on a vLLM-class server: the tree of answers walked by requests of one token. Exact, or refused.

At every fork of a question's answers (packing.grow_trie) one chat completion is asked for: the photograph, the shared
text, the crop and the question as the user's turn, and what all answers of the fork begin with as an assistant's turn
that is continued. The log-probabilities of the tokens that can follow are normalized over these tokens, and an answer's
is the sum along its path: what `packing.tree_log_probs` does with the packed sequence. The token ids that the server
read are compared with our own layout.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from toeline.core.question import Picture, PromptBudget, Question, QuestionSheet
from toeline.core.reading import file_hash, number
from toeline.core.words import cut
from toeline.errors import ModelError
from toeline.judge.checkpoint import load_tokenizer, preprocessing, read_config, read_view, require_marks
from toeline.judge.families import FAMILIES
from toeline.judge.packing import Alphabet, Trie, alphabet_of, branch, spell, trunk
from toeline.judge.server_client import Refusal, ServerAddress, ServerClient
from toeline.judge.shape import shape_of
from toeline.judge.vocabulary import check_of, load_original
from toeline.weights import find_model

PARALLEL = 8  # requests of one photograph at a time, after the first, which fills the server's prefix cache
MOST_IDS = 128  # that vLLM takes in logprob_token_ids
RANKED = 20  # log-probabilities that a server gives by default, of the most probable tokens
BY_ID, BY_RANK = "logprob_token_ids", "top_logprobs"  # how they are asked for; the second is for older servers
NOTHING = -9000.0  # vLLM writes -9999 for a probability of 0, since JSON has no infinity
TOKENIZER = ("tokenizer.json", "vocab.json", "merges.txt")
LIMITS = (56 * 56, 28 * 28 * 1280)  # pixels of a picture that Qwen's processor does not resize, where no file says so


@dataclass(frozen=True)
class Fork:
    """One request: `content` is the user's turn, `stem` how the answer begins, `ids` the whole prompt in tokens.

    `tokens` are those that can follow. `pixels` is the area of the smallest picture shown, 0 without any.
    """

    content: Sequence[Mapping[str, Any]]
    stem: str
    ids: tuple[int, ...]
    tokens: frozenset[int]
    pixels: int


@dataclass
class ServerState:
    """What is known of the server by now: how it is asked, whether token ids were compared, faults seen so far."""

    way: str = ""
    compared: bool = False
    faults: int = 0


@dataclass(frozen=True)
class ServerJudge:
    """A Judge behind HTTP. `facts` go into `info`; `limits` are areas in pixels between which nothing is resized.

    `original` is the tokenizer before the vocabulary was trimmed, if it was. Build it with `load`.
    """

    client: ServerClient
    tokenizer: Any
    alphabet: Alphabet
    view: PromptBudget
    facts: Mapping[str, Any] = field(default_factory=dict)
    limits: tuple[int, int] = LIMITS
    original: Any = None
    session: ServerState = field(default_factory=ServerState, compare=False)

    @classmethod
    def load(cls, said: str, *, embedded: Path, client: ServerClient | None = None) -> ServerJudge:
        """The judge that follows `openai:`, URL#MODEL or URL#MODEL=FOLDER. Raises ModelError and SetupError.

        MODEL is the name on the server and, without FOLDER, a folder or hub id here: of it the config, the tokenizer
        and the view are read, no weights. "embedded" stands for `embedded`, the folder of the package's judge.
        """
        address = ServerAddress.typed(said)
        client = client or ServerClient(address)
        card = served(client)
        given = embedded if address.files == "embedded" else address.files
        folder = find_model(str(given), check=read_config, weights=False)
        config, tokenizer = read_config(folder), load_tokenizer(folder)
        require_marks(folder, config, tokenizer)
        shape, original = shape_of(config, folder), load_original(folder, load_tokenizer)
        abc = alphabet_of(
            tokenizer, patch=shape.patch, merge=shape.merge, system=FAMILIES[config["model_type"]].system,
            check=check_of(tokenizer, original) if original is not None else None,
        )  # fmt: skip
        facts = {"server": address.url, "served": card, "layout": layout_hash(folder, abc)}
        versions = {"server": _version(client), **{name: metadata.version(name) for name in ("httpx", "tenacity")}}
        return cls(
            client, tokenizer, abc, read_view([folder], shape), {**facts, "versions": versions}, limits_of(folder),
            original,
        )  # fmt: skip

    @property
    def info(self) -> Mapping[str, Any]:
        """For run.json: where it is served, what the server says of the model, and the hash of our layout."""
        return {"back_end": "openai", "model": self.client.address.model, **self.facts}

    def read(self, texts: Iterable[str]) -> None:
        """Raise ModelError for a text that a trimmed judge cannot read as it is written; a whole one reads all."""
        if self.original is not None:
            for text in texts:
                self.alphabet.encode(text)

    def score(self, sheet: QuestionSheet) -> list[dict[str, float]]:
        """Log-probability of every answer, question by question in the sheet's order; each question's sum to 1.

        Raises ModelError for a server that is away or answers otherwise than it must, ValueError as QwenVLJudge.score.
        """
        shared, trees = self._shared(sheet), [spell(q, self.alphabet) for q in sheet.questions]
        asked = [list(self._forks(q, trie, *shared)) for q, trie in zip(sheet.questions, trees, strict=True)]
        forks = [fork for one in asked for _, fork in one]
        if not forks:
            return []
        self._require_same_model()
        found = iter(self._answers(forks))
        said = [{node: next(found) for node, _ in one} for one in asked]
        return [
            _sums(question.answers, trie, at)
            for question, trie, at in zip(sheet.questions, trees, said, strict=True)
        ]  # fmt: skip

    def _shared(self, sheet: QuestionSheet) -> tuple[list[dict[str, Any]], list[int], int]:
        """What all questions begin with: as content, as token ids, and the area of its picture."""
        text = sheet.text.rstrip()
        content = [*_shown(sheet.picture), *([{"type": "text", "text": f"{text}\n"}] if text else [])]
        return content, trunk(sheet, self.alphabet).ids.tolist(), _area(sheet.picture)

    def _forks(
        self, question: Question, trie: Trie, content: list[dict[str, Any]], ids: list[int], area: int
    ) -> Iterator[tuple[int, Fork]]:
        """The requests of one question, each with its fork in the trie; -1 is that before the first token."""
        shown = [*content, *_shown(question.crop), {"type": "text", "text": question.text.strip()}]
        asked = [*ids, *branch(question, self.alphabet).ids.tolist()]
        pixels = min(filter(None, (area, _area(question.crop))), default=0)
        for node in sorted({node for _, node, _ in trie.steps}):
            stem = [token for at, token in enumerate(trie.ids[: node + 1]) if node < trie.last[at]]
            following = frozenset(token for _, at, token in trie.steps if at == node)
            yield node, Fork(shown, self._spelled(stem), (*asked, *stem), following, pixels)

    def _spelled(self, stem: list[int]) -> str:
        """The text of the first tokens of an answer. Raises ModelError when it would be cut into other tokens."""
        text = str(self.tokenizer.decode(stem)) if stem else ""
        if list(self.alphabet.encode(text) if text else ()) != stem:
            raise ModelError(
                f"answers begin with {text!r}, which is cut into other tokens when it stands alone, so a server "
                f"cannot be asked what follows. Use the judge without a server."
            )
        return text

    def _answers(self, forks: Sequence[Fork]) -> list[dict[int, float]]:
        """The first alone, so that its prefix is in the server's cache when the others come."""
        self.client.give_up.clear()
        first = self._ask(forks[0])
        if len(forks) == 1:
            return [first]
        with ThreadPoolExecutor(min(PARALLEL, len(forks) - 1)) as pool:
            try:
                return [first, *pool.map(self._ask, forks[1:])]
            except BaseException:
                self.client.give_up.set()  # the others wait for no other try
                raise

    def _ask(self, fork: Fork) -> dict[int, float]:
        """Log-probabilities of the tokens that can follow, normalized over these."""
        session, url = self.session, f"{self.client.address.url}/chat/completions"
        for way in [session.way] if session.way else [BY_ID, BY_RANK]:
            try:
                said = self.client.post(url, self._body(fork, way))
            except Refusal as why:
                if way == BY_ID and not session.way and why.status in (400, 422):
                    continue  # a server that knows no such field and refuses it
                raise
            found = self._read(said)
            self._compare(fork, said)
            if fork.tokens <= found.keys():
                session.way = way
                return _normalized({token: found[token] for token in fork.tokens})
        raise ModelError(
            f"{self.client.address.url}: the server gives log-probabilities of its {RANKED} most probable tokens only, "
            f"and {len(fork.tokens - found.keys())} of the {len(fork.tokens)} that can follow are not among them, so "
            f"the answer would not be exact. Take a vLLM that knows logprob_token_ids, or start it with "
            f"--logprobs-mode processed_logprobs."
        )

    def _body(self, fork: Fork, way: str) -> dict[str, Any]:
        """A request; temperature 0 switches off what generation_config.json may draw by, but not its penalty."""
        if len(fork.tokens) > MOST_IDS:
            raise ModelError(f"{len(fork.tokens)} tokens can follow at one place, and servers tell {MOST_IDS} of them.")
        tokens = sorted(fork.tokens)
        wanted = {BY_ID: tokens} if way == BY_ID else {BY_RANK: RANKED, "allowed_token_ids": tokens}
        return {
            **self._prompt(fork),
            **wanted,
            "max_tokens": 1,
            "temperature": 0,
            "repetition_penalty": 1.0,
            "logprobs": True,
            "return_tokens_as_token_ids": True,
            "return_token_ids": True,
        }

    def _prompt(self, fork: Fork) -> dict[str, Any]:
        """The model and its messages; a picture under the processor's own least size is said not to be enlarged."""
        system, stem = self.alphabet.system, fork.stem
        least, most = self.limits
        small = {"mm_processor_kwargs": {"min_pixels": self.alphabet.cell**2, "max_pixels": most}}
        return {
            "model": self.client.address.model,
            "messages": [
                *([{"role": "system", "content": system}] if system else []),
                {"role": "user", "content": fork.content},
                *([{"role": "assistant", "content": stem}] if stem else []),
            ],
            "add_generation_prompt": not stem,
            "continue_final_message": bool(stem),
            **(small if 0 < fork.pixels < least else {}),
        }

    def _read(self, said: Any) -> dict[int, float]:
        """Token ids and log-probabilities of an answer. Raises ModelError for one that has none."""
        try:
            (first,) = said["choices"][0]["logprobs"]["content"]
            rows = [first, *first["top_logprobs"]]
            pairs = [(row["token"].partition("token_id:"), number(row["logprob"], "logprob")) for row in rows]
            return {int(token if mark else "text"): logprob for (_, mark, token), logprob in pairs}
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as why:
            raise ModelError(
                f"{self.client.address.url}: the answer holds no log-probabilities by token ids ({cut(repr(why))}). "
                f"A vLLM-class server is needed; see docs/server_judge.md."
            ) from None

    def _compare(self, fork: Fork, said: Mapping[str, Any]) -> None:
        """Raise ModelError unless the server read our token ids; once a session where it does not say them by itself.

        Its /tokenize may give one token for each picture: the number of all is then compared, as with every answer.
        """
        told, usage = said.get("prompt_token_ids"), said.get("usage")
        given = told if isinstance(told, list) else None
        if given is None and not self.session.compared:
            given = self._tokenized(fork)
        short = given is not None and len(given) < len(fork.ids)
        wanted = self._collapsed(fork.ids) if short and given == self._collapsed(fork.ids) else list(fork.ids)
        if given is not None and given != wanted:
            raise self._other_ids(given, wanted)
        counted = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        if (not isinstance(told, list) or short) and counted != len(fork.ids):
            raise ModelError(
                f"{self.client.address.url}: the server read {counted} tokens and the judge's layout has "
                f"{len(fork.ids)}. See docs/server_judge.md."
            )
        self.session.compared = True

    def _tokenized(self, fork: Fork) -> list[int]:
        try:
            said = self.client.post(f"{self.client.address.root}/tokenize", self._prompt(fork))
            return [int(token) for token in said["tokens"]]
        except (Refusal, KeyError, TypeError, ValueError):
            raise ModelError(
                f"{self.client.address.url}: the server tells neither prompt_token_ids nor /tokenize, so nobody knows "
                f"what it reads. A vLLM-class server is needed; see docs/server_judge.md."
            ) from None

    def _collapsed(self, ids: Sequence[int]) -> list[int]:
        """Token ids with one token for each picture."""
        image = self.alphabet.image
        return [token for at, token in enumerate(ids) if token != image or ids[at - 1] != image]

    def _other_ids(self, given: Sequence[int], wanted: Sequence[int]) -> ModelError:
        url, image = self.client.address.url, self.alphabet.image
        there, here = (list(ids).count(image) for ids in (given, wanted))
        if there != here:
            return ModelError(
                f"{url}: pictures take {there} tokens there and {here} here: the server resizes them. Start it with "
                f"the --mm-processor-kwargs of docs/server_judge.md."
            )
        pairs = enumerate(zip(given, wanted, strict=False))
        at = next((k for k, (a, b) in pairs if a != b), min(len(given), len(wanted)))
        words = [cut(repr(str(self.tokenizer.decode(list(ids[at : at + 8]))))) for ids in (given, wanted)]
        return ModelError(
            f"{url}: the server reads another prompt: from token {at + 1} of {len(wanted)} on {words[0]}, and not "
            f"{words[1]}. Serve the same model, with its own tokenizer and chat template."
        )

    def _require_same_model(self) -> None:
        """After any fault: raise ModelError when another model is served now under the same name."""
        faults = self.client.faults
        if faults != self.session.faults:
            if served(self.client) != self.facts.get("served"):
                raise ModelError(
                    f"{self.client.address.url}: serves another model as {self.client.address.model} than when this "
                    f"run began. Serve the same one, or choose a new --out."
                )
            self.session.faults, self.session.compared = faults, False


def served(client: ServerClient) -> dict[str, Any]:
    """What the server says of the model that is asked for. Raises ModelError when it does not serve it."""
    url, model = client.address.url, client.address.model
    said = client.get(f"{url}/models")
    try:
        cards = {str(card["id"]): card for card in said["data"]}
    except (KeyError, TypeError):
        raise ModelError(f"{url}/models: is no list of models. Check the address: it ends in /v1.") from None
    if model not in cards:
        names = ", ".join(cut(name) for name in sorted(cards)[:5]) or "none"
        raise ModelError(f"{url}: serves no model {cut(model)}; it serves {names}. Name one of these after #.")
    return {name: cards[model].get(name) for name in ("id", "root", "parent")}


def layout_hash(folder: Path, abc: Alphabet) -> str:
    """SHA-256 of what turns a sheet into tokens: the tokenizer, the marks, the system text, the side of a token."""
    files = {name: file_hash(folder / name) for name in TOKENIZER if (folder / name).is_file()}
    marks = [abc.start, abc.end, abc.vision_start, abc.vision_end, abc.image, abc.patch, abc.merge, abc.system]
    said = json.dumps([files, marks])
    return hashlib.sha256(said.encode("utf-8")).hexdigest()


def limits_of(folder: Path) -> tuple[int, int]:
    """Areas in pixels of the smallest and the largest picture that the model's own processor does not resize."""
    _, found = preprocessing(folder)
    said = found if isinstance(found, dict) else {}
    sizes = said["size"] if isinstance(said.get("size"), dict) else {}
    named = [sizes.get("shortest_edge", said.get("min_pixels")), sizes.get("longest_edge", said.get("max_pixels"))]
    least, most = (one if isinstance(one, int) and one > 0 else usual for one, usual in zip(named, LIMITS, strict=True))
    return least, most


def _version(client: ServerClient) -> str:
    """What the server says its version is; empty for one that does not say."""
    try:
        return str(client.get(f"{client.address.root}/version")["version"])
    except (ModelError, KeyError, TypeError):
        return ""


def _shown(picture: Picture | None) -> list[dict[str, Any]]:
    """A picture as content, as PNG: no pixel changes, and equal pictures are equal bytes, which the server caches."""
    if picture is None:
        return []
    from PIL import Image

    file = io.BytesIO()
    Image.frombytes("RGB", picture.size, picture.tobytes()).save(file, "PNG", compress_level=1)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}]


def _area(picture: Picture | None) -> int:
    return picture.size[0] * picture.size[1] if picture is not None else 0


def _normalized(scores: Mapping[int, float]) -> dict[int, float]:
    """Log-probabilities over these tokens alone. Raises ModelError where a server gives its least value for each."""
    most = max(scores.values())
    if most <= NOTHING:
        raise ModelError("the server gives no probability to any token that can follow. See docs/server_judge.md.")
    total = most + math.log(math.fsum(math.exp(score - most) for score in scores.values()))
    return {token: score - total for token, score in scores.items()}


def _sums(answers: Sequence[str], trie: Trie, at: Mapping[int, Mapping[int, float]]) -> dict[str, float]:
    """The log-probability of each answer: the sum along its path."""
    found = dict.fromkeys(answers, 0.0)
    for answer, node, token in trie.steps:
        found[answers[answer]] += at[node][token]
    return found
