"""Findings and true instances from a few words, in three places of a photograph."""

from __future__ import annotations

from toeline.core.box import Box
from toeline.core.finding import Finding, Verdict
from toeline.core.ground_truth import GroundTruth, TrueInstance
from toeline.core.scene import Instance
from toeline.core.taxonomy import Taxonomy

TAXONOMY = Taxonomy.load()


def said(number: int, class_name: str, box: Box, *, score: float = 0.9, photo: str = "a.jpg") -> Finding:
    found = TAXONOMY.class_of(class_name)
    return Finding(
        photo, str(number), found.type, box, score, Verdict(class_name, found.condition, 1.0, {class_name: 1})
    )


def true(number: int, class_name: str, box: Box) -> TrueInstance:
    found = TAXONOMY.class_of(class_name)
    return TrueInstance(
        Instance(str(number), found.type, box), GroundTruth(str(number), class_name, found.type, found.condition)
    )


LEFT, RIGHT, FAR = Box(0, 0, 10, 10), Box(20, 0, 30, 10), Box(50, 50, 60, 60)
