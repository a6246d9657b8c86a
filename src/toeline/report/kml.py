"""Findings as KML 2.2 for map programs: a placemark for each, those without a position in a folder of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from xml.etree import ElementTree

from toeline.core.taxonomy import Taxonomy
from toeline.data.annotation_tools import TITLE, child, xml_file

NAMESPACE = "http://www.opengis.net/kml/2.2"
LOST = "Without a position"
ABOUT = (
    "Positions are approximate, see error_m in meters. position 'camera': where the photograph was taken from. Without "
    "same_as, each object once."
)
OPAQUE = "ff"


def findings_kml(features: Iterable[Mapping[str, Any]], taxonomy: Taxonomy) -> bytes:
    """The file of features as geolocate.finding_feature makes them; one without a geometry has no place on the map."""
    root = ElementTree.Element("kml", {"xmlns": NAMESPACE})
    document = child(root, "Document")
    child(document, "name", TITLE)
    child(document, "description", ABOUT)
    styles = {c.name: f"condition{number}" for number, c in enumerate(taxonomy.conditions)}
    for condition, style in styles.items():
        icon = child(child(document, "Style", id=style), "IconStyle")
        child(icon, "color", _color(taxonomy.color(condition)))
    folders: dict[str, ElementTree.Element] = {}
    for feature in sorted(features, key=lambda one: one["geometry"] is None):  # stable: the order of the run
        said, at = feature["properties"], feature["geometry"]
        title = LOST if at is None else "Findings"
        if title not in folders:
            folders[title] = child(document, "Folder")
            child(folders[title], "name", title)
        _placemark(folders[title], said, at, styles, taxonomy)
    return xml_file(root)


def _placemark(
    folder: ElementTree.Element,
    said: Mapping[str, Any],
    at: Mapping[str, Any] | None,
    styles: Mapping[str, str],
    taxonomy: Taxonomy,
) -> None:
    """In the order that the schema asks for: name, description, style, data, geometry."""
    mark = child(folder, "Placemark")
    condition = said["condition"] or "no answer"
    child(mark, "name", f"{taxonomy.spoken(said['type'])} {said['id']}: {condition}")
    why = f" To review: {said['review_reason']}" if said["review"] else ""
    child(mark, "description", f"{said['photo']}, {said['probability']:.0%}.{why}")
    if condition in styles:
        child(mark, "styleUrl", f"#{styles[condition]}")
    data = child(mark, "ExtendedData")
    for name, value in said.items():
        if value is not None:
            child(child(data, "Data", name=name), "value", str(value))
    if at is not None:
        longitude, latitude = at["coordinates"]
        child(child(mark, "Point"), "coordinates", f"{longitude},{latitude}")


def _color(rgb: str) -> str:
    """#rrggbb as KML has it: opacity, blue, green, red.

    >>> _color("#3b78c9")
    'ffc9783b'
    """
    return OPAQUE + rgb[5:7] + rgb[3:5] + rgb[1:3]
