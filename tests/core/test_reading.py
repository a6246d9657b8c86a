"""Files of others: within limits, or refused with file and reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from toeline.core.finding import Problem, grave
from toeline.core.reading import DEPTH, number, read_json, read_text, read_toml, read_yaml
from toeline.core.records import problem_from, problem_record
from toeline.core.words import cut, shown
from toeline.errors import LabelError

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)


def refusal(file: Path, content: str | bytes, form: str) -> str:
    """What is said of a file with this content."""
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    read = {"json": read_json, "yaml": read_yaml, "toml": read_toml}[form]
    with pytest.raises(LabelError) as why:
        read(file, LabelError, advice="Export it again.")
    said = str(why.value)
    assert str(file) in said
    assert said.endswith("Export it again.")
    assert len(said) < 600
    return said


@pytest.mark.parametrize("form", ["json", "yaml", "toml"])
def test_a_good_file_is_read(tmp_path: Path, form: str) -> None:
    file = tmp_path / f"good.{form}"
    file.write_text('\ufeffa = ["x"]' if form == "toml" else '\ufeff{"a": ["x"]}', encoding="utf-8")
    read = {"json": read_json, "yaml": read_yaml, "toml": read_toml}[form]
    assert read(file, LabelError, advice="") == {"a": ["x"]}


@pytest.mark.parametrize(
    ("form", "content"),
    [
        ("json", '{"a": 1, "a": 2}'),
        ("yaml", "a: 1\na: 2\n"),
        ("yaml", "names: {0: a, 0: b}\n"),
        ("toml", "a = 1\na = 2\n"),
    ],
)
def test_a_key_twice_is_refused(tmp_path: Path, form: str, content: str) -> None:
    refusal(tmp_path / "twice", content, form)


@pytest.mark.parametrize("deep", [DEPTH + 1, 200, 3000, 100_000])
@pytest.mark.parametrize("form", ["json", "yaml", "toml"])
def test_what_is_nested_too_deep_is_refused(tmp_path: Path, form: str, deep: int) -> None:
    nest = "[" * deep + "]" * deep
    assert "deep" in refusal(tmp_path / "deep", f"a = {nest}" if form == "toml" else nest, form)


@pytest.mark.parametrize("form", ["json", "yaml", "toml", "block"])
def test_what_is_nested_as_deep_as_may_be_is_read(tmp_path: Path, form: str) -> None:
    """`block` are YAML's lists without brackets; one more of them is refused."""
    file, nest = tmp_path / "deep", "[" * (DEPTH - 1) + "]" * (DEPTH - 1)
    file.write_text({"toml": f"a = {nest}", "block": "- " * DEPTH + "x"}.get(form, f"[{nest}]"), encoding="utf-8")
    read = {"json": read_json, "yaml": read_yaml, "toml": read_toml, "block": read_yaml}[form]
    assert read(file, LabelError, advice="")
    if form == "block":
        assert "deep" in refusal(file, "- " + file.read_text(encoding="utf-8"), "yaml")


def test_aliases_that_multiply_are_refused_in_no_time(tmp_path: Path) -> None:
    assert "aliases" in refusal(tmp_path / "laughs.yaml", LAUGHS, "yaml")
    assert "aliases" in refusal(tmp_path / "itself.yaml", "&a [*a]", "yaml")


def test_an_alias_or_two_are_fine(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("base: &b {x: 1}\nmine: {<<: *b, y: 2}\n", encoding="utf-8")
    assert read_yaml(tmp_path / "a.yaml", LabelError, advice="")["mine"] == {"x": 1, "y": 2}


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\x80abc", b"a: \xe9"])
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    refusal(tmp_path / "bytes", content, "yaml")


@pytest.mark.parametrize(
    "content", ["a: 2024-99-99", "!!python/object:os.system x", "a: !!int x", "? [a]\n: 1", "1e5: [\0]"]
)
def test_odd_yaml_is_refused(tmp_path: Path, content: str) -> None:
    refusal(tmp_path / "odd.yaml", content, "yaml")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LabelError, match="no regular file"):
        read_text(tmp_path / "pipe", LabelError, advice="")


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "large").write_text("x" * 100, encoding="utf-8")
    with pytest.raises(LabelError, match="100 bytes, and the limit is 10"):
        read_text(tmp_path / "large", LabelError, advice="", most=10)


def test_utf_16_with_its_mark_is_text(tmp_path: Path) -> None:
    (tmp_path / "wide").write_text("toe drain", encoding="utf-16")
    assert read_text(tmp_path / "wide", LabelError, advice="") == "toe drain"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 1.1, True, None, "0.5", [0.5], 10**400])
def test_what_is_no_share_is_said(value: object) -> None:
    with pytest.raises(ValueError, match=r"the share is .* from 0 to 1"):
        number(value, "the share", low=0, high=1)


def test_a_message_stays_short_and_harmless() -> None:
    assert len(cut("\x1b" * 300)) <= 60
    assert shown("a\nb\tc\x9b") == r"a\nb\tc\x9b"
    assert shown("जलनिकासी 堤防 été 👷🏽‍♀️") == "जलनिकासी 堤防 été 👷🏽‍♀️"


def test_a_note_is_kept_and_is_not_grave() -> None:
    note, problem = Problem("", "f", "left out", note=True), Problem("", "f", "broken")
    assert grave([note, problem]) == [problem]
    assert [problem_from(problem_record(p)) for p in (note, problem)] == [note, problem]
    assert "note" not in problem_record(problem)
