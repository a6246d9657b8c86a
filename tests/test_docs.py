"""Documents that cannot drift: commands and their options, the version, links, and what CI runs."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import toeline
from toeline.errors import ExitCode

ROOT = Path(__file__).parent.parent
COMMANDS_PAGE = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")])
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
DECISION_HEADINGS = ["Question", "Decision", "Why", "What follows", "Look again"]
README_WORDS = 900
PICTURE_BYTES = 200_000
OPTIONS_OF_ALL = {"--config", "--help", "--threads"}
PUBLIC_OPTIONS_LIVE_ELSEWHERE = {"train-embedded"}  # its options are the fields of the settings; --help lists them


def commands() -> dict[str, Any]:
    """Every command of the command line by its name; former names are hidden and stand in no list."""
    from toeline.cli.app import app

    group: Any = get_command(app)
    return {name: command for name, command in group.commands.items() if not command.hidden}


@pytest.mark.parametrize("name", sorted(commands()))
def test_a_command_is_documented_with_all_its_options(name: str) -> None:
    assert f"## `toeline {name}`" in COMMANDS_PAGE, f"add `toeline {name}` to docs/commands.md"
    section = COMMANDS_PAGE.split(f"## `toeline {name}`")[1].split("\n## ")[0]
    if name not in PUBLIC_OPTIONS_LIVE_ELSEWHERE:
        options = [o for p in commands()[name].params for o in p.opts if o.startswith("--")]
        assert [o for o in options if o not in section and o not in OPTIONS_OF_ALL] == []


def test_options_that_all_commands_have_are_documented_once() -> None:
    before = COMMANDS_PAGE.split("\n## `toeline")[0]
    assert [option for option in OPTIONS_OF_ALL if option not in before] == []


def test_every_command_takes_a_number_of_threads() -> None:
    without = [name for name, command in commands().items() if "threads" not in {p.name for p in command.params}]
    assert without == ["train-embedded"], "take @with_settings, which adds --threads; the page names the one exception"
    assert "`--threads N` is on every command but `train-embedded`" in COMMANDS_PAGE


def test_an_extra_is_listed_where_people_look_for_it() -> None:
    install = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    extras = PROJECT["optional-dependencies"].keys() - {"browser", "dev", "docs"}
    assert sorted(extras) == sorted(re.findall(r"^\| `([a-z-]+)` \| ", install, re.MULTILINE))


def test_what_a_newcomer_looks_for_is_said() -> None:
    install = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(r"2\.3 GB on disk \(Windows, macOS, extras: \[docs/install\.md\]", readme)
    assert re.search(r"^    py -m venv \.venv$", install, re.MULTILINE)
    assert re.search(r"^macOS: ", install, re.MULTILINE)
    assert "toeline --install-completion" in COMMANDS_PAGE
    codes = dict(re.findall(r"\*\*(\d)\*\* ([a-z]+)", COMMANDS_PAGE.split("Exit codes:")[1].split("\n\n")[0]))
    assert {int(n) for n in codes} == set(ExitCode)


def test_no_command_is_documented_that_is_not_there() -> None:
    assert set(re.findall(r"^## `toeline ([a-z-]+)`", COMMANDS_PAGE, re.MULTILINE)) == set(commands())


def test_the_version_is_one_and_the_changelog_has_it() -> None:
    assert toeline.__version__ == PROJECT["version"]
    assert f"\n## [{toeline.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    try:
        assert version("toeline") == toeline.__version__
    except PackageNotFoundError:
        pytest.skip("toeline is not installed, it runs from src")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    gone = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert gone == []


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_has_the_common_form(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == DECISION_HEADINGS
    assert re.match(rf"# {page.name[:4]} [^\n]+\n\nStatus: [a-z]+, \d{{4}}-\d\d-\d\d\.\n\n", text)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= README_WORDS


def test_the_figures_of_the_readme_are_those_of_the_results() -> None:
    rows = [
        row for row in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if "benchmarks/results/" in row
    ]
    measured = [(figure, row) for row in rows for figure in re.findall(r"([\d.]+) %? ?\(([\d.]+) to ([\d.]+)\)", row)]
    assert len(measured) >= 10
    for figure, row in measured:
        pages = re.findall(r"\((benchmarks/results/[^)]+)\)", row)
        numbers = re.findall(r"\d+\.\d+", "".join((ROOT / page).read_text(encoding="utf-8") for page in pages))
        percent = [f"{100 * float(value):.1f}" for value in figure]  # some pages write 0.904 as 90.4 %
        assert set(figure) <= set(numbers) or set(percent) <= set(numbers), (figure, row)


def test_pictures_are_small() -> None:
    pictures = [f for f in (ROOT / "docs" / "img").iterdir() if f.suffix in {".jpg", ".png", ".svg"}]
    assert [f.name for f in pictures if f.stat().st_size > PICTURE_BYTES] == []


def test_everything_that_is_installed_for_tests_is_pinned() -> None:
    rows = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [row for row in rows if row and not row.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", pin)] == []
    pinned = {re.sub(r"[-_.]+", "-", pin.split("==")[0]).lower() for pin in pins}
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    assert {re.split(r"[<>=!~ ]", need)[0].lower() for need in wanted} <= pinned


def test_no_extra_but_its_own_brings_what_the_license_forbids() -> None:
    extras = [need for name, needs in PROJECT["optional-dependencies"].items() if name != "yolo" for need in needs]
    assert not [need for need in [*PROJECT["dependencies"], *extras] if "ultralytics" in need or "toeline[" in need]


def test_ci_runs_what_a_developer_runs() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    doing = [row for row in script.splitlines() if row and not row.startswith(("#", "set ", "cd "))]
    assert doing == ["make test"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


@pytest.mark.parametrize("name", toeline.__all__)
def test_a_public_name_is_there(name: str) -> None:
    assert getattr(toeline, name).__name__ == name


def test_a_name_that_is_not_public_says_so() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        toeline.nonsense  # noqa: B018


def test_every_row_of_inputs_has_a_test_that_is_there() -> None:
    rows = [
        line for line in (ROOT / "docs" / "inputs.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")
    ]
    rows = [row for row in rows if not row.endswith("| test |")]
    tests = [re.fullmatch(r".*\| `([\w/]+\.py)::(test_\w+)` \|", row) for row in rows]
    assert len(rows) > 40
    assert [row for row, test in zip(rows, tests, strict=True) if test is None] == []
    lost = [t[0] for t in tests if t and f"def {t[2]}(" not in (ROOT / "tests" / t[1]).read_text(encoding="utf-8")]
    assert lost == []
