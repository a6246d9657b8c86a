"""Leaks: each kind is found once, under its strongest name, and nothing else is."""

from __future__ import annotations

import csv
import io
import zlib
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toeline.analysis import duplicates as alike
from toeline.analysis.duplicates import (
    HashedPhoto,
    Kind,
    find_leaks,
    flags_of,
    nearest_before,
    nearest_elsewhere,
    to_csv,
)
from toeline.analysis.photo_facts import Camera, PhotoFacts
from toeline.analysis.table import Weight


def seen(name: str, split: str = "train", group: str = "", **more) -> HashedPhoto:
    """A photograph like no other, unless `more` says so."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    p, d, m = (int(x) for x in rng.integers(0, 2**63, 3))
    facts = PhotoFacts(name, 1000, (64, 64), 100.0, 0.5, 0.0, 0.0, 1.0, p, d, m, Camera())
    return HashedPhoto(f"{split}/images/{name}", split, group or name, replace(facts, **more))


def kinds(*photos: HashedPhoto) -> list[tuple[str, bool]]:
    return [(p.kind, p.crosses) for p in find_leaks(photos).pairs]


def test_strangers_are_no_leak() -> None:
    found = find_leaks([seen("a"), seen("b", "valid"), seen("c", "test")])
    assert (found.pairs, found.shared) == ((), ())
    assert "No photograph" in found.verdict


def test_an_exact_copy_is_told_once_and_as_such() -> None:
    a = seen("a")
    b = replace(a, name="valid/images/b", split="valid", group="b")
    assert kinds(a, b) == [(Kind.EXACT, True)]


def test_a_near_copy_needs_both_hashes() -> None:
    a = seen("a", phash=0, dhash=0)
    assert kinds(a, seen("b", "valid", phash=0b111, dhash=0b11)) == [(Kind.NEAR, True)]
    assert kinds(a, seen("c", "valid", phash=0b111, dhash=2**40 - 1)) == []


def test_a_mirrored_copy() -> None:
    assert kinds(seen("a", phash=5), seen("b", "test", mirrored=5)) == [(Kind.MIRRORED, True)]


def test_exports_of_one_source() -> None:
    found = kinds(seen("x_jpg.rf.aa11.jpg"), seen("x_jpg.rf.bb22.jpg", "valid"), seen("y_jpg.rf.aa11.jpg"))
    assert found == [(Kind.SOURCE, True)]


def test_moments_and_places_across_splits_only() -> None:
    noon = datetime(2024, 1, 1, 12)
    cameras = [
        Camera(taken=noon + timedelta(seconds=s), place=(20 + m / 111_195, 80.0))
        for s, m in ((0, 0), (1, 400), (900, 2), (901, 300))
    ]
    photos = [
        seen(str(i), split, camera=c)
        for i, (c, split) in enumerate(zip(cameras, ("train", "valid", "valid", "valid"), strict=True))
    ]
    assert kinds(*photos) == [(Kind.MOMENT, True), (Kind.PLACE, True)]


def least(candidates: list[tuple[int, int, float]], parts: list[int]) -> list[tuple[int, int, float]]:
    """Of each photograph's candidates (i, j, distance) the nearest in every part, the first of equals."""
    best: dict[tuple[int, int], tuple[int, int, float]] = {}
    for i, j, distance in sorted(candidates, key=lambda c: (c[2], c[0])):
        best.setdefault((j, parts[i]), (i, j, distance))
    return sorted(best.values())


HASHES = st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 3), st.integers(0, 2)), max_size=40)


@given(HASHES, st.sampled_from([1, 3, 128]))
def test_the_nearest_are_those_of_brute_force(rows, block) -> None:
    rows = rows + [(h ^ (2**f - 1), f, p) for h, f, p in rows[:15]]  # so that some are near
    hashes, confirm, parts = ([row[k] for row in rows] for k in range(3))
    slow = [
        (i, j, float(bits))
        for j in range(len(rows))
        for i in range(j)
        if (bits := (hashes[i] ^ hashes[j]).bit_count()) <= 10 and (confirm[i] ^ confirm[j]).bit_count() <= 1
    ]
    a, c = np.array(hashes, np.uint64), np.array(confirm, np.uint64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alike, "BLOCK", block)
        assert sorted(nearest_before(a, a, np.array(parts, np.intp), 10, agree=(c, 1))) == least(slow, parts)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2)), max_size=20))
