"""What the tests of the service share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def quick_passwords() -> Iterator[None]:
    """No test waits for argon2, which takes 0.2 s in each service; what it costs is tested in test_security.py."""
    from tests.support.serving import cheap_passwords

    with cheap_passwords():
        yield
