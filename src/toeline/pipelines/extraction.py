"""Before an inspection: photographs are found, and in the folder of the run there are copies of those in object stores,
frames in place of videos, and parts in place of orthomosaics."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from toeline.core.finding import Problem
from toeline.core.prefetch import ahead
from toeline.core.run_folder import claimed, require_room, writing
from toeline.core.words import some
from toeline.data.extracted import Made, extracted
from toeline.data.images import MOVIES, Photo, require_outside, require_readable, search_photos
from toeline.data.mosaics import MARGIN_PX, PART_PX, cut_mosaic, is_geotiff
from toeline.data.object_stores import (
    FETCHED,
    StoredPhoto,
    address,
    as_addresses,
    fetch,
    is_fetched,
    lay_out,
    note_state,
    place_in,
    require_plain,
    states_in,
    stored_in,
)
from toeline.data.videos import take_frames
from toeline.errors import PhotoError, SetupError
from toeline.pipelines.progress import bar, goes_on, saying, tell_problems
from toeline.pipelines.settings import InspectRun

BESIDE = ("masks", "labels")
AT_A_TIME = 8  # copies: a store answers many as fast as one
Stored = Mapping[Path, StoredPhoto]  # by where the copy of an object is to lie
Making = tuple[Callable[[Path, Path], Made], Mapping[str, Any]]  # what makes photographs of a file, and its settings


def search(run: InspectRun, out: Path) -> tuple[list[Photo], Stored, list[Problem]]:
    """The photographs of what was typed, which of them are objects in stores, and problems: what was left out.

    Nothing is fetched. Raises PhotoError, OutputError, and SetupError for an address that is not read.
    """
    urls = [url for path in run.photos if (url := address(path))]
    _require_addresses(run, urls, out)
    require_outside(out, run.photos)
    if not urls:
        photos, problems = _found(run.photos, videos=run.every is not None)
        tell_problems(problems)
        if run.every is None:
            require_readable([photo.path for photo in photos], ", ".join(map(str, run.photos)))
        return photos, {}, problems
    return _search_stores(run.photos, urls, out)


def _search_stores(typed: Sequence[Path], urls: Sequence[str], out: Path) -> tuple[list[Photo], Stored, list[Problem]]:
    """As search, of addresses and whatever stands among them. Photographs in stores lie where they will be fetched."""
    problems: list[Problem] = []
    with tempfile.TemporaryDirectory(prefix="toeline-") as place:
        tree = Path(place).resolve()
        stored = {place_in(tree, one.url): one for url in urls for one in _listed(url, problems)}
        with writing(tree):
            problems += lay_out(stored.values(), urls, tree)
        paths = [place_in(tree, url) if (url := address(path)) else path for path in typed]
        try:
            photos, left_out = _found(paths)
        except PhotoError as why:
            raise PhotoError(as_addresses(str(why), tree)) from None
    problems += [replace(p, file=as_addresses(p.file, tree), what=as_addresses(p.what, tree)) for p in left_out]
    tell_problems(problems)
    copies = {path: place_in(out / FETCHED, one.url) for path, one in stored.items()}
    here = [replace(photo, path=copies.get(photo.path, photo.path)) for photo in photos]
    return here, {copies[photo.path]: stored[photo.path] for photo in photos if photo.path in stored}, problems


def _require_addresses(run: InspectRun, urls: Sequence[str], out: Path) -> None:
    """Raise SetupError for an address that is not read, and for one where only a folder will do."""
    for url in urls:
        require_plain(url)
    if address(out):
        raise SetupError("--out: results are written into a folder of this machine. Name one, and copy it later.")
    if run.boxes and address(run.boxes):
        raise SetupError("--boxes: label files are read from a folder. Copy them from the store, and name that.")
    if urls and run.every is not None:
        raise SetupError("--every: videos are not fetched from object stores. Copy them to a folder, and name that.")


def _listed(url: str, problems: list[Problem]) -> list[StoredPhoto]:
    with saying(f"Listing {url}"):
        return list(stored_in(url, problems))


def _found(paths: Sequence[Path], *, videos: bool = False) -> tuple[list[Photo], list[Problem]]:
    """The photographs, and what there was left out, such as pictures that are none: see _beside."""
    found = search_photos(paths, videos=videos)
    photos, problems = [p for p in found.photos if not _beside(p.path, paths)], list(found.problems)
    if less := len(found.photos) - len(photos):
        what = (
            f"left out {some(less, 'picture')} in folders called {' or '.join(BESIDE)}, which belong to a data set. "
            f"Name such a folder itself if it holds photographs."
        )
        problems.append(Problem.in_file(paths[0], what, note=True))
    if not photos:
        raise PhotoError(f"{', '.join(map(str, paths))}: no photographs there. Name a folder that holds some.")
    return photos, problems


def _beside(photo: Path, typed: Sequence[Path]) -> bool:
    """Whether a picture lies in a folder of labels, as data sets (and `toeline synth`) have them beside photographs."""
    below = [photo.relative_to(path).parts[:-1] for path in typed if photo.is_relative_to(path)]
    return all(any(part.lower() in BESIDE for part in parts) for parts in below)


def with_fetched(
    photos: Sequence[Photo], stored: Stored, out: Path, own: Collection[str], *, number: int
) -> tuple[list[Photo], list[Problem]]:
    """The photographs that are there, after those that are `stored` elsewhere were fetched, and problems of the others.

    What was fetched before and has not changed is not fetched again. `number` is that of the part of the run, or 0.
    Raises OutputError where the disk has no room.
    """
    if not any(photo.path in stored for photo in photos):
        return list(photos), []
    lost: dict[Path, Problem] = {}
    with claimed(out, own=own), writing(out):
        states = states_in(out)
        mine = [(photo, stored[photo.path]) for photo in photos if photo.path in stored]
        todo = [(photo, one) for photo, one in mine if not is_fetched(photo, one, states)]
        if not todo:
            return list(photos), []
        require_room(out, sum(one.size or 0 for _, one in todo))
        with goes_on(), bar("Fetching", total=len(mine), done=len(mine) - len(todo)) as step:
            copies = ahead(_fetch, todo, workers=min(AT_A_TIME, len(todo)), most=2 * AT_A_TIME)
            for (photo, one), problem in zip(todo, copies, strict=True):
                if problem:
                    lost[photo.path] = problem
                else:
                    note_state(out, one, number)
                step([problem] if problem else [])
    return [photo for photo in photos if photo.path not in lost], list(lost.values())


def _fetch(job: tuple[Photo, StoredPhoto]) -> Problem | None:
    photo, one = job
    try:
        fetch(photo, one)
    except PhotoError as why:
        what = str(why).removeprefix(f"{one.url}: ")
        return Problem("", one.url, what, "Run the same command again: it fetches what is missing.")
    return None


def with_extracted(
    found: Sequence[Photo], every: float | None, out: Path, own: Collection[str]
) -> tuple[list[Photo], list[Problem]]:
    """The photographs of a run, with what was made of videos and orthomosaics among them, and problems of these.

    Without rasterio an orthomosaic stays one photograph, whose coordinates are not read, which is told where it is
    read.
    """
    makings = {photo: making for photo in found if (making := _making(photo, every))}
    if not makings:
        return list(found), []
    photos: list[Photo] = []
    problems: list[Problem] = []
    with claimed(out, own=own), writing(out):
        for photo in found:
            if photo not in makings:
                photos.append(photo)
                continue
            make, settings = makings[photo]
            with saying(f"Reading {photo.name}"):
                mine, told = extracted(photo, out, settings, make)
            tell_problems(told)
            photos += mine
            problems += told
    return photos, problems


def _making(photo: Photo, every: float | None) -> Making | None:
    if photo.path.suffix.lower() in MOVIES:
        return (partial(take_frames, every_s=every), {"every": every}) if every else None
    if is_geotiff(photo.path) and find_spec("rasterio"):
        return cut_mosaic, {"part_px": PART_PX, "margin_px": MARGIN_PX}
    return None
