"""Joins judge, drawn scenes and plan for `toeline plan --check`: one photograph is run and measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from toeline.errors import SetupError

if TYPE_CHECKING:
    from PIL import Image

    from toeline.core.question import Sheet, View
    from toeline.core.scene import Scene
    from toeline.judge.qwen_vl import QwenVLJudge
    from toeline.plan.plan import Plan

SEED = 71_021  # a dozen objects to ask about; of the check alone, no training run and no benchmark draws from it


class Row(NamedTuple):
    """One quantity, planned and measured, in `unit`."""

    what: str
    planned: float
    measured: float
    unit: str


@dataclass(frozen=True)
class Checked:
    """What was measured, and who counted the bytes."""

    rows: tuple[Row, ...]
    how: str

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {"rows": [row._asdict() for row in self.rows], "how": self.how}


def run_check(plan: Plan) -> Checked:
    """Load the judge, ask one drawn photograph, and set what it took beside the plan. Raises ToelineError."""
    from toeline.judge.choose import EMBEDDED
    from toeline.judge.layout import lay_out
    from toeline.judge.qwen_vl import QwenVLJudge
    from toeline.plan.measure import measure
    from toeline.plan.memory import total

    refuse(plan)
    where = EMBEDDED if plan.asked.judge == "embedded" else plan.asked.judge
    judge = QwenVLJudge.load(where, device=plan.device.kind, dtype=plan.dtype)
    judge = fitted(judge, plan)
    sheet = sheet_of(plan.asked.objects, judge.view)
    took = measure(lambda: judge.score(sheet), plan.device.kind)
    longest = max(len(layout.ids) for layout in lay_out(sheet, judge.alphabet, max_tokens=judge.max_tokens))
    loaded = sum(weight.numel() * weight.element_size() for weight in judge.model.parameters())
    rows = (
        Row("weights", total(plan.load) / 1e6, loaded / 1e6, "MB"),
        Row("longest sequence", plan.work.length, longest, "tokens"),
        Row("peak beside the weights", total(plan.at_work) / 1e6, took.peak / 1e6, "MB"),
        Row("one photograph", plan.ways[0].seconds or 0.0, took.seconds, "s"),
    )
    return Checked(rows, took.how)


def refuse(plan: Plan) -> None:
    """Raise SetupError for a plan that cannot be run here as it is."""
    from toeline.plan.devices import HERE
    from toeline.plan.parts import QUANTIZED

    asked = plan.asked
    if asked.device not in HERE:
        raise SetupError(f"--check runs on this machine, and {asked.device} is another. Choose --device auto.")
    if asked.task != "inspect" or asked.dtype in QUANTIZED or asked.trim:
        raise SetupError("--check runs the judge as it is on disk. Leave --task, --trim and quantized --dtype out.")
    if not plan.fits:
        raise SetupError(f"{plan.model.name} does not fit {plan.device.title}, so it is not loaded. Leave --check out.")


def fitted(judge: QwenVLJudge, plan: Plan) -> QwenVLJudge:
    """The judge as it was planned: shown pictures of that size, in sequences of that length, all bytes in sight."""
    view = judge.view
    if plan.asked.image is not None:
        view = replace(view, scene_tokens=plan.work.photo)
    most = plan.work.length + plan.work.branch // 2 if plan.asked.chunk else judge.max_tokens
    return replace(judge, view=view, max_tokens=most, processor=_OwnPixels(judge.processor))


@dataclass(frozen=True)
class _OwnPixels:
    """A processor whose patches lie in torch's memory, where they are counted, and not in numpy's."""

    processor: Any

    def __call__(self, **given: Any) -> Any:
        done = self.processor(**given)
        done["pixel_values"] = done["pixel_values"].clone()
        return done


def sheet_of(objects: int, view: View) -> Sheet:
    """A sheet of `objects` questions about a drawn photograph; where it has fewer, they are asked about again.

    What is asked twice costs as much as two objects do, and nothing else is measured here.
    """
    from toeline.ask.ask import ask, legal
    from toeline.core.taxonomy import Taxonomy
    from toeline.relate import around

    taxonomy, (scene, image) = Taxonomy.load(), _scene()
    asked = [t for t in scene.things if len(legal(t, taxonomy, "type")) > 1]
    things = tuple(replace(asked[n % len(asked)], id=str(n + 1)) for n in range(objects))
    scene = replace(scene, things=things)
    return ask(scene, image, {t.id: around(scene, t.id) for t in things}, taxonomy, view)


def _scene() -> tuple[Scene, Image.Image]:
    from PIL import Image

    from toeline.core.box import Box
    from toeline.core.scene import Scene, Thing
    from toeline.synth.scene import draw

    drawing = draw(SEED)
    corners = [tuple(zip(*o.polygon, strict=True)) for o in drawing.objects]
    things = [
        Thing(str(n), o.kind, Box(min(xs), min(ys), max(xs), max(ys)))
        for n, (o, (xs, ys)) in enumerate(zip(drawing.objects, corners, strict=True), start=1)
    ]
    image = Image.fromarray(drawing.image)
    return Scene(Path("drawn.jpg"), image.size, tuple(things)), image
