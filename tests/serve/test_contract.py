"""What OpenAPI promises is what the service answers: schemathesis makes the requests.

TOELINE_CASES says how many of each operation; 20 by default.
"""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from tests.support.serving import copied

from toeline.serve.api import make_app

CASES = int(os.environ.get("TOELINE_CASES", "20"))
CHECKS = [
    schemathesis.checks.not_a_server_error,
    schemathesis.checks.status_code_conformance,
    schemathesis.checks.content_type_conformance,
    schemathesis.checks.response_schema_conformance,
]


@cache
def app():
    return make_app(copied(Path(tempfile.mkdtemp(prefix="toeline-contract-"))))


@pytest.fixture
def described() -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_asgi("/api/v1/openapi.json", app())


schema = schemathesis.pytest.from_fixture("described")


@pytest.mark.slow
@schema.parametrize()
@settings(
    max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)
def test_every_operation_keeps_its_promise(case: schemathesis.Case) -> None:
    case.call_and_validate(checks=CHECKS)
