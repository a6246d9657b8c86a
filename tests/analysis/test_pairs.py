"""The counted relations are those of relate, to the last digit."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.surveys import make_row, make_table, rows

from toeline.analysis.relations import nearest, ordered_pairs
from toeline.analysis.table import ObjectTable, SurveyRow
from toeline.core.scene import Relation
from toeline.prompts.relations import NAMES, relate
from toeline.prompts.relations import nearest as nearest_instance


def said(table: ObjectTable, most: int) -> set[tuple[str, Relation]]:
    found = set()
    for pairs in ordered_pairs(table, most=most):
        for rule, at in np.argwhere(pairs.holds):
            a, b = (str(table.numbers(side[[at]])[0]) for side in (pairs.a, pairs.b))
            photo = table.photos[table.photo[pairs.a[at]]]
            found.add((photo, Relation(a, NAMES[rule], b, pairs.gap[at])))
    return found


def expected(given_rows: list[SurveyRow]) -> set[tuple[str, Relation]]:
    return {(row.name, relation) for row in given_rows for relation in relate(row.scene)}


@settings(max_examples=60, deadline=None)
@given(rows(), st.sampled_from([1, 20, 10_000]))
def test_relations_equal_those_of_relate_on_a_coarse_grid(made: list[SurveyRow], most: int) -> None:
    assert said(make_table(made), most) == expected(made)


def test_relations_equal_those_of_relate_on_any_numbers() -> None:
    chance = random.Random(7)
    made = []
    for number in range(30):
        corners = [sorted(chance.uniform(0, 312) for _ in range(2)) for _ in range(2 * chance.randint(0, 14))]
        boxes = zip(corners[::2], corners[1::2], strict=True)
        labels = ("toe drain", "rock toe", "slope drain", "vegetation")
        texts = [f"{chance.choice(labels)}: {x[0]} {y[0]} {x[1]} {y[1]}" for x, y in boxes]
        made.append(make_row(f"p{number}.jpg", *texts, size_wh=(312, chance.choice((200, 312)))))
    assert said(make_table(made), 500) == expected(made)


@settings(max_examples=40, deadline=None)
@given(rows(instances=14))
def test_the_nearest_of_a_type_is_that_of_relate(made: list[SurveyRow]) -> None:
    table, by_name = make_table(made), {row.name: row for row in made}
    found = {}
    for pairs in ordered_pairs(table, most=50):
        chosen, gaps = nearest(table, pairs)
        assert gaps.tolist() == pairs.gap[chosen].tolist()
        for a, b in zip(pairs.a[chosen], pairs.b[chosen], strict=True):
            kind = table.taxonomy.types[table.kind[b]].name
            found[table.photos[table.photo[a]], str(table.numbers(np.array([a]))[0]), kind] = str(
                table.numbers(np.array([b]))[0]
            )
    wanted = {
        (name, instance.id, t.name): other.id
        for name, row in by_name.items()
        for instance in row.instances
        for t in table.taxonomy.types
        if (other := nearest_instance(row.scene, instance.id, t.name))
    }
    assert found == wanted


def test_a_data_set_without_pairs_has_none() -> None:
    assert list(ordered_pairs(make_table([make_row("a.jpg"), make_row("b.jpg", "rock toe: 0 0 9 9")]))) == []
    assert list(ordered_pairs(make_table([]))) == []
