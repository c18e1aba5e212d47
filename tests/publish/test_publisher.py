"""What stands on a real broker: every topic, and nothing that is out of date."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.publish.scene import held, listening, publishing, settings, state, until
from tests.support.brokers import Broker, broker, needs_mosquitto

pytestmark = needs_mosquitto

ONE_CAR = {
    "tmsync/status": "online",
    "tmsync/cars/1/verdict": "fresh",
    "tmsync/cars/1/source": "TeslaMate",
    "tmsync/cars/1/reason": "fresh, as it seems",
    "tmsync/cars/1/trusted": "true",
    "tmsync/cars/1/last_heartbeat_at": "2026-11-29T12:00:00Z",
    "tmsync/token/expires_at": "2026-11-29T20:00:00Z",
    "tmsync/token/in_sync": "true",
    "tmsync/problems": "[]",
}


@pytest.fixture(scope="module")
def open_broker() -> Iterator[Broker]:
    with broker() as found:
        yield found


@pytest.fixture
def mosquitto(open_broker: Broker) -> Iterator[Broker]:
    yield open_broker
    for topic in held(open_broker.port):
        open_broker.publisher.send(topic, b"", retain=True)


def test_retained_topics_are_those_of_the_documentation(mosquitto: Broker, tmp_path: Path) -> None:
    with listening(mosquitto.port) as heard, publishing(settings(mosquitto.port, tmp_path)) as (publisher, problems):
        publisher.update(state())
        until(lambda: "tmsync/status" in heard.retained)
        found = held(mosquitto.port)
        discovery = found.pop("homeassistant/device/tmsync_1/config")
        assert found == ONE_CAR
        assert '"identifiers": ["teslamate_car_1"]' in discovery
        assert problems == []
        publisher.stop()
        until(lambda: heard.retained["tmsync/status"] == "offline")
        assert held(mosquitto.port) == {**ONE_CAR, "tmsync/status": "offline",
                                        "homeassistant/device/tmsync_1/config": discovery}  # fmt: skip
