"""A map of what changed between two visits, as inline SVG: what each visit looked at, and a sign at each change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape

from toeline.core.geo import Meters
from toeline.report.document import Plot
from toeline.report.geolocate import flat_from
from toeline.report.map import MOST_AREAS, MOST_MARKS, RIM, WIDE, Frame, framed, scale_bar
from toeline.report.revisit import CHANGED, Revisit, VisitChange, words_of

RADIUS = 10.0
CAPTION = (
    "Where it changed, north up: a sign for each change (dashed: perhaps), a dot for what is the same or was not seen "
    "again. Areas: the ground in the photographs of the second visit; dashed: of the first."
)


def changes_map(told: Revisit, signs: Mapping[str, str], moods: Mapping[str, str]) -> Plot | None:
    """None where no object has a position."""
    start, seen = told.seen[0].start, [one.areas[:MOST_AREAS] for one in told.seen]
    marks = [(n, c, flat_from(start, c.either.at)) for n, c in enumerate(told.changes, start=1) if c.either.at]
    if not marks:
        return None
    areas = [[Meters(*corner) for corner in area.corners.tolist()] for one in seen for area in one]
    frame = framed([*(at for *_, at in marks), *(corner for area in areas for corner in area)])
    shown = marks[:MOST_MARKS]
    parts = [
        *(_area(area, frame, first=n < len(seen[0])) for n, area in enumerate(areas)),
        *(_dot(at, frame) for _, c, at in shown if c.status not in CHANGED),
        *(_mark(n, c, at, frame, told, signs, moods) for n, c, at in reversed(shown) if c.status in CHANGED),
        *_bar(frame),
    ]
    head = f'<svg class="changes" viewBox="0 0 {WIDE:g} {frame.high:g}" role="group" aria-label="Map of the changes">'
    return Plot(f"{head}{''.join(parts)}</svg>", CAPTION, wide_px=1240, sideways=True)


def _area(corners: list[Meters], frame: Frame, *, first: bool) -> str:
    points = " ".join(f"{x:g},{y:g}" for x, y in map(frame.xy, corners))
    return f'<polygon class="{"first" if first else "second"}" points="{points}"/>'


def _dot(at: Meters, frame: Frame) -> str:
    x, y = frame.xy(at)
    return f'<circle class="dot" cx="{x:g}" cy="{y:g}" r="3"/>'


def _mark(
    n: int,
    change: VisitChange,
    at: Meters,
    frame: Frame,
    told: Revisit,
    signs: Mapping[str, str],
    moods: Mapping[str, str],
) -> str:
    """A sign in a circle, with a link to its card."""
    x, y = frame.xy(at)
    title = escape(f"{change.words}: {words_of(change.either.type_name, told.words)}, {change.either.finding.photo}")
    mood, doubtful = moods.get(change.status, "careful"), " doubtful" if change.perhaps else ""
    circle = f'<title>{title}</title><circle cx="{x:g}" cy="{y:g}" r="{RADIUS:g}"/>'
    drawn = f'{circle}<text x="{x:g}" y="{y + 4.5:g}">{signs[change.status]}</text>'
    return f'<a href="#change-{n}" aria-label="{title}"><g class="mark {mood}{doubtful}">{drawn}</g></a>'


def _bar(frame: Frame) -> Iterator[str]:
    """How long a length is on the ground."""
    bar, y = scale_bar(frame.scale), frame.high - RIM / 3
    yield f'<path d="M{RIM:g},{y - 6:g}V{y:g}H{RIM + bar["wide"]:g}V{y - 6:g}"/>'
    yield f'<text x="{RIM + bar["wide"] + 8:g}" y="{y:g}">{bar["text"]}</text>'
