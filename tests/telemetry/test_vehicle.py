"""Messages into a vehicle, and the lines and changes that come of them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.telemetry.following import default_rules
from tmsync.core.clock import Instant
from tmsync.core.telemetry.fleet import HEARTBEAT_LINE_S, MAX_VEHICLES, Fleet
from tmsync.core.telemetry.vehicle import SETTLE_S, Vehicle
from tmsync.core.teslamate.topics import (
    MAX_PAYLOAD_BYTES,
    PARSERS,
    Topic,
    Unparsable,
    namespace_of,
    parse_topic,
    parse_value,
)

START = datetime(2026, 11, 24, tzinfo=UTC)


def instant(running: float) -> Instant:
    return Instant(START + timedelta(seconds=running), running)


@pytest.mark.parametrize(
    ("topic", "namespace", "found"),
    [
        ("teslamate/cars/1/state", "", Topic(1, "state")),
        ("teslamate/garage/cars/12/battery_level", "garage", Topic(12, "battery_level")),
        ("teslamate/cars/cars/1/state", "cars", Topic(1, "state")),
        ("teslamate/cars/1/state", "garage", None),
        ("teslamate/garage/cars/1/state", "", None),
        ("teslamate/cars/1/state/more", "", None),
        ("teslamate/cars/1/", "", None),
        ("teslamate/cars/1", "", None),
        ("teslamate/cars//state", "", None),
        ("teslamate/cars/2147483648/state", "", None),
        ("teslamate/cars/²/state", "", None),
        ("teslamate/cars/1/not_yet_known", "", None),
    ],
)
def test_topics(topic: str, namespace: str, found: Topic | None) -> None:
    assert parse_topic(topic, namespace) == found


def test_the_namespace_of_a_topic() -> None:
    assert namespace_of("teslamate/cars/1/state") == ""
    assert namespace_of("teslamate/garage/cars/1/state") == "garage"
    assert namespace_of("homeassistant/garage/cars/1/state") is None
    assert namespace_of("teslamate/garage/bikes/1/state") is None


@pytest.mark.parametrize(
    ("key", "payload", "value"),
    [
        ("battery_level", b"63", 63),
        ("latitude", b"-35.278131", -35.278131),
        ("power", b"-9", -9),
        ("odometer", b"1.6535e3", 1653.5),
        ("plugged_in", b"false", False),
        ("since", b"2019-02-28T23:00:07.123456Z", datetime(2019, 2, 28, 23, 0, 7, 123456, UTC)),
        ("scheduled_charging_start_time", b"2026-11-24T05:00:00+01:00", datetime(2026, 11, 24, 4, tzinfo=UTC)),
        ("geofence", "🏡 Home".encode(), "🏡 Home"),
        ("display_name", b"nil", "nil"),
        ("active_route_destination", b"nil", None),
        ("active_route_latitude", b"nil", None),
        ("geofence", b"", None),
        ("location", b'{"latitude": 1}', '{"latitude": 1}'),
    ],
)
def test_payloads(key: str, payload: bytes, value: object) -> None:
    found = parse_value(key, payload)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("key", "payload"),
    [
        ("battery_level", b"six"),
        ("battery_level", b"1_0"),
        ("battery_level", b" 63"),
        ("battery_level", b"0x10"),
        ("odometer", b"inf"),
        ("odometer", b"nan"),
        ("odometer", b"1e999"),
        ("odometer", b"9" * 33),
        ("plugged_in", b"True"),
        ("plugged_in", b"1"),
        ("since", b"yesterday"),
        ("since", b"2026-11-24T05:00:00" + b"0" * 80),
        ("since", b"0001-01-01T00:00:00+14:00"),
        ("geofence", b"\xff"),
        ("geofence", b"x" * 70_000),
    ],
)
def test_payloads_of_the_wrong_kind(key: str, payload: bytes) -> None:
    with pytest.raises(Unparsable):
        parse_value(key, payload)


@given(st.lists(st.tuples(st.sampled_from([*PARSERS, "unknown"]), st.binary(max_size=40), st.booleans()), max_size=30))
def test_no_message_whatever_breaks_a_watch(messages: list[tuple[str, bytes, bool]]) -> None:
    watch = Fleet("", default_rules())
    watch.message("teslamate/cars/1/odometer", b"5", 0.0, retained=True)
    for at, (key, payload, retained) in enumerate(messages):
        watch.message(f"teslamate/cars/1/{key}", payload, float(at), retained=retained)
        watch.changes(instant(at))
    for view in watch.views(instant(100)):
        assert view.as_json()["car_id"] == 1


@given(st.text(max_size=60), st.binary(max_size=20))
def test_no_topic_whatever_makes_a_car_appear_that_is_not_teslamates(topic: str, payload: bytes) -> None:
    watch = Fleet("", default_rules())
    watch.message(topic, payload, 0.0, retained=True)
    assert len(watch) == (1 if parse_topic(topic, "") and payload else 0)


def test_a_wrong_payload_keeps_the_value_and_is_counted() -> None:
    vehicle = Vehicle(1, 0.0)
    vehicle.receive("battery_level", b"63", 0.0, retained=True)
    vehicle.receive("battery_level", b"full", 1.0, retained=False)
    vehicle.receive("healthy", b"perhaps", 1.0, retained=False)
    assert (vehicle.values, vehicle.unparsable, vehicle.healthy) == ({"battery_level": 63}, 2, None)
    assert not vehicle.retained_only


def test_a_text_longer_than_any_of_teslamates_is_counted_and_not_kept() -> None:
    vehicle = Vehicle(1, 0.0)
    vehicle.receive("geofence", b"x" * MAX_PAYLOAD_BYTES, 0.0, retained=True)
    vehicle.receive("geofence", b"x" * (MAX_PAYLOAD_BYTES + 1), 1.0, retained=True)
    assert (vehicle.values, vehicle.unparsable) == ({"geofence": "x" * MAX_PAYLOAD_BYTES}, 1)


def test_no_more_vehicles_appear_than_anybody_has() -> None:
    watch = Fleet("", default_rules())
    for car_id in range(MAX_VEHICLES + 10):
        watch.message(f"teslamate/cars/{car_id}/state", b"online", 0.0, retained=True)
    watch.message("teslamate/cars/0/state", b"asleep", 1.0, retained=False)
    assert len(watch) == MAX_VEHICLES
    assert watch.views(Instant(datetime(2026, 11, 24, tzinfo=UTC), 1.0))[0].state == "asleep"


def test_only_a_retained_health_flag_makes_teslamate_an_older_one() -> None:
    vehicle = Vehicle(1, 0.0)
    vehicle.receive("healthy", b"true", 0.0, retained=True)
    assert vehicle.facts(0.0, 1.0).legacy
    # A new subscription that brings none: TeslaMate was updated meanwhile.
    assert vehicle.facts(10.0, 10.0 + SETTLE_S - 1).legacy
    assert not vehicle.facts(10.0, 10.0 + SETTLE_S).legacy
    vehicle.receive("healthy", b"true", 11.0, retained=True)
    assert vehicle.facts(10.0, 99.0).legacy
    # Its update while we listen: at its start it deletes the retained flag.
    vehicle.receive("healthy", b"", 100.0, retained=False)
    assert not vehicle.facts(10.0, 101.0).legacy
    assert vehicle.healthy is True


def test_the_heartbeat_is_the_live_flag_and_in_an_older_teslamate_any_live_message() -> None:
    vehicle = Vehicle(1, 0.0)
    vehicle.receive("odometer", b"1", 5.0, retained=False)
    assert vehicle.facts(0.0, 9.0).heartbeat_at == 5.0
    vehicle.receive("healthy", b"true", 6.0, retained=False)
    vehicle.receive("odometer", b"2", 7.0, retained=False)
    assert vehicle.facts(0.0, 9.0).heartbeat_at == 6.0
    vehicle.receive("healthy", b"true", 8.0, retained=True)
    vehicle.receive("odometer", b"3", 9.0, retained=False)
    assert vehicle.facts(0.0, 9.0).heartbeat_at == 9.0


def test_a_change_of_state_begins_a_new_silence() -> None:
    """Suspended for an hour and now asleep: the hour is not held against it before its first heartbeat."""
    vehicle = Vehicle(1, 0.0)
    vehicle.receive("state", b"suspended", 0.0, retained=False)
    vehicle.receive("healthy", b"true", 0.0, retained=False)
    vehicle.receive("state", b"asleep", 3600.0, retained=True)
    assert vehicle.facts(0.0, 3600.0).anchor_at == 3600.0
    vehicle.receive("state", b"asleep", 3700.0, retained=True)
    assert vehicle.facts(0.0, 3700.0).anchor_at == 3600.0


def test_lines_come_on_change_once_per_interval_and_every_thirty_seconds() -> None:
    watch = Fleet("", default_rules())

    def lines(at: float) -> list[object]:
        watch.changes(instant(at))
        return [view.telemetry.get("odometer") for view in watch.lines(instant(at), 1.0)]

    def say(value: bytes, at: float) -> None:
        watch.message("teslamate/cars/1/odometer", value, at, retained=True)

    say(b"1", 0.0)
    assert lines(0.0) == [1]
    assert lines(5.0) == []
    say(b"2", 5.1)
    assert lines(5.1) == [2]
    say(b"3", 5.2)
    say(b"4", 5.3)
    assert lines(5.3) == []
    assert lines(6.1) == [4]
    say(b"4", 8.0)
    assert lines(8.0) == []
    assert lines(6.1 + HEARTBEAT_LINE_S) == [4]


def test_a_renamed_car_keeps_its_names_in_order() -> None:
    watch = Fleet("", default_rules())
    for at, name in enumerate((b"Blue", b"Blue", b"Red", b"", b"Blue")):
        watch.message("teslamate/cars/1/display_name", name, float(at), retained=False)
    (view,) = watch.views(instant(9))
    assert (view.name, view.names) == ("Blue", ("Blue", "Red", "Blue"))
