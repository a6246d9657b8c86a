"""Whether photographs that models were not measured on are recognized: the domain check (data/domain.py).

    pip install --target SKIMAGE --no-deps scikit-image
    python benchmarks/domain.py --pictures SKIMAGE/skimage/data [--real ../shared/data/lagoon-dyke] [--drawn FILE]

Domains of drawn scenes alone, of the real train split, as `toeline learn` fits one, and of both, as a package has it
whose models have seen both: each kind with its own limit. What is held against them: the real valid split (other flight
lines), also blurred, darkened and enlarged; new drawn scenes; the further photographs of the same site (another export,
224 pixels); and 49 unrelated pictures: 20 photographs of scikit-image, 14 of noise, 15 of roads through fields that are
drawn with the ground of drawn scenes and show no dyke. The distance was chosen among those of the second table by the
unrelated pictures and photographs of train that were held out by flight line, and so were the parts (real train against
drawn scenes); figures of valid were seen, and decided nothing. `--drawn` writes the domain file of drawn scenes, which
benchmarks/ship.py adds to that of a site.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter
from results import RESULTS, write

from toeline.core.reading import is_file
from toeline.core.statistics import wilson
from toeline.core.taxonomy import Taxonomy
from toeline.data import domain as domains
from toeline.data.domain import DomainCard, DomainModel, PartModel, RunStanding, Score, fit, save_domain
from toeline.data.feature_maps import feature_network
from toeline.data.images import read_photo
from toeline.data.photo_measures import FEATURES, PICTURE, Measures, measures_of
from toeline.data.split import grouping
from toeline.detect.detector import DetectorOptions
from toeline.detect.load import load_detector
from toeline.detect.postprocess import find_settled
from toeline.detect.tiling import tiled
from toeline.synth.dataset import write_dataset
from toeline.synth.ground import texture
from toeline.synth.materials import FACES, ROADS, SceneLook, vary
from toeline.synth.textures import Color, blend, ramp

PICTURES = (
    "astronaut", "brick", "camera", "cell", "chelsea", "clock_motion", "coffee", "coins", "grass", "gravel",
    "hubble_deep_field", "ihc", "microaneurysms", "moon", "motorcycle_left", "motorcycle_right", "page", "retina",
    "rocket", "text",
)  # fmt: skip
NOISES, FIELDS, SIDE = 14, 15, 640
DRAWN, NEW = (160, 314_159), (49, 271_828)  # scenes and seed; no training run, demo or other benchmark draws from these
DETECTIONS = "detections"
CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "blurred": lambda photo: photo.filter(ImageFilter.GaussianBlur(3)),
    "darkened": lambda photo: ImageEnhance.Brightness(photo).enhance(0.3),
    "enlarged": lambda photo: photo.resize((640, 640), Image.Resampling.BICUBIC),
}
Rows = NDArray[Any]
Rng = np.random.Generator


def main() -> None:
    args = arguments()
    sets = {name: measured(name, photos, args.work) for name, photos in pictures(args).items()}
    flight = grouping("flight")
    lines = {name: [flight(Path(photo)) for photo in its] for name, its in sets.items()}
    lines["drawn scenes"] = list(sets["drawn scenes"])  # each is a place of its own
    figures: dict[str, Any] = {"domains": {}, "distances": {}, "parts": {}}
    models = dict[str, DomainModel]()
    for name, card in (("drawn scenes", shipped_card(args.out)), ("real train", DomainCard("the real train split"))):
        if name not in sets:
            continue
        model = fit(list(sets[name].values()), lines[name], card)
        figures["domains"][name] = told(model, {other: its for other, its in sets.items() if other != name})
        figures["distances"][name] = distances(name, sets, lines[name])
        figures["parts"][name] = parts(name, sets, lines[name])
        models[name] = model
    if args.drawn:
        save_domain(models["drawn scenes"], args.drawn)
    if len(models) == 2:
        drawn, real = models.values()
        rest = {name: its for name, its in sets.items() if name not in models}
        figures["domains"]["both, each with its limit"] = told(replace(real, others=(drawn,)), rest)
    print(text := page(figures))
    write("domain", text, figures, args.out)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, required=True, help="skimage/data")
    parser.add_argument("--real", type=Path, default=Path("../shared/data/lagoon-dyke"))
    parser.add_argument("--further", type=Path, default=Path("../shared/data/lagoon-dyke-types"))
    parser.add_argument("--work", type=Path, default=Path("runs/domain"), help="keeps what was drawn and measured")
    parser.add_argument("--drawn", type=Path, help="write the domain file of drawn scenes here")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def pictures(args: argparse.Namespace) -> dict[str, Callable[[], Iterable[tuple[str, Image.Image]]]]:
    """What is measured, by name; nothing is drawn or read before it is asked for."""
    real, further = args.real, args.further / "train" / "images"
    found = {
        "drawn scenes": lambda: scenes(args.work / "drawn", *DRAWN),
        "new drawn scenes": lambda: scenes(args.work / "new", *NEW),
        "unrelated": lambda: unrelated(args.pictures),
    }
    if is_file(real / "data.yaml"):
        found["real train"] = lambda: read(real / "train" / "images")
        found["real valid"] = lambda: read(real / "valid" / "images")
        for name, change in CHANGES.items():
            found[f"real valid, {name}"] = lambda c=change: ((n, c(p)) for n, p in read(real / "valid" / "images"))
    if further.is_dir():
        found["further, same site"] = lambda: read(further)
    return found


def read(folder: Path) -> Iterable[tuple[str, Image.Image]]:
    return ((file.name, read_photo(file)) for file in sorted(folder.iterdir()))


def scenes(folder: Path, number: int, seed: int) -> Iterable[tuple[str, Image.Image]]:
    write_dataset(folder, scenes=number, seed=seed, parts={"valid": 1.0}, masks=False)
    return read(folder / "valid" / "images")


def unrelated(folder: Path, seed: int = 0) -> Iterable[tuple[str, Image.Image]]:
    for name in PICTURES:
        (file,) = folder.glob(f"{name}.*")
        yield f"photo {name}", read_photo(file)
    yield from ((f"noise {i}", noise(np.random.default_rng((seed, 1, i)), i)) for i in range(NOISES))
    yield from ((f"road {i}", road(np.random.default_rng((seed, 2, i)))) for i in range(FIELDS))


def noise(rng: Rng, index: int) -> Image.Image:
    """Noise in colors or gray, of grains of one pixel to 64."""
    side, channels = SIDE >> (index % 7), 3 if index % 2 else 1
    values = rng.normal(128, rng.uniform(15, 70), (side, side, channels)).clip(0, 255).astype(np.uint8)
    small = Image.fromarray(np.ascontiguousarray(np.broadcast_to(values, (side, side, 3))))
    return small.resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def road(rng: Rng) -> Image.Image:
    """A road between two fields from above, of the very ground of drawn scenes."""
    shape, faces = (SIDE, SIDE), [look for looks in FACES.values() for look in looks]

    def ground(looks: Sequence[SceneLook]) -> Any:
        return texture(vary(looks[int(rng.integers(len(looks)))], rng), rng, shape)

    color, other = ground(faces), ground(faces)
    y, x = np.mgrid[-SIDE / 2 : SIDE / 2, -SIDE / 2 : SIDE / 2].astype(np.float32)
    angle, shift, bend = rng.uniform(0, np.pi), rng.uniform(-80, 80), rng.uniform(-1e-3, 1e-3)
    along = y * np.cos(angle) - x * np.sin(angle)
    across = np.asarray(x * np.cos(angle) + y * np.sin(angle) + shift + bend * along**2, np.float32)
    white: Color = (235, 235, 230)
    blend(color, other, ramp(across, -2.0, 2.0))
    blend(color, ground(ROADS), ramp(np.float32(rng.uniform(30, 70)) - np.abs(across), -2.0, 2.0))
    blend(color, white, np.asarray(ramp(2.5 - np.abs(across), -1.0, 1.0) * (np.mod(along, 60) < 30), np.float32))
    return Image.fromarray(color.clip(0, 255).astype(np.uint8))


def measured(name: str, photos: Callable[[], Iterable[tuple[str, Image.Image]]], work: Path) -> dict[str, Measures]:
    """Measures by photograph, kept in `work`; beside those of the check, how sure the shipped detector was."""
    file = work / f"{name.replace(', ', '_').replace(' ', '_')}.npz"
    if not file.is_file():
        network, detector = feature_network(), shipped_detector()
        rows = {n: {**measures_of(p, network), DETECTIONS: confidences(p, detector)} for n, p in photos()}
        columns = {part: np.stack([one[part] for one in rows.values()]) for part in (FEATURES, PICTURE, DETECTIONS)}
        work.mkdir(parents=True, exist_ok=True)
        np.savez(file, names=np.array(list(rows)), **columns)
    with np.load(file) as kept:
        columns = {part: kept[part] for part in (FEATURES, PICTURE, DETECTIONS)}
        return {str(n): {part: rows[i] for part, rows in columns.items()} for i, n in enumerate(kept["names"])}


def shipped_detector() -> Any:
    found = load_detector("embedded", taxonomy=Taxonomy.load(), options=DetectorOptions(device="cpu"))
    return tiled(found, "auto")


def confidences(photo: Image.Image, detector: Any) -> Rows:
    """The best confidence, the mean of the three best, and the logarithm of how many there are."""
    ranked = sorted((found.instance.score for found in find_settled(detector, [photo])[0]), reverse=True)
    best = [*ranked, 0.0, 0.0, 0.0][:3]
    return np.array((best[0], sum(best) / 3, np.log1p(len(ranked))))


def shipped_card(results: Path) -> DomainCard:
    """What both shipped models scored on drawn scenes, as benchmarks/embedded.py measured it."""
    file = results / "embedded.json"
    kept = json.loads((file if file.is_file() else RESULTS / "embedded.json").read_text(encoding="utf-8"))
    both = kept["sets"]["200 drawn scenes"]["both, recall"]
    score = Score("of objects found with the right class", both["value"], both["low"], both["high"], both["n"])
    return DomainCard("drawn scenes only", "200 drawn scenes", (score,))


def told(model: DomainModel, others: dict[str, dict[str, Measures]]) -> dict[str, Any]:
    """The domain, and how much of each other set is beyond its limit."""
    rows = {}
    for name, its in others.items():
        ratios = {photo: model.standing(measures).ratio for photo, measures in its.items()}
        rows[name] = row(ratios.values())
        if name == "unrelated":
            kinds = {photo.split()[0] for photo in ratios}
            rows |= {f"unrelated: {k}": row(r for p, r in ratios.items() if p.startswith(k)) for k in sorted(kinds)}
    return {"n": model.n, "held_out_beyond": model.false_alarms, **model.facts, "sets": rows}


def row(ratios: Iterable[float]) -> dict[str, Any]:
    values = np.array(list(ratios))
    standing = RunStanding(len(values), int((values > 1).sum()))
    low, high = wilson(standing.beyond, standing.n)
    return {
        "n": standing.n, "beyond": standing.beyond, "share": standing.beyond / standing.n, "low": low, "high": high,
        "unlike": standing.unlike, "least": float(values.min()), "median": float(np.median(values)),
    }  # fmt: skip


Distance = Callable[[Rows], Rows]


def nearest(axes: int, beside: bool) -> Callable[[Rows], Distance]:
    """Of data/domain.py with another number of axes, and without what is beside them."""

    def made(rows: Rows) -> Distance:
        part = PartModel.fit(rows, axes)
        if beside:
            return part.distances
        return lambda new: flat(part).distances(((new - part.mean) / part.spread) @ part.axes)

    return made


def flat(part: PartModel) -> PartModel:
    k = part.kept.shape[1]
    return PartModel(np.zeros(k), np.ones(k), np.eye(k), part.kept)


def mahalanobis(axes: int) -> Callable[[Rows], Distance]:
    """Lee et al. 2018 with one class: the covariance on the axes shrunk by Ledoit and Wolf 2004."""
    from sklearn.covariance import LedoitWolf

    def made(rows: Rows) -> Distance:
        part = PartModel.fit(rows, axes)
        precision = np.linalg.inv(LedoitWolf().fit(((rows - part.mean) / part.spread) @ part.axes).covariance_)

        def far(new: Rows) -> Rows:
            at = ((new - part.mean) / part.spread) @ part.axes
            return np.asarray(np.sqrt(np.einsum("ij,jk,ik->i", at, precision, at)))

        return far

    return made


TRIED: dict[str, Callable[[Rows], Distance]] = {
    **{f"5 nearest on {k} axes": nearest(k, beside=False) for k in (16, 32, 64)},
    **{f"Mahalanobis, shrunk, on {k} axes": mahalanobis(k) for k in (16, 32, 64)},
    **{f"5 nearest on {k} axes, and beside them": nearest(k, beside=True) for k in (8, 16, 32)},
}


def beyond(make: Callable[[Rows], Distance], part: str, name: str, sets: Any, lines: Sequence[str]) -> dict[str, float]:
    """Shares of each set beyond the limit of one distance of one part; the limit is that of photographs held out."""
    rows = {other: np.stack([m[part] for m in its.values()]) for other, its in sets.items()}
    limit, far = domains.quantile(domains.held_out(rows[name], np.array(lines), make)), make(rows[name])
    shares = {other: far(its) > limit for other, its in rows.items() if other != name}
    roads = np.array([photo.startswith("road") for photo in sets["unrelated"]])
    return {**{o: float(s.mean()) for o, s in shares.items()}, "roads": float(shares["unrelated"][roads].mean())}


def distances(name: str, sets: Any, lines: Sequence[str]) -> dict[str, Any]:
    return {what: beyond(make, FEATURES, name, sets, lines) for what, make in TRIED.items()}


def parts(name: str, sets: Any, lines: Sequence[str]) -> dict[str, Any]:
    """Each part alone, by the distance that was chosen."""
    make = nearest(domains.AXES, beside=True)
    return {part: beyond(make, part, name, sets, lines) for part in (FEATURES, PICTURE, DETECTIONS)}


def page(f: dict[str, Any]) -> str:
    lines = [f"# Domain check\n\n{(__doc__ or '').split('FILE]')[1].strip()}\n"]
    for name, its in f["domains"].items():
        most = its["most_of_a_line"]
        worst = f", of the worst flight line {most:.0%}" if most is not None else ""
        lines += [
            f"## Fitted on {name}\n\n{its['n']} photographs, {its['flight_lines']} flight lines. Held out, "
            f"{its['held_out_beyond']:.1%} are beyond the limit{worst}.\n",
            "| photographs | n | beyond the limit | 95 % interval | least and median distance (limit 1) | as a whole |",
            "|---|--:|--:|--:|--:|---|",
            *(shown(other, r) for other, r in its["sets"].items()),
            "",
        ]
    for title, key in (("Distances tried, features alone", "distances"), ("Parts alone", "parts")):
        for name, its in f[key].items():
            columns = list(next(iter(its.values())))
            lines += [
                f"## {title}, fitted on {name}: share beyond the limit\n",
                f"| | {' | '.join(columns)} |\n|---|{'--:|' * len(columns)}",
                *(f"| {what} | {' | '.join(f'{r[c]:.2f}' for c in columns)} |" for what, r in its.items()),
                "",
            ]
    return "\n".join(lines)


def shown(name: str, r: dict[str, Any]) -> str:
    verdict = "not like them" if r["unlike"] else "like them"
    return (
        f"| {name} | {r['n']} | {r['beyond']} ({r['share']:.1%}) | {r['low']:.1%} to {r['high']:.1%} | "
        f"{r['least']:.2f}, {r['median']:.2f} | {verdict} |"
    )


if __name__ == "__main__":
    main()
