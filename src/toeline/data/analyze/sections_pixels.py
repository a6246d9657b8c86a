"""The sections that need pixels, and the blocks of flags that all sections share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from toeline.data.analyze.document import Block, Flags, Words, figure, grid
from toeline.data.analyze.flag import Flag
from toeline.data.analyze.images import IMAGE_CHECKS, Images
from toeline.data.analyze.leaks import Kind, Leaks, flags_of

MOST_SHOWN = 60  # of one kind of flag in the report; all of them are in problems.jsonl

Blocks = Iterator[Block]


def image_blocks(images: Images, flags: Sequence[Flag]) -> Blocks:
    """Sizes, shapes and light."""
    yield Words(images.verdict)
    yield Words(images.stretching)
    sizes = [(f"{w} x {h}", n) for w, h, n in images.sizes]
    yield grid(
        ["Size in pixels", "Photographs"], sizes, f"Sizes, the most frequent first; there are {images.distinct} in all."
    )
    shapes = (images.with_camera_size, images.as_taken, images.scaled, images.other_shape)
    head = ["", "EXIF tells the camera's size", "As taken", "Scaled", "Cut or stretched"]
    yield grid(head, [("Photographs", *shapes)], "What the camera took, against what is here.")
    measures = (
        ("width / height", images.aspect),
        ("sharpness (variance of the Laplacian)", images.sharpness),
        ("brightness, 0 to 1", images.brightness),
        ("black, share of pixels", images.dark),
        ("white, share of pixels", images.burnt),
        ("detail across over detail down", images.stretch),
        ("filled by boxes, share of the frame", images.boxes_fill),
    )
    yield grid(
        ["Measure", "Mean", "sd", "Min", "Quarter", "Median", "Three quarters", "Max"],
        [(name, *(figure(v) for v in (s.mean, s.sd, s.min, s.q1, s.median, s.q3, s.max))) for name, s in measures],
        "Detail across over detail down is 1 for ground that looks alike both ways; pictures that were squeezed across "
        "are above, long drains across the picture pull it down. It is evidence over many photographs only.",
    )
    yield from flag_blocks([f for f in flags if f.check in IMAGE_CHECKS])


def leak_blocks(leaks: Leaks) -> Blocks:
    """The verdict, counts by kind, and the pairs."""
    yield Words(leaks.verdict)
    yield grid(
        ["Pairs of photographs", "Across splits", "Within a split"],
        [(kind, leaks.count(kind, crossing=True), leaks.count(kind, crossing=False)) for kind in Kind],
        f"Each pair under the first kind that applies; all of them are in leaks.csv. EXIF gives the time of "
        f"{leaks.with_time:,} photographs and the place of {leaks.with_place:,}.",
    )
    if leaks.shared:
        rows = [(s.group, *(s.photographs.get(split, 0) for split in leaks.splits)) for s in leaks.shared]
        yield grid(["Flight line", *leaks.splits], rows, "Flight lines in more than one split, in photographs.")
    yield from flag_blocks(tuple(flags_of(leaks)))


def by_check(flags: Sequence[Flag]) -> dict[str, list[Flag]]:
    """Flags by their kind, in the order in which the kinds are first met."""
    found: dict[str, list[Flag]] = defaultdict(list)
    for flag in flags:
        found[flag.check].append(flag)
    return found


def flag_blocks(flags: Sequence[Flag]) -> Blocks:
    """A block for each kind of flag."""
    for name, some in by_check(flags).items():
        shown = tuple(some[:MOST_SHOWN])
        yield Flags(name, some[0].weight, shown, len(some) - len(shown))
