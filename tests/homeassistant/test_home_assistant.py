"""Home Assistant itself on what is published: `make test-homeassistant`."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import server_folder
from tests.homeassistant.program import HomeAssistant, home_assistant
from tests.publish.scene import listening, publishing, settings, state, until, view
from tests.support.brokers import Broker, broker
from tmsync.core.telemetry.health import Verdict

PYTHON = os.environ.get("TMSYNC_TEST_HOMEASSISTANT", "")
if not PYTHON:
    pytest.skip("Home Assistant itself: make test-homeassistant", allow_module_level=True)

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "home-assistant.yaml"
TESLAMATE = {
    "device": {"identifiers": ["teslamate_car_1"], "manufacturer": "Tesla", "name": "Blue", "model": "Model 3"},
    "origin": {"name": "TeslaMate", "sw_version": "4.2.0", "support_url": "https://docs.teslamate.org/"},
    "components": {
        "battery_level": {"platform": "sensor", "name": "Battery Level", "unique_id": "teslamate_1_battery_level",
                          "object_id": "tesla_battery_level", "state_topic": "teslamate/cars/1/battery_level",
                          "device_class": "battery", "unit_of_measurement": "%"},
    },
}  # fmt: skip
"""As TeslaMate 4.2 describes its device: lib/teslamate/mqtt/pubsub/home_assistant.ex, with one of its entities."""
FRESH = {
    "verdict": "fresh",
    "trusted": "on",
    "problem": "off",
    "last_heartbeat": "2026-11-29T12:00:00+00:00",
    "token_expiry": "2026-11-29T20:00:00+00:00",
    "token_out_of_sync": "off",
}
STALE = {**FRESH, "verdict": "stale", "trusted": "off", "problem": "on"}
UNKNOWN = {**FRESH, "verdict": "waiting", "trusted": "off",
           **dict.fromkeys(("problem", "token_expiry", "token_out_of_sync"), "unknown")}  # fmt: skip
UNAVAILABLE = dict.fromkeys(FRESH, "unavailable")


@pytest.fixture(scope="module")
def mosquitto() -> Iterator[Broker]:
    with broker() as found:
        found.publisher.send("homeassistant/device/teslamate_1/config", json.dumps(TESLAMATE), retain=True)
        found.publisher.send("teslamate/cars/1/battery_level", "63", retain=True)
        yield found


@pytest.fixture(scope="module")
def home(mosquitto: Broker) -> Iterator[HomeAssistant]:
    example = re.sub(r'for: "[0-9:]+"', 'for: "00:00:01"', EXAMPLE.read_text())
    with server_folder() as folder, home_assistant(PYTHON, folder / "home", mosquitto.port, example) as found:
        yield found
        log = (folder / "home" / "log").read_text()
        assert [line for line in log.splitlines() if "tmsync" in line] == []


def test_entities_appear_in_teslamate_s_device_and_follow_what_is_published(
    home: HomeAssistant, mosquitto: Broker, tmp_path: Path
) -> None:
    with publishing(settings(mosquitto.port, tmp_path)) as (publisher, _):
        publisher.update(state())
        until(lambda: home.states("tmsync_1_") == FRESH)
        publisher.update(state(view(verdict=Verdict.STALE)))
        until(lambda: home.states("tmsync_1_") == STALE)
        assert home.entities["tmsync_1_verdict"].attributes["reason"] == "stale, as it seems"
        publisher.update(state(view(verdict=Verdict.WAITING), token_expires_at=None, in_sync=None))
        until(lambda: home.states("tmsync_1_") == UNKNOWN)
        publisher.update(state())
        until(lambda: home.states("tmsync_1_") == FRESH)
    until(lambda: home.states("tmsync_1_") == UNAVAILABLE)
    assert home.states("teslamate_1_") == {"battery_level": "63"}
    devices = {(entity.device_id, entity.device) for key, entity in home.entities.items() if "_1_" in key}
    assert [name for _, name in devices] == ["Blue"]


def test_entities_are_unavailable_once_tmsync_is_killed_and_come_back(
    home: HomeAssistant, mosquitto: Broker, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "tests.publish.process", str(mosquitto.port), str(tmp_path), "30"]
    for _ in range(2):
        process = subprocess.Popen(command)
        try:
            until(lambda: home.states("tmsync_1_") == FRESH)
        finally:
            process.kill()
            process.wait()
        until(lambda: home.states("tmsync_1_") == UNAVAILABLE)


def test_home_assistant_is_told_again_at_its_birth_and_forgets_a_car_that_goes(
    home: HomeAssistant, mosquitto: Broker, tmp_path: Path
) -> None:
    with listening(mosquitto.port) as heard, publishing(settings(mosquitto.port, tmp_path)) as (publisher, _):
        publisher.update(state(view(1), view(2, name="Red")))
        until(lambda: home.states("tmsync_1_") == home.states("tmsync_2_") == FRESH)
        mosquitto.publisher.send("homeassistant/device/tmsync_1/config", b"", retain=True)
        until(lambda: home.states("tmsync_1_") == {})
        mosquitto.publisher.send("homeassistant/status", "online", retain=False)
        until(lambda: home.states("tmsync_1_") == FRESH)
        publisher.update(state(view(1)))
        until(lambda: home.states("tmsync_2_") == {})
        assert home.states("tmsync_1_") == FRESH
        assert "homeassistant/device/tmsync_2/config" not in heard.retained


def test_example_automation_tells_what_is_wrong_and_takes_it_back(
    home: HomeAssistant, mosquitto: Broker, tmp_path: Path
) -> None:
    def notified(kind: str, about: str) -> list[str]:
        return [data.get("message", "") for service, data in home.services
                if service == f"persistent_notification.{kind}" and data["notification_id"] == about]  # fmt: skip

    home.services.clear()
    with publishing(settings(mosquitto.port, tmp_path)) as (publisher, _):
        publisher.update(state())
        until(lambda: home.states("tmsync_1_") == FRESH)
        home.services.clear()
        publisher.update(state(view(verdict=Verdict.STALE)))
        until(lambda: notified("create", "tmsync_telemetry_problem"))
        assert notified("create", "tmsync_telemetry_problem") == [
            "stale, as it seems. Last heartbeat: 2026-11-29T12:00:00+00:00."
        ]
        publisher.update(state())
        until(lambda: notified("dismiss", "tmsync_telemetry_problem"))
        assert notified("create", "tmsync_gone") == []
    until(lambda: notified("create", "tmsync_gone"))
