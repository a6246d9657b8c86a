"""A judge behind HTTP says what the packed judge says, or refuses. The server is a fake one with vLLM's JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.support.datasets import NAMES, exit_code, make_photo, make_scene, write_labels, write_photo, write_yolo
from tests.support.fake_server import Engine, FakeServer, Fault, listening
from tests.support.stand_ins import FakeJudge, single_parts, stand_in
from tests.support.tiny_judges import CELLS, make_sheet, save_model

from toeline.core.question import PromptBudget, QuestionSheet
from toeline.core.taxonomy import Taxonomy
from toeline.errors import ModelError, SetupError
from toeline.judge import load, server, server_client
from toeline.judge.judge import fingerprint
from toeline.judge.load import EMBEDDED, load_judge, require_judge, source_of
from toeline.judge.qwen_vl import QwenVLJudge
from toeline.judge.server import PARALLEL, ServerJudge
from toeline.judge.server_client import KEY, ServerAddress, ServerClient, Unavailable
from toeline.prompts.build import ask
from toeline.prompts.relations import around

TOLERANCE = 1e-4
TAXONOMY = Taxonomy.load()
KINDS = ("slope_drain", "toe_drain", "rock_toe")


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of a thousandth of the usual, no key of whoever runs the tests."""
    monkeypatch.setattr(server_client, "FIRST_WAIT_S", 0.001)
    monkeypatch.delenv(KEY, raising=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return Engine(folder)


@pytest.fixture
def fake(engine: Engine) -> Iterator[FakeServer]:
    with listening(FakeServer(engine)) as running:
        yield running


@pytest.fixture
def judge(fake: FakeServer, folder: Path) -> ServerJudge:
    return judge_of(fake, folder)


def judge_of(fake: FakeServer, folder: Path, **more: Any) -> ServerJudge:
    said = f"{fake.url}#{fake.name}={folder}"
    return ServerJudge.load(said, embedded=EMBEDDED, client=ServerClient(ServerAddress.typed(said), **more))


def sheets(family: str, count: int) -> Iterator[QuestionSheet]:
    """Photographs of noise with one to four boxes; answers of the type and all in turns."""
    for seed in range(count):
        rng = np.random.default_rng(seed)
        corners = [sorted(rng.integers(0, 96, 2).tolist()) for _ in range(2 * int(rng.integers(1, 5)))]
        boxes = [(x1, y1, x2 + 4, y2 + 4) for (x1, x2), (y1, y2) in zip(corners[::2], corners[1::2], strict=True)]
        rows = [f"{KINDS[int(rng.integers(3))]} {' '.join(map(str, box))}" for box in boxes]
        scene = make_scene(*rows)
        view = PromptBudget(cell=CELLS[family], scene_tokens=9, crop_tokens=4, prompt="relations")
        relations = {t.id: around(scene, t.id) for t in scene.instances}
        answers: Any = "all" if seed % 2 else "type"
        yield ask(scene, make_photo(scene.size_wh, seed), relations, TAXONOMY, view, answers=answers)


def largest(a: Sequence[Any], b: Sequence[Any]) -> float:
    """The largest difference of a log-probability."""
    assert [list(row) for row in a] == [list(row) for row in b]
    return max(abs(x[name] - y[name]) for x, y in zip(a, b, strict=True) for name in x)


@pytest.mark.parametrize(("family", "count"), [("qwen2_vl", 40), ("qwen2_5_vl", 6), ("qwen3_vl", 6)])
def test_a_server_says_what_the_packed_judge_says(family: str, count: int, tmp_path: Path) -> None:
    place = save_model(tmp_path / "model", family=family, layers=3)
    packed, worst, spread = QwenVLJudge.load(place, device="cpu"), 0.0, 0.0
    with listening(FakeServer(Engine(place))) as fake:
        served = judge_of(fake, place)
        for sheet in sheets(family, count):
            own = packed.score(sheet)
            worst = max(worst, largest(own, served.score(sheet)))
            spread = max(spread, *(max(row.values()) - min(row.values()) for row in own))
    assert worst <= TOLERANCE
    assert spread > 1  # the answers of a model that says the same of everything would be easy to match
    counts = served.client.counts
    assert (counts.requests, counts.retries) == (len(fake.asked) + 2, 0)
    assert counts.sent > counts.received > 0


def test_the_package_judge_is_served_under_its_name() -> None:
    with listening(FakeServer(Engine(EMBEDDED), name="embedded")) as fake:
        served = load_judge(f"openai:{fake.url}#embedded")
        assert served.view == (packed := load_judge("embedded", device="cpu")).view
        sheet = next(sheets("qwen2_vl", 1))
        assert largest(packed.score(sheet), served.score(sheet)) <= TOLERANCE
        another = replace(served, view=replace(served.view, prompt="name_only"))  # type: ignore[type-var]
        assert another.score(sheet) == served.score(sheet)


def test_the_first_request_is_alone_and_the_others_are_limited(judge: ServerJudge, fake: FakeServer) -> None:
    judge.score(make_sheet(12))
    assert fake.events[:2] == ["in", "out"]
    assert 1 < fake.most_at_a_time <= PARALLEL
    texts = [part["text"] for part in fake.asked[0]["messages"][1]["content"] if part["type"] == "text"]
    assert texts[-1] == "The box marks thing 0. Which one?"
    photographs = {body["messages"][1]["content"][0]["image_url"]["url"] for body in fake.asked}
    assert len(photographs) == 1  # the same bytes, so that it is encoded once


def test_answers_begin_as_a_turn_that_is_continued(judge: ServerJudge, fake: FakeServer) -> None:
    judge.score(make_sheet(3))
    begun = [body for body in fake.asked if body["messages"][-1]["role"] == "assistant"]
    assert {body["messages"][-1]["content"] for body in begun} >= {"slope drain", "rock toe"}
    assert all(body["continue_final_message"] and not body["add_generation_prompt"] for body in begun)
    asked = [body for body in fake.asked if body not in begun]
    assert all(body["add_generation_prompt"] and not body["continue_final_message"] for body in asked)
    assert {(b["max_tokens"], b["temperature"], b["repetition_penalty"]) for b in fake.asked} == {(1, 0, 1.0)}


def test_a_sheet_without_questions_asks_nothing(judge: ServerJudge, fake: FakeServer) -> None:
    assert judge.score(make_sheet(0)) == []
    assert fake.asked == []


def test_small_crops_are_said_not_to_be_enlarged(judge: ServerJudge, fake: FakeServer, folder: Path) -> None:
    sheet = make_sheet(3)
    assert largest(judge.score(sheet), QwenVLJudge.load(folder, device="cpu").score(sheet)) <= TOLERANCE
    said = [body.get("mm_processor_kwargs") for body in fake.asked]
    assert {"min_pixels": 784, "max_pixels": 28 * 28 * 1280} in said
    assert None in said


@pytest.mark.parametrize("lacks", [set(), {"prompt_token_ids"}])
@pytest.mark.parametrize("processed", [True, False])
def test_an_older_server_is_asked_by_rank(lacks: set[str], processed: bool, folder: Path) -> None:
    old = Engine(folder, lacks=frozenset({"logprob_token_ids", *lacks}), processed=processed)
    sheet, packed = make_sheet(2), QwenVLJudge.load(folder, device="cpu")
    with listening(FakeServer(old)) as fake:
        served = judge_of(fake, folder)
        if processed:
            assert largest(served.score(sheet), packed.score(sheet)) <= TOLERANCE
            assert served.session.way == "top_logprobs"
        else:
            with pytest.raises(ModelError, match="can follow are not among them, so the answer would not be exact"):
                served.score(sheet)


def test_a_server_that_refuses_the_newer_field_is_asked_by_rank(folder: Path) -> None:
    old = Engine(folder, lacks=frozenset({"logprob_token_ids"}), processed=True)
    with listening(FakeServer(old)) as fake:
        fake.faults.append(Fault(400, b'{"error": {"message": "extra fields not permitted"}}'))
        assert len(judge_of(fake, folder).score(make_sheet(1))) == 1


def spoiled(engine: Engine, how: str) -> None:
    if how == "template":
        engine.tokenizer.chat_template = engine.tokenizer.chat_template.replace("user", "person").replace(
            "{{ message['role'] }}", "the {{ message['role'] }}"
        )
    elif how == "sizes":
        engine.sizes = (56 * 56, 56 * 56)
    else:
        engine.lacks = frozenset(how.split())


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("template", "reads another prompt: from token 2 of"),
        ("sizes", "pictures take .* tokens there and .* here: the server resizes them"),
        ("mm_processor_kwargs", "the server resizes them"),
        ("prompt_token_ids tokenize", "tells neither prompt_token_ids nor /tokenize"),
        ("logprobs", "holds no log-probabilities by token ids"),
    ],
)
def test_a_server_that_reads_or_says_something_else_is_refused(how: str, said: str, folder: Path) -> None:
    engine = Engine(folder)
    spoiled(engine, how)
    with listening(FakeServer(engine)) as fake, pytest.raises(ModelError, match=said):
        judge_of(fake, folder).score(make_sheet(3))
    assert len(fake.asked) <= PARALLEL + 1


