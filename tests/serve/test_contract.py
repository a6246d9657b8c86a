"""What OpenAPI promises is what the service answers: schemathesis makes the requests.

TOELINE_CASES says how many of each operation; 10 by default.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from tests.support.serving import copied
from tests.support.stand_ins import FakeJudge, stand_in

from toeline.pipelines.settings import InspectRun
from toeline.serve.api import make_app
from toeline.serve.jobs import Model

CASES = int(os.environ.get("TOELINE_CASES", "10"))
CHECKS = [
    schemathesis.checks.not_a_server_error,
    schemathesis.checks.status_code_conformance,
    schemathesis.checks.content_type_conformance,
    schemathesis.checks.response_schema_conformance,
]


@pytest.mark.slow
def test_every_operation_keeps_its_promise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = copied(tmp_path)
    stand_in(monkeypatch, FakeJudge())
    app, cases, faults = make_app(store, model=Model(InspectRun(photos=()))), Counter[str](), list[str]()
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app)  # starts the thread of the model
    for found in schema.get_all_operations():
        faults += _tried(found.ok(), cases)
    print(f"{cases.total()} cases of {len(cases)} operations")
    assert len(cases) >= 30
    assert not faults, "\n\n".join(faults)


def _tried(operation: Any, cases: Counter[str]) -> list[str]:
    """Requests of one operation; what is wrong with the first answer that is."""

    @given(case=operation.as_strategy())
    @settings(
        max_examples=CASES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
        database=None,
    )
    def hold(case: Any) -> None:
        cases[operation.label] += 1
        case.call_and_validate(checks=CHECKS)

    try:
        hold()
    except BaseException as why:  # hypothesis groups several faults
        inner = getattr(why, "exceptions", [why])
        return [f"{operation.label}: {str(one)[:1500]}" for one in inner]
    return []
