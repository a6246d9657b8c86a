"""What DJI's cameras write into the XMP packet of a photograph: field names and texts, nothing of what they mean."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

DJI = "drone-dji"  # in the namespace http://www.dji.com/drone-dji/1.0/, of whatever version
FORBIDDEN = (b"<!DOCTYPE", b"<!ENTITY")  # XMP has neither; in a strange file they are how a parser is made to explode


def dji_fields(packet: bytes) -> dict[str, str]:
    """DJI's fields by their plain names (GpsLatitude, GimbalYawDegree ...), as attributes or as elements.

    Empty when there are none. Raises ValueError for a packet that is not XML.

    >>> inside = b'<a xmlns:d="http://www.dji.com/drone-dji/1.0/" d:GimbalYawDegree="+12.5"><d:FlightYawDegree>3'
    >>> dji_fields(inside + b'</d:FlightYawDegree></a>')
    {'GimbalYawDegree': '+12.5', 'FlightYawDegree': '3'}
    """
    if DJI.encode() not in packet:
        return {}
    if any(word in packet for word in FORBIDDEN):
        raise ValueError("it declares a document type")
    try:
        root = ElementTree.fromstring(packet.strip(b"\x00 \r\n\t"))
    except (ElementTree.ParseError, LookupError) as why:  # LookupError: an encoding that nobody knows
        raise ValueError(str(why)) from None
    return {name.partition("}")[2]: text.strip() for name, text in _texts(root) if DJI in name.partition("}")[0]}


def _texts(root: ElementTree.Element) -> Iterator[tuple[str, str]]:
    """Every attribute and every element with its text, names as {namespace}name."""
    for element in root.iter():
        yield from element.attrib.items()
        if isinstance(element.tag, str) and element.text and element.text.strip():
            yield element.tag, element.text
