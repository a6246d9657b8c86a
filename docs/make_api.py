"""Writes docs/api.md: an introduction, and every public name with its docstring.

    python docs/make_api.py

tests/test_api.py runs the examples and compares the page with what this writes.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import toeline

PAGE = Path(__file__).with_name("api.md")
INTRODUCTION = """\
# From Python

The names are those of the files: `finding.type` is `type` of `findings.jsonl`. What is raised for a mistake is a
`toeline.ToelineError`, whose text says what, where and what to do.

```python
from toeline import Inspector

with Inspector.load() as inspector:  # the models in the package; lets go of them at the end
    findings = inspector.inspect("photo.jpg")

for finding in findings:
    print(finding.id, finding.type, finding.condition, finding.probability, finding.review_reason)
findings.save("photo.csv")  # or .jsonl
findings.save("marked.png")  # or .jpg; findings.draw() is the same as a picture of Pillow
```

A photograph is a path, a picture of Pillow, or an array of 8 bits in RGB: turn what OpenCV reads with
`array[:, :, ::-1]`.

```python
import numpy
from PIL import Image
from toeline import Inspector

inspector = Inspector.load()
picture = Image.open("photo.jpg")
assert len(inspector.inspect(picture)) == len(inspector.inspect(numpy.asarray(picture)))
```

Folders, and any number of photographs, go through one after another; a bad one stops nothing. `workers` threads read
ahead, and the detector sees `batch` at a time. For thousands of photographs, with results on disk that survive a
kill, use `toeline inspect`.

```python
from toeline import Inspector

for findings in Inspector.load().inspect_many("flight7", workers=4, batch=8):
    print(findings.photo, len(findings), findings.problems)
```

With pandas (`table` of the extras) findings become a data frame with the columns of `findings.csv`:
`inspector.inspect("photo.jpg").to_dataframe()`.

Former names go on working: `instance_id` is `id`, `type_name` is `type`, `score` is `detector_confidence`, and
`finding.verdict` and `finding.grade` hold class, condition, probabilities and review, and severity and action.

# Reference
"""


def page() -> str:
    """The text of docs/api.md."""
    return INTRODUCTION + "".join(f"\n{part}\n" for name in toeline.__all__ for part in _of_class(name))


def _of_class(name: str) -> Iterator[str]:
    one = getattr(toeline, name)
    yield f"## {name}"
    yield _words(one)
    for what, member in vars(one).items():
        raw = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if what.startswith("_") or not (callable(raw) or isinstance(raw, property)) or not raw.__doc__:
            continue
        yield f"### `{name}.{what}`" if isinstance(raw, property) else f"### `{name}.{what}{_signature(raw)}`"
        yield _words(raw)


def _signature(function: Any) -> str:
    """Without quotes, self and cls."""
    said = str(inspect.signature(function)).replace("'", "")
    return re.sub(r"^\((?:self|cls)(?:, )?", "(", said)


def _words(of: Any) -> str:
    """The docstring, examples as code."""
    text = inspect.cleandoc(of.__doc__ or "")
    return re.sub(
        r"((?:^>>>.*\n?(?:^(?!>>>).+\n?)*)+)", lambda m: f"```python\n{m[1].rstrip()}\n```\n", text, flags=re.M
    ).rstrip()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