def test_the_nearest_elsewhere_are_those_of_brute_force(rows) -> None:
    at, parts = [float(a) for a, _ in rows], [p for _, p in rows]
    found = list(nearest_elsewhere(np.array(at).reshape(-1, 1), np.array(parts, np.intp), 3.0))
    assert all(i < j and parts[i] != parts[j] and d == abs(at[i] - at[j]) for i, j, d in found)
    for j in range(len(rows)):
        for part in {0, 1, 2} - {parts[j]}:
            near = [d for i, a in enumerate(at) if parts[i] == part and (d := abs(a - at[j])) <= 3]
            told = [d for a, b, d in found if j in (a, b) and part in (parts[a], parts[b])]
            assert (min(told) if told else None) == (min(near) if near else None)


def test_a_film_is_told_by_its_nearest_frames() -> None:
    frames = [seen(f"f{i}", "valid" if i % 2 else "train", phash=0, dhash=0) for i in range(300)]
    found = find_leaks(frames).pairs
    assert len(found) == 1 + 2 * 298  # every frame but the first two has one in each split before it
    assert {p.second for p in found if p.crosses} == {f.name for f in frames[1:]}


def test_copies_of_copies_are_told_in_every_split() -> None:
    a = seen("a")
    copies = [replace(a, name=f"{s}/images/{n}", split=s) for n, s in (("b", "valid"), ("c", "valid"), ("d", "test"))]
    told = [(p.first[-1], p.second[-1], p.crosses) for p in find_leaks([a, *copies]).pairs]
    assert told == [("a", "b", True), ("a", "c", True), ("b", "c", False), ("a", "d", True), ("b", "d", True)]


def test_the_same_second_of_another_camera_is_no_moment() -> None:
    noon = datetime(2024, 1, 1, 12)
    cameras = [Camera(taken=noon, model="A"), Camera(taken=noon, model="B")]
    assert kinds(seen("a", camera=cameras[0]), seen("b", "valid", camera=cameras[1])) == []
    assert kinds(seen("a", camera=cameras[0]), seen("b", "valid", camera=cameras[0])) == [(Kind.MOMENT, True)]


def test_flight_lines_in_several_splits_are_counted() -> None:
    found = find_leaks([seen("a", group="L1"), seen("b", "valid", "L1"), seen("c", "valid", "L2")])
    assert [(s.group, dict(s.photographs)) for s in found.shared] == [("L1", {"train": 1, "valid": 1})]
    assert "flight line" in found.verdict


def test_faults_and_remarks() -> None:
    a = seen("a", phash=0, dhash=0)
    near = seen("b", phash=1, dhash=0)
    copy = replace(a, name="train/images/c")
    across = seen("d", "valid", phash=3, dhash=0)
    weights = {(f.check, f.weight) for f in flags_of(find_leaks([a, near, copy, across]))}
    assert ("exact copy within a split", Weight.FAULT) in weights
    assert ("near copy within a split", Weight.REMARK) in weights
    assert ("near copy across splits", Weight.FAULT) in weights


def test_the_table_has_every_pair(tmp_path) -> None:
    found = find_leaks([seen("a", phash=0, dhash=0, group="L"), seen("b", "valid", phash=1, dhash=0, group="L")])
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert [(r["kind"], r["crosses_splits"], r["distance"]) for r in rows] == [
        ("near copy", "yes", "1"),
        ("flight line", "yes", ""),
    ]


def test_the_real_photographs_have_no_pair_across_flight_lines(lagoon_dyke) -> None:
    from toeline.analysis.photo_facts import look_at

    photos = [
        HashedPhoto(f"{split}/{p.name}", split, p.name.rsplit("_", 3)[0], look_at(p))
        for split in ("train", "valid")
        for p in sorted((lagoon_dyke / split / "images").iterdir())[:40]
    ]
    assert [p for p in find_leaks(photos).pairs if p.kind is not Kind.NEAR] == []


@pytest.mark.parametrize("count", [1, 0])
def test_few_photographs(count) -> None:
    assert find_leaks([seen("a")][:count]).pairs == ()