def test_ids_of_a_server_that_tells_no_ids_are_compared_once(folder: Path) -> None:
    with listening(FakeServer(Engine(folder, lacks=frozenset({"prompt_token_ids"})))) as fake:
        served, sheet = judge_of(fake, folder), make_sheet(3)
        assert largest(served.score(sheet), QwenVLJudge.load(folder, device="cpu").score(sheet)) <= TOLERANCE
        tokenized = served.client.counts.requests - len(fake.asked) - 2
        assert tokenized == 1
        fake.engine.sizes = (56 * 56, 56 * 56)  # from now on it resizes
        with pytest.raises(ModelError, match=r"the server read \d+ tokens and the judge's layout has"):
            served.score(sheet)


BROKEN: dict[str, tuple[list[Fault], str]] = {
    "429": ([Fault(429, headers={"retry-after": "7"})], ""),
    "503": ([Fault(503), Fault(502)], ""),
    "no JSON": ([Fault(200, b'{"choices": [')], ""),
    "gone": ([Fault(close=True)], ""),
    "slow": ([Fault(hang_s=0.6)], ""),
    "always 500": ([Fault(500)] * 60, "the server answers 500 Internal Server Error"),
    "always no JSON": ([Fault(200, b"<html>")] * 60, "answers with something that is no JSON"),
    "always slow": ([Fault(hang_s=0.6)] * 8, r"did not answer within 0\.25 s"),
    "bad request": ([Fault(400)] * 60, r"refuses a request with 400 .*broken"),
    "moved": ([Fault(307, headers={"location": "http://127.0.0.1:9/"})] * 60, "refuses a request with 307"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_faults_pass_or_are_said(name: str, fake: FakeServer, folder: Path) -> None:
    faults, said = BROKEN[name]
    waited = list[float]()
    served = judge_of(fake, folder, answer_s=0.25 if "slow" in name else 30.0, sleep=waited.append)
    packed, sheet = QwenVLJudge.load(folder, device="cpu"), make_sheet(1)
    fake.faults.extend(faults)
    if said:
        with pytest.raises(ModelError, match=said):
            served.score(sheet)
        fake.faults.clear()
    else:
        assert largest(served.score(sheet), packed.score(sheet)) <= TOLERANCE
        assert len(waited) == served.client.counts.retries == len(faults)
    if name == "429":
        assert waited[0] >= 7


def test_a_server_that_is_away_is_tried_once_until_it_answers(judge: ServerJudge, fake: FakeServer) -> None:
    sheet = make_sheet(1)
    before = judge.score(sheet)
    fake.lives, sent = 0, judge.client.counts.requests
    with pytest.raises(ModelError, match=r"cannot be reached.*it continues, and asks again about what failed"):
        judge.score(sheet)
    assert judge.client.counts.requests == sent + judge.client.tries
    with pytest.raises(ModelError, match="cannot be reached"):
        judge.score(sheet)
    assert judge.client.counts.requests == sent + judge.client.tries + 1
    fake.lives = 10**9
    assert judge.score(sheet) == before
    assert not judge.client.away


def test_another_model_after_a_fault_is_refused(judge: ServerJudge, fake: FakeServer) -> None:
    judge.score(make_sheet(1))
    fake.faults.append(Fault(503))
    judge.score(make_sheet(1))
    fake.root = "another"
    with pytest.raises(ModelError, match="serves another model as judge than when this run began"):
        judge.score(make_sheet(1))


def test_waits_grow_are_drawn_and_end() -> None:
    from tenacity import RetryCallState, Retrying

    client = ServerClient(ServerAddress.typed("http://127.0.0.1:9#m"))
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = 5
    drawn = {round(client._wait(state), 9) for _ in range(20)}
    assert len(drawn) > 10
    assert max(drawn) <= server_client.FIRST_WAIT_S * 2**4
    state.set_exception((Unavailable, Unavailable("busy", 1e9), None))
    assert client._wait(state) == server_client.LONGEST_WAIT_S


def test_the_key_is_sent_and_never_said(fake: FakeServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.key = "sesame-123"
    with pytest.raises(ModelError, match=f"refuses the key .*Set {KEY}"):
        judge_of(fake, folder)
    monkeypatch.setenv(KEY, "sesame-123")
    served = judge_of(fake, folder)
    assert len(served.score(make_sheet(1))) == 1
    assert "sesame" not in json.dumps(served.info) + repr(served.client)
    fake.faults.append(Fault(418, b"the key sesame-123 is a teapot"))
    with pytest.raises(ModelError) as told:
        served.score(make_sheet(1))
    assert "the key *** is a teapot" in str(told.value)
    monkeypatch.setenv(KEY, "two words")
    with pytest.raises(SetupError, match=f"{KEY} holds what no key may hold"):
        judge_of(fake, folder)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("http://ann:secret@gpu:8000/v1#judge", "must hold no user, password or query"),
        ("http://ann:secret#@gpu/v1#judge", "must hold no user, password or query|cannot be read"),
        ("https://gpu/v1?api_key=secret#judge", "must hold no user, password or query"),
        ("gpu:8000#judge", "is not followed by the address"),
        ("ftp://gpu#judge", "is not followed by the address"),
        ("http://gpu:8000", "is not followed by the address"),
        ("http://gpu:8000#", "is not followed by the address"),
        ("http://gpu:8000#judge=", "is not followed by the address"),
        ("http://gpu:many#judge", "cannot be read"),
        ("http://gpu:8000/a b#judge", "no comma and no space"),
        ("http://gpu:8000#nowhere", "there is no folder nowhere with config.json"),
    ],
)
def test_addresses_that_are_none_are_refused_before_anything_is_asked(said: str, why: str) -> None:
    with pytest.raises(ModelError, match=why) as told:
        require_judge(f"openai:{said}")
    assert "secret" not in str(told.value)
    with pytest.raises(ModelError, match=why):
        require_judge(f"ensemble:openai:{said},baseline:embedded")


def test_what_needs_weights_refuses_a_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = f"openai:http://127.0.0.1:9/v1#judge={folder}"
    require_judge(said)
    with pytest.raises(ModelError, match=r"cannot be trimmed\. Choose embedded, or a model of the Qwen-VL families"):
        source_of(said, "trimmed")
    with pytest.raises(ModelError, match="an adapter is loaded by the server"):
        load_judge(said, adapter=folder)
    monkeypatch.setattr(load, "EMBEDDED", folder)
    for words in (
        f"trim {said} --out out",
        f"merge {said} --adapter {folder} --out out",
        f"quantize {said} --to int8 --data none --out out",
        f"bundle --judge {said} --out out",
        f"plan --judge {said}",
        f"finetune none --judge {said} --out out",
    ):
        assert exit_code(*words.split()) == 2, words


def test_a_model_that_is_not_served_is_named_with_those_that_are(fake: FakeServer, folder: Path) -> None:
    with pytest.raises(ModelError, match=r"serves no model other; it serves judge\. Name one of these after #"):
        load_judge(f"openai:{fake.url}#other={folder}")
    with pytest.raises(ModelError, match="refuses a request with 404"):
        load_judge(f"openai:{fake.url.removesuffix('/v1')}/models#judge={folder}")


def test_fingerprints_calibrations_and_ensembles_know_it(fake: FakeServer, folder: Path) -> None:
    said = f"openai:{fake.url}#judge={folder}"
    one = load_judge(said)
    assert fingerprint(one.info).keys() == {"served", "layout"}
    assert one.info["versions"]["server"] == "0.32.0"
    sheet = make_sheet(2)
    assert largest(one.score(sheet), load_judge(f"ensemble:{said},{said}").score(sheet)) < 1e-6
    fake.root = "another"
    assert fingerprint(load_judge(said).info) != fingerprint(one.info)


def test_a_place_of_probability_zero_everywhere_is_no_answer() -> None:
    with pytest.raises(ModelError, match="gives no probability to any token"):
        server._normalized({1: -9999.0, 2: -9999.0})
    kept = server._normalized({1: -9999.0, 2: -3.0})
    assert kept[2] == pytest.approx(0.0)
    assert kept[1] < -9000


def place_of(body: dict[str, Any]) -> str:
    """The question of a request and how its answer begins."""
    stem = body["messages"][-1]["content"] if body["messages"][-1]["role"] == "assistant" else ""
    return f"{[part['text'] for part in body['messages'][1]['content'] if part['type'] == 'text'][-1]}|{stem}"


def recorded(sheet: QuestionSheet) -> str:
    """What the fake server answers about a sheet with the package's judge, and what comes of it."""
    engine = Engine(EMBEDDED)
    with listening(FakeServer(engine, name="embedded", root="embedded")) as fake:
        scores = load_judge(f"openai:{fake.url}#embedded").score(sheet)
        models = fake.answer("GET", "/v1/models", {}, "")[1]
    post = {place_of(body): {**engine.complete(body), "created": 0} for body in fake.asked}
    models["data"][0]["created"] = 0
    kept = {"get": {"/v1/models": models, "/version": {"version": "0.32.0"}}, "post": post, "scores": scores}
    return json.dumps(kept, ensure_ascii=False) + "\n"


def test_recorded_answers_are_read(golden: Any, request: pytest.FixtureRequest) -> None:
    """Answers as they were once sent, in vLLM's form: what the fake server says today is not asked."""
    sheet = make_sheet(2)
    kept = json.loads(
        golden("server/answers.json", recorded(sheet) if request.config.getoption("--update-golden") else None)
    )
    client = ServerClient(ServerAddress.typed("http://recorded/v1#embedded"))

    def answer(asked: httpx.Request) -> httpx.Response:
        told = (
            kept["get"][asked.url.path] if asked.method == "GET" else kept["post"][place_of(json.loads(asked.content))]
        )
        return httpx.Response(200, json=told)

    with httpx.Client(transport=httpx.MockTransport(answer)) as http:
        client._http = http
        judge = ServerJudge.load("http://recorded/v1#embedded", embedded=EMBEDDED, client=client)
        said = judge.score(sheet)
    assert largest(said, kept["scores"]) < 1e-6
    assert [math.fsum(map(math.exp, row.values())) for row in said] == pytest.approx([1.0, 1.0])


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    single_parts(monkeypatch)
    write_labels(tmp_path / "labels" / "classes.txt", NAMES)
    for n in range(6):
        write_photo(tmp_path / "photos" / f"{n}.jpg", (96, 96), seed=n)
        write_labels(tmp_path / "labels" / f"{n}.txt", ["5 0.3 0.5 0.2 0.6", "3 0.6 0.7 0.4 0.2", "8 0.2 0.2 0.1 0.1"])
    return tmp_path


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_a_server_that_dies_in_a_run_loses_nothing(
    dataset: Path, folder: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(KEY, "sesame-123")
    own = ("inspect", "photos", "--boxes", "labels", "--domain", "off", "--judge")
    with listening(FakeServer(engine, lives=5)) as fake:
        words = (*own, f"openai:{fake.url}#judge={folder}", "--out", "out")
        assert exit_code(*words) == 1
        done = lines(dataset / "out" / "progress.jsonl")
        failed = [row["photo"] for row in done if row["failed"]]
        assert 0 < len(failed) < 6
        told = lines(dataset / "out" / "errors.jsonl")
        assert {row["photo"] for row in told} == set(failed)
        assert all("cannot be reached" in row["what"] for row in told)
        kept = lines(dataset / "out" / "findings.jsonl")
        fake.lives, asked = 10**9, len(fake.asked)
        assert exit_code(*words) == 0
        assert len(fake.asked) - asked <= 4 * len(failed) + 1  # of those that failed alone
        assert exit_code(*words) == 0
    found = lines(dataset / "out" / "findings.jsonl")
    assert sorted((f["photo"], f["id"]) for f in found) == [(f"{n}.jpg", i) for n in range(6) for i in "123"]
    assert [f for f in found if f["photo"] not in failed] == kept
    assert (dataset / "out" / "errors.jsonl").read_text() == ""
    assert exit_code(*own, str(folder), "--out", "packed") == 0
    for a, b in zip(
        sorted(found, key=_place), sorted(lines(dataset / "packed" / "findings.jsonl"), key=_place), strict=True
    ):
        assert a["class"] == b["class"]
        assert a["probabilities"] == pytest.approx(b["probabilities"], abs=TOLERANCE)
    written = "".join(file.read_text(errors="replace") for file in (dataset / "out").glob("*.json*"))
    assert "sesame" not in written + "".join(capsys.readouterr())
    run = json.loads((dataset / "out" / "run.json").read_text())
    assert run["models"]["judge"]["served"] == {"id": "judge", "root": "judge", "parent": None}


def _place(finding: dict[str, Any]) -> tuple[str, str]:
    return finding["photo"], finding["id"]


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://127.0.0.1:9/v1", "the server cannot be reached"),
        ("http://ann:secret@127.0.0.1:9/v1", "must hold no user, password or query"),
    ],
)
def test_a_server_that_is_not_there_is_said_before_the_work(
    address: str, why: str, dataset: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = f"openai:{address}#judge={folder}"
    assert exit_code("inspect", "photos", "--boxes", "labels", "--judge", said, "--out", "out") == 2
    told = " ".join(capsys.readouterr().err.split())
    assert why in told
    assert "secret" not in told
    written = [file.read_text() for file in dataset.rglob("out/*.json*")]
    assert "secret" not in "".join(written)
    assert not (dataset / "out" / "findings.jsonl").exists()


def test_it_is_measured_and_held_against_another(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stand_in(monkeypatch, FakeJudge())  # without plots
    monkeypatch.setattr("toeline.judge.load.load_judge", load_judge)
    rows = ["6 0.2 0.3 0.1 0.5", "5 0.5 0.3 0.1 0.5", "3 0.6 0.7 0.4 0.2"]
    write_yolo(tmp_path / "data", {"valid": {f"{n}.jpg": rows for n in range(3)}}, size_wh=(96, 96))
    with listening(FakeServer(Engine(folder))) as fake:
        said = f"openai:{fake.url}#judge={folder}"
        assert (
            exit_code("evaluate", "data", "--split", "valid", "--judge", said, "--spatial", "0", "--out", "card") == 0
        )
        assert (
            exit_code("gate", said, "--against", str(folder), "--data", "data", "--out", "gate") == 4
        )  # so few objects
    old, new = json.loads((tmp_path / "gate" / "gate.json").read_text())["judges"]
    assert old["class"] == new["class"]
    assert new["gate"]["answer"] == "not provable with this n"
    assert new["fingerprint"].keys() == {"served", "layout"}
    card = json.loads((tmp_path / "card" / "scorecard.json").read_text())
    assert {f["key"]: f["value"] for f in card["figures"]}["accuracy"] == new["class"]["value"]
