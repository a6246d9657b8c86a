"""Which of several class names an object has, for boxes that are given: what decision APIs ask, by the packed judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from toeline.core.finding import Verdict
from toeline.core.scene import Instance, Scene
from toeline.prompts.build import Options, ask

if TYPE_CHECKING:
    from PIL import Image

    from toeline.core.question import QuestionSheet
    from toeline.judge.judge import Judge
    from toeline.pipelines.inspector import Inspector


@dataclass(frozen=True)
class BoxDecisions:
    """Verdicts by the ids of the objects that were asked about, with what the judge was asked in words.

    `tokens` are those of the packed sequences, in which the photograph stands once. For a judge that reads no words
    there are none, and `asked` is empty.
    """

    verdicts: Mapping[str, Verdict]
    asked: Mapping[str, str]
    tokens: int


def decide_boxes(
    inspector: Inspector, image: Image.Image, instances: Sequence[Instance], options: Options
) -> BoxDecisions:
    """One pass over a photograph; `options` are the class names of each object that is asked about, at least two.

    Objects without options are told of in relations. Raises ModelError and what the judge raises.
    """
    given = replace(inspector, detector=None, boxes=lambda *_: (instances, ()), answers=options)
    verdicts = {f.instance_id: f.verdict for f in given.inspect(image) if f.instance_id in options}
    scene = Scene(Path("picture"), image.size, tuple(instances))
    sheet = ask(scene, image, given.relations(scene), given.taxonomy, given.judge.view, answers=options)
    tokens = packed_tokens(given.judge, sheet)
    return BoxDecisions(verdicts, {q.instance_id: q.text for q in sheet.questions} if tokens else {}, tokens)


def packed_tokens(judge: Judge, sheet: QuestionSheet) -> int:
    """How many tokens a judge, or the parts of an ensemble, read of a sheet."""
    from toeline.judge.packing import lay_out

    parts = [part for part in getattr(judge, "parts", (judge,)) if hasattr(part, "alphabet")]
    return sum(len(layout.ids) for part in parts for layout in lay_out(sheet, part.alphabet))
