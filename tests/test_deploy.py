"""The files in deploy/ and docs/deploy.md, held to the code: options, ports, limits, paths and names that exist."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from typer.main import get_command

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DOCKERFILE = re.sub(r"\\\n\s*", "", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"))
CADDYFILE = (DEPLOY / "Caddyfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
UNITS = {"K": 1e3, "M": 1e6, "G": 1e9}


def typed(words: list[str]) -> dict[str, Any]:
    """What the command line understands of `words`, subcommands too; it fails for an option that is not there."""
    from toeline.cli.app import app

    command, left, name = get_command(app), list(words), "toeline"
    while left and left[0] in getattr(command, "commands", {}):
        name = left.pop(0)
        command = command.commands[name]  # type: ignore[attr-defined]
    context = command.make_context(name, left)
    assert not context.args, f"nobody reads {context.args}"
    return dict(context.params)


def unit() -> dict[str, list[str]]:
    """Settings of the unit; one that is there several times has several values."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "toeline.service").read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            name, value = line.split("=", 1)
            found.setdefault(name, []).append(value)
    return found


UNIT = unit()
ENVIRONMENT = dict(pair.split("=", 1) for line in UNIT["Environment"] for pair in line.split())


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)


def test_the_unit_starts_what_there_is() -> None:
    program, *words = shlex.split(UNIT["ExecStart"][0])
    assert program == "/opt/toeline/bin/toeline"
    run = typed(words)
    assert run["behind_proxy"] is True
    assert run["host"] == "127.0.0.1"
    assert f"reverse_proxy {run['host']}:{run['port']} " in CADDYFILE


def test_the_unit_lets_it_write_into_the_store_and_nowhere_else() -> None:
    (writable,) = UNIT["ReadWritePaths"]
    run = typed(shlex.split(UNIT["ExecStart"][0])[1:])
    places = [run["store"], *(Path(ENVIRONMENT[n]) for n in ("TMPDIR", "MPLCONFIGDIR", "XDG_CACHE_HOME"))]
    assert all(place.is_relative_to(writable) for place in places)
    made = [Path("/var/lib") / name for name in UNIT["StateDirectory"][0].split()]
    assert {*places, Path(writable)} <= set(made)
    assert UNIT["ProtectSystem"] == ["strict"]
    assert {f"-{p}" for p in (*run["photos"], run["model"])} == set(UNIT["ReadOnlyPaths"][0].split())


def test_whoever_stops_it_waits_until_the_job_has_ended() -> None:
    from toeline.serve.jobs import STOP_S
    from toeline.serve.run import GRACE_S

    assert int(UNIT["TimeoutStopSec"][0]) > GRACE_S + STOP_S
    assert int(COMPOSE["services"]["review"]["stop_grace_period"].rstrip("s")) > GRACE_S + STOP_S


def test_the_proxy_allows_what_the_service_does() -> None:
    from toeline.serve.api import UPLOADS, Limits

    limits, sizes = Limits(), dict(re.findall(r"request_body @(\w+) \{\s+max_size (\S+)B\s", CADDYFILE))
    said = {name: float(size[:-1]) * UNITS[size[-1]] for name, size in sizes.items()}
    large = {path.rsplit("/", 1)[1]: getattr(limits, name) for path, name in UPLOADS.items()}
    assert said == {**large, "others": limits.json_bytes}
    assert [re.search(rf"@{name} path (\S+)\n", CADDYFILE)[1] for name in large] == list(UPLOADS)  # type: ignore[index]
    assert f"@others not path {' '.join(UPLOADS)}\n" in CADDYFILE
    assert float(re.search(r"response_header_timeout (\d+)s", CADDYFILE)[1]) > limits.inspect_s  # type: ignore[index]
    assert "respond /metrics 404" in CADDYFILE
    assert "flush_interval -1" in CADDYFILE


def test_paths_that_the_proxy_names_are_there(tmp_path: Path) -> None:
    from toeline.serve.api import make_app

    app = make_app(tmp_path / "store")
    paths = {*app.openapi()["paths"], "/static/*", "/api/v1/*"}
    app.state.store.close()
    named = re.findall(r"(?:path|respond) (/.*?)(?: \d+)?\n", CADDYFILE)
    for path in (word for line in named for word in line.split()):
        assert path in paths or path.replace("*", "{job}") in paths, path


