"""TeslaMate's values repeated with every heartbeat."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.publish.scene import AT, view
from tmsync.core.publish.topics import Layout
from tmsync.core.publish.values import Repeater, as_text
from tmsync.core.telemetry.health import SOURCES, Source, Verdict
from tmsync.core.teslamate.topics import Value

LAYOUT = Layout("tmsync", "homeassistant")
BLUE = {
    "tmsync/cars/1/display_name": "Blue",
    "tmsync/cars/1/state": "charging",
    "tmsync/cars/1/battery_level": "63",
    "tmsync/cars/1/plugged_in": "true",
}


def test_every_value_comes_again_with_a_heartbeat_and_changes_come_between() -> None:
    repeater = Repeater(LAYOUT)
    told = []
    for seconds, level in ((0, 63), (0, 63), (0, 64), (30, 64)):
        seen, beats = repeater.steady(
            view(
                last_heartbeat_at=AT + timedelta(seconds=seconds),
                telemetry={**view().telemetry, "battery_level": level},
            )
        )
        told.append(repeater.due(seen, {}, beats=beats))
    newer = {**BLUE, "tmsync/cars/1/battery_level": "64"}
    assert told == [BLUE, {}, {"tmsync/cars/1/battery_level": "64"}, newer]


def test_a_heartbeat_whose_moment_is_worked_out_anew_is_the_same_one() -> None:
    repeater = Repeater(LAYOUT)
    just_before, just_after = AT - timedelta(microseconds=3), AT + timedelta(microseconds=4)
    seen = [repeater.steady(view(last_heartbeat_at=moment)) for moment in (just_before, just_after, just_before)]
    assert [(one.last_heartbeat_at, beats) for one, beats in seen] == [
        (just_before, True), (just_before, False), (just_before, False),
    ]  # fmt: skip


@pytest.mark.parametrize("verdict", Verdict)
def test_nothing_comes_while_teslamate_is_not_trusted(verdict: Verdict) -> None:
    found = Repeater(LAYOUT).due(view(verdict=verdict), {}, beats=True)
    assert found == (BLUE if SOURCES[verdict] is Source.TESLAMATE else {})


def test_what_the_broker_lost_is_filled_from_the_database_and_what_was_deleted_is_not() -> None:
    lost = view(telemetry={"healthy": True, "charger_power": None, "geofence": "", "odometer": 12.5})
    recorded: dict[int, dict[str, Value]] = {
        1: {"battery_level": 63, "charger_power": 11, "odometer": 12.0, "is_climate_on": False},
        2: {"battery_level": 20},
    }
    assert Repeater(LAYOUT).due(lost, recorded, beats=True) == {
        "tmsync/cars/1/battery_level": "63",
        "tmsync/cars/1/healthy": "true",
        "tmsync/cars/1/odometer": "12.5",
        "tmsync/cars/1/is_climate_on": "false",
    }


def test_namespace_stands_before_cars() -> None:
    found = Repeater(LAYOUT).due(view(namespace="garage"), {}, beats=True)
    assert found["tmsync/garage/cars/1/battery_level"] == "63"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (0.0, "0.0"),
        (52.53599999999999, "52.53599999999999"),
        ("", ""),
        (None, ""),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"),
    ],
)
def test_value_is_written_as_teslamate_does(value: Value, text: str) -> None:
    assert as_text(value) == text
