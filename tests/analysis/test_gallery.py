"""The gallery: every page can be reached, every picture is there, caps are told, bad files do not stop it."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.support.datasets import exit_code as run
from tests.support.datasets import write_labels, write_photo, write_yolo

from toeline.analysis import gallery
from toeline.analysis.analyze import Crew
from toeline.analysis.gallery import GalleryRun, choose, read_flags, write_gallery
from toeline.analysis.gallery_pictures import looks, view_around
from toeline.analysis.table import Flag, Weight
from toeline.core.box import Box
from toeline.core.taxonomy import Taxonomy
from toeline.data.yolo import open_yolo
from toeline.errors import LabelError, OutputError

TAXONOMY = Taxonomy.load()
ROWS = ["5 0.5 0.5 0.2 0.4", "3 0.1 0.1 0.9 0.1 0.9 0.5", "8 0.25 0.25 0.125 0.125"]
THIN = (Box(1, 1, 9, 4),)
A, B = "train/images/a.png", "train/images/b.png"
FLAGS = (
    Flag("very thin box", Weight.REMARK, A, "train/labels/a.txt", "Thin.", "Look.", 3, boxes=THIN),
    Flag("exact copy", Weight.FAULT, A, A, "Twice.", "Delete.", other=B),
    Flag("stray <labels>", Weight.FAULT, "", "train/labels/gone.txt", "No photograph & no more.", "Delete it."),
)  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_yolo(tmp_path / "data set", {"train": {"a.png": ROWS, "b.png": ROWS[:1]}, "valid": {"c.jpg": []}})


def limits(**settings: int) -> GalleryRun:
    return GalleryRun(**{"per_class": 60, "photographs": 300, "per_problem": 60, "seed": 0, **settings})


def made(root: Path, out: Path, flags: tuple[Flag, ...] = FLAGS, **settings: Any) -> dict[str, Any]:
    return write_gallery(choose(open_yolo(root, TAXONOMY, any_class=True), TAXONOMY, flags, limits(**settings)), out)


def text_of(page: Path) -> str:
    return unescape(" ".join(re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8").split("</style>")[1]).split()))


def links(page: Path) -> list[str]:
    return re.findall(r'(?:href|src)="([^"]+)"', page.read_text(encoding="utf-8"))


def test_every_link_leads_to_a_file_below_the_gallery_and_every_file_is_linked(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    made(root, out)
    reached = {out / "gallery.json", out / "index.html"}
    for page in [out / "index.html", *(out / "pages").iterdir()]:
        for link in links(page):
            if link == "data:,":
                continue
            place, _, anchor = link.partition("#")
            target = (page.parent / place).resolve()
            assert target.is_relative_to(out)
            assert target.is_file(), f"{page.name} leads to {link}"
            assert not anchor or f'id="{anchor}"' in target.read_text()
            reached.add(target)
    assert reached == {p for p in out.rglob("*") if p.is_file()}


def test_objects_stand_on_the_page_of_their_class_with_file_and_line(root: Path, tmp_path: Path) -> None:
    record = made(root, tmp_path / "out")
    page = text_of(tmp_path / "out/pages/class-5.html")
    assert "2 objects" in page
    assert "a.txt, line 1 train/labels" in page
    assert "b.txt, line 1" in page
    assert [c["all"] for c in record["classes"]] == [0, 0, 0, 1, 0, 2, 0, 0, 1]
    assert "There is none" in text_of(tmp_path / "out/pages/class-0.html")
    assert "3 photographs" in text_of(tmp_path / "out/pages/photographs.html")


def test_problems_stand_by_kind_with_file_line_and_what_to_do(root: Path, tmp_path: Path) -> None:
    made(root, tmp_path / "out")
    thin, copy, stray = (tmp_path / f"out/pages/problem-{i}.html" for i in (1, 2, 3))
    assert "train/labels/a.txt, line 3 Thin. Look." in text_of(thin)
    assert len([link for link in links(copy) if link.endswith(".jpg")]) == 2
    assert "stray <labels>" in text_of(stray)
    assert "train/labels/gone.txt No photograph & no more. Delete it." in text_of(stray)
    assert "very thin box remark 1 case exact copy fault 1 case" in text_of(tmp_path / "out/index.html")


def test_caps_are_told_and_the_choice_is_the_seeds(tmp_path: Path) -> None:
    rows = {f"p{i}.png": [ROWS[0], ROWS[2]] for i in range(30)}
    root = write_yolo(tmp_path / "in", {"train": rows})
    flags = tuple(
        Flag("odd", Weight.REMARK, f"train/images/p{i}.png", "f.txt", f"case {i}.", "Look.") for i in range(9)
    )
    texts = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        made(root, tmp_path / name, flags, per_class=4, photographs=5, per_problem=2, seed=seed)
        texts.append(text_of(tmp_path / name / "pages/class-5.html"))
    assert texts[0] == texts[1]
    assert texts[0].split("chosen at random")[1] != texts[2].split("chosen at random")[1]
    assert "4 of 30 objects, chosen at random" in texts[0]
    assert texts[0].count("line 1") == 4
    assert "5 of 30 photographs" in text_of(tmp_path / "a/pages/photographs.html")
    odd = text_of(tmp_path / "a/pages/problem-1.html")
    assert "2 of 9 cases" in odd
    assert all(f"case {i}." in odd for i in range(9))  # what has no picture is listed


def test_a_polygon_is_drawn_as_a_polygon(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "in", {"train": {"a.png": [ROWS[1]]}}, size_wh=(200, 200))
    Image.new("RGB", (200, 200), "#777777").save(root / "train/images/a.png")
    made(root, tmp_path / "out", ())
    (place,) = [link for link in links(tmp_path / "out/pages/photographs.html") if link.endswith(".jpg")][:1]
    with Image.open(tmp_path / "out/pages" / place) as picture:
        side = picture.width
        gray = picture.convert("L").point(lambda v: 255 * (abs(v - 0x77) > 40))
    corner = gray.crop(tuple(round(v * side) for v in (0.08, 0.3, 0.3, 0.52)))  # inside the box, outside the polygon
    slope = gray.crop(tuple(round(v * side) for v in (0.45, 0.25, 0.55, 0.35)))  # on the long side of the triangle
    assert corner.getbbox() is None
    assert slope.getbbox() is not None


def test_bad_files_are_reported_and_the_gallery_is_written(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "train/images/b.png").write_bytes(b"no photograph")
    whole = write_photo(root / "valid/images/cut.png", (200, 200))
    whole.write_bytes(whole.read_bytes()[:5000])
    write_labels(root / "valid/labels/cut.txt", ROWS)
    write_labels(root / "train/labels/a.txt", [*ROWS, "5 0.5"])
    out = tmp_path / "out"
    assert run("gallery", str(root), "--out", str(out), "--json") == 1
    said = capsys.readouterr()
    problems = {(Path(p["file"]).name, p["line"]) for p in json.loads(said.out)["problems"]}
    assert problems == {("b.png", None), ("cut.png", None), ("a.txt", 4)}
    assert said.err.count("cut.png") == 1
    assert "2 photographs" in text_of(out / "pages/photographs.html").replace("2 of 4 photographs", "2 photographs")
    assert "b.png" in text_of(out / "index.html")


def test_an_earlier_gallery_is_replaced_and_anything_else_is_refused(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    made(root, out)
    made(root, out, (), per_class=1)
    assert not (out / "pages/problem-1.html").exists()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"notes\.txt"):
        made(root, out)
    assert (out / "notes.txt").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data set", "out"]


def test_a_crew_draws_the_same_pictures(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(root, tmp_path / "alone")
    monkeypatch.setattr(gallery, "LEAST_FOR_PROCESSES", 1)
    with Crew(2) as crew:
        write_gallery(choose(open_yolo(root, TAXONOMY), TAXONOMY, FLAGS, limits()), tmp_path / "crew", crew=crew)
        assert crew.at_work
    alone, together = (
        {f.relative_to(top): f.read_bytes() for f in top.rglob("*.*") if f.is_file()}
        for top in (tmp_path / "alone", tmp_path / "crew")
    )
    assert together == alone


def test_flags_come_from_an_analysis(root: Path, tmp_path: Path) -> None:
    rows = [{**vars(f), "weight": f.weight.value, "boxes": [list(b.xyxy) for b in f.boxes]} for f in FLAGS]
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "analysis.json").write_text("{}")
    for given in (tmp_path, tmp_path / "analysis.json", tmp_path / "problems.jsonl"):
        assert read_flags(given) == FLAGS
    assert run("gallery", str(root), "--out", str(tmp_path / "out"), "--flags", str(tmp_path)) == 0
    assert (tmp_path / "out/pages/problem-3.html").is_file()
    (tmp_path / "problems.jsonl").write_text('{"check": "x"}\n')
    with pytest.raises(LabelError, match=r"problems\.jsonl"):
        read_flags(tmp_path)
    with pytest.raises(LabelError, match="--flags"):
        read_flags(root)


def test_classes_without_a_condition_have_a_color_of_their_own() -> None:
    assert len({look.color for look in looks({0: "pole", 1: "pit"}, TAXONOMY).values()}) == 2
    assert looks({0: "rock toe damaged"}, TAXONOMY)[0].color == TAXONOMY.color("damaged")


@pytest.mark.parametrize("box", [Box(0, 0, 1, 1), Box(0, 0, 300, 200), Box(290, 190, 300, 200), Box(0, 100, 300, 104)])
def test_a_view_lies_inside_the_photograph_and_holds_the_object(box: Box) -> None:
    view = view_around(box, (300, 200))
    assert view == view.clipped((300, 200))
    assert view.intersection(box) == box.area


def test_a_gallery_has_at_most_twice_the_bytes_of_the_photographs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [f"{n} 0.{n + 1} 0.5 0.1 0.4" for n in range(9)]
    root = write_yolo(tmp_path / "in", {"train": {f"{n}.jpg": rows for n in range(12)}}, size_wh=(640, 640))
    bytes_of = lambda top: sum(f.stat().st_size for f in top.rglob("*") if f.is_file())  # noqa: E731
    made(root, tmp_path / "all", ())
    monkeypatch.setattr(gallery, "ALWAYS_BYTES", 0)
    monkeypatch.setattr(gallery, "MOST_TIMES", 1)
    monkeypatch.setattr(gallery, "PAGE_BYTES", 0)
    record = made(root, tmp_path / "out", ())
    photographs = bytes_of(root / "train/images")
    assert bytes_of(tmp_path / "all") <= max(2 * photographs, 2_000_000)
    assert bytes_of(tmp_path / "out/pictures") <= max(photographs - gallery.PAGE_BYTES, 0)
    assert len(list((tmp_path / "out/pictures").iterdir())) < 12 * 10
    shown = len([link for link in links(tmp_path / "out/pages/class-5.html") if link.endswith(".jpg")])
    assert f"{shown} of 12 objects" in text_of(tmp_path / "out/pages/class-5.html")
    assert (record["classes"][5]["all"], record["classes"][5]["shown"]) == (12, shown)
    assert sum(c["shown"] for c in record["classes"]) > 0, "objects are shown, however large photographs are"
    assert 0 < record["photographs"]["shown"] < record["photographs"]["all"] == 12


def test_pages_lead_to_the_next_and_the_previous_one_and_have_a_search(root: Path, tmp_path: Path) -> None:
    made(root, tmp_path / "out")
    at, seen = tmp_path / "out/index.html", []
    while link := re.search(r'rel="next" href="([^"]+)"', at.read_text(encoding="utf-8")):
        before, at = at, (at.parent / link[1]).resolve()
        back = re.search(r'rel="prev" href="([^"]+)"', at.read_text(encoding="utf-8"))
        assert back is not None
        assert (at.parent / back[1]).resolve() == before
        assert 'type="search"' in at.read_text(encoding="utf-8")
        seen.append(at.name)
    assert sorted(seen) == sorted(p.name for p in (tmp_path / "out/pages").glob("*.html"))
