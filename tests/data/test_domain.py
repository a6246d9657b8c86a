"""Photographs like those of training and others, as rows of numbers; what a file of a domain must be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.datasets import make_photo

from toeline.data.domain import (
    FALSE_ALARMS,
    KEY,
    DomainCard,
    DomainModel,
    RunStanding,
    Score,
    fit,
    fit_domain,
    load_domain,
    save_domain,
)
from toeline.data.feature_maps import scaled_hw
from toeline.data.photo_measures import FEATURES, PICTURE, Measures, measures_of
from toeline.errors import ModelError

BOTH = (FEATURES, PICTURE)
CARD = DomainCard("drawn numbers", "40 other ones", (Score("right", 0.8, 0.7, 0.9, 100),))


def rows(n: int, *, seed: int, away: float = 0.0, light: float = 0.0, line: int = 1) -> list[Measures]:
    """Rows of numbers of which each `line` share an offset, as photographs of a flight line do."""
    rng = np.random.default_rng(seed)
    offsets = np.repeat(rng.normal(0, 1, (-(-n // line), 30)), line, axis=0)[:n]
    values = rng.normal(0, 1, (n, 30)) + offsets + away
    return [{FEATURES: v, PICTURE: rng.normal(0, 1, 3) + light} for v in values]


@pytest.fixture(scope="module")
def domain() -> DomainModel:
    return fit(rows(200, seed=1, line=5), [str(i // 5) for i in range(200)], CARD, BOTH)


def beyond(domain: DomainModel, measures: list[Measures]) -> int:
    return sum(domain.standing(one).beyond for one in measures)


def test_new_flight_lines_of_the_same_kind_are_within_the_limit_but_for_the_rate_that_is_stated(domain) -> None:
    assert domain.false_alarms == pytest.approx(FALSE_ALARMS, abs=0.01)
    assert domain.facts["flight_lines"] == 40
    again = beyond(domain, rows(400, seed=2, line=5))
    assert again / 400 < 0.09
    assert not RunStanding(400, again).unlike


@pytest.mark.parametrize(("how", "part"), [({"away": 4.0}, FEATURES), ({"light": 9.0}, PICTURE)])
def test_other_photographs_are_beyond_it_and_the_part_that_differs_is_named(domain, how, part) -> None:
    found = [domain.standing(one) for one in rows(49, seed=3, **how)]
    assert all(s.beyond and s.part == part for s in found)
    assert RunStanding(49, 49).unlike


def test_photographs_of_one_flight_line_do_not_vouch_for_one_another() -> None:
    """Lines that lie far apart: held out one by one, each photograph has its neighbors, and the limit is too low."""
    far = [{**one, FEATURES: one[FEATURES] + 6 * (i // 20)} for i, one in enumerate(rows(100, seed=4))]
    by_line = fit(far, [str(i // 20) for i in range(100)], CARD)
    by_photo = fit(far, [str(i) for i in range(100)], CARD)
    new = [{**one, FEATURES: one[FEATURES] + 18 + 3} for one in rows(40, seed=5)]
    assert beyond(by_line, new) < beyond(by_photo, new)


def test_one_flight_line_is_held_out_by_photograph() -> None:
    assert fit(rows(40, seed=6), ["same"] * 40, CARD).facts["flight_lines"] == 1


def test_few_photographs_are_refused() -> None:
    with pytest.raises(ValueError, match="needs 20 photographs or more, and there are 19"):
        fit(rows(19, seed=1), [str(i) for i in range(19)], CARD)


def test_photographs_are_measured_by_the_function_that_is_given(tmp_path: Path) -> None:
    names = [tmp_path / f"{i}.jpg" for i in range(30)]
    measured = dict(zip(names, rows(30, seed=7), strict=True))
    model = fit_domain(names, [p.stem for p in names], measured.__getitem__, CARD)
    assert model.standing(measured[names[0]]) == fit(list(measured.values()), [p.stem for p in names], CARD).standing(
        measured[names[0]]
    )


def test_a_photograph_with_other_measures_is_refused(domain) -> None:
    with pytest.raises(ModelError, match="other measures"):
        domain.standing({FEATURES: np.zeros(29), PICTURE: np.zeros(3)})


def test_a_file_gives_the_same_domain_and_the_same_bytes(domain, tmp_path: Path) -> None:
    save_domain(domain, tmp_path / "a")
    read = load_domain(tmp_path / "a")
    save_domain(read, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (read.card, read.n, read.facts) == (domain.card, 200, dict(domain.facts))
    for one in rows(20, seed=8):
        assert read.standing(one).ratio == pytest.approx(domain.standing(one).ratio, abs=1e-3)


def test_a_model_of_two_kinds_knows_both_and_nothing_between_them(tmp_path: Path) -> None:
    """One limit around all would take in what lies between two kinds; each has its own."""
    lines = [str(i // 5) for i in range(200)]
    far = fit(rows(200, seed=11, line=5, away=9.0), lines, DomainCard("far numbers", "far ones", CARD.scores))
    near = fit(rows(200, seed=1, line=5), lines, CARD)
    save_domain(replace(near, others=(far,)), file := tmp_path / "two")
    two = load_domain(file)
    save_domain(two, again := tmp_path / "again")
    assert file.read_bytes() == again.read_bytes()
    for seed, away, kind in ((21, 0.0, 0), (22, 9.0, 1)):
        found = [two.standing(one) for one in rows(100, seed=seed, line=5, away=away)]
        assert {s.kind for s in found if not s.beyond} == {kind}
        assert sum(s.beyond for s in found) <= 12
        run = RunStanding.of(found)
        assert (run.unlike, run.kinds) == (False, (kind,))
        assert f" on {(CARD.measured_on, 'far ones')[kind]}." in run.said(*(k.card for k in two.kinds))
    between = RunStanding.of(two.standing(one) for one in rows(49, seed=23, away=4.5))
    assert (between.beyond, between.unlike) == (49, True)
    assert "(drawn numbers; far numbers)" in between.said(*(k.card for k in two.kinds))


def test_photographs_of_two_kinds_are_told_the_scores_of_both_the_more_common_first() -> None:
    other = replace(CARD, measured_on="a site")
    said = RunStanding(9, 0, (1, 0)).said(CARD, other)
    assert said.index("on a site") < said.index("on 40 other ones")


def test_a_file_of_many_photographs_stays_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    many = [{FEATURES: rng.normal(0, 1, 464), PICTURE: rng.normal(0, 1, 3)} for _ in range(900)]
    save_domain(fit(many, [str(i) for i in range(900)], CARD), tmp_path / "a")
    assert (tmp_path / "a").stat().st_size < 300_000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 0}, "of version 0; this is 1"),
        ({"limit": 0}, "limit is 0"),
        ({"usual": {"features": 0.0}}, "cannot be standardized"),
        ({"usual": {"weather": 1.0}}, "'weather' are not known"),
        ({"card": {"trained_on": 3, "scores": []}}, "trained_on is 3"),
        ({"n": "many"}, "n is 'many'"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(domain, tmp_path: Path, change, said: str) -> None:
    from safetensors.numpy import load, save

    save_domain(domain, file := tmp_path / "a")
    raw = file.read_bytes()
    head = json.loads(json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"][KEY])
    file.write_bytes(save(load(raw), metadata={KEY: json.dumps({**head, **change})}))
    with pytest.raises(ModelError, match=said):
        load_domain(file)


@pytest.mark.parametrize("content", [b"", b"nothing", b"\xff" * 64])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ModelError, match=r"is no domain file\. Make it again"):
        load_domain(tmp_path / "x")


def test_a_run_in_plain_words() -> None:
    assert RunStanding(0, 0).said(CARD) == ""
    assert RunStanding(9, 0).said(CARD) == (
        "Measured on photographs like these: 80% right (95 % interval 70% to 90%, n = 100) on 40 other ones."
    )
    assert (
        RunStanding(49, 2).said(CARD).endswith("2 of 49 photographs are not like them: findings there need a person.")
    )
    assert (
        RunStanding(49, 45)
        .said(CARD)
        .startswith(
            "Not measured on photographs like these: every finding needs a person. 45 of 49 photographs are unlike"
        )
    )
    assert "Measured on photographs like these." in RunStanding(3, 0).said(replace(CARD, scores=()))


class Network:
    """Maps whose values are those of the photograph's colors."""

    def scaled(self, photo: Image.Image) -> Image.Image:
        high, wide = scaled_hw((photo.height, photo.width))
        return photo.resize((wide, high), Image.Resampling.BICUBIC)

    def maps(self, photo: Image.Image) -> tuple[np.ndarray, ...]:
        return (np.asarray(self.scaled(photo)).transpose(2, 0, 1).astype(np.float32),)


def test_a_photograph_is_measured_all_over() -> None:
    flat = measures_of(Image.new("RGB", (64, 32), (10, 20, 30)), Network())  # type: ignore[arg-type]
    assert list(flat[FEATURES]) == [10, 20, 30, 0, 0, 0]
    assert flat[PICTURE] == pytest.approx((0.0, 19 / 255, 0.0), abs=0.005)


def test_a_photograph_that_was_enlarged_is_the_same_photograph() -> None:
    photo = make_photo((80, 60))
    small, large = (measures_of(one, Network()) for one in (photo, photo.resize((640, 480), Image.Resampling.BICUBIC)))  # type: ignore[arg-type]
    assert large[PICTURE] == pytest.approx(small[PICTURE], rel=0.01)
