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

from toeline.data.analyze.flag import Weight
from toeline.data.analyze.leaks import NEAR_BITS, Kind, Seen, find_leaks, flags_of, near_pairs, source_of, to_csv
from toeline.data.analyze.photos import Camera, PhotoFacts


def seen(name: str, split: str = "train", group: str = "", **more) -> Seen:
    """A photograph like no other, unless `more` says so."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    p, d, m = (int(x) for x in rng.integers(0, 2**63, 3))
    facts = PhotoFacts(name, 1000, (64, 64), 100.0, 0.5, 0.0, 0.0, 1.0, p, d, m, Camera())
    return Seen(f"{split}/images/{name}", split, group or name, replace(facts, **more))


def kinds(*photos: Seen) -> list[tuple[str, bool]]:
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
    assert source_of("train/images/a.rf.jpg") == ""


def test_moments_and_places_across_splits_only() -> None:
    noon = datetime(2024, 1, 1, 12)
    cameras = [
        Camera(taken=noon + timedelta(seconds=s), latitude=20 + m / 111_195, longitude=80.0)
        for s, m in ((0, 0), (1, 400), (900, 2), (901, 300))
    ]
    photos = [
        seen(str(i), split, camera=c)
        for i, (c, split) in enumerate(zip(cameras, ("train", "valid", "valid", "valid"), strict=True))
    ]
    assert kinds(*photos) == [(Kind.MOMENT, True), (Kind.PLACE, True)]


@given(st.lists(st.integers(0, 2**64 - 1), max_size=30), st.integers(0, 3))
def test_pairs_are_those_of_brute_force(hashes, flips) -> None:
    hashes += [h ^ (2**flips - 1) for h in hashes[:5]]
    found = list(near_pairs(*[np.array(hashes, np.uint64)] * 2)) if hashes else []
    slow = [
        (i, j, (a ^ b).bit_count())
        for i, a in enumerate(hashes)
        for j, b in enumerate(hashes)
        if i < j and (a ^ b).bit_count() <= NEAR_BITS
    ]
    assert found == slow


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
    from toeline.data.analyze.photos import look_at

    photos = [
        Seen(f"{split}/{p.name}", split, p.name.rsplit("_", 3)[0], look_at(p))
        for split in ("train", "valid")
        for p in sorted((lagoon_dyke / split / "images").iterdir())[:40]
    ]
    assert [p for p in find_leaks(photos).pairs if p.kind is not Kind.NEAR] == []


@pytest.mark.parametrize("count", [1, 0])
def test_few_photographs(count) -> None:
    assert find_leaks([seen("a")][:count]).pairs == ()
