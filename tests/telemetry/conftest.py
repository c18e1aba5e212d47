"""Fixtures of the telemetry tests."""

import pytest

from tests.telemetry.following import Followed


@pytest.fixture
def followed() -> Followed:
    return Followed()
