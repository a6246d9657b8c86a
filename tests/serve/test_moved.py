"""Photographs that lie elsewhere now, or nowhere: found by their bytes, and what is missing is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.support.datasets import exit_code
from tests.support.serving import BASE, client, decide, items, make_run, make_store

from toeline.errors import OutputError, PhotoError
from toeline.serve.imports import finished, import_run
from toeline.serve.labels import labels_into
from toeline.serve.moved import find_photos
from toeline.serve.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of three photographs; all of the first two is decided."""
    folder = make_store(tmp_path, photos=3)
    with client(folder) as web:
        for one in items(web, sort="photo")[:6]:
            decide(web, one["id"])
    return folder


def sizes(store: Path) -> list[int]:
    """HTTP status of each photograph."""
    with client(store) as web:
        return [web.get(f"{BASE}/photos/{at}/image").status_code for at in (1, 2, 3)]


def test_moved_and_renamed_photographs_are_found_and_no_decision_is_lost(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").rename(tmp_path / "archive")
    (tmp_path / "archive/DJI_0001.jpg").rename(tmp_path / "archive/other name.jpg")
    assert sizes(store) == [410, 410, 410]
    assert exit_code("serve", "find-photos", str(tmp_path / "archive"), "--store", str(store)) == 0
    assert "3 photographs found at another place, 0 where they were, 0 missing" in capsys.readouterr().out
    shutil.rmtree(store / "cache", ignore_errors=True)
    assert sizes(store) == [200, 200, 200]
    assert exit_code("serve", "check", "--store", str(store)) == 0
    assert labels_into(store, tmp_path / "data").record["photographs"] == {"train": 2}
    again = find_photos(store, [tmp_path / "archive"])
    assert (again.record["found"], again.record["kept"]) == (0, 3)


def test_one_that_is_missing_and_one_that_is_another_file_are_named(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").rename(tmp_path / "archive")
    shutil.copy(tmp_path / "archive/DJI_0002.jpg", tmp_path / "archive/DJI_0001.jpg")  # a file of this name
    (tmp_path / "archive/DJI_0000.jpg").unlink()
    assert exit_code("serve", "find-photos", str(tmp_path / "archive"), "--store", str(store), "--json") == 1
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (told["found"], told["missing"]) == (1, 2)
    assert exit_code("serve", "find-photos", str(tmp_path / "archive"), "--store", str(store)) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "DJI_0000.jpg: is not where it was, and in none of these folders" in said
    assert "DJI_0001.jpg: is not where it was" in said
    assert "the file of this name here is another one" in said
    assert sizes(store) == [410, 410, 200]


def test_a_photograph_that_was_away_at_the_import_is_found_too(tmp_path: Path) -> None:
    run = make_run(tmp_path, photos=2)
    (tmp_path / "photos").rename(tmp_path / "away")
    store = Store.open(tmp_path / "store")
    (problem, _) = import_run(store, finished(run)).problems
    assert f"toeline serve find-photos DIR --store {tmp_path / 'store'}" in problem.what
    assert find_photos(tmp_path / "store", [tmp_path / "away"]).record["found"] == 2
    assert import_run(store, finished(run)).problems == []  # they are where they were found
    store.close()


def test_another_file_in_the_old_place_is_not_taken(tmp_path: Path) -> None:
    run = make_run(tmp_path, photos=2)
    (tmp_path / "photos").rename(tmp_path / "away")
    store = Store.open(tmp_path / "store")
    import_run(store, finished(run))
    (tmp_path / "photos").mkdir()
    for name, other in (("DJI_0000.jpg", "DJI_0001.jpg"), ("DJI_0001.jpg", "DJI_0001.jpg")):
        shutil.copy(tmp_path / "away" / other, tmp_path / "photos" / name)
    assert [p.photo for p in import_run(store, finished(run)).problems] == ["DJI_0000.jpg"]
    store.close()


def test_without_photographs_labels_and_exports_say_what_to_do(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    todo = f"toeline serve find-photos DIR --store {store}"
    (tmp_path / "photos/DJI_0000.jpg").rename(tmp_path / "DJI_0000.jpg")
    assert exit_code("labels", str(store), "--out", str(tmp_path / "some")) == 1
    assert todo in " ".join(capsys.readouterr().out.split())
    done = labels_into(store, tmp_path / "some too")
    assert done.record["photographs"] == {"train": 1}
    with client(store) as web:
        (left_out,) = web.get(f"{BASE}/findings.coco.json").json()["info"]["left_out"]
        assert "DJI_0000.jpg: left out, since it is not there any more" in left_out
    (tmp_path / "photos").rename(tmp_path / "archive")
    with pytest.raises(OutputError) as why:
        labels_into(store, tmp_path / "none")
    assert f"none of 2 decided photographs is where it was. Bring them back, or say where they are: {todo}" in str(
        why.value
    )
    assert not (tmp_path / "none").exists()
    assert exit_code("export", str(store), "--to", "fiftyone", "--out", str(tmp_path / "fo")) == 2
    assert todo in " ".join(capsys.readouterr().err.split())
    with client(store) as web:
        for path in ("findings.coco.json", "findings.yolo.zip", "photos/1/image"):
            answer = web.get(f"{BASE}/{path}")
            assert (answer.status_code, answer.json()["code"]) == (410, "gone")
            assert "toeline serve find-photos DIR --store STORE" in answer.json()["detail"]
        assert web.get(f"{BASE}/findings.csv").status_code == 200  # which needs no photograph


def test_what_was_uploaded_is_found_in_a_store_that_was_moved(store: Path, tmp_path: Path) -> None:
    uploads = store / "uploads" / "job-1"
    uploads.parent.mkdir()
    (tmp_path / "photos").rename(uploads)
    (tmp_path / "empty").mkdir()
    moved = store.rename(tmp_path / "elsewhere")
    assert find_photos(moved, [tmp_path / "empty"]).record["found"] == 3


def test_a_folder_that_is_not_there_is_said(store: Path, tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="there is no such file or folder"):
        find_photos(store, [tmp_path / "nowhere"])
