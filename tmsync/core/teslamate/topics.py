"""TeslaMate's MQTT topics: how they are named, what each holds, and how a payload is read.

Source: TeslaMate lib/teslamate/mqtt/pubsub/vehicle_subscriber.ex (one retained topic per field of the summary),
website/docs/integrations/mqtt.md (the list of topics).
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeAlias

ROOT: Final = "teslamate"
CARS: Final = "cars"
MAX_CAR_ID: Final = 2**31 - 1
"""`cars.id` is a PostgreSQL integer."""
MAX_PAYLOAD_BYTES: Final = 4 * 1024
"""TeslaMate's longest value, a route as JSON, is far below; anything beyond is not TeslaMate's."""
MAX_NUMBER_CHARS: Final = 32

Value: TypeAlias = bool | int | float | str | datetime | None
"""A payload as typed; None once its topic was deleted, or where TeslaMate says `nil`."""

STATE: Final = "state"
SINCE: Final = "since"
HEALTHY: Final = "healthy"
DISPLAY_NAME: Final = "display_name"
BATTERY_LEVEL: Final = "battery_level"
NIL: Final = b"nil"
"""How Elixir prints "nothing"; TeslaMate sends it in `active_route_*` alone."""

_NUMBER: Final = re.compile(rb"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")


class Unparsable(ValueError):
    """A payload that is not of its topic's type."""


def _number(payload: bytes) -> int | float:
    if payload.isdigit() and len(payload) <= MAX_NUMBER_CHARS:
        return int(payload)
    if len(payload) > MAX_NUMBER_CHARS or not _NUMBER.fullmatch(payload):
        raise Unparsable
    if payload[1:].isdigit():
        return int(payload)
    value = float(payload)
    if not math.isfinite(value):
        raise Unparsable
    return value


_BOOLEANS: Final = {b"true": True, b"false": False}


def _boolean(payload: bytes) -> bool:
    try:
        return _BOOLEANS[payload]
    except KeyError:
        raise Unparsable from None


def _text(payload: bytes) -> str:
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise Unparsable
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError:
        raise Unparsable from None


def _time(payload: bytes) -> datetime:
    if len(payload) > 64:
        raise Unparsable
    try:
        moment = datetime.fromisoformat(payload.decode("ascii"))
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Unparsable from None


_KEYS_BY_TYPE: Final[Mapping[Callable[[bytes], Value], str]] = {
    _text: """
        display_name state charging_state shift_state geofence location climate_keeper_mode center_display_state
        version update_version software_update model trim_badging exterior_color wheel_type spoiler_type sun_roof_state
        active_route active_route_destination
        """,
    _time: "since scheduled_charging_start_time",
    _boolean: """
        healthy plugged_in charge_port_door_open is_climate_on is_preconditioning is_user_present locked sentry_mode
        doors_open driver_front_door_open driver_rear_door_open passenger_front_door_open passenger_rear_door_open
        windows_open driver_front_window_open driver_rear_window_open passenger_front_window_open
        passenger_rear_window_open trunk_open frunk_open sun_roof_installed update_available service_mode
        tpms_soft_warning_fl tpms_soft_warning_fr tpms_soft_warning_rl tpms_soft_warning_rr
        """,
    _number: """
        latitude longitude heading elevation odometer speed power battery_level usable_battery_level charge_limit_soc
        charge_energy_added charger_power charger_voltage charger_actual_current charger_phases charge_current_request
        charge_current_request_max time_to_full_charge ideal_battery_range_km est_battery_range_km
        rated_battery_range_km inside_temp outside_temp tpms_pressure_fl tpms_pressure_fr tpms_pressure_rl
        tpms_pressure_rr download_perc install_perc sun_roof_percent_open active_route_latitude active_route_longitude
        """,
}
PARSERS: Final[Mapping[str, Callable[[bytes], Value]]] = {
    key: parser for parser, keys in _KEYS_BY_TYPE.items() for key in keys.split()
}
"""Every known key and how its payload is read. Others are ignored: TeslaMate gains some every year."""


def parse_value(key: str, payload: bytes) -> Value:
    """The typed value of a known key; an empty payload deletes the topic and gives None.

    Raises: Unparsable when the payload is not of the key's type, KeyError for an unknown key.
    """
    parser = PARSERS[key]
    if not payload or (payload == NIL and (parser is not _text or key.startswith("active_route"))):
        return None
    return parser(payload)


class Topic(NamedTuple):
    """One topic below `cars`."""

    car_id: int
    key: str


def prefix(namespace: str) -> str:
    """What TeslaMate's topics begin with. namespace: its MQTT_NAMESPACE, empty when it has none."""
    return f"{ROOT}/{namespace}/{CARS}/" if namespace else f"{ROOT}/{CARS}/"


def parse_topic(topic: str, namespace: str) -> Topic | None:
    """The car and the key; None when the topic is not one of TeslaMate's in this namespace."""
    before = prefix(namespace)
    if not topic.startswith(before):
        return None
    car, separator, key = topic[len(before) :].partition("/")
    if not separator or not car.isascii() or not car.isdigit() or len(car) > 10 or (car[0] == "0" and car != "0"):
        return None
    car_id = int(car)
    return Topic(car_id, key) if car_id <= MAX_CAR_ID and key in PARSERS else None


def namespace_of(topic: str) -> str | None:
    """The namespace a topic of TeslaMate's is in, empty for none; None when it is not TeslaMate's."""
    parts = topic.split("/")
    namespace = parts[1] if len(parts) == 5 else ""
    return namespace if len(parts) in (4, 5) and parse_topic(topic, namespace) is not None else None
