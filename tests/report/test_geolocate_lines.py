"""A line of progress.jsonl that is damaged is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from toeline.core.taxonomy import Taxonomy
from toeline.errors import OutputError
from toeline.report.geolocate import locate

LINE = {"photo": "a.jpg", "size": [4, 3], "place": {"latitude": 1.0, "longitude": 2.0}}


@pytest.mark.parametrize("change", [{"size": "abc"}, {"size": [1]}, {"size": [1.5, 2]}, {"size": None}, {"photo": [1]}])
def test_a_damaged_line_is_named(change: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "progress.jsonl").write_text(json.dumps({**LINE, **change}) + "\n")
    (tmp_path / "findings.jsonl").write_text("")
    with pytest.raises(OutputError, match=r"progress\.jsonl: a line is damaged"):
        locate(tmp_path, Taxonomy.load())