def test_the_image_is_built_of_what_is_there() -> None:
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE))
    assert {"cpu", "cuda"} <= stages
    let_in = [
        line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")
    ]
    for line in instructions("COPY"):
        stage, *words = line.split() if line.startswith("--from=") else ("", *line.split())
        if stage:
            assert stage.removeprefix("--from=") in stages
        for word in () if stage else words[:-1]:
            assert (ROOT / word).exists()
            assert word in let_in
    for base in re.findall(r"^FROM (\S+) AS", DOCKERFILE, re.MULTILINE):
        assert base in stages or base == "python:${PYTHON}"
    (python,) = re.findall(r"^ARG PYTHON=(\d+\.\d+)-", DOCKERFILE, re.MULTILINE)
    assert python in SpecifierSet(PROJECT["requires-python"])


def test_the_image_installs_extras_that_are_there_and_all_pinned() -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").lower()
    assert "PIP_CONSTRAINT=/source/constraints.txt" in DOCKERFILE
    for extras in re.findall(r"pip install '\.\[([a-z,-]+)\]'", DOCKERFILE):
        for need in (n for extra in extras.split(",") for n in PROJECT["optional-dependencies"][extra]):
            name = re.split(r"[<>=]", need)[0]
            assert re.search(rf"^{name.replace('-', '[-_]')}==", pins, re.MULTILINE), f"{name} is not pinned"


def test_the_image_runs_as_nobody_of_the_host_and_writes_into_its_volume() -> None:
    (user,), (volume,) = instructions("USER"), json.loads(instructions("VOLUME")[0])
    assert int(user.split(":")[0]) >= 1000
    environment = dict(re.findall(r"(\w+)=(\S+)", " ".join(instructions("ENV"))))
    assert all(environment[name].startswith(f"{volume}/") for name in ("TMPDIR", "MPLCONFIGDIR", "XDG_CACHE_HOME"))
    assert json.loads(instructions("ENTRYPOINT")[0]) == ["tini", "--", "toeline"]
    run, (port,) = typed(json.loads(instructions("CMD")[0])), instructions("EXPOSE")
    assert run["port"] == int(port)
    assert run["store"].is_relative_to(volume)
    assert f"127.0.0.1:{port}/healthz" in DOCKERFILE


def test_the_containers_of_compose_start_what_there_is() -> None:
    services = COMPOSE["services"]
    run = typed(services["review"]["command"])
    mounted = {line.rsplit("}:" if "}" in line else ":", 1)[-1].split(":")[0] for line in services["review"]["volumes"]}
    mounted |= {line.split(":")[1] for line in services["review"]["volumes"] if not line.startswith("$")}
    assert {str(p) for p in (*run["photos"], Path(run["model"]))} <= mounted
    assert run["behind_proxy"] is True
    assert run["host"] == "127.0.0.1", "the proxy shares the network, nobody else is trusted"
    assert services["caddy"]["network_mode"] == "service:review"
    build = services["review"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()
    assert f" AS {build['target']}\n" in DOCKERFILE


def documented() -> Iterator[str]:
    """Every `toeline ...` in the indented code of the page."""
    code = re.sub(r"\\\n\s*", "", "\n".join(re.findall(r"^    (.*)$", PAGE, re.MULTILINE)))
    for line in code.splitlines():
        if found := re.search(r"(?:^|bin/)toeline ([a-z].*?)\)?$", line.split("  #")[0]):
            yield re.split(r" [|>&] ", found[1])[0]


def test_the_page_names_commands_in_plenty() -> None:
    assert len(list(documented())) >= 8


@pytest.mark.parametrize("line", sorted(set(documented())))
def test_commands_of_the_page_can_be_typed(line: str) -> None:
    typed(shlex.split(line))


def test_metrics_of_the_page_are_there() -> None:
    from toeline.serve.metrics import Metrics

    there = Metrics().text(waiting=0, running=0).decode()
    named = set(re.findall(r"toeline_\w+", PAGE))
    assert len(named) >= 5
    known = {name for _, name in re.findall(r"^# (TYPE) (\w+)", there, re.MULTILINE)}
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in named} <= known


def test_the_page_tells_the_files_by_their_names() -> None:
    assert all(f"deploy/{file}" in PAGE for file in ("Dockerfile", "compose.yaml", "toeline.service", "Caddyfile"))
